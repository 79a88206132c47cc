/** How long events wait to be learned, and what a trainer does less of while they do. */
import type { Clock } from '../base/clock.ts'

/**
 * From here on what waits comes first; below, whoever answers queries beside the trainer does: a
 * lag of a few deltas comes and goes.
 */
const behindMs = 100
/** From here on deltas are rarer. */
const farBehindMs = 2_000
const longestDeltaIntervalMs = 1_000

export class Backlog {
  readonly #clock: Clock
  #acceptedAt = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** When the newest event was accepted that has been learned from. */
  learned(acceptedAt: number): void {
    this.#acceptedAt = acceptedAt
  }

  get isBehind(): boolean {
    return this.#ageMs > behindMs
  }

  /**
   * Rows that change again and again are published once while there is a backlog: what was late to
   * be learned may be later by a quarter, to a second.
   */
  deltaIntervalMs(usual: number): number {
    if (this.#ageMs <= farBehindMs) return usual
    return Math.max(usual, Math.min(this.#ageMs / 4, longestDeltaIntervalMs))
  }

  get #ageMs(): number {
    return this.#clock.now() - this.#acceptedAt
  }
}
