/**
 * Which keys lost their rows since a version, for delta snapshots: recorded from a full snapshot
 * on, in bounded memory. When it forgets some, the next snapshot must be a full one.
 */
import type { Keys } from '../../base/keys.ts'
import { keyCount } from '../../base/keys.ts'
import { KeyLog } from './key-log.ts'

/** Keys that left while the table had a version, which later entries do not go below. */
interface Entry {
  readonly version: number
  /** Keys recorded before these. */
  readonly from: number
}

/**
 * Invariant: every key erased at version `#base` or later is recorded; no base: nothing is.
 */
export class ErasedKeys {
  readonly #limit: number
  readonly #keys = new KeyLog()
  #entries: Entry[] = []
  #base: number | undefined

  /** Remembers so many keys. */
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
    this.#keys.add(keys)
  }

  /**
   * The keys erased at this version or later, some of them perhaps more than once, in blocks that
   * nothing changes; undefined: not known.
   */
  since(version: number): readonly Keys[] | undefined {
    if (this.#base === undefined || version < this.#base) return undefined
    const first = this.#entries.find((entry) => entry.version >= version)
    return first === undefined ? [] : this.#keys.blocks(first.from)
  }
}
