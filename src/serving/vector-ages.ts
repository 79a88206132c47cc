/**
 * When the vectors of an index were embedded: the model version of each, whether what it is made of
 * has changed since, and all of them in order, the one embedded longest ago first. Whatever embeds
 * a vector puts it last, so who always takes the first never does what another has just done.
 */

/** No handle; the ring of handles begins and ends there. */
const nobody = -1

/**
 * Invariants: the handles that have a vector are a ring through place 0 of `#nexts` and
 * `#previous`, where handle h is at h + 1, in the order in which they were embedded; of others both
 * are 0 and nothing has changed.
 */
export class VectorAges {
  readonly #versions: Float64Array
  readonly #isMoved: Uint8Array
  readonly #nexts: Int32Array
  readonly #previous: Int32Array

  /** `versions`: per handle, written here; of handles whose vectors are there, in that order. */
  constructor(versions: Float64Array, handles: Iterable<number>) {
    this.#versions = versions
    this.#isMoved = new Uint8Array(versions.length)
    this.#nexts = new Int32Array(versions.length + 1)
    this.#previous = new Int32Array(versions.length + 1)
    for (const handle of handles) this.#append(handle)
  }

  /** -1: there are none. */
  get oldest(): number {
    return this.after(nobody)
  }

  /** The next younger; -1: it is the youngest. */
  after(handle: number): number {
    return this.#nexts[handle + 1] - 1
  }

  versionOf(handle: number): number {
    return this.#versions[handle]
  }

  /** Whether what its vector is made of has changed since that was embedded. */
  isMoved(handle: number): boolean {
    return this.#isMoved[handle] === 1
  }

  /** Of a handle that has a vector. */
  move(handle: number): void {
    this.#isMoved[handle] = 1
  }

  embedded(handle: number, version: number): void {
    this.#versions[handle] = version
    this.remove(handle)
    this.#append(handle)
  }

  /** Its vector has gone, if there was one. */
  remove(handle: number): void {
    const [next, previous] = [this.#nexts[handle + 1], this.#previous[handle + 1]]
    this.#isMoved[handle] = 0
    if (!this.#has(handle)) return
    this.#nexts[previous] = next
    this.#previous[next] = previous
    this.#nexts[handle + 1] = 0
    this.#previous[handle + 1] = 0
  }

  #has(handle: number): boolean {
    const at = handle + 1
    return this.#nexts[at] !== 0 || this.#previous[at] !== 0 || this.#nexts[0] === at
  }

  #append(handle: number): void {
    const [at, last] = [handle + 1, this.#previous[0]]
    this.#nexts[last] = at
    this.#previous[at] = last
    this.#nexts[at] = 0
    this.#previous[0] = at
  }
}
