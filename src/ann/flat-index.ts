/**
 * The flat index: a scan over all vectors, the oracle of every other index. With many items it
 * scans int8 codes first and ranks the best of them again by their f32 rows, so that scores are
 * exact inner products, and only an item whose code is off by more than the margin can be missed.
 *
 * An id is a place: vectors lie by id, bitmaps select by id, and what the index answers depends on
 * what is in it alone, not on how it came there. Memory for `capacityItems` ids is reserved at
 * once; pages that no id has touched cost nothing.
 */
import { assert } from '../base/assert.ts'
import { ServiceError } from '../base/errors.ts'
import { flatBlockIds, flatQuery } from '../kernels/flat-kernels.ts'
import type { KernelImplementation } from '../kernels/kernels.ts'
import { absent } from '../kernels/operands.ts'
import {
  type AnnIndex,
  type Bitmap,
  type IndexStats,
  type SearchOptions,
  type SearchResult,
  setBit,
} from './ann-index.ts'
import { FlatMemory, type FlatShape, queriesPerScan, vectorsPerUpsert } from './flat-memory.ts'
import { packVectors, unpackVectors } from './index-codec.ts'

export interface FlatIndexOptions {
  /** Floats per vector. */
  readonly dim: number
  /** The last so many dimensions are scored in f32 always, and may be updated alone. Default 0. */
  readonly exactDims?: number
  /** Ids are below this. */
  readonly capacityItems: number
  /** `f32` keeps and scans rows alone; `int8` codes beside them. Default int8. */
  readonly precision?: 'f32' | 'int8'
  /** Up to so many items the rows are scanned even when there are codes. Default 20,000. */
  readonly exactBelow?: number
  /** The largest k of a search. Default 2,000. */
  readonly maxK?: number
  /** Reserved in the same arena for whoever searches the same rows otherwise. Default 0. */
  readonly extraBytes?: number
  readonly implementation?: KernelImplementation
}

/** Codes of more dimensions could overflow the 32 bits in which their products are summed. */
const maxCodedDims = 512
/** Beyond this a score of two vectors may overflow. */
const maxMagnitude = 1e18
const defaultEffort = 0.5
const defaultMaxK = 2_000
/**
 * How many of the first pass are ranked again for the best k. Codes are so exact that a few places
 * of margin suffice: on 100,000 x 32 unit vectors k alone gives recall@10 1.0 and recall@1000
 * .9986.
 */
const reorderOf = (k: number, effort: number): number => k + 8 + Math.ceil(effort * (k / 4 + 16))

/** Where an index of these options lies. */
export const flatShapeOf = (options: FlatIndexOptions): FlatShape => ({
  dim: options.dim,
  exactDims: options.exactDims ?? 0,
  blocks: Math.ceil(options.capacityItems / flatBlockIds),
  coded: (options.precision ?? 'int8') === 'int8',
  heapCapacity: reorderOf(options.maxK ?? defaultMaxK, 1),
  extraBytes: options.extraBytes ?? 0,
  implementation: options.implementation ?? 'wasm',
})

/**
 * Invariants: bit i of `present` is set exactly if id i has a vector; the codes of a present id
 * are those of its row; `#items` counts the bits. One writer; a search changes nothing that
 * another sees.
 */
export class FlatIndex implements AnnIndex {
  readonly dim: number
  readonly exactDims: number
  readonly maxK: number
  readonly #capacity: number
  /** The rows are scanned up to so many items. */
  readonly #exactBelow: number
  readonly #memory: FlatMemory
  #items = 0
  /** Blocks that ever held a vector: what a scan goes through. */
  #blocks = 0

  constructor(options: FlatIndexOptions) {
    const shape = flatShapeOf(options)
    const { dim, exactDims, coded, blocks } = shape
    assert(exactDims >= 0 && exactDims < dim, 'fewer exact dimensions than dimensions')
    assert(!coded || dim - exactDims <= maxCodedDims, `at most ${maxCodedDims} coded dimensions`)
    this.dim = dim
    this.exactDims = exactDims
    this.#capacity = blocks * flatBlockIds
    this.maxK = options.maxK ?? defaultMaxK
    this.#exactBelow = coded ? (options.exactBelow ?? 20_000) : Infinity
    this.#memory = new FlatMemory(shape)
  }

  /** Takes what `serialize` gave. Throws `INDEX_DAMAGED`, also when dim or exactDims are others. */
  static load(bytes: Uint8Array, options: FlatIndexOptions): FlatIndex {
    const index = new FlatIndex(options)
    index.take(bytes)
    return index
  }

  /** Adds what `serialize` gave. Throws as `load`. */
  take(bytes: Uint8Array): void {
    const { ids, vectors } = unpackVectors(bytes, { dim: this.dim, exactDims: this.exactDims })
    this.upsert(ids, vectors)
  }

  upsert(ids: Int32Array, vectors: Float32Array): void {
    this.#check(ids, vectors, this.dim)
    const { staging, kernels, layout } = this.#memory
    for (let from = 0; from < ids.length; from += vectorsPerUpsert) {
      const part = ids.subarray(from, from + vectorsPerUpsert)
      for (const id of part) this.#count(id)
      staging.ids.view.set(part)
      staging.vectors.view.set(vectors.subarray(from * this.dim, (from + part.length) * this.dim))
      kernels.flatUpsert(layout, staging.ids.address, staging.vectors.address, part.length)
    }
  }

  updateTail(ids: Int32Array, tails: Float32Array): void {
    this.#check(ids, tails, this.exactDims)
    for (const [i, id] of ids.entries()) {
      if (this.has(id)) this.#memory.setTail(id, tails, i * this.exactDims)
    }
  }

  scores(query: Float32Array, ids: Int32Array): Float32Array {
    const { rows, stride } = this.#memory
    const scores = new Float32Array(ids.length).fill(-Infinity)
    for (let i = 0; i < ids.length; i += 1) {
      if (!this.has(ids[i])) continue
      const row = ids[i] * stride
      let sum = 0
      for (let d = 0; d < this.dim; d += 1) sum += query[d] * rows[row + d]
      scores[i] = sum
    }
    return scores
  }

  remove(ids: Int32Array): void {
    for (const id of ids) {
      if (!this.has(id)) continue
      setBit(this.#memory.present, id, false)
      this.#items -= 1
    }
  }

  has(id: number): boolean {
    return id >= 0 && id < this.#capacity && this.#memory.has(id)
  }

  vector(id: number): Float32Array | undefined {
    if (!this.has(id)) return undefined
    const { rows, stride } = this.#memory
    return rows.slice(id * stride, id * stride + this.dim)
  }

  search(queries: Float32Array, k: number, options: SearchOptions = {}): SearchResult {
    const n = this.countQueries(queries, k)
    const found = {
      ids: new Int32Array(n * k).fill(-1),
      scores: new Float32Array(n * k).fill(-Infinity),
    }
    for (let from = 0; from < n; from += queriesPerScan) {
      const count = Math.min(queriesPerScan, n - from)
      for (let i = 0; i < count; i += 1) {
        const at = (from + i) * this.dim
        this.#place(i, queries.subarray(at, at + this.dim), bitmapOf(options.allow, from + i))
      }
      this.#scan(count, k, options)
      for (let i = 0; i < count; i += 1) this.#take(i, k, found, (from + i) * k)
    }
    return found
  }

  /** Vectors that there are. */
  get size(): number {
    return this.#items
  }

  /** Rows and arena, for a structure that shares them; what is in them stays this index's. */
  get memory(): FlatMemory {
    return this.#memory
  }

  /** Ids that ever had a vector are below this. */
  get idLimit(): number {
    return this.#blocks * flatBlockIds
  }

  /** How many queries these floats are. Throws `INDEX_VECTOR_INVALID`. */
  countQueries(queries: Float32Array, k: number): number {
    const n = queries.length / this.dim
    assert(k >= 1 && k <= this.maxK && Number.isInteger(k), `k is 1 to ${this.maxK}`)
    if (!Number.isInteger(n)) {
      const reason = `${queries.length} floats are no multiple of ${this.dim}`
      throw new ServiceError('INDEX_VECTOR_INVALID', { reason })
    }
    checkFinite(queries)
    return n
  }

  /** Never has anything to do. */
  maintain(): number {
    return 0
  }

  readonly isPressing = false

  /** There is no structure beside the vectors. */
  rebuild(): void {}

  readonly isRebuilding = false

  stats(): IndexStats {
    return {
      kind: this.#items > this.#exactBelow ? 'flat-int8' : 'flat-f32',
      items: this.#items,
      capacityItems: this.#capacity,
      bytes: this.#memory.bytes,
    }
  }

  serialize(): Uint8Array {
    const ids = new Int32Array(this.#items)
    const vectors = new Float32Array(this.#items * this.dim)
    const { rows, stride } = this.#memory
    let n = 0
    for (let id = 0; id < this.#blocks * flatBlockIds; id += 1) {
      if (!this.has(id)) continue
      ids[n] = id
      vectors.set(rows.subarray(id * stride, id * stride + this.dim), n * this.dim)
      n += 1
    }
    return packVectors({ dim: this.dim, exactDims: this.exactDims, ids, vectors })
  }

  /** Puts a query and its filter where the kernels find them. */
  #place(slot: number, query: Float32Array, allow: Bitmap | undefined): void {
    const { record, vector, allow: filter } = this.#memory.slots[slot]
    vector.set(query)
    record[flatQuery.size] = 0
    record[flatQuery.allow] = allow === undefined ? absent : filter.address
    if (allow === undefined) return
    const words = Math.min(allow.length, this.#blocks)
    filter.view.set(words === allow.length ? allow : allow.subarray(0, words))
    filter.view.fill(0, words, this.#blocks)
  }

  #scan(count: number, k: number, { exact = false, effort = defaultEffort }: SearchOptions): void {
    const { kernels, layout, queries, slots } = this.#memory
    const rows = exact || this.#items <= this.#exactBelow
    const kept = rows ? k : reorderOf(k, effort)
    for (let i = 0; i < count; i += 1) slots[i].record[flatQuery.capacity] = kept
    if (rows) {
      kernels.flatScanRows(layout, queries, count, 0, this.#blocks)
    } else {
      kernels.flatEncodeQueries(layout, queries, count)
      kernels.flatScanCodes(layout, queries, count, this.#blocks)
      kernels.flatRescore(layout, queries, count)
    }
    kernels.flatSort(queries, count)
  }

  #take(slot: number, k: number, found: SearchResult, at: number): void {
    const { record, ids, scores } = this.#memory.slots[slot]
    const n = Math.min(k, record[flatQuery.size])
    found.ids.set(ids.subarray(0, n), at)
    found.scores.set(scores.subarray(0, n), at)
  }

  #count(id: number): void {
    if (this.#memory.has(id)) return
    // The kernel sets the bit too; it must be known now, lest an id twice in a batch counts twice.
    setBit(this.#memory.present, id, true)
    this.#items += 1
    this.#blocks = Math.max(this.#blocks, (id >> 5) + 1)
  }

  #check(ids: Int32Array, values: Float32Array, width: number): void {
    if (values.length !== ids.length * width) {
      const reason = `${ids.length} ids of ${width} floats, but ${values.length} floats`
      throw new ServiceError('INDEX_VECTOR_INVALID', { reason })
    }
    for (const id of ids) {
      assert(id >= 0, 'an id is not negative')
      if (id < this.#capacity) continue
      throw new ServiceError('INDEX_FULL', { id, capacity: this.#capacity })
    }
    checkFinite(values)
  }
}

function checkFinite(values: Float32Array): void {
  for (let i = 0; i < values.length; i += 1) {
    if (Math.abs(values[i]) <= maxMagnitude) continue
    throw new ServiceError('INDEX_VECTOR_INVALID', { reason: `${values[i]} at ${i}` })
  }
}

function bitmapOf(allow: SearchOptions['allow'], query: number): Bitmap | undefined {
  return allow === undefined || allow instanceof Uint32Array ? allow : allow[query]
}
