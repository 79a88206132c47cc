/**
 * An embedding table that somebody owns: besides what every table does it can be saved, restored,
 * compared and given away whole. Its rows may lie elsewhere, so whatever touches them may have to
 * be waited for; a table in memory answers at once.
 */
import type { Awaitable, Keys } from '../base/keys.ts'
import type { EmbeddingTable, RestrictRequest } from './embedding-table.ts'
import type { RestrictPreview } from './restrict/restrict-preview.ts'
import type { TableSnapshot } from './snapshot/table-snapshot.ts'

/** Some rows of a table: n keys and n x dim floats. */
export interface TableRows {
  readonly keys: Keys
  readonly vectors: Float32Array
}

export interface SnapshotRequest {
  /** The version of the snapshot to which this may be a delta. */
  readonly since?: number | undefined
  /** Rows that may wait in copies to be read; default: as many as there are. */
  readonly waitingRows?: number
}

export interface DurableTable extends EmbeddingTable {
  /** The rows of these keys are no more removed by restrict; said anew at every start. */
  protect(keys: Keys): void

  /**
   * Begins a restrict in steps, each of which is a call of `restrictSome`, in place of one under
   * way. False: there is nothing to do. Throws `RESTRICT_INVALID`.
   */
  startRestrict(request: RestrictRequest): boolean

  /** The same for the rows past `ttlMs`. */
  startExpiry(request: RestrictRequest): boolean

  readonly isRestricting: boolean

  /**
   * A dry run: what the same restrict would remove, to be found step by step. `samples`: how many
   * of the rows it names.
   */
  previewRestrict(request: RestrictRequest, samples: number): RestrictPreview

  /**
   * Gives memory back after many rows have left, a step of some milliseconds at each call; true
   * while there is more to do. Nothing that the table answers depends on it.
   */
  compactSome(): boolean

  /**
   * A 64-bit hash of all rows: vectors, state, counts, times and versions. It depends neither on
   * the order of rows nor on where they lie.
   */
  digest(): Awaitable<bigint>

  /** What a checkpoint holds of it, piece by piece; see `MemoryTable.snapshot`. */
  snapshot(request?: SnapshotRequest): TableSnapshot

  /**
   * Replaces everything by a snapshot and deltas that follow it. Throws `SNAPSHOT_DAMAGED` or
   * `SNAPSHOT_INCOMPATIBLE`.
   */
  load(pieces: Iterable<Uint8Array>): void

  /** Copies of all rows, some at a time; see `MemoryTable.export`. */
  export(): Iterable<TableRows> | AsyncIterable<TableRows>
}
