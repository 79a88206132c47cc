/**
 * The memory of one table or of one of its shards: an arena that holds the index, the rows and the
 * staging that batches pass through, all reserved when it is made; and the record that tells the
 * kernels where things lie (`assembly/table-layout.ts`). Untouched rows cost address space only.
 */
import { assert } from '../../base/assert.ts'
import type { Keys } from '../../base/keys.ts'
import type { Block } from '../../kernels/arena.ts'
import { Arena } from '../../kernels/arena.ts'
import type { KernelOptions, Kernels } from '../../kernels/kernels.ts'
import { loadKernels, scratchBytes } from '../../kernels/kernels.ts'
import type { OptimizerKernel } from '../../kernels/table-kernels.ts'
import {
  bucketBytes,
  histogramBins,
  recordHeaderBytes,
  tableField,
} from '../../kernels/table-kernels.ts'
import { halvings, tickRate } from '../restrict/count-decay.ts'
import type { TableSpec } from '../table-spec.ts'
import { initializerOf } from './initializers.ts'
import type { Optimizer } from './optimizers.ts'

/** An index of this load always has room: keys stop fitting above .97 (Dietzfelbinger et al.). */
const maximumLoad = 0.95
/** So that a handful of keys with the same two buckets fit a small index, too. */
const spareBuckets = 4

/** Staged at a time: small enough to stay in a core's cache between kernel and copy. */
const stagingBytes = 131_072
const maximumBatch = 1024

/** Buckets that `capacity` keys need. */
export const bucketsFor = (capacity: number): number =>
  Math.ceil(capacity / maximumLoad / 4) + spareBuckets

/** Of the system, at least. */
const pageBytes = 4096
const stampBytes = 16
const keyBytes = 8
const roundUp = (value: number, multiple: number): number => Math.ceil(value / multiple) * multiple

type Field = (typeof tableField)[keyof typeof tableField]

/** One shard of a table, or all of it: batches are staged in its blocks for its kernels. */
export class TableStorage {
  readonly kernels: Kernels
  readonly update: OptimizerKernel
  readonly dim: number
  /** Address of the record. */
  readonly table: number
  /** Rows that fit the staging blocks. */
  readonly batch: number
  /** Bytes of a packed row. */
  readonly recordBytes: number
  /** Everything reserved for `capacityRows`, without the staging. */
  readonly tableBytes: number
  readonly keys: Block<Uint32Array>
  readonly rows: Block<Uint32Array>
  readonly vectors: Block<Float32Array>
  readonly otherVectors: Block<Float32Array>
  readonly occurrences: Block<Uint32Array>
  readonly flags: Block<Uint8Array>
  readonly records: Block<Uint8Array>
  /** Bins of a score histogram. */
  readonly bins: Block<Uint32Array>
  /** A few u64 in and out of kernels. */
  readonly operands: Block<Uint32Array>
  readonly #halvings: Block<Uint32Array>
  readonly #words: Uint32Array
  readonly #floats: Float32Array
  readonly #parts: StorageParts
  /** The optimizer's learning rate. */
  readonly #rate: number
  /** Rows that there is memory for. */
  readonly capacity: number

  constructor(spec: TableSpec, optimizer: Optimizer, options: KernelOptions) {
    const { dim, capacityRows } = spec
    assert(Number.isInteger(dim) && dim > 0 && dim <= 4096, 'dim is 1 to 4096')
    assert(Number.isInteger(capacityRows) && capacityRows > 0, 'capacityRows is a positive integer')
    this.dim = dim
    this.capacity = capacityRows
    this.recordBytes = recordSize(dim, optimizer)
    this.batch = batchRows(dim)
    const bytes = partBytes(capacityRows, dim, optimizer.stateFloats)
    this.tableBytes = sum(Object.values(bytes))
    const arena = new Arena(storageBytes(spec, optimizer))
    this.kernels = loadKernels(arena, options)
    this.update = optimizer.kernel(this.kernels)
    this.keys = arena.words(this.batch * 2)
    this.rows = arena.words(this.batch)
    this.vectors = arena.floats(this.batch * dim)
    this.otherVectors = arena.floats(this.batch * dim)
    this.occurrences = arena.words(this.batch)
    this.flags = arena.bytes(this.batch)
    this.records = arena.bytes(this.batch * this.recordBytes)
    this.bins = arena.words(histogramBins)
    this.operands = arena.words(18)
    this.#halvings = arena.words(halvings.length)
    this.#halvings.view.set(halvings)
    const record = arena.words(tableField.words)
    this.table = record.address
    this.#words = record.view
    this.#floats = new Float32Array(record.view.buffer, record.address, tableField.words)
    this.#parts = {
      buckets: arena.bytes(bytes.buckets),
      keys: arena.bytes(bytes.keys),
      stamps: arena.bytes(bytes.stamps),
      rows: arena.bytes(bytes.rows),
      changed: arena.bytes(bytes.changed),
      freed: arena.bytes(bytes.freed),
      pending: arena.bytes(bytes.pending),
      frozen: arena.bytes(bytes.frozen),
    }
    this.#writeRecord(spec, optimizer)
    this.#rate = this.#floats[tableField.rate]
  }

  get(field: Field): number {
    return this.#words[field]
  }

  set(field: Field, value: number): void {
    this.#words[field] = value
  }

  /** No more than so many rows are added from now on. */
  allow(room: number): void {
    this.set(tableField.capacity, Math.min(this.capacity, this.get(tableField.size) + room))
  }

  /** Staged rows <- those of the n staged keys. Returns how many have one. */
  lookUp(n: number): number {
    const buckets = this.get(tableField.buckets)
    const count = this.get(tableField.bucketCount)
    return this.kernels.cuckooFind(buckets, count, this.keys.address, n, this.rows.address)
  }

  /** Staged vectors <- those of the n staged rows, or the initial ones of their keys. */
  gather(n: number): void {
    const { keys, rows, vectors } = this
    this.kernels.tableGather(this.table, keys.address, rows.address, n, vectors.address)
  }

  /** Erases the n staged keys: the first staged keys are then those that had a row. */
  erase(n: number): Keys {
    const { address, view } = this.keys
    return view.subarray(0, 2 * this.kernels.tableErase(this.table, address, n, address))
  }

  /** A snapshot begins: every row in use is pending, and changed bits are kept as they are now. */
  freeze(): void {
    const { changed, freed, pending, frozen } = this.#parts
    frozen.view.set(changed.view)
    const used = this.get(tableField.used)
    const words = Math.ceil(used / 32)
    const inUse = wordsOf(pending)
    const free = wordsOf(freed)
    for (let i = 0; i < words; i += 1) inUse[i] = ~free[i]
    inUse.fill(0, words)
    if (used % 32 !== 0) inUse[words - 1] &= 2 ** (used % 32) - 1
  }

  /** No snapshot is under way any more. */
  thaw(): void {
    this.#parts.pending.view.fill(0)
  }

  /** How many rows a delta has yet to carry: a pass over a bit a row. */
  get changedRows(): number {
    const { buffer, byteOffset, length } = this.#parts.changed.view
    return countBits(new Int32Array(buffer, byteOffset, length / 4))
  }

  /** Rows are no longer changed ones for a delta. */
  forgetChanges(): void {
    this.#parts.changed.view.fill(0)
  }

  /**
   * Writes the n staged records, changed bits as `changes` says. Returns how many found no room.
   */
  writeRecords(n: number, changes: number): number {
    return this.kernels.tableWriteRecords(this.table, n, this.records.address, changes)
  }

  /** Makes the system give the pages of the index from one byte to another; where that ended. */
  touchIndex(from: number, to: number): number {
    const { view } = this.#parts.buckets
    const end = Math.min(to, view.length)
    for (let at = from; at < end; at += pageBytes) view[at] |= 0
    return end
  }

  /** Updates from now on move rows by this share of the optimizer's learning rate. */
  scaleRate(scale: number): void {
    this.#floats[tableField.rate] = this.#rate * scale
  }

  /** Forgets every row. */
  clear(): void {
    const { buckets, keys, stamps, changed, freed, pending } = this.#parts
    for (const part of [buckets, keys, stamps, changed, freed, pending]) part.view.fill(0)
    const { size, used, cursor, freedCursor } = tableField
    for (const field of [size, used, cursor, freedCursor]) this.set(field, 0)
  }

  #writeRecord(spec: TableSpec, optimizer: Optimizer): void {
    const parts = this.#parts
    const { code, a, b } = initializerOf(spec.initializer, spec.dim)
    const { settings, stateFloats } = optimizer
    const words: readonly (readonly [Field, number])[] = [
      [tableField.buckets, parts.buckets.address],
      [tableField.bucketCount, bucketsFor(spec.capacityRows)],
      [tableField.keys, parts.keys.address],
      [tableField.stamps, parts.stamps.address],
      [tableField.rows, parts.rows.address],
      [tableField.changed, parts.changed.address],
      [tableField.freed, parts.freed.address],
      [tableField.pending, parts.pending.address],
      [tableField.frozen, parts.frozen.address],
      [tableField.stride, rowBytes(spec.dim, stateFloats)],
      [tableField.stateOffset, roundUp(spec.dim * 4, 16)],
      [tableField.dim, spec.dim],
      [tableField.stateFloats, stateFloats],
      [tableField.capacity, spec.capacityRows],
      [tableField.initializer, code],
      [tableField.seed, spec.seed ?? 0],
      [tableField.halvings, this.#halvings.address],
      ...settings.words,
    ]
    for (const [field, value] of words) this.#words[field] = value
    const floats: readonly (readonly [Field, number])[] = [
      [tableField.initialA, a],
      [tableField.initialB, b],
      [tableField.maxNorm, spec.maxNorm ?? 0],
      [tableField.countTicks, tickRate(spec.restrict?.halfLifeMs)],
      ...settings.floats,
    ]
    for (const [field, value] of floats) this.#floats[field] = value
  }
}

/** What a storage of `spec.capacityRows` takes of a memory. */
export function storageBytes({ dim, capacityRows }: TableSpec, optimizer: Optimizer): number {
  const row = keyBytes + 4 + 8 * dim + 4 + 1 + recordSize(dim, optimizer)
  const fixed = scratchBytes + histogramBins * 4 + 4096
  const parts = Object.values(partBytes(capacityRows, dim, optimizer.stateFloats))
  return sum(parts) + batchRows(dim) * row + fixed
}

const wordsOf = ({ view }: Block<Uint8Array>): Uint32Array =>
  new Uint32Array(view.buffer, view.byteOffset, view.length / 4)

const sum = (numbers: readonly number[]): number => numbers.reduce((total, n) => total + n, 0)

const recordSize = (dim: number, { stateFloats }: Optimizer): number =>
  recordHeaderBytes + 4 * (dim + stateFloats)

const batchRows = (dim: number): number =>
  Math.max(16, Math.min(maximumBatch, Math.floor(stagingBytes / (dim * 4))))

/** Vector and state, each padded to 16 bytes. */
const rowBytes = (dim: number, stateFloats: number): number =>
  roundUp(dim * 4, 16) + roundUp(stateFloats * 4, 16)

type StoragePart =
  | 'buckets'
  | 'keys'
  | 'stamps'
  | 'rows'
  | 'changed'
  | 'freed'
  | 'pending'
  | 'frozen'
type StorageParts = Readonly<Record<StoragePart, Block<Uint8Array>>>

function partBytes(
  capacity: number,
  dim: number,
  stateFloats: number,
): Readonly<Record<StoragePart, number>> {
  const bits = roundUp(capacity, 512) / 8
  return {
    buckets: bucketsFor(capacity) * bucketBytes,
    keys: roundUp(capacity * keyBytes, 64),
    stamps: roundUp(capacity * stampBytes, 64),
    rows: roundUp(capacity * rowBytes(dim, stateFloats), 64),
    changed: bits,
    freed: bits,
    pending: bits,
    frozen: bits,
  }
}

/** Ones. */
function countBits(words: Int32Array): number {
  let ones = 0
  for (let word of words) {
    // A word loses its lowest one at each turn: most have none.
    for (; word !== 0; word &= word - 1) ones += 1
  }
  return ones
}
