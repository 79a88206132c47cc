/**
 * Refuses work before latency grows. Bounded are the bytes of requests under way, and how many
 * there are: by a limit that falls by a fifth whenever the event loop is later than it may be, or
 * requests stand in a queue, and rises again in small steps (additive increase, multiplicative
 * decrease, as in TCP). A queue stands when even the quickest answer of a while was slow, as in
 * CoDel (Nichols and Jacobson 2012): a burst passes, and one slow request says nothing. Within a
 * turn of the loop the time since its first request is bounded: what is read later in the turn has
 * waited that long.
 */
import type { Clock } from '../../base/clock.ts'

interface LoadLimits {
  readonly maxConcurrent: number
  readonly maxConcurrentBytes: number
  readonly maxEventLoopDelayMs: number
}

export type Overload = 'requests under way' | 'bytes under way' | 'event loop delay'

const sampleMs = 20
const smoothing = 0.3
const decrease = 0.8
/** Samples until the limit is back at its largest. */
const recovery = 64
/** The limit falls no further: a slow machine is no reason to answer nobody. */
const leastConcurrent = 32
/** Samples of a while in which one quick answer says that nothing stands in a queue. */
const queueSamples = 5
/** Of how late the loop may be: what the quickest answer may take. */
const quickShare = 1 / 4

export class LoadGuard {
  readonly #limits: LoadLimits
  readonly #clock: Clock
  #timer: NodeJS.Timeout | undefined
  #requests = 0
  #bytes = 0
  #limit: number
  #delayMs = 0
  #longestDelayMs = 0
  /** The quickest answer since the last look; Infinity: none. */
  #quickestMs = Infinity
  #samples = 0
  #hasQueue = false
  /** When the first request of this turn of the event loop was read. */
  #turnBegan: number | undefined

  constructor(limits: LoadLimits, clock: Clock) {
    this.#limits = limits
    this.#limit = limits.maxConcurrent
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
    const { maxConcurrent, maxEventLoopDelayMs } = this.#limits
    const queueHasGrown = this.#looksAtQueue() && this.#hasQueue
    if (lateMs > maxEventLoopDelayMs || queueHasGrown) {
      const least = Math.min(leastConcurrent, maxConcurrent)
      this.#limit = Math.max(least, Math.floor(this.#limit * decrease))
    } else if (!this.#hasQueue) {
      this.#limit = Math.min(maxConcurrent, this.#limit + maxConcurrent / recovery)
    }
    this.#delayMs += smoothing * (lateMs - this.#delayMs)
    this.#longestDelayMs = Math.max(this.#longestDelayMs, lateMs)
  }

  /** Why another request must not be begun, if so. */
  overload(bytes: number): Overload | undefined {
    if (this.#requests >= this.#limit) return 'requests under way'
    if (this.#bytes + bytes > this.#limits.maxConcurrentBytes) return 'bytes under way'
    const turnMs = this.#turnMs()
    // Alone it has waited for the machine and not for a queue: it may as well be answered.
    const isAlone = this.#requests === 0
    if (turnMs > this.#limits.maxEventLoopDelayMs && !isAlone) return 'event loop delay'
    return undefined
  }

  enter(bytes: number): void {
    this.#requests += 1
    this.#bytes += bytes
  }

  leave(bytes: number): void {
    this.#requests -= 1
    this.#bytes -= bytes
  }

  /** A request that waits for nothing but the processor was answered. */
  answered(tookMs: number): void {
    this.#quickestMs = Math.min(this.#quickestMs, tookMs)
  }

  /** Whether this sample ends a while, and then whether a queue stood in it. */
  #looksAtQueue(): boolean {
    this.#samples += 1
    if (this.#samples % queueSamples !== 0) return false
    const quickMs = this.#limits.maxEventLoopDelayMs * quickShare
    this.#hasQueue = this.#quickestMs < Infinity && this.#quickestMs > quickMs
    this.#quickestMs = Infinity
    return true
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

  /** Requests that may be under way now. */
  get limit(): number {
    return Math.floor(this.#limit)
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
