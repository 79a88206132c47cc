/** Durations by size: what a scrape shows, and quantiles to within a bound's width (a fifth). */

const growth = 1.2
const defaultBounds: readonly number[] = Array.from({ length: 80 }, (_, i) => 0.05 * growth ** i)

/**
 * `counts[i]` are the durations up to `bounds[i]` and above the bound before; the last is the
 * rest.
 */
export class DurationHistogram {
  readonly bounds: readonly number[]
  readonly counts: Float64Array
  #count = 0
  #sum = 0
  #max = 0

  /** `bounds`: milliseconds, ascending; .05 to 90,000 by default. */
  constructor(bounds: readonly number[] = defaultBounds) {
    this.bounds = bounds
    this.counts = new Float64Array(bounds.length + 1)
  }

  get count(): number {
    return this.#count
  }

  get sum(): number {
    return this.#sum
  }

  get max(): number {
    return this.#max
  }

  add(ms: number): void {
    this.counts[bucketOf(this.bounds, ms)] += 1
    this.#count += 1
    this.#sum += ms
    this.#max = Math.max(this.#max, ms)
  }

  /** The bound below which a share `q` of the durations lies; 0 without any. */
  quantile(q: number): number {
    let left = q * this.#count
    for (const [i, bound] of this.bounds.entries()) {
      left -= this.counts[i]
      if (left <= 0) return Math.min(bound, this.#max)
    }
    return this.#max
  }

  /** Forgets everything: a benchmark measures from here. */
  reset(): void {
    this.counts.fill(0)
    this.#count = 0
    this.#sum = 0
    this.#max = 0
  }
}

function bucketOf(bounds: readonly number[], ms: number): number {
  let [low, high] = [0, bounds.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if (ms <= bounds[middle]) high = middle
    else low = middle + 1
  }
  return low
}
