/**
 * `freshet bench turnover`: every day other users than the day before, at fixed capacity. First a
 * table alone, then a whole learner with its facts. What must be flat from the first full day to
 * the last: rows, resident memory, and what a day's keys and events cost.
 */
import { getHeapSpaceStatistics } from 'node:v8'

import { loadConfig, parseOverride } from '../src/app/config/config.ts'
import { trainerModel } from '../src/app/options.ts'
import { present } from '../src/base/assert.ts'
import type { Keys } from '../src/base/keys.ts'
import { keyCount } from '../src/base/keys.ts'
import { type Random, seededRandom } from '../src/base/random.ts'
import { MemoryTable } from '../src/embedding/memory/memory-table.ts'
import { restrictWhenFull } from '../src/embedding/restrict/restrict.ts'
import type { Event } from '../src/stream/event.ts'
import { Learner } from '../src/trainer/learner.ts'
import { collectGarbage } from './collect-garbage.ts'

export interface TurnoverOptions {
  /** Rows that the table may hold. */
  readonly rows: number
  /** That the learner may know. */
  readonly users: number
  readonly days: number
  readonly seed: number
}

interface Day {
  readonly [figure: string]: number
  /** At its end. */
  readonly rows: number
  /** Without the space for new objects, which V8 enlarges in steps whatever is kept. */
  readonly residentMiB: number
  /** Of it, what JavaScript holds once its garbage is collected; tables lie beside it. */
  readonly heapMiB: number
  /** Keys or events, by the time of the processor: whatever else a machine does. */
  readonly perSecond: number
  readonly evicted: number
}

export interface TurnoverResult {
  readonly [figure: string]: Turnover | { readonly [name: string]: number }
}

interface Turnover {
  readonly [figure: string]: number | readonly Day[]
  readonly days: readonly Day[]
  /** Of all keys that had a row to the rows that there may be. */
  readonly turnover: number
  /** The median of the last three days by that of the first three with the table full. */
  readonly rowsRatio: number
  readonly residentRatio: number
  readonly heapRatio: number
  readonly rateRatio: number
}

/** And no more than what is free when a restrict begins. */
const mostBatchKeys = 4096
const dim = 32
const dayMs = 86_400_000
/** Of the capacity: those of one day. */
const dailyShare = 0.8
const triggerShare = 0.95
const learnerItems = 2_000
const eventsPerUser = 4
const batchesPerDelta = 8
const mebibyte = 2 ** 20

export async function run(
  options: TurnoverOptions,
  progress: (line: string) => void,
): Promise<TurnoverResult> {
  const { rows, users, days, seed } = options
  progress(`a table of ${rows} rows`)
  const table = turnTable(options, progress)
  progress(`a learner of ${users} users`)
  const learner = await turnLearner(options, progress)
  return { config: { rows, users, days, seed, dim, batchKeys: batchKeysOf(rows) }, table, learner }
}

function turnTable(
  { rows, days, seed }: TurnoverOptions,
  progress: (line: string) => void,
): Turnover {
  const random = seededRandom(seed)
  const table = new MemoryTable({
    name: 'turnover',
    dim,
    capacityRows: rows,
    initializer: { kind: 'normal', mean: 0, std: 0.1 },
    optimizer: {
      kind: 'adagrad',
      rate: 0.1,
      initialAccumulator: 0.1,
      epsilon: 1e-7,
      gradients: 'sum',
    },
    restrict: restrictOf(rows),
  })
  const keys = new Uint32Array(2 * Math.floor(rows * dailyShare))
  const found: Day[] = []
  let [version, longestPause] = [0, 0]
  for (let day = 0; day < days; day += 1) {
    for (let i = 0; i < keys.length; i += 1) keys[i] = random.integer(2 ** 32)
    const before = table.stats().evicted
    const from = process.cpuUsage()
    for (const batch of visitsOf(keys, batchKeysOf(rows))) {
      version += 1
      learn(table, batch, version)
      const pausedFrom = performance.now()
      restrictWhenFull(table)
      longestPause = Math.max(longestPause, performance.now() - pausedFrom)
    }
    const seconds = secondsSince(from)
    const evicted = table.stats().evicted - before
    found.push(dayOf(table.size, (2 * keyCount(keys)) / seconds, evicted))
    progress(describe(day, found))
  }
  const { admitted } = table.stats()
  return { ...turnoverOf(found, admitted / rows), longestRestrictPauseMs: rounded(longestPause) }
}

const restrictOf = (rows: number) =>
  ({
    policy: 'timestamp',
    numReserved: Math.floor(rows * dailyShare),
    trigger: Math.floor(rows * triggerShare),
  }) as const

const vectors = new Float32Array(mostBatchKeys * dim)
const gradients = new Float32Array(mostBatchKeys * dim).fill(0.01)
const occurrences = new Uint32Array(mostBatchKeys).fill(1)

function learn(table: MemoryTable, keys: Keys, version: number): void {
  const stamp = { time: 1000 * version, version }
  table.findOrInsert(keys, vectors, stamp)
  table.applyGradients(keys, gradients, occurrences, stamp)
  // As the trainer does for its readers.
  if (version % batchesPerDelta === 0) table.takeChanges()
}

const batchKeysOf = (rows: number): number =>
  Math.min(mostBatchKeys, Math.floor(rows * (1 - triggerShare)))

/** Everybody comes twice, the second time in another order. */
function visitsOf(keys: Keys, batchKeys: number): readonly Keys[] {
  const batches: Keys[] = []
  for (let at = 0; at < keys.length; at += 2 * batchKeys) {
    batches.push(keys.subarray(at, at + 2 * batchKeys))
  }
  return [...batches, ...batches.toReversed()]
}

/** The default model, small: the users of a day are as many as its table keeps. */
function learnerModel(users: number) {
  const overrides = [
    `model.facts.maxItems=${2 * learnerItems}`,
    `model.facts.maxUsers=${users}`,
    `model.facts.maxHistoryEntries=${users * 20}`,
    'model.evaluation.everyNth=0',
    `model.tables.user.capacityRows=${users}`,
    `model.tables.user.restrict=${JSON.stringify(restrictOf(users))}`,
  ]
  const { config } = loadConfig({ environment: {}, overrides: overrides.map(parseOverride) })
  return trainerModel(config.model)
}

async function turnLearner(
  { users, days, seed }: TurnoverOptions,
  progress: (line: string) => void,
): Promise<Turnover> {
  const random = seededRandom(seed)
  const learner = await Learner.create(learnerModel(users))
  const table = present(learner.tables.get('user'), 'user')
  const found: Day[] = []
  for (let day = 0; day < days; day += 1) {
    const before = table.stats().evicted
    const today = Math.floor(users * dailyShare)
    const events = today * eventsPerUser
    const from = process.cpuUsage()
    for (let i = 0; i < events; i += 1) {
      learner.apply(eventOf(day + i / events, random.integer(today), random))
      if (!learner.isFull) continue
      await learner.trainBatch()
      if (learner.step % batchesPerDelta !== 0) continue
      for (const one of learner.tables.values()) await one.takeChanges()
    }
    const seconds = secondsSince(from)
    found.push(dayOf(table.size, events / seconds, table.stats().evicted - before))
    progress(describe(day, found))
  }
  const { admitted } = table.stats()
  const result = turnoverOf(found, admitted / users)
  await learner.close()
  return result
}

/** At a moment, in days, one of the users of that day takes something. */
function eventOf(moment: number, user: number, random: Random): Event {
  const at = Math.floor(moment * dayMs)
  return {
    kind: 'interaction',
    userId: `day-${Math.floor(moment)}-user-${user}`,
    itemId: `item-${Math.floor(learnerItems * random.next() ** 2)}`,
    type: 'click',
    timestamp: at,
    acceptedAt: at,
  }
}

function secondsSince(from: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(from)
  return (user + system) / 1e6
}

function dayOf(rows: number, perSecond: number, evicted: number): Day {
  collectGarbage()
  const { rss, heapUsed, external } = process.memoryUsage()
  const newSpace = getHeapSpaceStatistics().find((space) => space.space_name === 'new_space')
  return {
    rows,
    residentMiB: Math.round((rss - (newSpace?.physical_space_size ?? 0)) / mebibyte),
    heapMiB: rounded((heapUsed + external) / mebibyte),
    perSecond: Math.round(perSecond),
    evicted,
  }
}

function turnoverOf(days: readonly Day[], turnover: number): Turnover {
  const ratio = (figure: keyof Day): number => {
    const values = days.map((day) => day[figure])
    return rounded(median(values.slice(-3)) / median(values.slice(1, 4)))
  }
  return {
    turnover: rounded(turnover),
    rowsRatio: ratio('rows'),
    residentRatio: ratio('residentMiB'),
    heapRatio: ratio('heapMiB'),
    rateRatio: ratio('perSecond'),
    days,
  }
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1]

function describe(number: number, days: readonly Day[]): string {
  const { rows, residentMiB, perSecond, evicted } = present(days.at(-1), 'a day')
  const size = `${rows} rows, ${residentMiB} MiB resident`
  return `day ${number + 1}: ${size}, ${perSecond} per second, ${evicted} evicted`
}

const rounded = (value: number): number => Math.round(value * 1000) / 1000
