/**
 * An embedding table as the trainer and the replica see it: 64-bit keys to rows, in batches. A row
 * is vector | optimizer state | count | last-seen time | version, and is evicted, saved and moved
 * as one. The memory table answers at once; a remote one returns promises; both pass
 * `test/contract/embedding-table.ts`.
 */
import type { Awaitable, Keys } from '../base/keys.ts'
import type { AdmissionStats } from './admission/admission.ts'
import type { RestrictPolicy, TableSpec } from './table-spec.ts'
import type { TierStats } from './tiered/tier-stats.ts'

/** What a batch tells a row that it touches. */
export interface Stamp {
  /** Event time of the batch, epoch ms; fractions are dropped. */
  readonly time: number
  /**
   * Model version after this batch (u32, never going back); rows carry that of their last change.
   */
  readonly version: number
  /** Of the optimizer's learning rate, for this batch alone; absent: 1. */
  readonly rateScale?: number
}

export interface RestrictRequest {
  readonly numReserved: number
  readonly trigger: number
  readonly policy: RestrictPolicy
  /** Of `combined`, in milliseconds; default: a day. */
  readonly recencyHalfLifeMs?: number
  /** Never fewer rows than these are left; default 0. */
  readonly floorRows?: number
  /** Rows not seen for so long leave, too; `restrictSome` looks for them now and then. */
  readonly ttlMs?: number
}

/** n x dim each, row-major, and one byte per key. */
export interface Accumulation {
  readonly oldVectors: Float32Array
  readonly newVectors: Float32Array
  readonly exists: Uint8Array
}

/** Since the last time they were taken. Keys are sorted; no key is in both lists. */
export interface TableChanges {
  /** Keys whose rows were inserted, updated or assigned, and are there now. */
  readonly changed: Keys
  /** Keys whose rows were removed and did not return. */
  readonly removed: Keys
  /** More keys were removed than the table remembers: a reader must start from nothing. */
  readonly resync: boolean
}

export interface EmbeddingTable {
  readonly spec: TableSpec

  readonly size: number

  /**
   * Vectors of n keys into `vectors` (n x dim, row-major). A key without a row gets its initial
   * vector; `present[i]`, where given, says which had one (1) and which not (0).
   */
  find(keys: Keys, vectors: Float32Array, present?: Uint8Array): Awaitable<void>

  /**
   * As `find`, and a key without a row gets one while there is room. Never throws when full.
   * `occurrences`: how often each key took part in the batch, for a table that admits keys by it.
   */
  findOrInsert(
    keys: Keys,
    vectors: Float32Array,
    stamp: Stamp,
    occurrences?: Uint32Array,
  ): Awaitable<void>

  /** Sets the vectors of n keys, inserting those that are new. Optimizer state starts fresh. */
  assign(keys: Keys, vectors: Float32Array, stamp: Stamp): Awaitable<void>

  /**
   * One update step of n *distinct* keys: `gradients` is n x dim, `occurrences` how often each key
   * took part in the batch (added to its count). A key without a row is left out.
   */
  applyGradients(
    keys: Keys,
    gradients: Float32Array,
    occurrences: Uint32Array,
    stamp: Stamp,
  ): Awaitable<void>

  /** Removes rows; returns how many there were. */
  erase(keys: Keys): Awaitable<number>

  /**
   * Rows past `ttlMs` go, if that is said. Then nothing unless `size > trigger`; else the rows of
   * lowest score go until `numReserved` remain. Ties: older first, then by key. Returns the keys
   * removed. Throws `RESTRICT_INVALID` for a negative or fractional argument.
   */
  restrict(request: RestrictRequest): Awaitable<Keys>

  /**
   * As `restrict`, with pauses of some milliseconds even for millions of rows: to be called between
   * batches, again and again. A large table takes one step at each call: it finds the rows that
   * must leave, then removes them share by share, but for those that learn something in the
   * meantime. Returns the keys that it removed now.
   */
  restrictSome(request: RestrictRequest): Awaitable<Keys>

  /**
   * The changes of several writers added up: each found the vectors `oldVectors` of n keys
   * (exists[i] 1, or 0 for a key it did not find) and made `newVectors` of them. Present and found:
   * new - old is added; absent and not found: inserted; else dropped, since somebody removed or
   * inserted it since.
   */
  accumulate(keys: Keys, change: Accumulation, stamp: Stamp): Awaitable<void>

  /**
   * Whether at least so many rows have changed for the next delta, as far as that is known without
   * going over them again for every few: told when it is an eighth more, at the latest.
   */
  hasChanged(rows: number): boolean

  /** What the next delta must carry. */
  takeChanges(): Awaitable<TableChanges>

  stats(): TableStats
}

export interface TableStats {
  readonly rows: number
  readonly capacityRows: number
  readonly bytes: number
  readonly loadFactor: number
  /**
   * Since start: keys that got a row, keys refused because it was full, rows evicted by restrict.
   */
  readonly admitted: number
  readonly refused: number
  readonly evicted: number
  /** Mean time since rows that restrict removed were last seen; 0 if there were none. */
  readonly evictionAgeMs: number
  /** Of a table whose rows, or what is known of them, are in memory. */
  readonly memory?: MemoryStats
  /** Of a table that does not admit every key. */
  readonly admission?: AdmissionStats
  /** Of a table whose rows are not all in memory. */
  readonly tier?: TierStats
}

/** Counts are since start. */
export interface MemoryStats {
  /** Keys that were to be read and had a row, or had none. */
  readonly found: number
  readonly missing: number
  /** The most keys that ever moved in the index to make room for another. */
  readonly longestPath: number
  /**
   * About how many rows have a count of 0, 1, 2-3, 4-7, ..., each bin twice as wide, and 65,536 or
   * more in the last.
   */
  readonly rowsByCount: readonly number[]
  /** Steps of restricts that had something to do, and how long batches waited for them. */
  readonly restrictSteps: number
  readonly restrictMs: number
  readonly longestRestrictMs: number
}
