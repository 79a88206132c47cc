/**
 * Keeps the live index at work in slices between turns of the event loop: at most so long at a
 * time and so many vectors a second. How many vectors fit a slice is learned from how long the
 * last ones took.
 */
import type { Clock } from '../base/clock.ts'
import type { LiveIndex } from './live-index.ts'
import type { ServingSettings } from './serving-settings.ts'

/** Vectors of the first slices, before anything is known about the machine. */
const firstItems = 64
/** Vectors gone over between two looks at the clock: some tenth of a millisecond. */
const maintained = 64
/** A vector's cost follows the newest slice by this much. */
const learning = 0.2
/** A slice is never planned larger or smaller than this. */
const [fewest, most] = [16, 4096]
/** Popularities of one slice: some tenths of a millisecond. */
const mostPopularities = 256

/**
 * Invariant: allowances are what the rates have granted and slices have not yet used, at most a
 * second's.
 */
export class IndexWorker {
  readonly #liveIndex: LiveIndex
  readonly #clock: Clock
  readonly #settings: ServingSettings
  #lastAt: number
  #allowance = 0
  #sweepAllowance = 0
  #popularityAllowance = 0
  #itemsPerMs: number
  /** What upkeep has been granted and not used, milliseconds; below 0 where a step took longer. */
  #upkeepMs = 0
  /** Whether the last slice made structure. */
  #isMaintaining = false

  constructor(liveIndex: LiveIndex, clock: Clock, settings: ServingSettings) {
    this.#liveIndex = liveIndex
    this.#clock = clock
    this.#settings = settings
    this.#lastAt = clock.monotonic()
    this.#itemsPerMs = firstItems / settings.sliceMs
  }

  /** One slice. `hurry` ignores the rate: nobody is being served yet. Returns vectors embedded. */
  slice({ hurry }: { readonly hurry: boolean }): number {
    const { embedPerSecond, sweepPerSecond, popularitiesPerSecond, sliceMs } = this.#settings
    const begin = this.#clock.monotonic()
    const seconds = Math.min(1, (begin - this.#lastAt) / 1000)
    this.#lastAt = begin
    this.#allowance = Math.min(embedPerSecond, this.#allowance + seconds * embedPerSecond)
    this.#sweepAllowance = Math.min(sweepPerSecond, this.#sweepAllowance + seconds * sweepPerSecond)
    // As long as the index has something to do, most of the time is its.
    const forItems = this.#isMaintaining ? sliceMs / 4 : sliceMs
    const fitting = Math.min(most, Math.max(fewest, Math.floor(this.#itemsPerMs * forItems)))
    const items = hurry ? fitting : Math.min(fitting, Math.floor(this.#allowance))
    this.#popularityAllowance = Math.min(
      popularitiesPerSecond,
      this.#popularityAllowance + seconds * popularitiesPerSecond,
    )
    const popularities = Math.min(mostPopularities, Math.floor(this.#popularityAllowance))
    this.#popularityAllowance -= popularities
    const swept = Math.floor(this.#sweepAllowance)
    const done = this.#liveIndex.work({ items, swept, popularities })
    this.#allowance = Math.max(0, this.#allowance - done.items)
    this.#sweepAllowance -= done.swept
    this.#learn(done.items, this.#clock.monotonic() - begin)
    return done.items + this.#maintain(begin, seconds)
  }

  /**
   * What is left of the slice is for the index's structure: all of it while one is made, else what
   * its share of the time allows. Returns vectors gone over.
   */
  #maintain(begin: number, seconds: number): number {
    const { sliceMs, upkeepShare } = this.#settings
    const started = this.#clock.monotonic()
    const granted = this.#upkeepMs + seconds * upkeepShare * 1000
    this.#upkeepMs = Math.min(sliceMs, granted)
    const isPressing = this.#liveIndex.isPressing
    const until = isPressing ? begin + sliceMs : Math.min(begin + sliceMs, started + this.#upkeepMs)
    let [done, now] = [0, started]
    while (now < until) {
      const vectors = this.#liveIndex.maintain(maintained)
      done += vectors
      now = this.#clock.monotonic()
      if (vectors === 0) break
    }
    if (!isPressing) this.#upkeepMs -= now - started
    this.#isMaintaining = isPressing && done > 0
    return done
  }

  #learn(items: number, ms: number): void {
    if (items < fewest || ms <= 0) return
    this.#itemsPerMs += learning * (items / ms - this.#itemsPerMs)
  }
}
