/**
 * `freshet bench http`: recommendations and events side by side, at fixed rates, over loopback,
 * while the service trains on what comes. The service is a child process; the load comes from this
 * one.
 */
import type { Clock } from '../../base/clock.ts'
import type { JsonObject } from '../command.ts'
import { Latencies } from './latencies.ts'
import { openLoop, type Stream } from './open-loop.ts'
import { benchOverload } from './overload.ts'
import { ProcessorMeter } from './processor-use.ts'
import { RawHttpClient } from './raw-http.ts'
import { LoadedService } from './shop-load.ts'

export interface BenchHttpOptions {
  readonly items: number
  readonly users: number
  /** Recommendations per second. */
  readonly rate: number
  /** Events per second, and how many of them share a request. */
  readonly events: number
  readonly eventsPerRequest: number
  readonly seconds: number
  /** Of load before measuring. */
  readonly warmup: number
  readonly n: number
  /** Times the capacity, to be offered afterwards; absent: that is not measured. */
  readonly overload?: number
  readonly seed: number
  readonly flags: readonly string[]
  readonly clock: Clock
  readonly progress: (line: string) => void
}

const maxQueued = 20_000

export async function benchHttp(
  options: BenchHttpOptions,
  signal: AbortSignal,
): Promise<JsonObject> {
  const loaded = await LoadedService.start({ ...options, warmupEvents: options.users * 2 })
  const connections = { maxConnections: 64, maxQueued }
  const client = new RawHttpClient(loaded.service.address, connections)
  const measure = async (seconds: number) => {
    const streams = [recommendations(client, loaded, options), events(client, loaded, options)]
    await openLoop(streams, { seconds, clock: options.clock, signal })
    return streams.map(({ latencies }) => latencies.report(seconds))
  }
  try {
    options.progress(`warming up for ${options.warmup} s`)
    await measure(options.warmup)
    const before = await loaded.client.metrics()
    options.progress(`${options.rate} recommendations/s and ${options.events} events/s`)
    const meter = new ProcessorMeter(loaded.service.processId)
    const [asked, told] = await measure(options.seconds)
    const processors = meter.read()
    const after = await loaded.client.metrics()
    const { overload } = options
    const overloaded =
      overload !== undefined && (await benchOverload(loaded, { ...options, overload }, signal))
    const examples = 'freshet_trainer_examples_total'
    return {
      recommendations: asked,
      events: { ...told, eventsPerSecond: told.rate * options.eventsPerRequest },
      trainedExamplesPerSecond: (after.sum(examples) - before.sum(examples)) / options.seconds,
      processors,
      index: {
        grown: after.sum('freshet_index_grown_total') - before.sum('freshet_index_grown_total'),
        effort: after.sum('freshet_index_effort_ratio'),
        recall10: after.sum('freshet_index_recall10_ratio'),
        largestLeafItems: after.sum('freshet_index_largest_leaf_items'),
      },
      ...(overloaded !== false && { overload: overloaded }),
      serviceRssBytes: after.get('freshet_process_memory_bytes{of="resident"}') ?? null,
      parameters: {
        items: options.items,
        users: options.users,
        n: options.n,
        rate: options.rate,
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

function recommendations(
  client: RawHttpClient,
  loaded: LoadedService,
  { rate, n }: BenchHttpOptions,
): Stream {
  return {
    ratePerSecond: rate,
    latencies: new Latencies(),
    async send() {
      const { status } = await client.request(
        'GET',
        `/v1/recommendations/${loaded.userId()}?n=${n}`,
      )
      return status === 200
    },
  }
}

function events(
  client: RawHttpClient,
  loaded: LoadedService,
  { events: rate, eventsPerRequest }: BenchHttpOptions,
): Stream {
  return {
    ratePerSecond: rate / eventsPerRequest,
    latencies: new Latencies(),
    async send() {
      const body = Array.from({ length: eventsPerRequest }, () => loaded.event())
      const { status } = await client.request('POST', '/v1/events', JSON.stringify(body))
      return status === 202
    },
  }
}
