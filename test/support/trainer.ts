/** A small model of every kind of feature, a seeded stream of every kind of event, a log in memory. */
import { join } from 'node:path'

import { seededRandom } from '../../src/base/random.ts'
import type { TableSpec } from '../../src/embedding/table-spec.ts'
import type { ModelSpec } from '../../src/model/spec.ts'
import type { EventLogReader, LogBatch, Position } from '../../src/stream/event-log.ts'
import type { Event } from '../../src/stream/event.ts'
import { defaultFactsOptions } from '../../src/stream/facts/facts.ts'
import type { TrainerModel, TrainerProcess } from '../../src/trainer/trainer-config.ts'

const table = (name: string, dim: number, rest: Partial<TableSpec> = {}): TableSpec => ({
  name,
  dim,
  capacityRows: 512,
  initializer: { kind: 'normal', mean: 0, std: 0.1 },
  optimizer: {
    kind: 'adagrad',
    rate: 0.1,
    initialAccumulator: 0.1,
    epsilon: 1e-7,
    gradients: 'sum',
  },
  ...rest,
})

const dim = 8
const boundariesMs = [60_000, 3_600_000]

export const spec: ModelSpec = {
  seed: 7,
  dim,
  tables: [
    { name: 'read', dim, optimizer: { gradients: 'sum' } },
    { name: 'item', dim, optimizer: { gradients: 'sum' } },
    { name: 'user', dim, optimizer: { gradients: 'sum' } },
    { name: 'context', dim, optimizer: { gradients: 'sum' } },
    { name: 'weight', dim: 1, optimizer: { gradients: 'mean' } },
  ],
  query: {
    combine: 'sum',
    normalize: true,
    features: [
      {
        kind: 'sequence',
        name: 'history',
        table: 'read',
        length: 3,
        weights: 'learned',
        gapBoundariesMs: boundariesMs,
      },
      { kind: 'id', name: 'user', table: 'user' },
      { kind: 'context', name: 'device', field: 'device', table: 'context' },
    ],
    layers: [{ kind: 'residual', units: 8, activation: 'relu' }],
  },
  candidate: {
    combine: 'concat',
    normalize: true,
    features: [{ kind: 'id', name: 'item', table: 'item' }],
    layers: [],
  },
  score: {
    temperature: 0.1,
    popularity: {
      halfLifeMs: 3_600_000,
      smoothing: 0.2,
      initialWeight: 1,
      features: [{ kind: 'context', name: 'deviceWeight', field: 'device', table: 'weight' }],
    },
  },
  loss: {
    correction: 'inclusion',
    inBatch: true,
    extraNegatives: 20,
    activeWindowMs: 24 * 3_600_000,
    maskSeen: true,
    newItemPull: 1,
    l2: 0,
    typeWeights: { click: 1, other: 1 },
  },
  denseOptimizer: { kind: 'adam', rate: 0.01, beta1: 0.9, beta2: 0.99, epsilon: 1e-7 },
}

/** Titles and categories behind a dense layer, history over the items' own table, no popularity. */
const textSpec: ModelSpec = {
  ...spec,
  tables: [
    { name: 'item', dim, optimizer: { gradients: 'sum' } },
    { name: 'word', dim, optimizer: { gradients: 'sum' } },
  ],
  query: {
    combine: 'sum',
    normalize: true,
    features: [
      {
        kind: 'sequence',
        name: 'history',
        table: 'item',
        length: 5,
        weights: 'mean',
        gapBoundariesMs: boundariesMs,
      },
    ],
    layers: [],
  },
  candidate: {
    combine: 'concat',
    normalize: true,
    features: [
      { kind: 'id', name: 'item', table: 'item' },
      { kind: 'text', name: 'title', field: 'title', table: 'word', maxTokens: 4, ngrams: 1 },
    ],
    layers: [{ kind: 'dense', units: dim, activation: 'linear' }],
  },
  score: { temperature: 0.2 },
  loss: { ...spec.loss, correction: 'logq', newItemPull: 0 },
}

/** The first model, and restrict at work in two of its tables. */
export const trainerModel = (changes: Partial<TrainerModel> = {}): TrainerModel => ({
  spec,
  tables: [
    table('read', dim, { restrict: { policy: 'timestamp', numReserved: 30, trigger: 50 } }),
    table('item', dim),
    table('user', dim, { restrict: { policy: 'frequency', numReserved: 20, trigger: 40 } }),
    table('context', dim),
    table('weight', 1),
  ],
  facts: {
    ...defaultFactsOptions,
    maxItems: 200,
    maxUsers: 100,
    historyLength: 5,
    seenPerUser: 20,
    maxLateMs: Infinity,
  },
  batch: { maxExamples: 16, maxAgeMs: 20 },
  evaluation: { everyNth: 2, warmupEvents: 40, windowExamples: 100 },
  ...changes,
})

export const textModel = (changes: Partial<TrainerModel> = {}): TrainerModel =>
  trainerModel({
    spec: textSpec,
    tables: [table('item', dim), table('word', dim)],
    ...changes,
  })

/** The first model, in which rows must be earned, in each table in another way. */
export const admittingModel = (changes: Partial<TrainerModel> = {}): TrainerModel =>
  trainerModel({
    tables: [
      table('read', dim, {
        admission: { kind: 'minCount', count: 3, capacityKeys: 4096 },
        restrict: { policy: 'timestamp', numReserved: 30, trigger: 50 },
      }),
      table('item', dim, { admission: { kind: 'probabilistic', probability: 0.2 } }),
      table('user', dim, {
        admission: {
          kind: 'countingBloom',
          count: 2,
          falsePositiveRate: 0.01,
          capacityKeys: 100,
        },
      }),
      table('context', dim, { admission: { kind: 'always' } }),
      table('weight', 1),
    ],
    ...changes,
  })

const startMs = Date.UTC(2026, 0, 1)

/**
 * n events about 60 items and 40 users with tastes: users click items of their own kind, items come and
 * go, are hidden and shown, users are deleted, and one event in thirty comes twice.
 */
export function shopEvents(n: number, seed = 1): Event[] {
  const random = seededRandom(seed)
  const events: Event[] = []
  for (let i = 0; events.length < n; i += 1) {
    const time = { timestamp: startMs + i * 5_000, acceptedAt: startMs + i * 5_000 + 7 }
    const user = random.integer(40)
    const item = user % 4 === 0 ? random.integer(60) : ((user % 4) + 4 * random.integer(15)) % 60
    const itemId = `item-${item}`
    const roll = random.next()
    if (roll < 0.06) {
      const features = { title: `word${item % 4} word${item % 7} thing` }
      const hidden = random.next() < 0.2
      events.push({ kind: 'item', mode: 'patch', itemId, features, hidden, ...time })
    } else if (roll < 0.07) {
      events.push({ kind: 'deleteItem', itemId, ...time })
    } else if (roll < 0.08) {
      events.push({ kind: 'deleteUser', userId: `user-${user}`, ...time })
    } else {
      const event: Event = {
        kind: 'interaction',
        eventId: `event-${i}`,
        userId: `user-${user}`,
        itemId,
        type: 'click',
        context: { device: `device-${user % 3}` },
        ...time,
      }
      events.push(event)
      if (random.next() < 1 / 30) events.push(event)
    }
  }
  return events.slice(0, n)
}

/** A log that holds what it is given; more can be appended while it is read. */
export class MemoryLog implements EventLogReader {
  readonly events: Event[]
  reads = 0

  constructor(events: readonly Event[] = []) {
    this.events = [...events]
  }

  async read(
    from: Position,
    { maxEvents, waitMs, signal }: Parameters<EventLogReader['read']>[1],
  ): Promise<readonly LogBatch[]> {
    this.reads += 1
    const first = Number(from[0])
    if (first >= this.events.length && waitMs > 0 && !signal.aborted) await this.#wait(waitMs)
    const events = this.events.slice(first, first + maxEvents)
    if (events.length === 0) return []
    const offsets = events.map((_, i) => String(first + i))
    return [{ partition: 0, events, offsets, next: String(first + events.length) }]
  }

  end(): Promise<Position> {
    return Promise.resolve({ 0: String(this.events.length) })
  }

  start(): Promise<Position> {
    return Promise.resolve({ 0: '0' })
  }

  compare(a: string, b: string): number {
    return Number(a) - Number(b)
  }

  close(): Promise<void> {
    return Promise.resolve()
  }

  /** A turn of the event loop is wait enough for a test. */
  #wait(waitMs: number): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, Math.min(waitMs, 1)))
  }
}

export const settings = (directory?: string): TrainerProcess => ({
  threads: 1,
  kernels: 'wasm',
  deltaIntervalMs: 0,
  readMaxEvents: 50,
  ...(directory !== undefined && {
    checkpoints: {
      directory: join(directory, 'checkpoints'),
      intervalMs: 0,
      keep: 2,
      fullEvery: 4,
    },
    journalDirectory: join(directory, 'journal'),
    quarantineDirectory: join(directory, 'quarantine'),
  }),
})
