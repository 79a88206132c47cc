/**
 * `freshet bench table --backend redis`: rows of 768 bytes in and out of a Redis server in batches
 * of 4,096 (`reads`, `writes`), then the verbs of a table with `rows: redis`, whose memory holds
 * little but stamps, with a table in memory beside. Client and server share the machine; what each
 * spends of a core is reported with the rates, and does not depend on what else runs there.
 */
import { assert } from '../../base/assert.ts'
import { type Keys, keyCount } from '../../base/keys.ts'
import { MemoryTable } from '../../embedding/memory/memory-table.ts'
import type { RedisRowStore } from '../../embedding/redis/redis-row-store.ts'
import type { TieredTable } from '../../embedding/tiered/tiered-table.ts'
import { connectRedis, type RedisConnection } from '../../redis/redis-connection.ts'
import type { JsonObject } from '../command.ts'
import { redisMemoryRows } from '../config/config-tables-schema.ts'
import {
  batchesOf,
  batchKeys,
  benchSpec,
  type FarBenchOptions,
  median,
  openBenchStore,
  openFarTable,
  randomKeys,
  shuffledKeys,
} from './far-table.ts'
import { benchRedis } from './own-redis.ts'

const rowBytes = 768
/** Head of a row; half of the rest is its vector. */
const headBytes = 32
const keptShare = 0.8
const connectLimitMs = 10_000
const verbs = ['findOrInsert', 'find', 'assign', 'applyGradients', 'erase'] as const
type Verb = (typeof verbs)[number]

/** Per row, in microseconds of processor time. */
interface Costs {
  readonly clientUs: number
  readonly serverUs: number
}

interface Rate extends Costs {
  readonly rowsPerSecond: number
}

/** What the server has spent so far, in microseconds. */
type ServerTime = () => Promise<number>

interface Workload {
  readonly arriving: readonly Keys[]
  /** The same keys in another order. */
  readonly mixed: readonly Keys[]
  readonly repeats: number
}

export async function benchRedisTable(
  options: FarBenchOptions,
  progress: (line: string) => void,
): Promise<JsonObject> {
  const { rows, dim, seed, repeats } = options
  await using server = await benchRedis(options.redis)
  const keys = randomKeys(rows, seed)
  const mixed = batchesOf(shuffledKeys(keys, seed))
  const workload: Workload = { arriving: batchesOf(keys), mixed, repeats }
  progress(`${rows} rows of ${rowBytes} bytes, written and read`)
  const rowSpec = benchSpec('bench-rows', (rowBytes - headBytes) / 8, rows)
  const store = await openBenchStore(rowSpec, rowBytes, server.settings)
  using opened = new DisposableStack()
  const connection = opened.adopt(connectRedis(server.settings), (one) => one.close())
  await connection.connected(AbortSignal.timeout(connectLimitMs))
  const serverTime = (): Promise<number> => cpuOf(connection)
  const raw = await measureRows(store, workload, serverTime)
  progress(`a table of ${rows} rows of ${dim} floats`)
  const spec = benchSpec('bench-table', dim, rows)
  const memoryRows = Math.min(rows, redisMemoryRows)
  const place = { memoryRows, connection: server.settings, makesRoom: true }
  await using far = await openFarTable(spec, place)
  const tables = [far.table, new MemoryTable(spec)] as const
  const measured = await measureVerbs(tables, workload, serverTime)
  return {
    config: { rows, dim, seed, batchKeys, repeats, backend: 'redis', memoryRows },
    ...raw,
    ...measured,
    ...(await measureRestrict(far.table, workload.arriving)),
    memoryBytesPerRow: Math.round(far.table.stats().bytes / rows),
  }
}

/** Rows of 768 bytes and nothing else. */
async function measureRows(
  store: RedisRowStore,
  { arriving, mixed, repeats }: Workload,
  serverTime: ServerTime,
): Promise<JsonObject> {
  const records = new Uint8Array(batchKeys * rowBytes).fill(7)
  const present = new Uint8Array(batchKeys)
  const before = await store.memoryBytes()
  const writes: Rate[] = []
  const reads: Rate[] = []
  for (let repeat = 0; repeat <= repeats; repeat += 1) {
    const write = (keys: Keys): Promise<void> => {
      putKeys(records, keys)
      return store.write(records.subarray(0, keyCount(keys) * rowBytes))
    }
    const read = async (keys: Keys): Promise<void> => {
      await store.read(keys, records, present)
      assert(!present.subarray(0, keyCount(keys)).includes(0), 'every row is there')
    }
    writes.push(await rateOf(arriving, write, serverTime))
    reads.push(await rateOf(mixed, read, serverTime))
  }
  const bytesPerRow = Math.round(((await store.memoryBytes()) - before) / (await store.size()))
  await store.clear()
  await store.close()
  // The first pass makes the rows.
  const newRowsPerSecond = writes[0].rowsPerSecond
  return {
    reads: figuresOf(reads.slice(1)),
    writes: { ...figuresOf(writes.slice(1)), newRowsPerSecond },
    bytesPerRow,
    rowBytes,
  }
}

/** Of the first table, with the ratio to the second. */
async function measureVerbs(
  [far, memory]: readonly [TieredTable, MemoryTable],
  { arriving, mixed, repeats }: Workload,
  serverTime: ServerTime,
): Promise<Readonly<Record<string, JsonObject>>> {
  const measured: Record<string, JsonObject> = {}
  const samples = new Map<Verb, { far: Rate; ratio: number }[]>(verbs.map((verb) => [verb, []]))
  let version = 0
  for (let repeat = 0; repeat < repeats; repeat += 1) {
    for (const verb of verbs) {
      version += 1
      const batches = verb === 'findOrInsert' ? arriving : mixed
      const reference = await rateOf(batches, actOf(memory, verb, version), serverTime)
      const rate = await rateOf(batches, actOf(far, verb, version), serverTime)
      samples.get(verb)?.push({ far: rate, ratio: rate.rowsPerSecond / reference.rowsPerSecond })
    }
  }
  for (const [verb, some] of samples) {
    const ratio = median(some.map((sample) => sample.ratio))
    const ratioToReference = Math.round(ratio * 10_000) / 10_000
    measured[verb] = { ...figuresOf(some.map((sample) => sample.far)), ratioToReference }
  }
  return measured
}

/** One verb on one batch. */
function actOf(
  table: TieredTable | MemoryTable,
  verb: Verb,
  version: number,
): (keys: Keys) => Promise<void> {
  const floats = new Float32Array(batchKeys * table.spec.dim).fill(0.01)
  const once = new Uint32Array(batchKeys).fill(1)
  const stamp = { time: 1_000 * version, version }
  return async (keys) => {
    const n = keyCount(keys)
    if (verb === 'find') await table.find(keys, floats)
    else if (verb === 'findOrInsert') await table.findOrInsert(keys, floats, stamp)
    else if (verb === 'assign') await table.assign(keys, floats, stamp)
    else if (verb === 'erase') table.erase(keys)
    else await table.applyGradients(keys, floats, once.subarray(0, n), stamp)
  }
}

/** To four fifths, in steps: stamps are here, rows stay where they are. */
async function measureRestrict(
  table: TieredTable,
  batches: readonly Keys[],
): Promise<{ restrict: JsonObject; maxRestrictPauseMs: number }> {
  const insert = actOf(table, 'findOrInsert', 1_000)
  for (const keys of batches) await insert(keys)
  const before = table.size
  const numReserved = Math.floor(before * keptShare)
  const request = { numReserved, trigger: numReserved, policy: 'frequency' } as const
  const started = performance.now()
  let longest = 0
  while (table.size > numReserved) {
    const from = performance.now()
    table.restrictSome(request)
    longest = Math.max(longest, performance.now() - from)
  }
  const totalMs = Math.round(performance.now() - started)
  return {
    restrict: { totalMs, removed: before - table.size },
    maxRestrictPauseMs: Math.round(10 * longest) / 10,
  }
}

async function rateOf(
  batches: readonly Keys[],
  act: (keys: Keys) => Promise<void>,
  serverTime: ServerTime,
): Promise<Rate> {
  let rows = 0
  const server = await serverTime()
  const started = performance.now()
  const cpu = process.cpuUsage()
  for (const keys of batches) {
    await act(keys)
    rows += keyCount(keys)
  }
  const { user, system } = process.cpuUsage(cpu)
  const seconds = (performance.now() - started) / 1000
  return {
    rowsPerSecond: Math.round(rows / seconds),
    clientUs: Math.round(((user + system) / rows) * 100) / 100,
    serverUs: Math.round((((await serverTime()) - server) / rows) * 100) / 100,
  }
}

async function cpuOf(connection: RedisConnection): Promise<number> {
  const reply = await connection.call('INFO', ['cpu'])
  const text = Buffer.isBuffer(reply) ? reply.toString() : ''
  const seconds = [...text.matchAll(/^used_cpu_(?:sys|user):([\d.]+)/gm)].map(([, n]) => Number(n))
  return seconds.reduce((sum, n) => sum + n * 1_000_000, 0)
}

function figuresOf(rates: readonly Rate[]): { readonly [figure: string]: number } {
  const samples = rates.map(({ rowsPerSecond }) => rowsPerSecond)
  return {
    rowsPerSecond: median(samples),
    clientUs: median(rates.map(({ clientUs }) => clientUs)),
    serverUs: median(rates.map(({ serverUs }) => serverUs)),
    least: Math.min(...samples),
    greatest: Math.max(...samples),
  }
}

/** The keys of rows stand in their records. */
function putKeys(records: Uint8Array<ArrayBuffer>, keys: Keys): void {
  const words = new Uint32Array(records.buffer)
  const step = rowBytes / 4
  for (let i = 0; 2 * i < keys.length; i += 1) {
    words[i * step] = keys[2 * i]
    words[i * step + 1] = keys[2 * i + 1]
  }
}
