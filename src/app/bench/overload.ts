/**
 * `freshet bench http --overload 3`: what the service answers when it is asked for more than it
 * can, itself and the load each on processors of their own. First its capacity, as many
 * connections as keep it busy each asking again as soon as they are answered; then a multiple of
 * that on a fixed timetable; then half of it, to see how soon all is as before. A request that is
 * turned away must be told so quickly.
 */
import type { Clock } from '../../base/clock.ts'
import type { JsonObject } from '../command.ts'
import { Latencies } from './latencies.ts'
import { openLoop, type Stream } from './open-loop.ts'
import { placeApart } from './placement.ts'
import { ProcessorMeter } from './processor-use.ts'
import { RawHttpClient } from './raw-http.ts'
import { Recovery } from './recovery.ts'
import type { LoadedService } from './shop-load.ts'

export interface OverloadOptions {
  /** Times the capacity. */
  readonly overload: number
  readonly seconds: number
  readonly n: number
  readonly clock: Clock
  readonly progress: (line: string) => void
}

/** Enough to keep the service busy, fewer than it turns away. */
const busyConnections = 64
/** More than it lets in at once. */
const offeredConnections = 1_024
const openSeconds = 1
/** Share of the capacity that is asked for when the overload has ended. */
const calmShare = 0.5
/** An answer that takes so long says that the overload is not over. */
const calmMs = 100

/** One kind of question, its answers told apart. */
class Asker {
  readonly answered = new Latencies()
  readonly refused = new Latencies()
  /** Neither: other statuses, or no answer. */
  failed = 0
  /** Of answers that were refused or slow. */
  readonly recovery: Recovery
  readonly #client: RawHttpClient
  readonly #loaded: LoadedService
  readonly #options: OverloadOptions

  constructor(client: RawHttpClient, loaded: LoadedService, options: OverloadOptions) {
    this.#client = client
    this.#loaded = loaded
    this.#options = options
    this.recovery = new Recovery(options.clock.monotonic())
  }

  async ask(): Promise<boolean> {
    const { clock, n } = this.#options
    const path = `/v1/recommendations/${this.#loaded.userId()}?n=${n}`
    const from = clock.monotonic()
    const status = await this.#client.request('GET', path).then(
      (answer) => answer.status,
      () => 0,
    )
    const now = clock.monotonic()
    if (status === 200) this.answered.add(now - from)
    else if (status === 503) this.refused.add(now - from)
    else this.failed += 1
    this.recovery.add(now, status !== 200 || now - from > calmMs)
    return status === 200
  }

  /** On a timetable. */
  async at(rate: number, seconds: number, signal: AbortSignal): Promise<void> {
    const { clock } = this.#options
    const send = (): Promise<boolean> => this.ask()
    const stream: Stream = { ratePerSecond: rate, latencies: new Latencies(), send }
    await openLoop([stream], { seconds, clock, signal })
  }

  /** As fast as it is answered, over so many connections. */
  async flatOut(connections: number, seconds: number, signal: AbortSignal): Promise<void> {
    const { clock } = this.#options
    const until = clock.monotonic() + seconds * 1_000
    const one = async (): Promise<void> => {
      while (clock.monotonic() < until && !signal.aborted) await this.ask()
    }
    await Promise.all(Array.from({ length: connections }, one))
  }
}

export async function benchOverload(
  loaded: LoadedService,
  options: OverloadOptions,
  signal: AbortSignal,
): Promise<JsonObject> {
  const { overload, seconds, progress } = options
  const { address, processId } = loaded.service
  const placement = placeApart(processId)
  const few = new RawHttpClient(address, { maxConnections: busyConnections, maxQueued: 20_000 })
  // One that finds no connection free has not been asked: it is not the service that refused it.
  const many = new RawHttpClient(address, { maxConnections: offeredConnections, maxQueued: 0 })
  try {
    const busy = new Asker(few, loaded, options)
    const atCapacity = new ProcessorMeter(processId)
    await busy.flatOut(busyConnections, seconds, signal)
    const capacityProcessors = atCapacity.read()
    const capacity = busy.answered.count / seconds
    progress(`capacity ${Math.round(capacity)}/s; ${overload} times that for ${seconds} s`)
    // Opening connections is not what is measured.
    await new Asker(many, loaded, options).flatOut(offeredConnections, openSeconds, signal)
    const flood = new Asker(many, loaded, options)
    const overloaded = new ProcessorMeter(processId)
    await flood.at(overload * capacity, seconds, signal)
    const processors = overloaded.read()
    const calm = new Asker(few, loaded, options)
    await calm.at(calmShare * capacity, Math.min(5, seconds), signal)
    const offered = flood.answered.count + flood.refused.count + flood.failed
    const goodputShare = flood.answered.count / seconds / capacity
    return {
      placement: placement.words,
      capacityPerSecond: Math.round(capacity),
      capacity: busy.answered.report(seconds),
      capacityProcessors,
      offeredPerSecond: Math.round(offered / seconds),
      notSentPerSecond: Math.round(flood.failed / seconds),
      goodputShare,
      // What it would be had the answering thread had its processor as it had at its capacity.
      ownGoodputShare: (goodputShare * capacityProcessors.answering) / processors.answering,
      answered: flood.answered.report(seconds),
      refused: flood.refused.report(seconds),
      processors,
      recoveryMs: calm.recovery.recoveryMs ?? null,
      lastTroubleMs: calm.recovery.lastTroubleMs,
    }
  } finally {
    placement.undo()
    few.close()
    many.close()
  }
}
