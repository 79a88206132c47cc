/**
 * The keys that a table has removed and no delta has carried yet. Bounded: a table of which nobody
 * takes changes remembers as many as it holds rows, then only that it has forgotten.
 */
import type { Keys } from '../../base/keys.ts'
import { distinctSorted, KeyList, sortKeys } from './key-list.ts'

/** Invariant: a key removed since the last `take` is in the list, or `overflowed` is true. */
export class RemovedKeys {
  readonly #limit: number
  readonly #keys = new KeyList()
  #overflowed = false

  constructor(limit: number) {
    this.#limit = limit
  }

  get overflowed(): boolean {
    return this.#overflowed
  }

  add(keys: Keys): void {
    if (this.#overflowed) return
    this.#keys.push(keys)
    if (this.#keys.size > this.#limit) this.overflow()
  }

  overflow(): void {
    this.#overflowed = true
    this.#keys.clear()
  }

  /** Every key that was added, with repetitions. */
  pending(): Keys {
    return this.#keys.view()
  }

  /** The distinct keys that were added and for which `isGone` says 1, ascending; forgets them. */
  take(isGone: (keys: Keys) => Uint8Array): Keys {
    const pending = this.#keys.view()
    const gone = isGone(pending)
    const kept = new Uint32Array(pending.length)
    let end = 0
    for (let i = 0; i < gone.length; i += 1) {
      if (gone[i] === 0) continue
      kept[end] = pending[2 * i]
      kept[end + 1] = pending[2 * i + 1]
      end += 2
    }
    this.clear()
    return distinctSorted(sortKeys(kept.slice(0, end)))
  }

  clear(): void {
    this.#keys.clear()
    this.#overflowed = false
  }
}
