/**
 * Rows kept outside the process: packed records under 64-bit keys, in batches. A record is what
 * `MemoryTable.readRecords` gives (`docs/formats.md`): key | count | version | last seen |
 * changed | vector | optimizer state, `recordBytes` in all.
 *
 * Never a wrong answer: a verb resolves with what is stored, or rejects. The codes:
 *
 * - `ROW_STORE_UNAVAILABLE`: not now. Nothing was answered; what was being written may be there or
 *   not, and the same call may be made again, after `ready()`.
 * - `ROW_STORE_WENT_BACK`: the store has lost writes that it had confirmed (a fail-over to a
 *   replica that was behind, a restart from an older file). Every verb rejects until `acceptLoss`.
 * - `ROW_STORE_FENCED`: another process has opened these rows under the same writer's name since.
 * - `ROW_STORE_INCOMPATIBLE`: rows of another model, or otherwise sliced, are under this tag.
 * - `ROW_STORE_FAILED`: the server refuses what is asked: permissions, a wrong type of key.
 *
 * One writer at a time (its name is fenced); `accumulate` is for several. Verbs that change rows
 * are done one after the other, in the order of the calls; a read sees every change that has
 * resolved.
 */
import { ServiceError } from '../../base/errors.ts'
import type { Keys } from '../../base/keys.ts'
import type { Accumulation, Stamp } from '../embedding-table.ts'

export type RowStoreState = 'available' | 'unavailable' | 'wentBack'

/** One byte for each key of an accumulation. */
export const accumulated = { dropped: 0, added: 1, inserted: 2 } as const

export interface RowAccumulation extends Accumulation {
  /** n records to insert where a key has none: `newVectors` with a fresh state. */
  readonly records: Uint8Array
}

/** Of every row: key u64 | count u32 | version u32 | last seen f64, as in a record. */
export const scoreBytes = 24

/** Which rows `scores` visits; absent: all. */
export interface ScoreFilter {
  /** Rows last seen before this time, epoch ms. */
  readonly seenBefore?: number
  /** Rows whose last change came after this version. */
  readonly changedAfter?: number
}

export interface RowStore {
  readonly recordBytes: number

  /** `unavailable` after a verb has given up, until the store answers again. */
  readonly state: RowStoreState
  /** Calls `listener` at every change of state. Returns what ends that. */
  onStateChange(listener: (state: RowStoreState) => void): () => void
  /** Resolves once the state is not `unavailable`; rejects when the signal ends the wait. */
  ready(signal?: AbortSignal): Promise<void>

  /** records[i] <- the row of key i, zeros for a key without one; present[i] <- 1 or 0. */
  read(keys: Keys, records: Uint8Array, present: Uint8Array): Promise<void>
  /** Inserts or overwrites whole rows: n records, which hold their keys (distinct, not 0). */
  write(records: Uint8Array): Promise<void>
  /** Removes rows of distinct keys; returns how many there were. */
  erase(keys: Keys): Promise<number>
  /**
   * The four cases of `EmbeddingTable.accumulate`, atomic for each row. Returns `accumulated`
   * codes. Waits as long as the store is unavailable: what was asked for twice would be added
   * twice.
   */
  accumulate(keys: Keys, change: RowAccumulation, stamp: Stamp): Promise<Uint8Array>

  /** Rows stored. */
  size(): Promise<number>
  /**
   * Visits the scores of all rows, each once, in chunks of n x `scoreBytes` (a view valid during
   * the call), while vectors stay where they are. A row that changes meanwhile is visited as it was
   * or is.
   */
  scores(visit: (scores: Uint8Array) => void, filter?: ScoreFilter): Promise<void>
  /** Removes every row, and the marks. */
  clear(): Promise<void>

  /**
   * Writes a number to every slice, after all rows written before it: a mark that is there vouches
   * for them. Resolves when every slice has it.
   */
  mark(sequence: number): Promise<void>
  /** The mark of each slice; -1 where there is none (never marked, or the slice was lost). */
  marks(): Promise<Float64Array>
  /**
   * Goes on after `ROW_STORE_WENT_BACK` with what the store has; returns the marks. The caller then
   * writes again everything since the lowest of them.
   */
  acceptLoss(): Promise<Float64Array>

  /**
   * Replaces the rows by those of another model tag, without moving them through this process where
   * they are sliced alike. Rejects `ROW_STORE_INCOMPATIBLE` when they are of another shape, or
   * none.
   */
  importFrom(tag: string): Promise<void>
  /**
   * Removes the rows of other tags that nobody has opened or marked since `time` (epoch ms);
   * returns the tags.
   */
  expire(time: number): Promise<readonly string[]>

  /** Ends connections; rows stay. */
  close(): Promise<void>
}

/** Nothing is under this tag. */
export const unknownTag = (table: string, tag: string): ServiceError => {
  const details = { table, tag, field: 'rows', found: 'none', expected: 'some' }
  return new ServiceError('ROW_STORE_INCOMPATIBLE', details)
}
