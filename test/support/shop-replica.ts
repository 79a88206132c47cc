/**
 * A small shop, whole and real but for HTTP: a file log, a learner that is told when to train and
 * publish, and a serving service fed from both. Disposing it closes everything and removes its
 * directory.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { MessageChannel } from 'node:worker_threads'

import { type Clock, systemClock } from '../../src/base/clock.ts'
import { seededRandom } from '../../src/base/random.ts'
import type { TableSpec } from '../../src/embedding/table-spec.ts'
import type { ModelSpec } from '../../src/model/spec.ts'
import { ServingService } from '../../src/serving/serving-service.ts'
import type { ServingSettings } from '../../src/serving/serving-settings.ts'
import type { Position } from '../../src/stream/event-log.ts'
import type { Event, Interaction, ItemUpsert } from '../../src/stream/event.ts'
import { defaultFactsOptions, type FactsOptions } from '../../src/stream/facts/facts.ts'
import { FileLog } from '../../src/stream/files/file-log.ts'
import type { Watermark } from '../../src/sync/delta.ts'
import { LocalPublisher, LocalSubscriber } from '../../src/sync/local-sync.ts'
import { DeltaSource } from '../../src/trainer/delta-source.ts'
import { Learner } from '../../src/trainer/learner.ts'

const dim = 8
const minuteMs = 60_000

const table = (name: string, std: number, width = dim): TableSpec => ({
  name,
  dim: width,
  capacityRows: 8192,
  initializer: std === 0 ? { kind: 'zeros' } : { kind: 'normal', mean: 0, std },
  optimizer: {
    kind: 'adagrad',
    rate: 0.1,
    initialAccumulator: 0.1,
    epsilon: 1e-7,
    gradients: 'sum',
  },
})

export const shopTables: readonly TableSpec[] = [
  table('had', 0.1),
  table('item', 0.1),
  table('category', 0.1),
  table('user', 0),
  table('device', 0.1),
  table('weight', 0, 1),
]

export const shopModel: ModelSpec = {
  seed: 1,
  dim,
  tables: shopTables.map(({ name, dim: width }) => ({
    name,
    dim: width,
    optimizer: { gradients: 'sum' },
  })),
  query: {
    features: [
      {
        kind: 'sequence',
        name: 'history',
        table: 'had',
        length: 5,
        weights: 'learned',
        gapBoundariesMs: [minuteMs],
      },
      { kind: 'id', name: 'user', table: 'user' },
      { kind: 'context', name: 'device', field: 'device', table: 'device' },
    ],
    combine: 'sum',
    layers: [{ kind: 'residual', units: 16, activation: 'relu' }],
    normalize: true,
  },
  candidate: {
    features: [
      { kind: 'id', name: 'item', table: 'item' },
      {
        kind: 'categories',
        name: 'category',
        field: 'category',
        table: 'category',
        combine: 'mean',
      },
    ],
    combine: 'sum',
    layers: [],
    normalize: true,
  },
  score: {
    temperature: 0.1,
    popularity: {
      halfLifeMs: 60 * minuteMs,
      smoothing: 0.2,
      initialWeight: 0.5,
      features: [{ kind: 'context', name: 'deviceWeight', field: 'device', table: 'weight' }],
    },
  },
  loss: {
    correction: 'inclusion',
    inBatch: true,
    extraNegatives: 16,
    activeWindowMs: 1440 * minuteMs,
    maskSeen: true,
    newItemPull: 1,
    l2: 0,
    typeWeights: { other: 1 },
  },
  denseOptimizer: { kind: 'adam', rate: 0.003, beta1: 0.9, beta2: 0.99, epsilon: 1e-7 },
}

/** The same without popularity. */
export const plainModel: ModelSpec = { ...shopModel, score: { temperature: 0.1 } }

const factsOptions: FactsOptions = {
  ...defaultFactsOptions,
  maxItems: 2000,
  maxUsers: 2000,
  historyLength: 5,
  seenPerUser: 50,
  maxHistoryEntries: 100_000,
  popularityHalfLifeMs: 60 * minuteMs,
}

export const click = (
  userId: string,
  itemId: string,
  more: Partial<Interaction> = {},
): Interaction => ({
  kind: 'interaction',
  userId,
  itemId,
  type: 'click',
  timestamp: Date.now(),
  acceptedAt: Date.now(),
  ...more,
})

export const item = (itemId: string, more: Partial<ItemUpsert> = {}): ItemUpsert => ({
  kind: 'item',
  mode: 'replace',
  itemId,
  timestamp: Date.now(),
  acceptedAt: Date.now(),
  ...more,
})

export const erased = (itemId: string): Event => ({
  kind: 'deleteItem',
  itemId,
  timestamp: Date.now(),
  acceptedAt: Date.now(),
})

/** n items in three categories; `color` is an attribute. */
export const catalogue = (n: number): ItemUpsert[] =>
  Array.from({ length: n }, (_, i) =>
    item(`i${i}`, {
      features: { category: [`c${i % 3}`] },
      attributes: { color: i % 2 === 0 ? 'red' : 'blue', size: i },
    }),
  )

/** Clicks in which each user keeps to one category. */
export function clicks(seed: number, n: number, items: number): Interaction[] {
  const random = seededRandom(seed)
  return Array.from({ length: n }, () => {
    const user = random.integer(20)
    const category = user % 3
    const at = Math.floor(random.integer(items) / 3) * 3 + category
    return click(`u${user}`, `i${at % items}`, { context: { device: 'phone' } })
  })
}

export interface ShopOptions {
  readonly model?: ModelSpec
  readonly tables?: readonly TableSpec[]
  readonly clock?: Clock
  readonly settings?: Partial<ServingSettings>
  readonly indexFile?: string
}

export class Shop implements AsyncDisposable {
  readonly #directory: string
  readonly #options: ShopOptions
  readonly log: FileLog
  readonly learner: Learner
  readonly publisher = new LocalPublisher()
  readonly #deltas: DeltaSource
  #position: Position
  #acceptedAt = 0
  readonly #services: ServingService[] = []
  readonly failures: unknown[] = []

  private constructor(parts: {
    directory: string
    options: ShopOptions
    log: FileLog
    learner: Learner
    position: Position
  }) {
    this.#directory = parts.directory
    this.#options = parts.options
    this.log = parts.log
    this.learner = parts.learner
    this.#position = parts.position
    this.#deltas = new DeltaSource({ model: this.learner.model, tables: this.learner.tables })
    this.publisher.onResync(() => this.#deltas.snapshot(this.#stamp()))
  }

  static async open(options: ShopOptions = {}): Promise<Shop> {
    const directory = await mkdtemp(join(tmpdir(), 'freshet-serving-'))
    const log = await FileLog.open({ directory, fsync: 'never' })
    const learner = await Learner.create({
      spec: options.model ?? shopModel,
      tables: options.tables ?? shopTables,
      facts: factsOptions,
      batch: { maxExamples: 64, maxAgeMs: 50 },
      evaluation: { everyNth: 0, warmupEvents: 0, windowExamples: 100 },
    })
    return new Shop({ directory, options, log, learner, position: await log.start() })
  }

  /** A serving service on its own connection, started. */
  async serve(start?: { facts: Uint8Array; position: Position }): Promise<ServingService> {
    const channel = new MessageChannel()
    this.publisher.attach(channel.port1)
    const service = new ServingService({
      model: this.#options.model ?? shopModel,
      tables: this.#options.tables ?? shopTables,
      facts: factsOptions,
      log: this.log,
      parameters: new LocalSubscriber(channel.port2),
      clock: this.#options.clock ?? systemClock,
      settings: { sliceIntervalMs: 1, ...this.#options.settings },
      ...(this.#options.indexFile === undefined ? {} : { indexFile: this.#options.indexFile }),
      onFailure: (error) => this.failures.push(error),
      onWarning: (error) => this.failures.push(error),
      ...(start === undefined ? {} : { start }),
    })
    this.#services.push(service)
    await service.start(new AbortController().signal)
    return service
  }

  async append(events: readonly Event[]): Promise<string> {
    return (await this.log.append(events)).at(-1) ?? ''
  }

  /** Trains on all that is in the log and publishes what changed. */
  async train(): Promise<void> {
    await this.learn()
    await this.publisher.publish(await this.#deltas.take(this.#stamp()))
  }

  /** Trains without telling anybody. */
  async learn(): Promise<void> {
    const signal = new AbortController().signal
    for (;;) {
      const [batch] = await this.log.read(this.#position, { maxEvents: 1000, waitMs: 0, signal })
      if (batch === undefined || batch.events.length === 0) break
      for (const event of batch.events) {
        this.learner.apply(event)
        this.#acceptedAt = event.acceptedAt
        if (this.learner.isFull) await this.learner.trainBatch()
      }
      this.#position = { [batch.partition]: batch.next }
    }
    await this.learner.trainBatch()
  }

  get position(): Position {
    return this.#position
  }

  /** Resolves when the service has folded, applied and embedded all there is. */
  async settled(service: ServingService): Promise<void> {
    const end = await this.log.end()
    await until(() => {
      const { replica, liveIndex } = service
      const { queues } = liveIndex.stats()
      return (
        replica.position[0] === end[0] &&
        replica.isComplete &&
        replica.state.sequence === this.#deltas.sequence &&
        Object.values(queues).every((size) => size === 0)
      )
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const service of this.#services) await service.stop()
    await this.publisher.close()
    await this.learner.close()
    await this.log.close()
    await rm(this.#directory, { recursive: true })
  }

  #stamp(): { modelVersion: number; watermark: Watermark; publishedAt: number } {
    const watermark = { offsets: this.#position, acceptedAt: this.#acceptedAt }
    return { modelVersion: this.learner.step, watermark, publishedAt: Date.now() }
  }
}

/** Waits for a condition; throws after five seconds. */
export async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 5000; i += 1) {
    if (condition()) return
    await pause(1)
  }
  throw new Error('waited in vain')
}
