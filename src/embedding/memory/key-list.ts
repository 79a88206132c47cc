/** Keys collected batch by batch: grows by doubling, and sorts as unsigned 64-bit numbers. */
import type { Keys } from '../../base/keys.ts'
import { keyCount } from '../../base/keys.ts'

export class KeyList {
  #words = new Uint32Array(256)
  #length = 0

  /** Keys in the list. */
  get size(): number {
    return this.#length >>> 1
  }

  push(keys: Keys): void {
    const end = this.#length + keys.length
    if (end > this.#words.length) {
      const words = new Uint32Array(Math.max(end, this.#words.length * 2))
      words.set(this.#words.subarray(0, this.#length))
      this.#words = words
    }
    this.#words.set(keys, this.#length)
    this.#length = end
  }

  /** Forgets the keys and their memory. */
  clear(): void {
    this.#words = new Uint32Array(256)
    this.#length = 0
  }

  /** A view of the keys, valid until the next call. */
  view(): Keys {
    return this.#words.subarray(0, this.#length)
  }

  /** A copy, ascending: an order that does not depend on where rows lie. */
  sorted(): Keys {
    return sortKeys(this.#words.slice(0, this.#length))
  }
}

/** Sorts in place, ascending as unsigned 64-bit numbers. The array must own its memory. */
export function sortKeys(keys: Uint32Array<ArrayBuffer>): Keys {
  new BigUint64Array(keys.buffer, keys.byteOffset, keyCount(keys)).sort()
  return keys
}

/** Sorted keys without their repetitions: a view of the same memory, shortened. */
export function distinctSorted(keys: Keys): Keys {
  let end = 0
  for (let i = 0; i < keys.length; i += 2) {
    if (end > 0 && keys[i] === keys[end - 2] && keys[i + 1] === keys[end - 1]) continue
    keys[end] = keys[i]
    keys[end + 1] = keys[i + 1]
    end += 2
  }
  return keys.subarray(0, end)
}

/** Key number `at` of `to` becomes key i of `from`. */
export function copyKey(to: Keys, at: number, from: Keys, i: number): void {
  to[2 * at] = from[2 * i]
  to[2 * at + 1] = from[2 * i + 1]
}
