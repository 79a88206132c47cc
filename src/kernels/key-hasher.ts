/**
 * 64-bit keys of feature values: XXH64 of the value's UTF-8 bytes under the feature's seed. Values
 * are staged in the arena and hashed together; nothing is allocated for one.
 */
import { assert } from '../base/assert.ts'
import type { Keys } from '../base/keys.ts'
import type { Block } from './arena.ts'
import { Arena } from './arena.ts'
import type { KernelOptions, Kernels } from './kernels.ts'
import { loadKernels, scratchBytes } from './kernels.ts'

export interface KeyHasherOptions extends KernelOptions {
  /** Keys that one `finish` can give. */
  readonly maxKeys?: number
  /** UTF-8 bytes staged before they are hashed; a longer value is an assertion. */
  readonly stagingBytes?: number
}

/** Values are hashed in groups of no more than this. */
const groupKeys = 1024
const encoder = new TextEncoder()

/**
 * Invariants: keys[0 .. hashed) are done; values hashed .. staged lie in `bytes`, each from its
 * offset to the next one's.
 */
export class KeyHasher {
  readonly maxKeys: number
  readonly #kernels: Kernels
  readonly #keys: Block<Uint32Array>
  readonly #bytes: Block<Uint8Array>
  readonly #offsets: Block<Uint32Array>
  readonly #seeds: Block<Uint32Array>
  #hashed = 0
  #staged = 0
  #finished = false

  constructor(options: KeyHasherOptions = {}) {
    const { maxKeys = 65_536, stagingBytes = 65_536 } = options
    this.maxKeys = maxKeys
    const arena = new Arena(scratchBytes + maxKeys * 8 + stagingBytes + groupKeys * 8 + 1024)
    this.#kernels = loadKernels(arena, options)
    this.#keys = arena.words(maxKeys * 2)
    this.#bytes = arena.bytes(stagingBytes)
    this.#offsets = arena.words(groupKeys + 1)
    this.#seeds = arena.words(groupKeys)
  }

  /** How many keys `finish` would give now. */
  get count(): number {
    return this.#finished ? 0 : this.#hashed + this.#staged
  }

  /** Adds the key of `value` under `seed` (u32). */
  add(seed: number, value: string): void {
    if (this.#finished) this.#begin()
    // UTF-8 takes at most three bytes for a UTF-16 unit.
    const most = value.length * 3
    if (this.#staged === groupKeys || this.#staging + most > this.#bytes.view.length) this.#flush()
    assert(most <= this.#bytes.view.length, 'a value fits the staging bytes')
    assert(this.#hashed + this.#staged < this.maxKeys, 'no more keys than the hasher was made for')
    const end = this.#write(value, this.#staging)
    this.#seeds.view[this.#staged] = seed
    this.#staged += 1
    this.#offsets.view[this.#staged] = end
  }

  /**
   * The keys of all values added since the last `finish`, in order: a view valid until the next
   * `add`.
   */
  finish(): Keys {
    if (this.#finished) this.#begin()
    this.#flush()
    this.#finished = true
    return this.#keys.view.subarray(0, this.#hashed * 2)
  }

  get #staging(): number {
    return this.#offsets.view[this.#staged]
  }

  #begin(): void {
    this.#hashed = 0
    this.#finished = false
  }

  /** Writes UTF-8 from `at` on; returns where it ends. ASCII, which is most, without a call. */
  #write(value: string, at: number): number {
    const bytes = this.#bytes.view
    for (let i = 0; i < value.length; i += 1) {
      const unit = value.charCodeAt(i)
      if (unit >= 0x80) return at + encoder.encodeInto(value, bytes.subarray(at)).written
      bytes[at + i] = unit
    }
    return at + value.length
  }

  #flush(): void {
    if (this.#staged === 0) return
    this.#kernels.hashKeys(
      this.#keys.address + this.#hashed * 8,
      this.#bytes.address,
      this.#offsets.address,
      this.#seeds.address,
      this.#staged,
    )
    this.#hashed += this.#staged
    this.#staged = 0
  }
}
