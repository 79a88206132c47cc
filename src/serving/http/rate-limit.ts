/** Token buckets, one per name: `perSecond` on average, `burst` at once. */
interface Bucket {
  tokens: number
  /** Monotonic ms of the last refill. */
  at: number
}

export interface Rate {
  readonly perSecond: number
  readonly burst: number
}

/**
 * Names are those of the configured keys, so the number of buckets is bounded by the
 * configuration.
 */
export class TokenBuckets {
  readonly #buckets = new Map<string, Bucket>()

  /** Takes a token: 0, or the seconds until there is one. */
  take(name: string, rate: Rate, nowMs: number): number {
    const bucket = this.#buckets.get(name) ?? { tokens: rate.burst, at: nowMs }
    const refilled = bucket.tokens + ((nowMs - bucket.at) / 1_000) * rate.perSecond
    bucket.tokens = Math.min(rate.burst, refilled)
    bucket.at = nowMs
    this.#buckets.set(name, bucket)
    if (bucket.tokens < 1) return (1 - bucket.tokens) / rate.perSecond
    bucket.tokens -= 1
    return 0
  }
}
