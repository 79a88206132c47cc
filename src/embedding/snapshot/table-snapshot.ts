/**
 * A table as bytes, for checkpoints: everything that a restart must have back, and nothing of where
 * it lay. Loading gives the same behaviour with other slots and row numbers.
 *
 * A snapshot is of one moment, but is written while the table goes on: whoever changes rows hands
 * them over before, and those that are still to be written are copied (copy on write). A bit for
 * each row says whether it is. So beginning one costs no more than two copies of such bits.
 */
import { ByteWriter } from '../../base/bytes.ts'
import { ServiceError } from '../../base/errors.ts'
import type { Keys } from '../../base/keys.ts'
import { tableField } from '../../kernels/table-kernels.ts'
import type { TableStorage } from '../memory/table-storage.ts'
import { frame } from './frames.ts'
import type { SnapshotParts, TableProgress } from './snapshot-format.ts'
import { frameKinds, snapshotHeader, writeEnd } from './snapshot-format.ts'

type Piece = Uint8Array<ArrayBuffer>

/** Rows looked at for one piece: of a delta few may belong to it. */
const lookRows = 131_072
const nothing: Piece = new Uint8Array(0)

/** The keys in frames of this kind. */
function* keyFrames(kind: number, blocks: readonly Keys[]): Generator<Piece> {
  for (const keys of blocks) {
    yield frame(new ByteWriter(keys.byteLength + 16).uint8(kind).array(keys).peek())
  }
}

export interface SnapshotStart {
  readonly progress: TableProgress
  /** Rows that may wait in copies to be read; default: as many as there are. */
  readonly waitingRows: number | undefined
  /**
   * A delta holds the rows that changed at this version or later, and these keys have left since.
   */
  readonly delta: { readonly since: number; readonly erased: readonly Keys[] } | undefined
}

/**
 * Pieces of bytes, to be read in any rhythm while the table changes: the more often, the fewer rows
 * wait in copies. An empty piece: so many rows were looked at that others may want a turn.
 * Invariant: a row that was there at the beginning and belongs to the snapshot is
 * pending, or waits in a copy, or has been given out.
 */
export class TableSnapshot implements IterableIterator<Piece, undefined> {
  readonly #parts: SnapshotParts
  readonly #start: SnapshotStart
  readonly #storages: readonly TableStorage[]
  readonly #removed: readonly Keys[]
  readonly #pieces: Generator<Piece, undefined>
  readonly #size: number
  readonly #overflowed: boolean
  /** Frames of rows that changed before they were written, and what will be the next one. */
  readonly #waiting: Piece[] = []
  readonly #copies: Uint8Array
  #copied = 0
  #frames = 0
  #state: 'open' | 'ended' | 'overtaken' = 'open'

  constructor(parts: SnapshotParts, start: SnapshotStart) {
    const { shards, removed } = parts
    this.#parts = parts
    this.#start = start
    this.#storages = shards.storages
    this.#size = shards.size
    this.#removed = removed.pending()
    this.#overflowed = removed.overflowed
    const [{ batch, recordBytes }] = this.#storages
    this.#copies = new Uint8Array(batch * recordBytes)
    for (const storage of this.#storages) storage.freeze()
    this.#pieces = this.#make()
  }

  /** Whether it is of all rows, and not of those that changed since another one. */
  get full(): boolean {
    return this.#start.delta === undefined
  }

  /** Of the table when it began: where a delta to it starts. */
  get version(): number {
    return this.#start.progress.version
  }

  /** Whether rows must be handed over before they change. */
  get open(): boolean {
    return this.#state === 'open'
  }

  [Symbol.iterator](): this {
    return this
  }

  /** Throws `SNAPSHOT_OVERTAKEN`: too many rows wait, or the table has been replaced. */
  next(): IteratorResult<Piece, undefined> {
    if (this.#state === 'overtaken') {
      throw new ServiceError('SNAPSHOT_OVERTAKEN', { table: this.#parts.spec.name })
    }
    const result = this.#pieces.next()
    if (result.done === true) this.#end('ended')
    else if (result.value.length > 0) this.#frames += 1
    return result
  }

  /** Nobody wants the rest. */
  return(): IteratorResult<Piece, undefined> {
    if (this.open) this.#end('ended')
    return this.#pieces.return(undefined)
  }

  /** The table is about to be replaced: what is left can no longer be had. */
  abandon(): void {
    if (this.open) this.#end('overtaken')
  }

  /** The n staged rows are about to change. */
  save(storage: TableStorage, n: number): void {
    const { kernels, table, rows, records, recordBytes } = storage
    const { address, view } = records
    const count = kernels.tablePackStaged(table, rows.address, n, address, this.#since)
    this.#copy(view.subarray(0, count * recordBytes))
    const { waitingRows = this.#size } = this.#start
    if (this.#waiting.length * storage.batch > waitingRows) this.#end('overtaken')
  }

  get #since(): number {
    return this.#start.delta?.since ?? 0
  }

  /** Adds to what waits: whole frames, and one that is not full yet. */
  #copy(records: Uint8Array): void {
    const room = this.#copies.length - this.#copied
    const first = records.subarray(0, room)
    this.#copies.set(first, this.#copied)
    this.#copied += first.length
    if (this.#copied < this.#copies.length) return
    this.#waiting.push(rowsFrame(this.#copies))
    this.#copies.set(records.subarray(room))
    this.#copied = records.length - room
  }

  #end(state: 'ended' | 'overtaken'): void {
    this.#state = state
    this.#waiting.length = 0
    for (const storage of this.#storages) storage.thaw()
  }

  *#make(): Generator<Piece, undefined> {
    const { delta, progress } = this.#start
    yield frame(snapshotHeader(this.#parts, delta?.since))
    yield* keyFrames(frameKinds.erased, delta?.erased ?? [])
    for (const storage of this.#storages) yield* this.#rowsOf(storage)
    yield* this.#takeWaiting()
    if (this.#copied > 0) yield rowsFrame(this.#copies.subarray(0, this.#copied))
    yield* keyFrames(frameKinds.removed, this.#removed)
    const counts = { size: this.#size, frames: this.#frames, overflowed: this.#overflowed }
    yield frame(writeEnd({ ...counts, ...progress }))
    return undefined
  }

  *#rowsOf(storage: TableStorage): Generator<Piece> {
    const { kernels, table, batch, records, recordBytes } = storage
    for (let cursor = 0; cursor < storage.get(tableField.used);) {
      yield* this.#takeWaiting()
      storage.set(tableField.cursor, cursor)
      const to = Math.min(storage.get(tableField.used), cursor + lookRows)
      const n = kernels.tablePackPending(table, batch, records.address, this.#since, to)
      cursor = storage.get(tableField.cursor)
      yield n === 0 ? nothing : rowsFrame(records.view.subarray(0, n * recordBytes))
    }
  }

  *#takeWaiting(): Generator<Piece> {
    for (;;) {
      const piece = this.#waiting.shift()
      if (piece === undefined) return
      yield piece
    }
  }
}

const rowsFrame = (records: Uint8Array): Piece => frame(Uint8Array.of(frameKinds.rows), records)
