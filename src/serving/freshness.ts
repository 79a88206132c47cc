/**
 * How long events take from acceptance to effect, by stage: *fact* (folded: history, exclusions,
 * new items), *parameter* (trained on, and the delta applied), *index* (the items whose rows that
 * delta changed are embedded and searchable). Follows every interaction through the three;
 * bounded, and what is passed over when too much waits is counted.
 */
import type { Watermark } from '../sync/delta.ts'
import { DurationHistogram } from './histogram.ts'

export type FreshnessStage = 'fact' | 'parameter' | 'index'

/** Interactions that may wait for their parameters. */
const maxWaiting = 1 << 16

/** An event that is folded. */
export interface Folded {
  readonly partition: number
  readonly offset: string
  readonly acceptedAt: number
}

/** So many touched items, since start: of those that go ahead, and of the others. */
export interface TouchedMark {
  readonly ahead: number
  readonly behind: number
}

/** Events that were learned from, whose items are not all embedded yet. */
interface Learned {
  /** They are when so many touched items have been. */
  readonly mark: TouchedMark
  readonly acceptedAt: readonly number[]
}

export class Freshness {
  readonly stages: Readonly<Record<FreshnessStage, DurationHistogram>> = {
    fact: new DurationHistogram(),
    parameter: new DurationHistogram(),
    index: new DurationHistogram(),
  }
  readonly #compare: (a: string, b: string) => number
  /** By partition, in its order. */
  readonly #waiting = new Map<number, Folded[]>()
  #waits = 0
  readonly #learned: Learned[] = []
  /** Of the last delta, with the mark it came with. */
  #watermark: Watermark = { offsets: {}, acceptedAt: 0 }
  #mark: TouchedMark = { ahead: 0, behind: 0 }
  #skipped = 0

  /** `compare`: the order of offsets, of the log. */
  constructor(compare: (a: string, b: string) => number) {
    this.#compare = compare
  }

  /** Interactions that were not followed, because too many waited. */
  get skipped(): number {
    return this.#skipped
  }

  /** An event is folded at `now`; events of one partition come in its order. */
  folded(event: Folded, isInteraction: boolean, now: number): void {
    this.#add('fact', now - event.acceptedAt)
    if (!isInteraction) return
    if (this.#waits >= maxWaiting) {
      this.#skipped += 1
      return
    }
    const waiting = this.#waiting.get(event.partition)
    if (waiting === undefined) this.#waiting.set(event.partition, [event])
    else waiting.push(event)
    this.#waits += 1
  }

  /** Events have been folded: the trainer may have been faster. */
  settle(partition: number, now: number): void {
    this.#teach(this.#takeLearned(partition), now)
  }

  /** Parameters that have learned up to the watermark are applied; `mark`: touched items so far. */
  learned(watermark: Watermark, mark: TouchedMark, now: number): void {
    this.#watermark = watermark
    this.#mark = mark
    this.#teach(
      [...this.#waiting.keys()].flatMap((partition) => this.#takeLearned(partition)),
      now,
    )
  }

  /** So many touched items have been embedded since start. */
  embedded({ ahead, behind }: TouchedMark, now: number): void {
    const isDone = ({ mark }: Learned): boolean => mark.ahead <= ahead && mark.behind <= behind
    while (this.#learned.length > 0 && isDone(this.#learned[0])) {
      const [{ acceptedAt }] = this.#learned.splice(0, 1)
      for (const at of acceptedAt) this.#add('index', now - at)
    }
  }

  /** Forgets what was measured, not what waits. */
  reset(): void {
    for (const stage of Object.values(this.stages)) stage.reset()
  }

  /** Those of a partition that stand before the watermark no longer wait. */
  #takeLearned(partition: number): readonly Folded[] {
    const waiting = this.#waiting.get(partition) ?? []
    const next = this.#watermark.offsets[partition]
    if (next === undefined || waiting.length === 0) return []
    let [from, to] = [0, waiting.length]
    while (from < to) {
      const middle = (from + to) >> 1
      if (this.#compare(waiting[middle].offset, next) < 0) from = middle + 1
      else to = middle
    }
    this.#waits -= from
    return waiting.splice(0, from)
  }

  #teach(events: readonly Folded[], now: number): void {
    if (events.length === 0) return
    const acceptedAt = events.map((event) => event.acceptedAt)
    for (const at of acceptedAt) this.#add('parameter', now - at)
    this.#learned.push({ mark: this.#mark, acceptedAt })
  }

  #add(stage: FreshnessStage, ms: number): void {
    // The clock of the machine may be set back; a duration may not.
    this.stages[stage].add(Math.max(0, ms))
  }
}
