/**
 * Examples whose keys belong to fields (of a profile: interests, cities, devices), combined field
 * by field: (examples, fields, dim), all fields from one table.
 */
import { assert } from '../../base/assert.ts'
import type { Keys } from '../../base/keys.ts'
import type { Combine, KeyLists } from './squashed-embedding.ts'
import { SquashedEmbedding } from './squashed-embedding.ts'
import type { TableBatch } from './table-batch.ts'

export interface FieldWiseEmbeddingOptions {
  readonly fields: number
  readonly combine: Combine
  readonly maxExamples: number
  /** Keys of all examples of a batch. */
  readonly maxKeys: number
  /** Stands where an example has no key of a field. */
  readonly defaultKey?: Keys
}

/** As `KeyLists`, a list being an example's keys of all fields in any order. */
export interface FieldKeys extends KeyLists {
  /** The field of each key, below `fields`. */
  readonly fields: ArrayLike<number>
}

export class FieldWiseEmbedding {
  readonly fields: number
  readonly #lists: SquashedEmbedding
  /** The batch, ordered by example and field; within a field as it came. */
  readonly #keys: Keys
  readonly #weights: Float32Array
  readonly #offsets: Uint32Array
  /** Where the next key of each field of an example goes. */
  readonly #next: Uint32Array

  constructor(batch: TableBatch, options: FieldWiseEmbeddingOptions) {
    const { fields, maxExamples, maxKeys } = options
    this.fields = fields
    this.#lists = new SquashedEmbedding(batch, { ...options, maxLists: maxExamples * fields })
    this.#keys = new Uint32Array(2 * maxKeys)
    this.#weights = new Float32Array(maxKeys)
    this.#offsets = new Uint32Array(maxExamples * fields + 1)
    this.#next = new Uint32Array(fields)
  }

  /** The examples of this batch; once between the batch's `begin` and its `read`. */
  stage(batch: FieldKeys): void {
    const { offsets, weights } = batch
    const examples = offsets.length - 1
    const lists = examples * this.fields
    assert(lists < this.#offsets.length, 'no more examples than the lookup was made for')
    assert(2 * offsets[examples] <= this.#keys.length, 'no more keys than it was made for')
    for (let b = 0; b < examples; b += 1) this.#sort(batch, b)
    this.#lists.stage({
      keys: this.#keys,
      offsets: this.#offsets.subarray(0, lists + 1),
      ...(weights === undefined ? {} : { weights: this.#weights }),
    })
  }

  /** The vectors, examples x fields x dim: a view valid until the next `forward`. */
  forward(): Float32Array {
    return this.#lists.forward()
  }

  /** Adds what the loss' gradients by the vectors (examples x fields x dim) say of the rows. */
  backward(gradients: Float32Array): void {
    this.#lists.backward(gradients)
  }

  /** Puts the keys of example b in the order of their fields. */
  #sort({ keys, offsets, fields, weights }: FieldKeys, b: number): void {
    const first = b * this.fields
    const bounds = this.#offsets.subarray(first, first + this.fields + 1)
    bounds.fill(offsets[b])
    for (let e = offsets[b]; e < offsets[b + 1]; e += 1) {
      assert(fields[e] >= 0 && fields[e] < this.fields, 'a field of a key is below `fields`')
      bounds[fields[e] + 1] += 1
    }
    for (let f = 0; f < this.fields; f += 1) {
      this.#next[f] = bounds[f]
      bounds[f + 1] += bounds[f] - offsets[b]
    }
    for (let e = offsets[b]; e < offsets[b + 1]; e += 1) {
      const to = this.#next[fields[e]]
      this.#next[fields[e]] += 1
      this.#keys[2 * to] = keys[2 * e]
      this.#keys[2 * to + 1] = keys[2 * e + 1]
      if (weights !== undefined) this.#weights[to] = weights[e]
    }
  }
}
