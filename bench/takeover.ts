/**
 * `freshet bench takeover`: how soon a standby trains when the active trainer is killed, and when
 * it is stopped. A broker, Redis, two trainers over one folder and a replica, as processes on this
 * machine; tables as large as asked for; events at a steady rate all the while. The newest checkpoint
 * is `age` seconds old each time: what came since is to be repeated from the journal.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import { ChildService } from '../src/app/bench/child-service.ts'
import { bundledConfig, loadConfig, parseOverride } from '../src/app/config/config.ts'
import { ServiceClient } from '../src/app/service-client.ts'
import type { Event } from '../src/stream/event.ts'
import { type KafkaLog, openKafkaLog } from '../src/stream/kafka/kafka-log.ts'
import { syncNames } from '../src/sync/redis/redis-names.ts'
import { KafkaServer, makeTopic } from '../test/support/kafka-server.ts'
import { RedisServer } from '../test/support/redis-server.ts'

interface TakeoverOptions {
  readonly config?: string
  readonly set?: readonly string[]
  /** As many users. */
  readonly items: number
  readonly dim: number
  /** Events per second. */
  readonly rate: number
  /** Seconds from the newest checkpoint to the end of the active trainer. */
  readonly age: number
  /** Of each kind. */
  readonly rounds: number
}

type Progress = (line: string) => void

type End = 'SIGKILL' | 'SIGTERM'

/** Milliseconds from the signal. */
interface Times {
  /** The standby has the lease. */
  readonly leaseMs: number
  /** Its state is that of the checkpoint, and it begins to repeat the journal. */
  readonly activeMs: number
  /** Its first delta is in Redis. */
  readonly firstDeltaMs: number
  /** It has learned all that there was at the signal. */
  readonly caughtUpMs: number
  /** The replica begins to take everything anew from it. */
  readonly replicaMs: number
}

const partitions = 4
const eventsPerAppend = 1_000
const lookMs = 10
const limitMs = 300_000

export async function run(options: TakeoverOptions, progress: Progress): Promise<object> {
  const directory = mkdtempSync(join(tmpdir(), 'freshet-bench-'))
  try {
    progress('starting a broker, Redis, a trainer, a replica')
    await using pair = await Pair.start(options, directory)
    progress(`${options.items} users and items`)
    await pair.clicks.fill()
    await pair.hasLearned(pair.active)
    await pair.replica.client.waitUntilReady(limitMs)
    const { bytes, ...measured } = await measure(options, { pair, progress })
    const { items, dim, rate, age, rounds } = options
    const parameters = { items, dim, rate, age, rounds }
    return { parameters, processors: availableParallelism(), checkpointBytes: bytes, ...measured }
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

async function measure(
  { rate, age, rounds }: TakeoverOptions,
  { pair, progress }: { readonly pair: Pair; readonly progress: Progress },
): Promise<Readonly<Record<'kill' | 'stop', object>> & { readonly bytes: number }> {
  await pair.startStandby()
  const stopping = new AbortController()
  const flowing = pair.clicks.keepOn(rate, stopping.signal)
  const found: Record<End, Times[]> = { SIGKILL: [], SIGTERM: [] }
  let bytes = 0
  try {
    for (let round = 1; round <= rounds; round += 1) {
      for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
        bytes = Math.max(bytes, await pair.checkpoint())
        await sleep(age * 1_000)
        const times = await pair.replace(signal)
        progress(`${signal}: ${JSON.stringify(times)}`)
        found[signal].push(times)
      }
    }
  } finally {
    stopping.abort()
    await flowing
  }
  return { kill: summary(found.SIGKILL), stop: summary(found.SIGTERM), bytes }
}

const stages = ['leaseMs', 'activeMs', 'firstDeltaMs', 'caughtUpMs', 'replicaMs'] as const

function summary(all: readonly Times[]): object {
  const entries = stages.map((stage) => {
    const sorted = all.map((times) => times[stage]).toSorted((a, b) => a - b)
    return [stage, { median: sorted[sorted.length >> 1], max: sorted.at(-1) }]
  })
  return Object.fromEntries(entries)
}

/** Clicks straight into the topic. */
class Clicks {
  readonly #topic: KafkaLog
  readonly #items: number
  sent = 0

  constructor(topic: KafkaLog, items: number) {
    this.#topic = topic
    this.#items = items
  }

  /** Two of each user, the second with the first as its history: each table has a row of each. */
  async fill(): Promise<void> {
    while (this.sent < 2 * this.#items) await this.#append(eventsPerAppend)
  }

  async keepOn(rate: number, signal: AbortSignal): Promise<void> {
    const [begin, from] = [performance.now(), this.sent]
    while (!signal.aborted) {
      await sleep(lookMs)
      const due = from + Math.floor(((performance.now() - begin) * rate) / 1_000)
      while (this.sent < due) await this.#append(Math.min(due - this.sent, eventsPerAppend))
    }
  }

  async #append(count: number): Promise<void> {
    const now = Date.now()
    const events = Array.from({ length: count }, (_, i): Event => {
      const user = (this.sent + i) % this.#items
      const lap = Math.floor((this.sent + i) / this.#items)
      const itemId = `item-${(user + lap * 7) % this.#items}`
      const what = { kind: 'interaction', type: 'click', itemId, userId: `user-${user}` } as const
      return { ...what, timestamp: now, acceptedAt: now }
    })
    await this.#topic.append(events)
    this.sent += count
  }
}

interface Process {
  readonly service: ChildService
  readonly client: ServiceClient
}

/** Invariant: one trains, and but for the time of a round another one stands by. */
class Pair implements AsyncDisposable {
  readonly clicks: Clicks
  readonly replica: Process
  active: Process
  readonly #stack: AsyncDisposableStack
  readonly #redis: RedisServer
  readonly #head: string
  readonly #startTrainer: () => Promise<Process>
  #standby: Process | undefined

  private constructor(started: Started, stack: AsyncDisposableStack) {
    this.#stack = stack
    this.clicks = started.clicks
    this.replica = started.replica
    this.active = started.active
    this.#redis = started.redis
    this.#head = started.head
    this.#startTrainer = started.startTrainer
  }

  static async start(options: TakeoverOptions, directory: string): Promise<Pair> {
    await using started = new AsyncDisposableStack()
    const broker = started.use(await KafkaServer.start({ heapMb: 512, quickStart: true }))
    const redis = started.use(await RedisServer.start({ appendOnly: true }))
    const topic = await makeTopic(broker.address, partitions)
    const values = valuesOf(options, { broker, redis, topic })
    const config = options.config ?? bundledConfig('shop')
    const flags = ['--config', config, ...values.flatMap((value) => ['--set', value])]
    const start = async (role: string, dataDirectory?: string): Promise<Process> => {
      const service = await ChildService.start({
        flags: ['--role', role, ...flags],
        ...(dataDirectory !== undefined && { dataDirectory }),
      })
      stack.defer(() => service.stop('SIGKILL').then(() => undefined))
      return { service, client: new ServiceClient(service.address) }
    }
    const log = await openKafkaLog({ brokers: [broker.address], topic, maxPendingEvents: 1e6 })
    started.defer(() => log.close())
    const stack = started.use(new AsyncDisposableStack())
    const startTrainer = (): Promise<Process> => start('trainer', directory)
    const active = await startTrainer()
    const replica = await start('serving,jobs')
    const clicks = new Clicks(log, options.items)
    const head = syncNames(modelName(config, values)).head
    const parts = { clicks, replica, active, redis, head, startTrainer }
    return new Pair(parts, started.move())
  }

  async startStandby(): Promise<void> {
    this.#standby = await this.#startTrainer()
    await this.#standby.client.waitUntilReady(limitMs)
  }

  async hasLearned({ client }: Process): Promise<void> {
    await until(async () => {
      const metrics = await client.metrics()
      return metrics.sum('freshet_trainer_events_total') >= this.clicks.sent
    })
  }

  /** Its bytes. */
  async checkpoint(): Promise<number> {
    const { client } = this.replica
    let job = await client.runJob('checkpoint')
    await until(async () => {
      if (job.state === 'running') job = await client.job(job.id)
      return job.state !== 'running'
    })
    const { state, result, error } = job
    if (state !== 'done') throw new Error(`no checkpoint: ${state}, ${String(error)}`)
    return Number(result?.['bytes'])
  }

  /** The active one ends, the standby takes over, another one stands by. */
  async replace(signal: End): Promise<Times> {
    const next = this.#standby
    if (next === undefined) throw new Error('nobody stands by')
    const epoch = await this.#newestEpoch()
    const resyncs = await gauge(this.replica, 'sync_resyncs_total')
    const sent = this.clicks.sent
    const begin = performance.now()
    const ending = this.active.service.stop(signal)
    const since = async (isSo: () => Promise<boolean>): Promise<number> => {
      await until(isSo)
      return Math.round(performance.now() - begin)
    }
    const [leaseMs, activeMs, firstDeltaMs, caughtUpMs, replicaMs] = await Promise.all([
      since(async () => (await gauge(next, 'lease_epoch')) > 0),
      since(async () => (await gauge(next, 'lease_active')) === 1),
      since(async () => (await this.#newestEpoch()) > epoch),
      since(async () => (await gauge(next, 'trainer_events_total')) >= sent),
      since(async () => (await gauge(this.replica, 'sync_resyncs_total')) > resyncs),
    ])
    await ending
    this.active = next
    await this.startStandby()
    return { leaseMs, activeMs, firstDeltaMs, caughtUpMs, replicaMs }
  }

  /** Of the newest delta. */
  async #newestEpoch(): Promise<number> {
    return Number(await this.#redis.command('HGET', this.#head, 'lastEpoch'))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync()
  }
}

interface Started {
  readonly clicks: Clicks
  readonly replica: Process
  readonly active: Process
  readonly redis: RedisServer
  readonly head: string
  readonly startTrainer: () => Promise<Process>
}

interface Servers {
  readonly broker: KafkaServer
  readonly redis: RedisServer
  readonly topic: string
}

function valuesOf(
  { set = [], dim }: TakeoverOptions,
  { broker, redis, topic }: Servers,
): readonly string[] {
  return [
    'process.shape=distributed',
    `process.kafka.brokers=[${broker.address}]`,
    `process.kafka.topic=${topic}`,
    `process.redis.url=redis://127.0.0.1:${redis.port}`,
    'process.logging.level=warn',
    // Those that are asked for are all, so their age is known.
    'process.checkpoints.intervalMs=86400000',
    `model.dim=${dim}`,
    ...['had', 'item', 'words', 'user', 'context'].map((name) => `model.tables.${name}.dim=${dim}`),
    ...set,
  ]
}

const modelName = (file: string, values: readonly string[]): string =>
  loadConfig({ file, fallback: 'shop', environment: {}, overrides: values.map(parseOverride) })
    .config.model.name

const gauge = async ({ client }: Process, name: string): Promise<number> =>
  (await client.metrics()).get(`freshet_${name}`) ?? 0

async function until(isSo: () => Promise<boolean>): Promise<void> {
  const limit = performance.now() + limitMs
  while (!(await isSo().catch(() => false))) {
    if (performance.now() > limit) throw new Error(`not within ${limitMs} ms`)
    await sleep(lookMs)
  }
}
