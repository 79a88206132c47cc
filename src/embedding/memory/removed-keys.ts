/**
 * The keys that a table has removed and no delta has carried yet. Bounded: a table of which nobody
 * takes changes remembers as many as it holds rows, then only that it has forgotten.
 */
import type { Keys } from '../../base/keys.ts'
import { copyKey, distinctSorted, sortKeys } from './key-list.ts'
import { KeyLog } from './key-log.ts'

/** Invariant: a key removed since the last `take` is in the list, or `overflowed` is true. */
export class RemovedKeys {
  readonly #limit: number
  readonly #keys = new KeyLog()
  #overflowed = false

  constructor(limit: number) {
    this.#limit = limit
  }

  get overflowed(): boolean {
    return this.#overflowed
  }

  add(keys: Keys): void {
    if (this.#overflowed) return
    this.#keys.add(keys)
    if (this.#keys.size > this.#limit) this.overflow()
  }

  overflow(): void {
    this.#overflowed = true
    this.#keys.clear()
  }

  /** Every key that was added, with repetitions, in blocks that nothing changes. */
  pending(): readonly Keys[] {
    return this.#keys.blocks()
  }

  /** The distinct keys that were added and for which `isGone` says 1, ascending; forgets them. */
  take(isGone: (keys: Keys) => Uint8Array): Keys {
    const keys = this.#keys.all()
    const gone = isGone(keys)
    let end = 0
    for (let i = 0; i < gone.length; i += 1) {
      if (gone[i] === 0) continue
      copyKey(keys, end, keys, i)
      end += 1
    }
    this.clear()
    return distinctSorted(sortKeys(keys.slice(0, 2 * end)))
  }

  clear(): void {
    this.#keys.clear()
    this.#overflowed = false
  }
}
