/** A clock and timers that move together when told to. */
import type { Clock } from '../../src/base/clock.ts'
import type { Timers } from '../../src/jobs/timer-scheduler.ts'

interface Pending {
  readonly at: number
  readonly run: () => void
}

export class ManualTimers implements Clock, Timers {
  #now = 0
  readonly #pending = new Set<Pending>()

  now(): number {
    return 1_000_000 + this.#now
  }

  monotonic(): number {
    return this.#now
  }

  after(delayMs: number, run: () => void): () => void {
    const pending = { at: this.#now + delayMs, run }
    this.#pending.add(pending)
    return () => void this.#pending.delete(pending)
  }

  get pending(): number {
    return this.#pending.size
  }

  /** Runs what falls due on the way, in order, and lets what was started go on. */
  async advance(ms: number): Promise<void> {
    const until = this.#now + ms
    await settled()
    for (let next = this.#next(until); next !== undefined; next = this.#next(until)) {
      this.#pending.delete(next)
      this.#now = Math.max(this.#now, next.at)
      next.run()
      await settled()
    }
    this.#now = until
    await settled()
  }

  /** The clock alone jumps, as when the event loop was blocked: timers come late. */
  jump(ms: number): void {
    this.#now += ms
  }

  #next(until: number): Pending | undefined {
    return [...this.#pending].filter(({ at }) => at <= until).toSorted((a, b) => a.at - b.at)[0]
  }
}

/** One turn of the event loop: every promise that can go on has gone on. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
