/**
 * Refuses work before latency grows: a bound on requests under way, on the bytes they bring, and
 * on how late the event loop is. That is seen in two ways. Within a turn of the loop, by the time
 * since its first request: what is read later in the turn has waited at least that long. Over
 * turns, by how late a timer is; averaged (half of it is gone after some 40 ms), so that one long
 * garbage collection does not turn away what came in during it.
 */
import type { Clock } from '../../base/clock.ts'

export interface LoadLimits {
  readonly maxConcurrent: number
  readonly maxConcurrentBytes: number
  readonly maxEventLoopDelayMs: number
}

export type Overload = 'requests under way' | 'bytes under way' | 'event loop delay'

const sampleMs = 20
const smoothing = 0.3

export class LoadGuard {
  readonly #limits: LoadLimits
  readonly #clock: Clock
  #timer: NodeJS.Timeout | undefined
  #requests = 0
  #bytes = 0
  #delayMs = 0
  #longestDelayMs = 0
  /** When the first request of this turn of the event loop was read. */
  #turnBegan: number | undefined

  constructor(limits: LoadLimits, clock: Clock) {
    this.#limits = limits
    this.#clock = clock
  }

  start(): void {
    let expected = this.#clock.monotonic() + sampleMs
    this.#timer = setInterval(() => {
      const now = this.#clock.monotonic()
      this.observe(Math.max(0, now - expected))
      expected = now + sampleMs
    }, sampleMs).unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  /** How late a timer was. */
  observe(lateMs: number): void {
    this.#delayMs += smoothing * (lateMs - this.#delayMs)
    this.#longestDelayMs = Math.max(this.#longestDelayMs, lateMs)
  }

  /** Why another request must not be begun, if so. */
  overload(bytes: number): Overload | undefined {
    const limits = this.#limits
    if (this.#requests >= limits.maxConcurrent) return 'requests under way'
    if (this.#bytes + bytes > limits.maxConcurrentBytes) return 'bytes under way'
    const delayMs = Math.max(this.#delayMs, this.#turnMs())
    return delayMs > limits.maxEventLoopDelayMs ? 'event loop delay' : undefined
  }

  enter(bytes: number): void {
    this.#requests += 1
    this.#bytes += bytes
  }

  leave(bytes: number): void {
    this.#requests -= 1
    this.#bytes -= bytes
  }

  #turnMs(): number {
    const now = this.#clock.monotonic()
    if (this.#turnBegan === undefined) {
      this.#turnBegan = now
      setImmediate(() => {
        this.#turnBegan = undefined
      })
    }
    return now - this.#turnBegan
  }

  get requests(): number {
    return this.#requests
  }

  /** Averaged. */
  get delayMs(): number {
    return this.#delayMs
  }

  /** The longest since it was last asked. */
  takeLongestDelayMs(): number {
    const longest = this.#longestDelayMs
    this.#longestDelayMs = 0
    return longest
  }
}
