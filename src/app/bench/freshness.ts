/**
 * `freshet bench freshness`: how long an event takes to be seen by queries, by stage, under a
 * steady stream of events. The stages are what the service itself measures and shows at /metrics
 * (quantiles interpolated within its histograms' buckets); `observedFact` is measured from
 * outside: from sending a click to holding a list that leaves the clicked item out.
 */
import type { Clock } from '../../base/clock.ts'
import type { JsonObject } from '../command.ts'
import { bucketsSince, maximum, type Metrics, quantile } from '../scrape.ts'
import type { ServiceClient } from '../service-client.ts'
import { Latencies } from './latencies.ts'
import { openLoop } from './open-loop.ts'
import { RawHttpClient } from './raw-http.ts'
import { LoadedService } from './shop-load.ts'

export interface BenchFreshnessOptions {
  readonly items: number
  readonly users: number
  /** Events per second, and how many of them share a request. */
  readonly events: number
  readonly eventsPerRequest: number
  readonly seconds: number
  /** Of load before measuring. */
  readonly warmup: number
  readonly seed: number
  readonly flags: readonly string[]
  readonly clock: Clock
  readonly progress: (line: string) => void
}

const stages = ['fact', 'parameter', 'index'] as const
const histogram = 'freshet_freshness_duration_seconds'
const probeEveryMs = 50

export async function benchFreshness(
  options: BenchFreshnessOptions,
  signal: AbortSignal,
): Promise<JsonObject> {
  const loaded = await LoadedService.start({ ...options, warmupEvents: options.users * 2 })
  const client = new RawHttpClient(loaded.service.address, {
    maxConnections: 16,
    maxQueued: 10_000,
  })
  const run = (seconds: number, latencies: Latencies) =>
    openLoop(
      [
        {
          ratePerSecond: options.events / options.eventsPerRequest,
          latencies,
          async send() {
            const body = Array.from({ length: options.eventsPerRequest }, () => loaded.event())
            const { status } = await client.request('POST', '/v1/events', JSON.stringify(body))
            return status === 202
          },
        },
      ],
      { seconds, clock: options.clock, signal },
    )
  try {
    options.progress(`warming up for ${options.warmup} s`)
    await run(options.warmup, new Latencies())
    const before = await loaded.client.metrics()
    options.progress(`${options.events} events/s for ${options.seconds} s`)
    const acknowledged = new Latencies()
    const probed = probe(loaded.client, options)
    await run(options.seconds, acknowledged)
    const observedFact = await probed.stop()
    const after = await loaded.client.metrics()
    return {
      ...Object.fromEntries(stages.map((stage) => [stage, stageReport(after, before, stage)])),
      observedFact: shortReport(observedFact, options.seconds),
      acknowledged: shortReport(acknowledged, options.seconds),
      alignment: await alignment(loaded.client),
      parameters: {
        items: options.items,
        users: options.users,
        events: options.events,
        eventsPerRequest: options.eventsPerRequest,
        seconds: options.seconds,
      },
    }
  } finally {
    client.close()
    await loaded.service.stop()
  }
}

const toMs = (seconds: number | undefined): number | null =>
  seconds === undefined ? null : Math.round(seconds * 1e6) / 1e3

function stageReport(after: Metrics, before: Metrics, stage: string): JsonObject {
  const label = `stage="${stage}"`
  const buckets = bucketsSince(after.buckets(histogram, label), before.buckets(histogram, label))
  return {
    p50Ms: toMs(quantile(buckets, 0.5)),
    p99Ms: toMs(quantile(buckets, 0.99)),
    maxMs: toMs(maximum(buckets)),
    observed: buckets.at(-1)?.count ?? 0,
  }
}

function shortReport(latencies: Latencies, seconds: number): JsonObject {
  const { p50Ms, p99Ms, maxMs, requests, errors } = latencies.report(seconds)
  return { p50Ms, p99Ms, maxMs, requests, errors }
}

/** The job `auditRecall`, run now, and the spread of versions in the index. */
async function alignment(client: ServiceClient): Promise<JsonObject> {
  await client.runJob('auditRecall')
  const metrics = await client.metrics()
  return {
    recall10: metrics.get('freshet_alignment_recall_ratio{k="10"}') ?? null,
    recall100: metrics.get('freshet_alignment_recall_ratio{k="100"}') ?? null,
    versionSpread: metrics.get('freshet_alignment_version_spread_steps') ?? null,
    steps: metrics.sum('freshet_trainer_steps_total'),
  }
}

/** A visitor of its own who clicks the first of the list again and again, until stopped. */
function probe(
  client: ServiceClient,
  { clock }: BenchFreshnessOptions,
): { stop(): Promise<Latencies> } {
  const latencies = new Latencies()
  const stopped = new AbortController()
  const running = probeLoop(client, { clock, latencies, signal: stopped.signal }).catch(() =>
    latencies.addError(),
  )
  return {
    async stop() {
      stopped.abort()
      await running
      return latencies
    },
  }
}

async function probeLoop(
  client: ServiceClient,
  { clock, latencies, signal }: { clock: Clock; latencies: Latencies; signal: AbortSignal },
): Promise<void> {
  const userId = 'freshness-probe'
  const first = async (): Promise<string> =>
    (await client.recommend(userId, { n: 1 })).items[0]?.id ?? ''
  while (!signal.aborted) {
    const itemId = await first()
    const startedAt = clock.monotonic()
    await client.sendEvents([{ kind: 'interaction', userId, itemId, type: 'click' }])
    while ((await first()) === itemId && !signal.aborted);
    if (!signal.aborted) latencies.add(clock.monotonic() - startedAt)
    await new Promise((resolve) => setTimeout(resolve, probeEveryMs))
  }
}
