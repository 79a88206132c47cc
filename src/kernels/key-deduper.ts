/** The distinct keys of a batch, with everything allocated before: see `assembly/dedupe.ts`. */
import { assert } from '../base/assert.ts'
import type { Keys } from '../base/keys.ts'
import { keyCount } from '../base/keys.ts'
import type { Block } from './arena.ts'
import { Arena } from './arena.ts'
import type { KernelOptions, Kernels } from './kernels.ts'
import { loadKernels, scratchBytes } from './kernels.ts'

export interface KeyDeduperOptions extends KernelOptions {
  readonly maxKeys: number
}

/** Views valid until the next call. */
export interface DistinctKeys {
  /** In order of first appearance. */
  readonly unique: Keys
  /** inverse[i]: where key i of the batch is in `unique`. */
  readonly inverse: Uint32Array
  /** occurrences[j]: how often unique[j] came. */
  readonly occurrences: Uint32Array
}

export class KeyDeduper {
  readonly maxKeys: number
  readonly #kernels: Kernels
  readonly #keys: Block<Uint32Array>
  readonly #slots: Block<Uint32Array>
  readonly #unique: Block<Uint32Array>
  readonly #inverse: Block<Uint32Array>
  readonly #occurrences: Block<Uint32Array>

  constructor(options: KeyDeduperOptions) {
    const { maxKeys } = options
    this.maxKeys = maxKeys
    const slots = slotsFor(maxKeys)
    const arena = new Arena(scratchBytes + maxKeys * 24 + slots * 4 + 1024)
    this.#kernels = loadKernels(arena, options)
    this.#keys = arena.words(maxKeys * 2)
    this.#slots = arena.words(slots)
    this.#unique = arena.words(maxKeys * 2)
    this.#inverse = arena.words(maxKeys)
    this.#occurrences = arena.words(maxKeys)
  }

  dedupe(keys: Keys): DistinctKeys {
    const n = keyCount(keys)
    assert(n <= this.maxKeys, 'no more keys than the deduper was made for')
    this.#keys.view.set(keys)
    const count = this.#kernels.dedupeKeys(
      this.#keys.address,
      n,
      this.#slots.address,
      slotsFor(n) - 1,
      this.#unique.address,
      this.#inverse.address,
      this.#occurrences.address,
    )
    return {
      unique: this.#unique.view.subarray(0, count * 2),
      inverse: this.#inverse.view.subarray(0, n),
      occurrences: this.#occurrences.view.subarray(0, count),
    }
  }
}

/**
 * A power of two, at least twice as many as keys: clearing them costs in proportion to the batch.
 */
const slotsFor = (keys: number): number => 2 ** Math.ceil(Math.log2(Math.max(16, keys * 2)))
