/** How long work between batches kept them waiting. */
export interface PauseReport {
  readonly restrictSteps: number
  readonly restrictMs: number
  readonly longestRestrictMs: number
}

export class Pauses {
  readonly #now: () => number
  #startedAt = 0
  #steps = 0
  #total = 0
  #longest = 0

  /** Without a clock every pause is 0. */
  constructor(now: () => number = () => 0) {
    this.#now = now
  }

  begin(): void {
    this.#startedAt = this.#now()
  }

  /** What began last was a pause. */
  end(): void {
    const ms = this.#now() - this.#startedAt
    this.#steps += 1
    this.#total += ms
    this.#longest = Math.max(this.#longest, ms)
  }

  report(): PauseReport {
    return {
      restrictSteps: this.#steps,
      restrictMs: this.#total,
      longestRestrictMs: this.#longest,
    }
  }
}
