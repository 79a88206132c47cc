/**
 * `freshet bench table --backend tiered`: a stream of keys by Zipf's law over a table of which a
 * tenth fits in memory, all rows in a Redis server beside, against the same stream over a table in
 * memory. `verbs`: nothing but findOrInsert and applyGradients; `steps`: with the work of a
 * training step between them, during which the next batch's rows arrive. Changed rows go to the
 * server in the background, as after checkpoints.
 */
import { systemClock } from '../../base/clock.ts'
import { ServiceError } from '../../base/errors.ts'
import { type Keys, keyCount } from '../../base/keys.ts'
import { seededRandom } from '../../base/random.ts'
import { MemoryTable } from '../../embedding/memory/memory-table.ts'
import type { TieredTable } from '../../embedding/tiered/tiered-table.ts'
import type { JsonObject } from '../command.ts'
import {
  batchesOf,
  batchKeys,
  benchSpec,
  type FarBenchOptions,
  median,
  openFarTable,
  randomKeys,
} from './far-table.ts'
import { benchRedis } from './own-redis.ts'

interface Batch {
  readonly keys: Keys
  readonly occurrences: Uint32Array
}

const memoryShare = 0.1
const batches = 60
const warmUp = 20
/** What the step of a batch of 4,096 examples takes, at 110,000 a second. */
const stepMs = 37
/** A tenth of them holds two batches. */
const fewestRows = (2 * batchKeys) / memoryShare
/** Beyond the rows, so that a cuckoo index of random keys refuses none. */
const spare = 1.01

export async function benchTieredTable(
  options: FarBenchOptions,
  progress: (line: string) => void,
): Promise<JsonObject> {
  const { rows, dim, seed, repeats } = options
  if (rows < fewestRows) {
    const reason = `--rows: expected at least ${fewestRows} with --backend tiered`
    throw new ServiceError('USAGE_INVALID', { what: 'freshet bench table', reason })
  }
  const spec = benchSpec('bench-tiered', dim, Math.ceil(rows * spare))
  await using server = await benchRedis(options.redis)
  const connection = server.settings
  const memoryRows = Math.ceil(rows * memoryShare)
  await using far = await openFarTable(spec, { memoryRows, connection, makesRoom: false })
  const memory = new MemoryTable(spec)
  const tiered = new Flushed(far.table)
  progress(`${rows} rows of ${memory.recordBytes} bytes`)
  const keys = randomKeys(rows, seed)
  const all = batchesOf(keys).map((some) => ({
    keys: some,
    occurrences: new Uint32Array(keyCount(some)).fill(1),
  }))
  await train(memory, all, 0)
  await tiered.train(all, 0)
  progress('trained on once')
  const stream = zipf(keys, seed)
  const figures: Record<string, JsonObject> = {}
  for (const [name, workMs] of [
    ['verbs', 0],
    ['steps', stepMs],
  ] as const) {
    figures[name] = await compare({ memory, tiered, stream, workMs, repeats })
    progress(`${name}: ${JSON.stringify(figures[name])}`)
  }
  await tiered.settled()
  if ((await far.table.digest()) !== memory.digest()) throw new Error('the tables differ')
  const { bytes, tier } = far.table.stats()
  return {
    config: { rows, dim, seed, batchKeys, memoryShare, stepMs, recordBytes: memory.recordBytes },
    ...figures,
    flushMs: round(tier.flushMs),
    bytes: { memory: memory.stats().bytes, tiered: bytes },
    digests: 'equal',
  }
}

interface Comparison {
  readonly memory: MemoryTable
  readonly tiered: Flushed
  readonly stream: () => Batch
  readonly workMs: number
  readonly repeats: number
}

async function compare(comparison: Comparison): Promise<JsonObject> {
  const { memory, tiered, stream, workMs, repeats } = comparison
  const [ratios, memoryRates, tieredRates]: [number[], number[], number[]] = [[], [], []]
  const total = { hits: 0, lookups: 0, fetched: 0, prefetched: 0 }
  for (let repeat = 0; repeat < repeats; repeat += 1) {
    const some = Array.from({ length: batches + warmUp }, stream)
    const [first, second] = [some.slice(0, warmUp), some.slice(warmUp)]
    await train(memory, first, workMs)
    const memoryRate = await rate(second, () => train(memory, second, workMs))
    await tiered.train(first, workMs)
    const before = tiered.table.stats().tier
    const tieredRate = await rate(second, () => tiered.train(second, workMs))
    const after = tiered.table.stats().tier
    total.hits += after.hits - before.hits
    total.lookups += after.lookups - before.lookups
    total.fetched += after.fetched - before.fetched
    total.prefetched += after.prefetched - before.prefetched
    memoryRates.push(memoryRate)
    tieredRates.push(tieredRate)
    ratios.push(tieredRate / memoryRate)
  }
  return {
    memoryRowsPerSecond: Math.round(median(memoryRates)),
    tieredRowsPerSecond: Math.round(median(tieredRates)),
    relative: round(median(ratios)),
    hitRate: round(total.hits / total.lookups),
    prefetchedShare: round(total.prefetched / Math.max(1, total.fetched)),
  }
}

const round = (value: number): number => Math.round(value * 1000) / 1000

async function rate(some: readonly Batch[], work: () => Promise<void>): Promise<number> {
  const rows = some.reduce((sum, { keys }) => sum + keyCount(keys), 0)
  const from = systemClock.monotonic()
  await work()
  return (1000 * rows) / (systemClock.monotonic() - from)
}

/** Two verbs a batch, `workMs` of work between them, and `between` before it. */
async function train(
  table: MemoryTable | TieredTable,
  some: readonly Batch[],
  workMs: number,
  between: (i: number) => Promise<void> | undefined = () => undefined,
): Promise<void> {
  const { dim } = table.spec
  const vectors = new Float32Array(batchKeys * dim)
  const gradients = new Float32Array(batchKeys * dim).fill(0.01)
  for (const [i, { keys, occurrences }] of some.entries()) {
    // Equal in both tables, whatever was trained before.
    const stamp = { time: i, version: i + 1 }
    await table.findOrInsert(keys, vectors, stamp)
    await between(i)
    const until = systemClock.monotonic() + workMs
    while (systemClock.monotonic() < until);
    await table.applyGradients(keys, gradients, occurrences, stamp)
    if (workMs > 0) await new Promise((resolve) => setImmediate(resolve))
  }
}

/** The table, flushed in the background when half of its memory has changed. */
class Flushed {
  readonly table: TieredTable
  #flushing: Promise<void> | undefined
  #sequence = 0

  constructor(table: TieredTable) {
    this.table = table
  }

  train(some: readonly Batch[], workMs: number): Promise<void> {
    return train(this.table, some, workMs, (i) => {
      if (i + 1 < some.length) this.table.prefetch(some[i + 1].keys)
      return this.#leaveRoom()
    })
  }

  async settled(): Promise<void> {
    await this.#flushing
  }

  #leaveRoom(): Promise<void> | undefined {
    const { room, memoryRows } = this.table
    if (this.#flushing === undefined && room < memoryRows * 0.6) {
      this.#sequence += 1
      this.#flushing = this.table.flush(this.#sequence).finally(() => {
        this.#flushing = undefined
      })
    }
    return room < 2 * batchKeys ? this.#flushing : undefined
  }
}

/** Batches of the distinct keys among 4,096 drawn with probability 1 / rank. */
function zipf(keys: Keys, seed: number): () => Batch {
  const random = seededRandom(seed)
  const rows = keyCount(keys)
  const cumulated = new Float64Array(rows)
  let sum = 0
  for (let k = 0; k < rows; k += 1) {
    sum += 1 / (k + 1)
    cumulated[k] = sum
  }
  const draw = (): number => {
    const at = random.next() * sum
    let [low, high] = [0, rows - 1]
    while (low < high) {
      const middle = (low + high) >> 1
      if (cumulated[middle] < at) low = middle + 1
      else high = middle
    }
    return low
  }
  return () => {
    const counts = new Map<number, number>()
    for (let i = 0; i < batchKeys; i += 1) {
      const rank = draw()
      counts.set(rank, (counts.get(rank) ?? 0) + 1)
    }
    return {
      keys: Uint32Array.from([...counts.keys()].flatMap((at) => [keys[2 * at], keys[2 * at + 1]])),
      occurrences: Uint32Array.from(counts.values()),
    }
  }
}
