/**
 * `freshet bench alignment`: how close the live index stays to the towers while they learn from the
 * simulated shop, under several budgets for embedding items again, one service after the other.
 * Every few seconds the service audits itself: its answers against exact search over items embedded
 * that moment. Beside that, how soon changed items can be found, and how long answers take.
 */
import { setTimeout as pause } from 'node:timers/promises'

import type { Clock } from '../../base/clock.ts'
import { ServiceError } from '../../base/errors.ts'
import type { JsonObject } from '../command.ts'
import { describe, toEvent } from '../demo/shop-bodies.ts'
import { Shop } from '../demo/shop.ts'
import { bucketsSince, type Metrics, quantile } from '../scrape.ts'
import { ServiceClient } from '../service-client.ts'
import { ChildService } from './child-service.ts'
import { Latencies } from './latencies.ts'
import { openLoop } from './open-loop.ts'
import { RawHttpClient } from './raw-http.ts'

export interface BenchAlignmentOptions {
  readonly items: number
  readonly users: number
  /** Events per second, and how many of them share a request. */
  readonly events: number
  readonly eventsPerRequest: number
  /** Recommendations per second. */
  readonly rate: number
  readonly seconds: number
  readonly warmup: number
  /** Between two audits, seconds. */
  readonly every: number
  /** Items embedded again per second, one run for each. */
  readonly budgets: readonly number[]
  /** Of a budget, for items whose own rows have not changed. */
  readonly sweepShare: number
  readonly seed: number
  readonly flags: readonly string[]
  readonly clock: Clock
  readonly progress: (line: string) => void
}

const itemsPerRequest = 1_000
const readyLimitMs = 600_000
const lookMs = 200
const mostTries = 50
const freshness = 'freshet_freshness_duration_seconds'

export async function benchAlignment(
  options: BenchAlignmentOptions,
  signal: AbortSignal,
): Promise<JsonObject> {
  const { items, users, events, rate, seconds, warmup } = options
  options.progress('what happens in the shop')
  const day = new ShopDay(options)
  const runs: JsonObject[] = []
  for (const budget of options.budgets) {
    if (signal.aborted) break
    runs.push(await benchBudget(options, { day, budget }, signal))
  }
  return { runs, parameters: { items, users, events, rate, seconds, warmup } }
}

/** The same for every budget, made beforehand: to simulate a shop takes a processor too. */
class ShopDay {
  readonly catalogue: readonly object[]
  readonly requests: readonly string[]
  readonly userIds: readonly string[]

  constructor(options: BenchAlignmentOptions) {
    const { events, eventsPerRequest, seconds, warmup } = options
    const shop = new Shop({ ...options, eventsPerSecond: options.events })
    this.catalogue = shop.catalogue.map((item) => describe(item, 'id'))
    const count = Math.ceil((events * (seconds + warmup)) / eventsPerRequest)
    const users = new Set<string>()
    this.requests = Array.from({ length: count }, () => {
      const some = Array.from({ length: eventsPerRequest }, () => shop.next())
      for (const event of some) if (event.kind === 'interaction') users.add(event.userId)
      return JSON.stringify(some.map(toEvent))
    })
    this.userIds = [...users]
  }
}

interface Run {
  readonly day: ShopDay
  readonly budget: number
}

async function benchBudget(
  options: BenchAlignmentOptions,
  run: Run,
  signal: AbortSignal,
): Promise<JsonObject> {
  const { progress, sweepShare } = options
  const swept = Math.max(1, Math.round(run.budget * sweepShare))
  const budget = [
    ['--set', `process.serving.embedPerSecond=${run.budget}`],
    ['--set', `process.serving.sweepPerSecond=${swept}`],
    ['--set', 'process.jobs.auditRecallMs=0'],
  ]
  const service = await ChildService.start({ flags: [...options.flags, ...budget.flat()] })
  try {
    progress(`${run.budget} items embedded per second: filling`)
    const client = new ServiceClient(service.address)
    await fill(client, run.day, options.clock)
    return await new AlignmentRun(options, run, service.address).measure(signal)
  } finally {
    await service.stop()
  }
}

async function fill(client: ServiceClient, { catalogue }: ShopDay, clock: Clock): Promise<void> {
  await client.waitUntilReady(readyLimitMs)
  for (let from = 0; from < catalogue.length; from += itemsPerRequest) {
    await client.sendItems(catalogue.slice(from, from + itemsPerRequest))
  }
  const giveUpAt = clock.monotonic() + readyLimitMs
  while (clock.monotonic() < giveUpAt) {
    const metrics = await client.metrics()
    if (metrics.sum('freshet_index_size_items') >= catalogue.length) return
    await pause(lookMs)
  }
}

class AlignmentRun {
  readonly #options: BenchAlignmentOptions
  readonly #run: Run
  readonly #client: ServiceClient
  readonly #raw: RawHttpClient
  readonly #series: JsonObject[] = []
  /** Of the recommendations since the last audit, and of all. */
  #recent = new Latencies()
  #all = new Latencies()
  #sent = 0

  constructor(options: BenchAlignmentOptions, run: Run, address: string) {
    this.#options = options
    this.#run = run
    this.#client = new ServiceClient(address)
    this.#raw = new RawHttpClient(address, { maxConnections: 32, maxQueued: 10_000 })
  }

  async measure(signal: AbortSignal): Promise<JsonObject> {
    const { warmup, seconds, progress } = this.#options
    try {
      await this.#load(warmup, signal)
      const before = await insist(() => this.#client.metrics())
      this.#all = new Latencies()
      const ended = new AbortController()
      await Promise.all([
        this.#audits(before, AbortSignal.any([signal, ended.signal])),
        this.#load(seconds, signal).finally(() => ended.abort()),
      ])
      const after = await insist(() => this.#client.metrics())
      const result = this.#result(before, after)
      progress(JSON.stringify({ ...result, series: undefined }))
      return result
    } finally {
      this.#raw.close()
    }
  }

  #result(before: Metrics, after: Metrics): JsonObject {
    const recalls = this.#series.map((point) => Number(point['recall10']))
    const examples = 'freshet_trainer_examples_total'
    const trained = after.sum(examples) - before.sum(examples)
    return {
      embedPerSecond: this.#run.budget,
      leastRecall10: Math.min(...recalls),
      meanRecall10: rounded(recalls.reduce((sum, recall) => sum + recall, 0) / recalls.length),
      index: stage(before, after),
      recommendations: this.#all.report(this.#options.seconds),
      trainedExamplesPerSecond: Math.round(trained / this.#options.seconds),
      series: this.#series,
    }
  }

  /** One audit after the other, each begun when it is due; at least one. */
  async #audits(start: Metrics, signal: AbortSignal): Promise<void> {
    const { clock, every, progress } = this.#options
    const begin = clock.monotonic()
    let before = start
    for (let n = 1; !signal.aborted; n += 1) {
      const dueMs = begin + n * every * 1000 - clock.monotonic()
      await pause(Math.max(0, dueMs), undefined, { signal }).catch(() => {})
      if (signal.aborted && this.#series.length > 0) return
      const seconds = Math.round((clock.monotonic() - begin) / 1000)
      const latencies = this.#recent
      this.#recent = new Latencies()
      await this.#audit()
      const now = await insist(() => this.#client.metrics())
      const point = {
        seconds,
        recall10: rounded(now.get('freshet_alignment_recall_ratio{k="10"}') ?? 0),
        recall100: rounded(now.get('freshet_alignment_recall_ratio{k="100"}') ?? 0),
        indexRecall10: rounded(now.sum('freshet_index_recall10_ratio')),
        effort: rounded(now.sum('freshet_index_effort_ratio')),
        queuedItems: now.sum('freshet_index_queued_items'),
        versionSpreadSteps: now.sum('freshet_alignment_version_spread_steps'),
        indexP99Ms: stage(before, now).p99Ms,
        recommendationP99Ms: rounded(latencies.quantile(0.99)),
      }
      progress(JSON.stringify(point))
      this.#series.push(point)
      before = now
    }
  }

  /** However long it takes. */
  async #audit(): Promise<void> {
    const client = this.#client
    let run = await insist(() => client.startJob({ name: 'auditRecall', wait: false }))
    while (run.state === 'running') {
      await pause(lookMs)
      const { id } = run
      run = await insist(() => client.job(id))
    }
  }

  #load(seconds: number, signal: AbortSignal): Promise<void> {
    const { events, eventsPerRequest, rate, clock } = this.#options
    const streams = [
      {
        ratePerSecond: events / eventsPerRequest,
        latencies: new Latencies(),
        send: () => this.#sendEvents(),
      },
      { ratePerSecond: rate, latencies: this.#all, send: () => this.#recommend() },
    ]
    return openLoop(streams, { seconds, clock, signal })
  }

  async #sendEvents(): Promise<boolean> {
    const { requests } = this.#run.day
    const body = requests[this.#sent % requests.length]
    this.#sent += 1
    return (await this.#raw.request('POST', '/v1/events', body)).status === 202
  }

  async #recommend(): Promise<boolean> {
    const { clock } = this.#options
    const { userIds } = this.#run.day
    const user = userIds[(this.#sent * 7919) % userIds.length]
    const begin = clock.monotonic()
    const { status } = await this.#raw.request('GET', `/v1/recommendations/${user}?n=10`)
    this.#recent.add(clock.monotonic() - begin)
    return status === 200
  }
}

/** What a busy service refuses is asked again. */
async function insist<Found>(ask: () => Promise<Found>): Promise<Found> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await ask()
    } catch (error) {
      const isBusy = error instanceof ServiceError && error.retryable
      if (!isBusy || tries === mostTries) throw error
      await pause(lookMs)
    }
  }
}

const rounded = (value: number): number => Math.round(value * 10_000) / 10_000

const stageBuckets = (metrics: Metrics) => metrics.buckets(freshness, 'stage="index"')

/** Of changed items, until they can be found. */
function stage(before: Metrics, after: Metrics): { p50Ms: number | null; p99Ms: number | null } {
  const buckets = bucketsSince(stageBuckets(after), stageBuckets(before))
  const ms = (share: number): number | null => {
    const seconds = quantile(buckets, share)
    return seconds === undefined ? null : Math.round(seconds * 1e6) / 1e3
  }
  return { p50Ms: ms(0.5), p99Ms: ms(0.99) }
}
