/**
 * Which keys lost their rows since a version, for delta snapshots: recorded from a full snapshot
 * on, in bounded memory. When it forgets some, the next snapshot must be a full one.
 */
import type { Keys } from '../../base/keys.ts'
import { keyCount } from '../../base/keys.ts'
import { distinctSorted, KeyList, sortKeys } from './key-list.ts'

/** Keys that left while the table had a version, which later entries do not go below. */
interface Entry {
  readonly version: number
  /** Keys of the list before these. */
  readonly from: number
}

/**
 * Invariant: every key erased at version `#base` or later is in the list; no base: nothing is
 * recorded.
 */
export class ErasedKeys {
  readonly #limit: number
  readonly #keys = new KeyList()
  #entries: Entry[] = []
  #base: number | undefined

  constructor(limit: number) {
    this.#limit = limit
  }

  /** Records from here on. */
  begin(version: number): void {
    this.forget()
    this.#base = version
  }

  /** Records nothing any more. */
  forget(): void {
    this.#base = undefined
    this.#keys.clear()
    this.#entries = []
  }

  add(keys: Keys, version: number): void {
    if (this.#base === undefined || keys.length === 0) return
    if (this.#keys.size + keyCount(keys) > this.#limit) {
      this.forget()
      return
    }
    if (this.#entries.at(-1)?.version !== version) {
      this.#entries.push({ version, from: this.#keys.size })
    }
    this.#keys.push(keys)
  }

  /** The distinct keys erased at this version or later, ascending; undefined: not known. */
  since(version: number): Keys | undefined {
    if (this.#base === undefined || version < this.#base) return undefined
    const first = this.#entries.find((entry) => entry.version >= version)
    if (first === undefined) return new Uint32Array(0)
    return distinctSorted(sortKeys(this.#keys.view().slice(2 * first.from)))
  }
}
