/**
 * A map from 64-bit keys to u32 payloads, in batches: the cuckoo index of the tables alone
 * (`assembly/cuckoo.ts`). Memory is reserved for `capacity` keys; what does not fit is refused.
 */
import { assert } from '../../base/assert.ts'
import type { Keys } from '../../base/keys.ts'
import { keyCount } from '../../base/keys.ts'
import type { Block } from '../../kernels/arena.ts'
import { Arena } from '../../kernels/arena.ts'
import type { KernelOptions, Kernels } from '../../kernels/kernels.ts'
import { loadKernels, scratchBytes } from '../../kernels/kernels.ts'
import type { Flag } from '../../kernels/operands.ts'
import { bucketBytes } from '../../kernels/table-kernels.ts'
import { bucketsFor } from './table-storage.ts'

export interface KeyIndexOptions extends KernelOptions {
  readonly capacity: number
}

const batch = 1024

/** Invariant: `size` keys are in the index, at most `capacity`; key 0 never is. */
export class KeyIndex {
  readonly capacity: number
  readonly #kernels: Kernels
  readonly #buckets: Block<Uint8Array>
  readonly #bucketCount: number
  readonly #keys: Block<Uint32Array>
  readonly #payloads: Block<Uint32Array>
  #size = 0

  constructor(options: KeyIndexOptions) {
    const { capacity } = options
    assert(Number.isInteger(capacity) && capacity > 0, 'capacity is a positive integer')
    this.capacity = capacity
    this.#bucketCount = bucketsFor(capacity)
    const bytes = this.#bucketCount * bucketBytes
    const arena = new Arena(scratchBytes + bytes + batch * 12 + 1024)
    this.#kernels = loadKernels(arena, options)
    this.#buckets = arena.bytes(bytes)
    this.#keys = arena.words(batch * 2)
    this.#payloads = arena.words(batch)
  }

  get size(): number {
    return this.#size
  }

  /** payloads[i] <- the payload of key i, or `absentPayload`. Returns how many were found. */
  find(keys: Keys, payloads: Uint32Array): number {
    return this.#inGroups(keys, payloads, (n) => this.#kernels.cuckooFind(...this.#operands(n)))
  }

  /**
   * New keys take payloads[i], below `absentPayload`, while there is room; payloads[i] <- what key
   * i has then, or `absentPayload` if it was refused. Returns how many keys are new.
   */
  findOrInsert(keys: Keys, payloads: Uint32Array): number {
    return this.#insert(keys, payloads, 0)
  }

  /**
   * Every key takes payloads[i], also those that were there; `absentPayload` marks what was
   * refused.
   */
  set(keys: Keys, payloads: Uint32Array): number {
    return this.#insert(keys, payloads, 1)
  }

  /** Removes keys; returns how many there were. */
  erase(keys: Keys): number {
    const payloads = new Uint32Array(keyCount(keys))
    return this.#inGroups(keys, payloads, (n) => {
      const erased = this.#kernels.cuckooErase(...this.#operands(n))
      this.#size -= erased
      return erased
    })
  }

  clear(): void {
    this.#buckets.view.fill(0)
    this.#size = 0
  }

  #insert(keys: Keys, payloads: Uint32Array, overwrite: Flag): number {
    return this.#inGroups(keys, payloads, (n) => {
      const room = this.capacity - this.#size
      const inserted = this.#kernels.cuckooInsert(...this.#operands(n), room, overwrite)
      this.#size += inserted
      return inserted
    })
  }

  #operands(n: number): [number, number, number, number, number] {
    const { address } = this.#buckets
    return [address, this.#bucketCount, this.#keys.address, n, this.#payloads.address]
  }

  /** Keys and payloads in and payloads out, a group at a time; the sum of what `visit` returns. */
  #inGroups(keys: Keys, payloads: Uint32Array, visit: (n: number) => number): number {
    const total = keyCount(keys)
    assert(payloads.length >= total, 'a payload for each key')
    let sum = 0
    for (let at = 0; at < total; at += batch) {
      const n = Math.min(batch, total - at)
      this.#keys.view.set(keys.subarray(2 * at, 2 * (at + n)))
      this.#payloads.view.set(payloads.subarray(at, at + n))
      sum += visit(n)
      payloads.set(this.#payloads.view.subarray(0, n), at)
    }
    return sum
  }
}
