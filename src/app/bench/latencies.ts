/** Durations of many requests, kept exactly up to a bound, and their quantiles. */
export interface LatencyReport {
  readonly p50Ms: number
  readonly p99Ms: number
  readonly p999Ms: number
  readonly maxMs: number
  /** Answers per second. */
  readonly rate: number
  readonly errors: number
  readonly requests: number
  readonly [name: string]: number
}

const round = (value: number): number => Math.round(value * 1000) / 1000

export class Latencies {
  readonly #capacity: number
  #values: Float64Array
  #count = 0
  #errors = 0

  /** Beyond `capacity` durations the benchmark was planned wrong: later ones are not kept. */
  constructor(capacity = 10_000_000) {
    this.#capacity = capacity
    this.#values = new Float64Array(1024)
  }

  add(ms: number): void {
    if (this.#count === this.#capacity) return
    if (this.#count === this.#values.length) {
      const grown = new Float64Array(Math.min(this.#capacity, this.#values.length * 2))
      grown.set(this.#values)
      this.#values = grown
    }
    this.#values[this.#count] = ms
    this.#count += 1
  }

  addError(): void {
    this.#errors += 1
  }

  get count(): number {
    return this.#count
  }

  get errors(): number {
    return this.#errors
  }

  /** The smallest duration that `share` of all do not exceed; 0 of nothing. */
  quantile(share: number): number {
    const sorted = this.#values.subarray(0, this.#count).toSorted()
    return sorted[Math.max(0, Math.ceil(share * this.#count) - 1)] ?? 0
  }

  report(seconds: number): LatencyReport {
    return {
      p50Ms: round(this.quantile(0.5)),
      p99Ms: round(this.quantile(0.99)),
      p999Ms: round(this.quantile(0.999)),
      maxMs: round(this.quantile(1)),
      rate: round(this.#count / seconds),
      errors: this.#errors,
      requests: this.#count + this.#errors,
    }
  }
}
