/** A rolling sample of the queries that were asked lately: what an audit asks again. */
import type { QueryInput } from '../model/inputs.ts'

/** Invariant: at most `capacity` queries, of which the oldest makes room. */
export class QuerySample {
  readonly #capacity: number
  readonly #every: number
  readonly #queries: QueryInput[] = []
  #offered = 0

  /** Keeps every `every`-th query offered. */
  constructor({ capacity, every }: { readonly capacity: number; readonly every: number }) {
    this.#capacity = capacity
    this.#every = every
  }

  offer(query: QueryInput): void {
    const nth = Math.floor(this.#offered / this.#every)
    // The first come in whole: an audit soon after start has something to ask.
    if (this.#queries.length < this.#capacity) this.#queries.push(query)
    else if (this.#offered % this.#every === 0) this.#queries[nth % this.#capacity] = query
    this.#offered += 1
  }

  take(): readonly QueryInput[] {
    return [...this.#queries]
  }
}
