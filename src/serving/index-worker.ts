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
  /** Whether the last slice had fewer vectors than the rate allowed: time was short, not work. */
  #isBehind = false

  constructor(liveIndex: LiveIndex, clock: Clock, settings: ServingSettings) {
    this.#liveIndex = liveIndex
    this.#clock = clock
    this.#settings = settings
    this.#lastAt = clock.monotonic()
    this.#itemsPerMs = firstItems / settings.sliceMs
  }

  /** Whether there was more to embed, and leave to do it, than the last slice had time for. */
  get isBehind(): boolean {
    return this.#isBehind
  }

  /** One slice. `hurry` ignores the rate: nobody is being served yet. Returns vectors embedded. */
  slice({ hurry }: { readonly hurry: boolean }): number {
    const { embedPerSecond, sweepPerSecond, popularitiesPerSecond, sliceMs } = this.#settings
    const begin = this.#clock.monotonic()
    const seconds = Math.min(1, (begin - this.#lastAt) / 1000)
    this.#lastAt = begin
    this.#allowance = Math.min(embedPerSecond, this.#allowance + seconds * embedPerSecond)
    this.#sweepAllowance = Math.min(sweepPerSecond, this.#sweepAllowance + seconds * sweepPerSecond)
    const fitting = Math.min(most, Math.max(fewest, Math.floor(this.#itemsPerMs * sliceMs)))
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
    this.#isBehind = done.items === fitting && this.#allowance >= fitting
    this.#sweepAllowance -= done.swept
    this.#learn(done.items, this.#clock.monotonic() - begin)
    return done.items + this.#keepUp(begin, seconds)
  }

  /**
   * Half a slice for the index's structure alone, if that cannot wait: items have theirs beside it,
   * since what nobody embeds nobody finds, however good the structure. Returns vectors gone over.
   */
  press(): number {
    if (!this.#liveIndex.isPressing) return 0
    return this.#maintain(this.#clock.monotonic() + this.#settings.sliceMs / 2)
  }

  /** What is left of a slice is for the structure, as far as its share of the time allows. */
  #keepUp(begin: number, seconds: number): number {
    const { sliceMs, upkeepShare } = this.#settings
    const started = this.#clock.monotonic()
    this.#upkeepMs = Math.min(sliceMs, this.#upkeepMs + seconds * upkeepShare * 1000)
    const done = this.#maintain(Math.min(begin + sliceMs, started + this.#upkeepMs))
    this.#upkeepMs -= this.#clock.monotonic() - started
    return done
  }

  #maintain(until: number): number {
    let done = 0
    while (this.#clock.monotonic() < until) {
      const vectors = this.#liveIndex.maintain(maintained)
      done += vectors
      if (vectors === 0) break
    }
    return done
  }

  #learn(items: number, ms: number): void {
    if (items < fewest || ms <= 0) return
    this.#itemsPerMs += learning * (items / ms - this.#itemsPerMs)
  }
}
