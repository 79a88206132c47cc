/** A queue of handles in which each stands at most once: bounded by the number of handles. */
import { isSet, setBit } from '../ann/ann-index.ts'

/**
 * Invariants: a handle's bit in `#members` is set exactly while it is queued; the queue holds the
 * pushes numbered `#shifted` .. `#pushed` - 1, in a ring whose length is a power of two.
 */
export class HandleQueue {
  #ring = new Int32Array(1024)
  #members = new Uint32Array(32)
  #pushed = 0
  #shifted = 0

  get size(): number {
    return this.#pushed - this.#shifted
  }

  /** How many were ever pushed, and how many of those have left again: marks of progress. */
  get pushed(): number {
    return this.#pushed
  }

  get shifted(): number {
    return this.#shifted
  }

  has(handle: number): boolean {
    return isSet(this.#members, handle)
  }

  /** At the end, unless it is queued already. */
  push(handle: number): void {
    if (this.has(handle)) return
    const word = handle >> 5
    if (word >= this.#members.length) this.#growMembers(word + 1)
    setBit(this.#members, handle, true)
    if (this.size === this.#ring.length) this.#growRing()
    this.#ring[this.#pushed & (this.#ring.length - 1)] = handle
    this.#pushed += 1
  }

  /** The first, or -1. */
  shift(): number {
    if (this.#pushed === this.#shifted) return -1
    const handle = this.#ring[this.#shifted & (this.#ring.length - 1)]
    this.#shifted += 1
    setBit(this.#members, handle, false)
    return handle
  }

  #growMembers(words: number): void {
    const members = new Uint32Array(Math.max(words, 2 * this.#members.length))
    members.set(this.#members)
    this.#members = members
  }

  #growRing(): void {
    const ring = new Int32Array(2 * this.#ring.length)
    for (let i = this.#shifted; i < this.#pushed; i += 1) {
      ring[i & (ring.length - 1)] = this.#ring[i & (this.#ring.length - 1)]
    }
    this.#ring = ring
  }
}
