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
 * One writer at a time: its name is fenced. Verbs that change rows are done one after the other, in
 * the order of the calls; a read sees every change that has resolved.
 */
import type { Keys } from '../../base/keys.ts'

export type RowStoreState = 'available' | 'unavailable' | 'wentBack'

export interface RowStore {
  readonly recordBytes: number

  /** `unavailable` after a verb has given up, until the store answers again. */
  readonly state: RowStoreState
  /** Resolves once the state is not `unavailable`; rejects when the signal ends the wait. */
  ready(signal?: AbortSignal): Promise<void>

  /** records[i] <- the row of key i, zeros for a key without one; present[i] <- 1 or 0. */
  read(keys: Keys, records: Uint8Array, present: Uint8Array): Promise<void>
  /** Inserts or overwrites whole rows: n records, which hold their keys (distinct, not 0). */
  write(records: Uint8Array): Promise<void>
  /** Removes rows of distinct keys; returns how many there were. */
  erase(keys: Keys): Promise<number>

  /** Rows stored. */
  size(): Promise<number>
  /** Removes every row, and the marks. */
  clear(): Promise<void>

  /**
   * Writes a number to every slice, after all rows written before it: a mark that is there vouches
   * for them. Resolves when every slice has it.
   */
  mark(sequence: number): Promise<void>
  /**
   * The mark of each slice; -1 where there is none (never marked, or the slice was lost). Goes on
   * after `ROW_STORE_WENT_BACK` with what the store has: the caller then writes again everything
   * since the lowest of them.
   */
  acceptLoss(): Promise<Float64Array>

  /** Ends connections; rows stay. */
  close(): Promise<void>
}
