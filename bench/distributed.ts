/**
 * `freshet bench distributed`: recorded interactions through the distributed shape, as separate
 * processes on this machine: produced to a topic, learned by a trainer, followed by replicas that
 * are asked over HTTP meanwhile. First as fast as it goes (events per second until every replica
 * answers with all that was learned), then at a steady rate (freshness by stage). In the end the
 * trainer's journal is replayed by an embedded trainer over a file log, which must come to the same
 * progressive metrics and the same bits.
 */
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import { Latencies } from '../src/app/bench/latencies.ts'
import { openLoop } from '../src/app/bench/open-loop.ts'
import { RawHttpClient } from '../src/app/bench/raw-http.ts'
import { bundledConfig, loadConfig, parseOverride } from '../src/app/config/config.ts'
import { dataPaths, trainerModel, trainerProcess } from '../src/app/options.ts'
import { contextFields } from '../src/app/recordings/replay.ts'
import { bucketsSince, maximum, type Metrics, quantile } from '../src/app/scrape.ts'
import { systemClock } from '../src/base/clock.ts'
import type { Event } from '../src/stream/event.ts'
import { type KafkaLog, openKafkaLog } from '../src/stream/kafka/kafka-log.ts'
import { RecordedLog } from '../src/stream/recorded/recorded-log.ts'
import { type Outcome, replayEmbedded, savedOutcome } from '../test/support/embedded-replay.ts'
import { BenchFleet, type Member } from './distributed-fleet.ts'

interface DistributedBenchOptions {
  /** Recorded interactions, as `freshet replay` reads them. */
  readonly file: string
  readonly config?: string
  readonly set?: readonly string[]
  readonly columns?: string
  /** Events before measuring, then as fast as it goes; all: what the rest of it leaves. */
  readonly warmup: number
  readonly events: number | 'all'
  /** Then so many a second, for so long. */
  readonly rate: number
  readonly seconds: number
  /** Recommendations per second, over all replicas. */
  readonly queries: number
  readonly partitions: number
  readonly replicas: number
  /** Of the replicas: who waits for whom where processors are few. */
  readonly niceness: number
  /** Whether to replay the journal at the end. */
  readonly verify: boolean
  readonly profiles?: string
}

type Progress = (line: string) => void

const eventsPerAppend = 1_000
const appendsUnderWay = 4
const lookMs = 100
/** Until the trainer has so many events left, and how often it is asked until then. */
const [nearEvents, farMs] = [20_000, 500]
/** The trainer tells twice a second how far it is. */
const looksPerTelling = 6
const settleLimitMs = 900_000
const stages = ['fact', 'parameter', 'index'] as const
const freshness = 'freshet_freshness_duration_seconds'

interface Measured extends DistributedBenchOptions {
  readonly events: number
}

export async function run(asked: DistributedBenchOptions, progress: Progress): Promise<object> {
  const options = { ...asked, events: await burstOf(asked, progress) }
  const { partitions, replicas, niceness } = options
  const config = options.config ?? bundledConfig('news')
  const trainerDirectory = mkdtempSync(join(tmpdir(), 'freshet-bench-'))
  try {
    progress('starting a broker, Redis, a trainer, replicas')
    const { set = [] } = options
    await using fleet = await BenchFleet.start({ ...options, config, set, trainerDirectory })
    await using load = await Load.open(options, fleet)
    const measured = await measure(options, { fleet, load, progress })
    const journal = join(trainerDirectory, 'journal-copy')
    cpSync(dataPaths(trainerDirectory).journal, journal, { recursive: true })
    await fleet.stopServices()
    const equality = options.verify
      ? await verify(options, { trainerDirectory, journal, topic: load.topic, progress })
      : {}
    const { events, warmup, rate, seconds, queries } = options
    const parameters = { events, warmup, rate, seconds, queries, partitions, replicas, niceness }
    return { parameters, processors: availableParallelism(), ...measured, ...equality }
  } finally {
    rmSync(trainerDirectory, { recursive: true, force: true })
  }
}

/** Of a recording that is to be sent whole, it is read once before to know how long it is. */
async function burstOf(options: DistributedBenchOptions, progress: Progress): Promise<number> {
  const { events, warmup, rate, seconds } = options
  if (events !== 'all') return events
  const recording = recordingOf(options)
  const position: Record<number, string> = {}
  let all = 0
  for (;;) {
    const batches = await recording.read(position, readOptions)
    if (batches.length === 0) break
    for (const { partition, next, events: read } of batches) {
      all += read.length
      position[partition] = next
    }
  }
  await recording.close()
  progress(`${all} events in all`)
  const left = all - warmup - rate * seconds
  if (left < 1) throw new Error(`${all} events are too few for ${warmup} and ${rate * seconds}`)
  return left
}

interface Parts {
  readonly fleet: BenchFleet
  readonly load: Load
  readonly progress: Progress
}

async function measure(options: Measured, parts: Parts): Promise<object> {
  const { fleet, load, progress } = parts
  progress(`${options.warmup} events to warm up`)
  await load.produce(options.warmup)
  await settled(fleet, load.produced)
  for (const { client } of fleet.replicas) await client.waitUntilReady(settleLimitMs)
  await using asking = new Asking(fleet.replicas, options.queries, load)
  progress(`${options.events} events as fast as it goes`)
  const burst = await throughput(options.events, parts)
  progress(
    `${String(burst.eventsPerSecond)} events/s; now ${options.rate} for ${options.seconds} s`,
  )
  const steady = await steadyStream(options, parts)
  return { ...burst, steady, queries: await asking.report() }
}

/** Until every replica answers with what was learned from the last event. */
async function throughput(events: number, { fleet, load }: Parts) {
  const processor = fleet.processorSeconds()
  const begin = performance.now()
  await load.produce(events)
  const produced = (performance.now() - begin) / 1_000
  const seconds = ((await settled(fleet, load.produced)) - begin) / 1_000
  const spent = difference(fleet.processorSeconds(), processor)
  return {
    events,
    seconds,
    eventsPerSecond: Math.round(events / seconds),
    producedPerSecond: Math.round(events / produced),
    processorMicrosPerEvent: perEvent(spent, events),
  }
}

async function steadyStream(
  { rate, seconds }: DistributedBenchOptions,
  { fleet, load }: Parts,
): Promise<object> {
  const before = await Promise.all(fleet.replicas.map(({ client }) => client.metrics()))
  const processor = fleet.processorSeconds()
  const events = rate * seconds
  await load.produceSteadily(rate, seconds)
  await settled(fleet, load.produced)
  const spent = difference(fleet.processorSeconds(), processor)
  const after = await Promise.all(fleet.replicas.map(({ client }) => client.metrics()))
  const replicas = fleet.replicas.map(({ name }, i) => [
    name,
    Object.fromEntries(stages.map((stage) => [stage, stageReport(stage, before[i], after[i])])),
  ])
  return {
    events,
    ratePerSecond: rate,
    freshness: Object.fromEntries(replicas),
    processorMicrosPerEvent: perEvent(spent, events),
  }
}

const toMs = (seconds = Number.NaN): number => Math.round(seconds * 1e5) / 100

function stageReport(stage: string, before: Metrics, after: Metrics): object {
  const label = `stage="${stage}"`
  const buckets = bucketsSince(after.buckets(freshness, label), before.buckets(freshness, label))
  return {
    p50Ms: toMs(quantile(buckets, 0.5)),
    p99Ms: toMs(quantile(buckets, 0.99)),
    maxMs: toMs(maximum(buckets)),
    observed: buckets.at(-1)?.count ?? 0,
  }
}

type ByProcess = Readonly<Record<string, number>>

const difference = (after: ByProcess, before: ByProcess): ByProcess =>
  Object.fromEntries(Object.entries(after).map(([name, at]) => [name, at - (before[name] ?? 0)]))

function perEvent(seconds: ByProcess, events: number): ByProcess {
  const micros = Object.entries(seconds).map(([name, spent]) => [name, (spent / events) * 1e6])
  const total = micros.reduce((sum, [, of]) => sum + Number(of), 0)
  const rounded = [...micros, ['all', total]].map(([name, of]) => [
    name,
    Math.round(Number(of) * 10) / 10,
  ])
  return Object.fromEntries(rounded)
}

/**
 * Waits until the trainer has learned from all events and every replica answers with the result.
 * When that was: the trainer tells how far it is from time to time, and once that is nearly all of
 * them replicas are looked at often; before that they have better things to do.
 */
async function settled(fleet: BenchFleet, events: number): Promise<number> {
  const limit = performance.now() + settleLimitMs
  const looks: Look[] = []
  let steps = -1
  let isNear = false
  while (performance.now() < limit) {
    const some = isNear ? looksPerTelling : 0
    for (let i = 0; i < some; i += 1) {
      const versions = await Promise.all(fleet.replicas.map(versionOf))
      looks.push({ at: performance.now(), version: Math.min(...versions) })
      await sleep(lookMs)
    }
    const trainer = await fleet.trainer.client.metrics()
    const learned = trainer.sum('freshet_trainer_steps_total')
    const seen = trainer.sum('freshet_trainer_events_total')
    const isOver = seen >= events && learned === steps
    isNear = events - seen < nearEvents
    steps = learned
    const reached = looks.find(({ version }) => version >= steps)?.at
    // Its last batch may have been cut since it told: then steps go on.
    if (isOver && reached !== undefined && (await haveFolded(fleet, events))) return reached
    if (!isNear) await sleep(farMs)
  }
  throw new Error(`not settled within ${settleLimitMs} ms`)
}

interface Look {
  readonly at: number
  /** Of the replica that is furthest behind. */
  readonly version: number
}

/** -1 of one that is too busy to answer. */
const versionOf = ({ client }: Member): Promise<number> =>
  client.recommend('nobody', { n: 1 }).then(
    ({ model }) => model.version,
    () => -1,
  )

async function haveFolded({ replicas }: BenchFleet, events: number): Promise<boolean> {
  const all = await Promise.all(replicas.map(({ client }) => client.metrics()))
  return all.every((metrics) => metrics.sum('freshet_facts_events_total') >= events)
}

const readOptions = {
  maxEvents: eventsPerAppend * appendsUnderWay,
  waitMs: 0,
  signal: new AbortController().signal,
}

function recordingOf(options: DistributedBenchOptions): RecordedLog {
  const { file, columns } = options
  const mapping =
    columns === undefined ? { contextFields: contextFields(configOf(options)) } : { columns }
  return new RecordedLog({ files: [file], ...mapping })
}

/** Recorded events, as if they were accepted now. */
class Load implements AsyncDisposable {
  readonly topic: KafkaLog
  readonly #recording: RecordedLog
  #position: Readonly<Record<number, string>> = {}
  readonly #queue: Event[] = []
  /** Reading happens one after the other. */
  #taking: Promise<unknown> = Promise.resolve()
  #users: readonly string[] = ['nobody']
  produced = 0

  private constructor(topic: KafkaLog, recording: RecordedLog) {
    this.topic = topic
    this.#recording = recording
  }

  static async open(options: DistributedBenchOptions, fleet: BenchFleet): Promise<Load> {
    const brokers = [fleet.broker.address]
    const topic = await openKafkaLog({ brokers, topic: fleet.topic, maxPendingEvents: 1e6 })
    return new Load(topic, recordingOf(options))
  }

  async produce(events: number): Promise<void> {
    const until = this.produced + events
    const write = async (): Promise<void> => {
      while (this.produced < until) await this.#append(until - this.produced)
    }
    await Promise.all(Array.from({ length: appendsUnderWay }, write))
  }

  /** Open loop, in ticks of some milliseconds. */
  async produceSteadily(rate: number, seconds: number): Promise<void> {
    const [begin, from] = [performance.now(), this.produced]
    const until = from + rate * seconds
    const underWay: Promise<void>[] = []
    while (this.produced < until) {
      await sleep(2)
      const elapsed = performance.now() - begin
      const due = Math.min(until, from + Math.floor((elapsed * rate) / 1_000))
      while (this.produced < due) underWay.push(this.#append(due - this.produced))
    }
    await Promise.all(underWay)
  }

  /** Someone who has clicked of late. */
  someUser(i: number): string {
    return this.#users[i % this.#users.length]
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.topic.close()
    await this.#recording.close()
  }

  /** One append, of at most so many. */
  async #append(most: number): Promise<void> {
    const wanted = Math.min(most, eventsPerAppend)
    this.produced += wanted
    const taking = this.#taking.then(() => this.#take(wanted))
    this.#taking = taking
    const now = Date.now()
    const events = (await taking).map((event) => Object.assign(event, { acceptedAt: now }))
    this.#users = events.flatMap((event) => ('userId' in event ? event.userId : []))
    await this.topic.append(events)
  }

  async #take(wanted: number): Promise<readonly Event[]> {
    while (this.#queue.length < wanted) {
      const batches = await this.#recording.read(this.#position, readOptions)
      if (batches.length === 0) throw new Error('the recording has no more events')
      for (const { partition, next, events } of batches) {
        this.#queue.push(...events)
        this.#position = { ...this.#position, [partition]: next }
      }
    }
    return this.#queue.splice(0, wanted)
  }
}

/** Recommendations at a steady rate, of one replica after the other. */
class Asking implements AsyncDisposable {
  readonly #stopping = new AbortController()
  readonly #latencies = new Latencies()
  readonly #clients: readonly RawHttpClient[]
  readonly #done: Promise<void>
  readonly #begin = performance.now()

  constructor(replicas: readonly Member[], ratePerSecond: number, load: Load) {
    this.#clients = replicas.map(
      ({ client }) => new RawHttpClient(client.address, { maxConnections: 8, maxQueued: 1_000 }),
    )
    const stream = {
      ratePerSecond,
      latencies: this.#latencies,
      send: async (i: number): Promise<boolean> => {
        const path = `/v1/recommendations/${encodeURIComponent(load.someUser(i * 31))}?n=10`
        const { status } = await this.#clients[i % this.#clients.length].request('GET', path)
        return status === 200
      },
    }
    const forever = { seconds: Infinity, clock: systemClock, signal: this.#stopping.signal }
    this.#done = openLoop([stream], forever)
  }

  async report(): Promise<object> {
    const seconds = (performance.now() - this.#begin) / 1_000
    await this[Symbol.asyncDispose]()
    return this.#latencies.report(seconds)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort()
    await this.#done
    for (const client of this.#clients) client.close()
  }
}

const configOf = ({ config, set = [] }: DistributedBenchOptions) =>
  loadConfig({
    file: config ?? bundledConfig('news'),
    fallback: 'news',
    environment: {},
    overrides: set.map(parseOverride),
  }).config

interface Finished {
  readonly trainerDirectory: string
  readonly journal: string
  readonly topic: KafkaLog
  readonly progress: Progress
}

async function verify(
  options: DistributedBenchOptions,
  { trainerDirectory, journal, topic, progress }: Finished,
): Promise<object> {
  const config = configOf(options)
  const parts = { model: trainerModel(config.model), process: trainerProcess(config), topic }
  const { threads, kernels, deltaIntervalMs } = parts.process
  const process = { threads, kernels, deltaIntervalMs }
  const learned = await savedOutcome(dataPaths(trainerDirectory).checkpoints, { ...parts, process })
  progress(`${learned.steps} batches of ${learned.events} events, replayed by an embedded trainer`)
  const directory = join(trainerDirectory, 'embedded')
  const path = join(journal, 'batches')
  const begin = performance.now()
  const replayed = await replayEmbedded({ ...parts, process, directory, journal: path })
  const { progressive, baselines } = learned.evaluation
  return {
    learned: { events: learned.events, steps: learned.steps, stateDigest: learned.stateDigest },
    progressive,
    baselines,
    replayed: {
      seconds: (performance.now() - begin) / 1_000,
      stateDigest: replayed.stateDigest,
      progressive: replayed.evaluation.progressive,
      isEqual: isEqual(learned, replayed),
    },
  }
}

const isEqual = (a: Outcome, b: Outcome): boolean => JSON.stringify(a) === JSON.stringify(b)
