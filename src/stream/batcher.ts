/**
 * Cuts the examples of the stream into batches, by count or by age, whichever comes first. Age is
 * by the time handed in, so where a batch ends depends on the clock: the owner journals each cut
 * before it trains. Replay without a journal sets `maxAgeMs` to Infinity and so cuts by count
 * alone.
 */
import { assert } from '../base/assert.ts'
import type { Example } from './example.ts'

export interface BatcherOptions {
  readonly maxExamples: number
  /** From the first example of a batch to its cut. */
  readonly maxAgeMs: number
}

export class Batcher {
  readonly #options: BatcherOptions
  #examples: Example[] = []
  #startedAt = 0

  constructor(options: BatcherOptions) {
    assert(options.maxExamples >= 1, 'a batch holds at least one example')
    this.#options = options
  }

  get size(): number {
    return this.#examples.length
  }

  /** True when the batch is full with this example: take it before adding another. */
  add(example: Example, nowMs: number): boolean {
    assert(this.size < this.#options.maxExamples, 'the batch is full')
    if (this.#examples.length === 0) this.#startedAt = nowMs
    return this.#examples.push(example) === this.#options.maxExamples
  }

  /** When the batch at hand is to be cut at the latest; Infinity while it is empty. */
  get dueAt(): number {
    return this.size === 0 ? Infinity : this.#startedAt + this.#options.maxAgeMs
  }

  isDue(nowMs: number): boolean {
    return nowMs >= this.dueAt
  }

  /** The examples in stream order; the next batch starts empty. */
  take(): readonly Example[] {
    const examples = this.#examples
    this.#examples = []
    return examples
  }
}
