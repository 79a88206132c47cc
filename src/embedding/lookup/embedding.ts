/** Ids to vectors, one for one: the plainest of the lookups. */
import type { Keys } from '../../base/keys.ts'
import { keyCount } from '../../base/keys.ts'
import { SquashedEmbedding } from './squashed-embedding.ts'
import type { TableBatch } from './table-batch.ts'

/** Keys of one batch at most. */
export interface EmbeddingOptions {
  readonly maxKeys: number
}

/** A list of one key each, so that padding (key 0) is what it is in lists: zeros, never learned. */
export class Embedding {
  readonly #lists: SquashedEmbedding
  /** 0, 1, 2 ... */
  readonly #offsets: Uint32Array

  constructor(batch: TableBatch, { maxKeys }: EmbeddingOptions) {
    this.#lists = new SquashedEmbedding(batch, { combine: 'sum', maxLists: maxKeys, maxKeys })
    this.#offsets = Uint32Array.from({ length: maxKeys + 1 }, (_, i) => i)
  }

  /** The keys of this batch; once between the batch's `begin` and its `read`. */
  stage(keys: Keys): void {
    this.#lists.stage({ keys, offsets: this.#offsets.subarray(0, keyCount(keys) + 1) })
  }

  /** The vectors, keys x dim: a view valid until the next `forward`. */
  forward(): Float32Array {
    return this.#lists.forward()
  }

  /** Adds the loss' gradients by the vectors (keys x dim) to those of the rows. */
  backward(gradients: Float32Array): void {
    this.#lists.backward(gradients)
  }
}
