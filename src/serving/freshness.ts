/**
 * How long events take from acceptance to effect, by stage: *fact* (folded: history, exclusions, new items),
 * *parameter* (trained on, and the delta applied), *index* (the items whose rows that delta changed are
 * embedded and searchable). Follows every interaction through the three; bounded, and what is passed
 * over when too much waits is counted.
 */
import type { Watermark } from '../sync/delta.ts'
import { DurationHistogram } from './histogram.ts'

export type FreshnessStage = 'fact' | 'parameter' | 'index'

/** Interactions that may wait for their parameters. */
const maxWaiting = 1 << 16

interface Waiting {
  readonly partition: number
  readonly offset: string
  readonly acceptedAt: number
}

/** Deltas whose touched items are not all embedded, with what they taught. */
interface Applied {
  /** All embedded when so many touched items have been. */
  readonly mark: number
  readonly acceptedAt: readonly number[]
}

export class Freshness {
  readonly stages: Readonly<Record<FreshnessStage, DurationHistogram>> = {
    fact: new DurationHistogram(),
    parameter: new DurationHistogram(),
    index: new DurationHistogram(),
  }
  readonly #compare: (a: string, b: string) => number
  #waiting: Waiting[] = []
  readonly #applied: Applied[] = []
  #skipped = 0

  /** `compare`: the order of offsets, of the log. */
  constructor(compare: (a: string, b: string) => number) {
    this.#compare = compare
  }

  /** Interactions that were not followed, because too many waited. */
  get skipped(): number {
    return this.#skipped
  }

  /** An event is folded at `now`. Interactions wait for their parameters. */
  folded(event: Waiting, isInteraction: boolean, now: number): void {
    this.#add('fact', now - event.acceptedAt)
    if (!isInteraction) return
    if (this.#waiting.length < maxWaiting) this.#waiting.push(event)
    else this.#skipped += 1
  }

  /** Parameters that have learned up to the watermark are applied; `mark`: see `Applied`. */
  learned({ offsets }: Watermark, mark: number, now: number): void {
    const isLearned = ({ partition, offset }: Waiting): boolean => {
      const next = offsets[partition]
      return next !== undefined && this.#compare(offset, next) < 0
    }
    const learned = this.#waiting.filter(isLearned)
    if (learned.length === 0) return
    this.#waiting = this.#waiting.filter((event) => !isLearned(event))
    const acceptedAt = learned.map((event) => event.acceptedAt)
    for (const at of acceptedAt) this.#add('parameter', now - at)
    this.#applied.push({ mark, acceptedAt })
  }

  /** So many touched items have been embedded since start. */
  embedded(mark: number, now: number): void {
    while (this.#applied.length > 0 && this.#applied[0].mark <= mark) {
      const [{ acceptedAt }] = this.#applied.splice(0, 1)
      for (const at of acceptedAt) this.#add('index', now - at)
    }
  }

  /** Forgets what was measured, not what waits. */
  reset(): void {
    for (const stage of Object.values(this.stages)) stage.reset()
  }

  #add(stage: FreshnessStage, ms: number): void {
    // The clock of the machine may be set back; a duration may not.
    this.stages[stage].add(Math.max(0, ms))
  }
}
