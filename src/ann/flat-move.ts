/**
 * The move of what is left of a large catalogue to a memory of its own: WebAssembly gives no page
 * back but with all the others. In steps; what changes meanwhile is changed in both.
 */
import type { FlatIndex } from './flat-index.ts'

/** Vectors that one step copies at most, and ids that it passes over. */
const [copiedPerStep, passedPerStep] = [64, 16_384]

/** Invariant: ids below `#next`, and those that have changed since the first step, are the same. */
export class FlatMove {
  readonly to: FlatIndex
  readonly #from: FlatIndex
  #next = 0

  constructor(from: FlatIndex, to: FlatIndex) {
    this.#from = from
    this.to = to
  }

  get isDone(): boolean {
    return this.#next >= this.#from.idLimit
  }

  step(): void {
    const end = Math.min(this.#from.idLimit, this.#next + passedPerStep)
    let copied = 0
    for (; this.#next < end && copied < copiedPerStep; this.#next += 1) {
      const vector = this.#from.vector(this.#next)
      if (vector === undefined) continue
      this.to.upsert(Int32Array.of(this.#next), vector)
      copied += 1
    }
  }
}
