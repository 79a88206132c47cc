/**
 * `freshet bench table --backend tiered`: a stream of keys by Zipf's law over a table of which a
 * tenth fits in memory, all rows in a Redis server beside, against the same stream over a table in
 * memory. `verbs`: nothing but findOrInsert and applyGradients; `steps`: with the work of a
 * training step between them, during which the next batch's rows arrive. Changed rows go to the
 * server in the background, as after checkpoints.
 */
import { systemClock } from '../src/base/clock.ts'
import type { Keys } from '../src/base/keys.ts'
import { seededRandom } from '../src/base/random.ts'
import { MemoryTable } from '../src/embedding/memory/memory-table.ts'
import { openRedisRowStore } from '../src/embedding/redis/redis-row-store.ts'
import type { TableSpec } from '../src/embedding/table-spec.ts'
import { RowKeeper } from '../src/embedding/tiered/row-keeper.ts'
import { TieredTable } from '../src/embedding/tiered/tiered-table.ts'
import { anyServer } from '../test/support/redis-server.ts'

export interface TieredBenchOptions {
  readonly rows: number
  readonly dim: number
  readonly seed: number
  readonly repeats?: number
}

interface Figures {
  readonly [figure: string]: number | string | Figures
}

interface Batch {
  readonly keys: Keys
  readonly occurrences: Uint32Array
}

const batchKeys = 4096
const memoryShare = 0.1
const batches = 120
const warmUp = 40
/** What the step of a batch of 4,096 examples takes, at 110,000 a second. */
const stepMs = 37

export async function run(
  options: TieredBenchOptions,
  progress: (line: string) => void,
): Promise<Figures> {
  const { rows, dim, seed, repeats = 3 } = options
  const spec: TableSpec = {
    name: 'bench-tiered',
    dim,
    capacityRows: Math.ceil(rows * 1.01),
    initializer: { kind: 'normal', mean: 0, std: 0.1 },
    optimizer: {
      kind: 'adagrad',
      rate: 0.1,
      initialAccumulator: 0.1,
      epsilon: 1e-7,
      gradients: 'sum',
    },
  }
  await using server = await anyServer()
  const memory = new MemoryTable(spec)
  const tiered = await openTiered(spec, Math.ceil(rows * memoryShare), server.settings)
  progress(`${rows} rows of ${memory.recordBytes} bytes`)
  const stream = zipf(rows, seed)
  const all = everyKey(rows)
  await train(memory, all, 0)
  await tiered.train(all, 0)
  progress('trained on once')
  const figures: Record<string, Figures> = {}
  for (const [name, workMs] of [
    ['verbs', 0],
    ['steps', stepMs],
  ] as const) {
    figures[name] = await compare({ memory, tiered, stream, workMs, repeats })
    progress(`${name}: ${JSON.stringify(figures[name])}`)
  }
  const isEqual = (await tiered.table.digest()) === memory.digest()
  await tiered.close()
  if (!isEqual) throw new Error('the tables differ')
  const { tier } = tiered.table.stats()
  return {
    config: { rows, dim, seed, batchKeys, memoryShare, stepMs, recordBytes: memory.recordBytes },
    ...figures,
    flushMs: round(tier.flushMs),
    bytes: { memory: memory.stats().bytes, tiered: tiered.table.stats().bytes },
    digests: 'equal',
  }
}

interface Comparison {
  readonly memory: MemoryTable
  readonly tiered: Tiered
  readonly stream: () => Batch
  readonly workMs: number
  readonly repeats: number
}

async function compare({ memory, tiered, stream, workMs, repeats }: Comparison): Promise<Figures> {
  const ratios: number[] = []
  let [memoryRate, tieredRate, hits, lookups, fetched, prefetched] = [0, 0, 0, 0, 0, 0]
  for (let repeat = 0; repeat < repeats; repeat += 1) {
    const some = Array.from({ length: batches + warmUp }, stream)
    const [first, second] = [some.slice(0, warmUp), some.slice(warmUp)]
    await train(memory, first, workMs)
    memoryRate = await rate(second, () => train(memory, second, workMs))
    await tiered.train(first, workMs)
    const before = tiered.table.stats().tier
    tieredRate = await rate(second, () => tiered.train(second, workMs))
    const after = tiered.table.stats().tier
    hits += after.hits - before.hits
    lookups += after.lookups - before.lookups
    fetched += after.fetched - before.fetched
    prefetched += after.prefetched - before.prefetched
    ratios.push(tieredRate / memoryRate)
  }
  return {
    memoryRowsPerSecond: Math.round(memoryRate),
    tieredRowsPerSecond: Math.round(tieredRate),
    relative: round(ratios.toSorted((a, b) => a - b)[repeats >> 1]),
    hitRate: round(hits / lookups),
    prefetchedShare: round(prefetched / Math.max(1, fetched)),
  }
}

const round = (value: number): number => Math.round(value * 1000) / 1000

async function rate(some: readonly Batch[], work: () => Promise<void>): Promise<number> {
  const rows = some.reduce((sum, { keys }) => sum + keys.length / 2, 0)
  const from = systemClock.monotonic()
  await work()
  return (1000 * rows) / (systemClock.monotonic() - from)
}

let version = 0

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
    version += 1
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

type Server = Awaited<ReturnType<typeof anyServer>>

/** The table, flushed in the background when half of its memory has changed. */
class Tiered {
  readonly table: TieredTable
  readonly #close: () => Promise<void>
  #flushing: Promise<void> | undefined
  #sequence = 0

  constructor(table: TieredTable, close: () => Promise<void>) {
    this.table = table
    this.#close = close
  }

  train(some: readonly Batch[], workMs: number): Promise<void> {
    return train(this.table, some, workMs, (i) => {
      if (i + 1 < some.length) this.table.prefetch(some[i + 1].keys)
      return this.#leaveRoom()
    })
  }

  close(): Promise<void> {
    return this.#close()
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

async function openTiered(
  spec: TableSpec,
  memoryRows: number,
  connection: Server['settings'],
): Promise<Tiered> {
  const { recordBytes } = new MemoryTable({ ...spec, capacityRows: 1 })
  const tag = `bench-${process.pid}`
  const limits = { commandTimeoutMs: 60_000 }
  const store = await openRedisRowStore({ table: spec, recordBytes, tag, connection, limits })
  const rows = new RowKeeper({
    name: spec.name,
    store,
    clock: systemClock,
    wait: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
    signal: new AbortController().signal,
    // Never asked for: no server fails.
    saved: () => undefined,
    report: () => {},
  })
  const table = new TieredTable(spec, { memoryRows, rows })
  return new Tiered(table, async () => {
    await store.clear()
    await store.close()
  })
}

/** Keys are hashes: these are two rounds of a 64-bit finalizer (Stafford's mix 13). */
function keyOf(id: number): readonly [low: number, high: number] {
  let word = BigInt(id + 1) * 0x9e37_79b9_7f4a_7c15n
  for (const factor of [0xbf58_476d_1ce4_e5b9n, 0x94d0_49bb_1331_11ebn]) {
    word = BigInt.asUintN(64, (word ^ (word >> 30n)) * factor)
  }
  return [Number(word & 0xffff_ffffn), Number(word >> 32n)]
}

function* everyKeyBatch(rows: number): Generator<Batch> {
  for (let from = 0; from < rows; from += batchKeys) {
    const n = Math.min(batchKeys, rows - from)
    const keys = Uint32Array.from(Array.from({ length: n }, (_, i) => keyOf(from + i)).flat())
    yield { keys, occurrences: new Uint32Array(n).fill(1) }
  }
}

const everyKey = (rows: number): readonly Batch[] => [...everyKeyBatch(rows)]

/** Batches of the distinct keys among 4,096 drawn with probability 1 / rank. */
function zipf(rows: number, seed: number): () => Batch {
  const random = seededRandom(seed)
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
      const id = draw()
      counts.set(id, (counts.get(id) ?? 0) + 1)
    }
    return {
      keys: Uint32Array.from([...counts.keys()].flatMap(keyOf)),
      occurrences: Uint32Array.from(counts.values()),
    }
  }
}
