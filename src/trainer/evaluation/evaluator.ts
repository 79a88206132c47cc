/**
 * Progressive (test-then-train) evaluation: every nth example is ranked among the whole live
 * catalogue less what its user has seen, with the model as it was before the batch, and so are two
 * baselines that need no learning, on the same examples: recently popular (decayed counts alone)
 * and item-to-item co-visitation. An item that was no candidate before the batch is a miss for all
 * three.
 */
import type { ByteReader, ByteWriter } from '../../base/bytes.ts'
import type { Example } from '../../stream/example.ts'
import { type Boosts, CoVisitation } from './co-visitation.ts'
import { HourlyMetrics, type HourReport } from './hourly-metrics.ts'
import type { Ranker, RankRequest } from './ranker.ts'
import {
  type ByRanking,
  byRanking,
  meanRank,
  type Ranking,
  RankingMetrics,
  rankings,
  type RankingReport,
  RankingWindow,
} from './ranking-metrics.ts'

/**
 * Examples whose user is new, whose item nobody had before, with history and a known item, without
 * history, and whose item has been known for less than an hour. They overlap.
 */
const cohorts = ['newUser', 'newItem', 'warm', 'cold', 'fresh'] as const
export type Cohort = (typeof cohorts)[number]

const freshMs = 3_600_000

export interface EvaluationOptions {
  /** Every nth example is ranked before it is trained on; 0: none. */
  readonly everyNth: number
  /**
   * Taken so many at a time: of every `everyNth` such blocks the first. Where items must be
   * embedded anew for every batch that is evaluated, few large blocks cost less than many single
   * examples. Default 1.
   */
  readonly blockExamples?: number
  /**
   * What may be spent on a large catalogue: fewer blocks are taken, by a power of two, so that no
   * more items than this are embedded and ranked among for each example that comes. Default: all
   * blocks are.
   */
  readonly itemsPerExample?: number
  /** Events at the start of the stream that are not counted. */
  readonly warmupEvents: number
  /** Ranked examples in the live (windowed) metrics. */
  readonly windowExamples: number
}

export interface EvaluationReport {
  readonly progressive: RankingReport
  readonly baselines: {
    readonly recentlyPopular: RankingReport
    readonly coVisitation: RankingReport
  }
  readonly cohorts: Readonly<Record<Cohort, RankingReport>>
  /** The same over the newest examples only. */
  readonly window: Readonly<Record<Ranking, RankingReport>>
}

const byCohort = <Value>(make: (cohort: Cohort) => Value): Readonly<Record<Cohort, Value>> => ({
  newUser: make('newUser'),
  newItem: make('newItem'),
  warm: make('warm'),
  cold: make('cold'),
  fresh: make('fresh'),
})

export class Evaluator {
  readonly #options: EvaluationOptions
  readonly #metrics = byRanking(() => new RankingMetrics())
  readonly #windows: ByRanking<RankingWindow>
  readonly #cohorts = byCohort(() => new RankingMetrics())
  readonly #hours = new HourlyMetrics()
  readonly #coVisitation = new CoVisitation()
  /** Boosts of the query at hand by slot, zero between queries. */
  #boosts = new Float64Array(256)

  constructor(options: EvaluationOptions) {
    this.#options = options
    this.#windows = byRanking(() => new RankingWindow(options.windowExamples))
  }

  /** Those of the examples that are to be ranked, in a catalogue of so many items. */
  dueOf(examples: readonly Example[], items: number): Example[] {
    const { everyNth, warmupEvents, blockExamples = 1, itemsPerExample = Infinity } = this.#options
    if (everyNth === 0) return []
    let every = everyNth
    while (items > itemsPerExample * every * blockExamples) every *= 2
    const due = examples.filter(
      ({ index }) => index >= warmupEvents && Math.floor(index / blockExamples) % every === 0,
    )
    // A block that two batches share would cost twice: it is ranked with the one it is more of.
    const isWorthIt = 2 * due.length >= Math.min(blockExamples, examples.length)
    return every === everyNth || isWorthIt ? due : []
  }

  /**
   * Ranks examples that have not been trained on; `ranker` stands before their batch. The figures
   * have them once what is returned has been called: before `ranker` follows the batch.
   */
  async begin(examples: readonly Example[], ranker: Ranker): Promise<() => void> {
    const requests = examples.map(({ query, item, seen }) => ({
      query,
      target: item.handle,
      excluded: seen,
    }))
    const byScore = new Float64Array(examples.length)
    const byCount = new Float64Array(examples.length)
    const finish = await ranker.begin(requests, { byScore, byCount })
    return () => {
      finish()
      const total = sumOfCounts(ranker)
      for (let i = 0; i < examples.length; i += 1) {
        const coVisited =
          byCount[i] === Infinity
            ? Infinity
            : this.#coVisitationRank(examples[i], requests[i], ranker, total)
        const { timestamp } = examples[i].query
        this.#add('model', byScore[i], timestamp)
        this.#add('recentlyPopular', byCount[i], timestamp)
        this.#add('coVisitation', coVisited, timestamp)
        this.#addToCohorts(examples[i], byScore[i])
      }
    }
  }

  /** Lets the baselines learn from a batch, after it was evaluated. */
  observe(examples: readonly Example[]): void {
    if (this.#options.everyNth === 0) return
    for (const { query, item } of examples) {
      const previous = query.history.at(0)?.item
      if (previous === undefined || previous.handle === item.handle) continue
      this.#coVisitation.observe(previous.handle, item.handle, query.timestamp)
    }
  }

  /** A batch that ended at `time` had this loss before the model learned from it. */
  learned(
    time: number,
    { loss, weight }: { readonly loss: number; readonly weight: number },
  ): void {
    if (this.#options.everyNth > 0) this.#hours.addLoss(time, loss, weight)
  }

  /** The handle will be given to another item. */
  forget(handle: number): void {
    this.#coVisitation.forget(handle)
  }

  report(): EvaluationReport {
    return {
      progressive: this.#metrics.model.report(),
      baselines: {
        recentlyPopular: this.#metrics.recentlyPopular.report(),
        coVisitation: this.#metrics.coVisitation.report(),
      },
      cohorts: byCohort((cohort) => this.#cohorts[cohort].report()),
      window: byRanking((ranking) => this.#windows[ranking].report()),
    }
  }

  /** Oldest first; the newest hours of the stream. */
  hours(): readonly HourReport[] {
    return this.#hours.report()
  }

  serialize(writer: ByteWriter): void {
    for (const ranking of rankings) this.#metrics[ranking].serialize(writer)
    for (const ranking of rankings) this.#windows[ranking].serialize(writer)
    for (const cohort of cohorts) this.#cohorts[cohort].serialize(writer)
    this.#coVisitation.serialize(writer)
    this.#hours.serialize(writer)
  }

  load(reader: ByteReader): void {
    for (const ranking of rankings) this.#metrics[ranking].load(reader)
    for (const ranking of rankings) this.#windows[ranking].load(reader)
    for (const cohort of cohorts) this.#cohorts[cohort].load(reader)
    this.#coVisitation.load(reader)
    this.#hours.load(reader)
  }

  #add(ranking: Ranking, rank: number, time: number): void {
    this.#hours.add(time, ranking, rank)
    this.#metrics[ranking].add(rank)
    this.#windows[ranking].add(rank)
  }

  #addToCohorts(
    { query, item, isNewUser, isNewItem, itemInteractions }: Example,
    rank: number,
  ): void {
    const isCold = query.history.length === 0
    const isKnown = itemInteractions > 0
    if (isNewUser) this.#cohorts.newUser.add(rank)
    if (isCold) this.#cohorts.cold.add(rank)
    if (!isKnown) this.#cohorts.newItem.add(rank)
    if (isKnown && !isCold) this.#cohorts.warm.add(rank)
    const age = query.timestamp - item.firstSeenAt
    if (isKnown && !isNewItem && age < freshMs) this.#cohorts.fresh.add(rank)
  }

  /**
   * Most candidates have no boost and their score is their count: those are counted by the kernel.
   * The boosted and the excluded are then taken out, and the boosted put back in with their full
   * score.
   */
  #coVisitationRank(
    { query }: Example,
    { target, excluded }: RankRequest,
    ranker: Ranker,
    total: number,
  ): number {
    const { candidates } = ranker
    const { view: counts } = candidates.counts
    const history = query.history.slice(0, 3).map(({ item }) => item.handle)
    const boosts = this.#coVisitation.boosts(history, query.timestamp)
    this.#stage(boosts, ranker, total)
    const own = candidates.slot(target)
    const score = (slot: number): number => Math.fround(counts[slot] + this.#boosts[slot])
    const least = score(own)
    let [above, equal] = ranker.countAbove(least)
    const count = (value: number, by: 1 | -1): void => {
      if (value > least) above += by
      if (value === least) equal += by
    }
    count(counts[own], -1)
    for (let k = 0; k < boosts.size; k += 1) {
      const slot = candidates.slot(boosts.handles[k])
      if (slot < 0 || slot === own) continue
      count(counts[slot], -1)
      count(score(slot), 1)
    }
    for (const handle of excluded) {
      const slot = candidates.slot(handle)
      if (slot >= 0) count(score(slot), -1)
    }
    for (let k = 0; k < boosts.size; k += 1) {
      const slot = candidates.slot(boosts.handles[k])
      if (slot >= 0) this.#boosts[slot] = 0
    }
    return meanRank(above, equal)
  }

  /** Boosts in the unit of the counts, by slot. */
  #stage({ handles, values, size }: Boosts, { candidates }: Ranker, total: number): void {
    if (this.#boosts.length < candidates.size) this.#boosts = new Float64Array(2 * candidates.size)
    for (let k = 0; k < size; k += 1) {
      const slot = candidates.slot(handles[k])
      if (slot >= 0) this.#boosts[slot] = values[k] * total
    }
  }
}

/** Of all candidates, in the unit of the counts. */
function sumOfCounts({ candidates }: Ranker): number {
  const { view } = candidates.counts
  let sum = 0
  for (let slot = 0; slot < candidates.size; slot += 1) sum += view[slot]
  return sum
}
