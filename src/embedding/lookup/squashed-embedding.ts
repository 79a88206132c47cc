/**
 * Lists of keys, each combined into one vector: TensorFlow's safe sparse lookup over a dynamic
 * table. Padding (key 0) takes no part and learns nothing; an empty list gives zeros, or the row of
 * a default key, which then learns like any other.
 */
import { assert, unreachable } from '../../base/assert.ts'
import type { Keys } from '../../base/keys.ts'
import type { Block } from '../../kernels/arena.ts'
import type { Address } from '../../kernels/operands.ts'
import { absent } from '../../kernels/operands.ts'
import type { TableBatch } from './table-batch.ts'

/**
 * How the n vectors x of a list become one, with weights w (1 unless given): `sum` w x, `mean` the
 * sum over the sum of w, `sqrtn` the sum over the root of the sum of w w, `max` the largest value
 * of each column, whatever w.
 */
export type Combine = 'sum' | 'mean' | 'sqrtn' | 'max'

export interface SquashedEmbeddingOptions {
  readonly combine: Combine
  readonly maxLists: number
  /** Keys of all lists of a batch. */
  readonly maxKeys: number
  /** Stands in a list that is empty, or becomes so by pruning. */
  readonly defaultKey?: Keys
}

/** Ragged lists: list b has the keys offsets[b] to offsets[b + 1]. */
export interface KeyLists {
  readonly keys: Keys
  /** Lists + 1, ascending from 0. */
  readonly offsets: ArrayLike<number>
  /** One for each key; unless they are summed, keys whose weight is not above 0 take no part. */
  readonly weights?: ArrayLike<number>
}

const { fround, sqrt } = Math
const bytesPerWord = 4

/**
 * Invariants: list b holds the entries `offsets[b]` to `offsets[b + 1]`, counted from `start`, the
 * batch's first entry of this lookup; `weights` of them are set where combining needs them.
 */
export class SquashedEmbedding {
  readonly #batch: TableBatch
  readonly #combine: Combine
  readonly #defaultKey: Keys | undefined
  readonly #offsets: Block<Int32Array>
  readonly #weights: Block<Float32Array>
  readonly #vectors: Block<Float32Array>
  readonly #gradients: Block<Float32Array>
  #lists = 0
  #start = 0
  #weighted = false
  #generation = -1

  /** Takes its memory from the batch: throws `MEMORY_EXHAUSTED` if that was made for less. */
  constructor(batch: TableBatch, options: SquashedEmbeddingOptions) {
    const { combine, maxLists, maxKeys, defaultKey } = options
    assert(defaultKey === undefined || defaultKey.length === 2, 'a default key is one key')
    this.#batch = batch
    this.#combine = combine
    this.#defaultKey = defaultKey
    const entries = defaultKey === undefined ? maxKeys : maxKeys + maxLists
    this.#offsets = batch.arena.ints(maxLists + 1)
    this.#weights = batch.arena.floats(entries)
    this.#vectors = batch.arena.floats(maxLists * batch.dim)
    this.#gradients = batch.arena.floats(maxLists * batch.dim)
  }

  /** The lists of this batch; once between the batch's `begin` and its `read`. */
  stage({ keys, offsets, weights }: KeyLists): void {
    const batch = this.#batch
    const lists = offsets.length - 1
    assert(this.#generation !== batch.generation, 'a lookup is staged once in a batch')
    assert(lists < this.#offsets.view.length, 'no more lists than the lookup was made for')
    assert(2 * offsets[lists] <= keys.length, 'offsets lie within the keys')
    this.#generation = batch.generation
    this.#start = batch.entries
    this.#lists = lists
    this.#weighted = this.#combine !== 'max' && (this.#combine !== 'sum' || weights !== undefined)
    for (let b = 0; b < lists; b += 1) {
      const first = batch.entries - this.#start
      for (let e = offsets[b]; e < offsets[b + 1]; e += 1) {
        this.#stageKey(keys, 2 * e, weights === undefined ? 1 : weights[e])
      }
      this.#close(b, first)
    }
  }

  /** The vectors, lists x dim: a view valid until the next `forward`. */
  forward(): Float32Array {
    const { kernels, rows, dim } = this.#ready()
    const [lists, offsets, indices] = [this.#lists, this.#offsets.address, this.#indices]
    const out = this.#vectors.address
    const bags = [out, dim, rows.address, dim, offsets, indices] as const
    if (this.#combine === 'max') kernels.maxBags(...bags, 0, 0, lists)
    else kernels.poolBags(...bags, this.#weightsOrNone, 0, 0, lists)
    return this.#vectors.view.subarray(0, lists * dim)
  }

  /** Adds what the loss' gradients by the vectors (lists x dim) say of the rows. */
  backward(gradients: Float32Array): void {
    const { kernels, rows, gradients: into, dim } = this.#ready()
    const [lists, offsets, indices] = [this.#lists, this.#offsets.address, this.#indices]
    assert(gradients.length >= lists * dim, 'a gradient for each vector')
    this.#gradients.view.set(gradients.subarray(0, lists * dim))
    const from = this.#gradients.address
    const bags = [from, dim, dim, offsets, indices] as const
    if (this.#combine === 'max') {
      kernels.maxBagsBackward(into.address, rows.address, ...bags, lists, 0, dim)
    } else {
      kernels.poolBagsBackward(into.address, ...bags, this.#weightsOrNone, lists, 0, dim)
    }
  }

  get #indices(): Address {
    return this.#batch.inverse.address + bytesPerWord * this.#start
  }

  get #weightsOrNone(): Address {
    return this.#weighted ? this.#weights.address : absent
  }

  #ready(): TableBatch {
    this.#batch.checkReady(this.#generation)
    return this.#batch
  }

  #stageKey(keys: Keys, at: number, weight: number): void {
    if (keys[at] === 0 && keys[at + 1] === 0) return
    if (this.#combine !== 'sum' && !(weight > 0)) return
    const entry = this.#batch.entries - this.#start
    assert(entry < this.#weights.view.length, 'no more keys than the lookup was made for')
    this.#weights.view[entry] = weight
    this.#batch.stage(keys, at)
  }

  /** Ends list b, which began at entry `first`: its weights are made those of the entries' sum. */
  #close(b: number, first: number): void {
    if (this.#batch.entries - this.#start === first && this.#defaultKey !== undefined) {
      this.#stageKey(this.#defaultKey, 0, 1)
    }
    const end = this.#batch.entries - this.#start
    this.#offsets.view[b + 1] = end
    const weights = this.#weights.view
    const divisor = divisorOf(this.#combine, weights, [first, end])
    if (divisor === 1) return
    for (let e = first; e < end; e += 1) weights[e] /= divisor
  }
}

/** What the weighted sum of entries [first, end) is divided by. */
function divisorOf(
  combine: Combine,
  weights: Float32Array,
  [first, end]: readonly [number, number],
): number {
  let [sum, squares] = [0, 0]
  for (let e = first; e < end; e += 1) {
    sum += weights[e]
    squares += weights[e] * weights[e]
  }
  switch (combine) {
    case 'sum':
    case 'max':
      return 1
    case 'mean':
      return fround(sum)
    case 'sqrtn':
      return fround(sqrt(squares))
    default:
      return unreachable(combine)
  }
}
