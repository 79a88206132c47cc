/**
 * `freshet bench table --backend redis`: rows of 768 bytes in and out of a Redis server in batches
 * of 4,096 (`reads`, `writes`), then the verbs of a table that has all its rows there, with a table
 * in memory beside. Client and server share the machine; what the client spends of a core is
 * reported with each rate. The server is started for the benchmark, or the one that
 * `FRESHET_TEST_REDIS` names (host:port), where a model tag of the benchmark's own is used.
 */
import { assert } from '../src/base/assert.ts'
import { openRedisRowStore, type RedisRowStore } from '../src/embedding/redis/redis-row-store.ts'
import {
  openStoredTable,
  recordBytesOf,
  type StoredTable,
} from '../src/embedding/store/stored-table.ts'
import type { TableSpec } from '../src/embedding/table-spec.ts'
import { anyServer } from '../test/support/redis-server.ts'
import { Subject, type Verb, verbs } from './table-subject.ts'
import { type Batch, batchKeys, makeWorkload, type Workload } from './table-workload.ts'

export interface RedisBenchOptions {
  readonly rows: number
  readonly dim: number
  readonly seed: number
  readonly repeats?: number
}

interface Figures {
  readonly [figure: string]: number | string | Figures
}

interface Rate {
  readonly rowsPerSecond: number
  /** Of the client, in microseconds of processor time per row. */
  readonly clientUs: number
}

const rowBytes = 768
const keptShare = 0.8
/** Memory answers from so many rows as from all: its rate is only a reference. */
const referenceRows = 262_144

const specOf = (name: string, dim: number, capacityRows: number): TableSpec => ({
  name,
  dim,
  capacityRows,
  initializer: { kind: 'normal', mean: 0, std: 0.1 },
  optimizer: {
    kind: 'adagrad',
    rate: 0.1,
    initialAccumulator: 0.1,
    epsilon: 1e-7,
    gradients: 'sum',
  },
})

export async function run(
  options: RedisBenchOptions,
  progress: (line: string) => void,
): Promise<Figures> {
  const { rows, dim, seed, repeats = 3 } = options
  await using server = await anyServer()
  const open = (spec: TableSpec): Promise<RedisRowStore> =>
    openRedisRowStore({
      table: spec,
      recordBytes: recordBytesOf(spec),
      tag: `bench-${process.pid}`,
      connection: server.settings,
      limits: { commandTimeoutMs: 60_000 },
    })
  const workload = makeWorkload(options)
  progress(`${rows} rows of ${rowBytes} bytes, written and read`)
  const raw = await measureRows(await open(specOf('bench-rows', (rowBytes - 32) / 8, rows)), {
    workload,
    repeats,
  })
  const spec = specOf('bench-table', dim, rows)
  const store = await open(spec)
  progress(`a table of ${rows} rows of ${dim} floats`)
  const table = await openStoredTable(spec, { store })
  const measured = await measureTable(table, { workload, repeats })
  await store.clear()
  await store.close()
  const reference = new Subject('wasm', Math.min(rows, referenceRows), dim)
  const part = makeWorkload({ ...options, rows: Math.min(rows, referenceRows) })
  reference.measure('findOrInsert', part)
  return {
    config: { rows, dim, seed, batchKeys, repeats, backend: 'redis', reference: 'memory' },
    ...raw,
    ...Object.fromEntries(
      [...measured.rates].map(([verb, rate]) => {
        const ratio = rate.rowsPerSecond / reference.measure(verb, part)
        return [verb, { ...rate, ratioToReference: Math.round(ratio * 10_000) / 10_000 }]
      }),
    ),
    restrict: measured.restrict,
    maxRestrictPauseMs: measured.maxRestrictPauseMs,
    sink: reference.sink,
  }
}

interface Passes {
  readonly workload: Workload
  readonly repeats: number
}

/** Rows of 768 bytes and nothing else. */
async function measureRows(
  store: RedisRowStore,
  { workload, repeats }: Passes,
): Promise<{ reads: Figures; writes: Figures; bytesPerRow: number; rowBytes: number }> {
  const records = new Uint8Array(batchKeys * rowBytes).fill(7)
  const present = new Uint8Array(batchKeys)
  const before = await store.memoryBytes()
  const writes: Rate[] = []
  const reads: Rate[] = []
  for (let repeat = 0; repeat <= repeats; repeat += 1) {
    writes.push(
      await rateOf(workload.arriving, ({ keys }) => {
        putKeys(records, keys)
        return store.write(records.subarray(0, (keys.length / 2) * rowBytes))
      }),
    )
    reads.push(
      await rateOf(workload.mixed, async ({ keys }) => {
        await store.read(keys, records, present)
        assert(present[0] === 1, 'every row is there')
      }),
    )
  }
  const rows = await store.size()
  const bytesPerRow = Math.round(((await store.memoryBytes()) - before) / rows)
  await store.clear()
  await store.close()
  // The first pass makes the rows.
  return {
    reads: figuresOf(reads.slice(1)),
    writes: { ...figuresOf(writes.slice(1)), newRowsPerSecond: writes[0]?.rowsPerSecond ?? 0 },
    bytesPerRow,
    rowBytes,
  }
}

async function measureTable(
  table: StoredTable,
  { workload, repeats }: Passes,
): Promise<{ rates: Map<Verb, Rate>; restrict: Figures; maxRestrictPauseMs: number }> {
  const found = new Float32Array(batchKeys * table.spec.dim)
  let version = 0
  const act = async (verb: Verb, { keys, vectors, occurrences }: Batch): Promise<void> => {
    const stamp = { time: 1_000 * version, version }
    if (verb === 'find') await table.find(keys, found)
    else if (verb === 'findOrInsert') await table.findOrInsert(keys, found, stamp)
    else if (verb === 'assign') await table.assign(keys, vectors, stamp)
    else if (verb === 'applyGradients') {
      await table.applyGradients(keys, vectors, occurrences, stamp)
    } else await table.erase(keys)
  }
  const samples = new Map<Verb, Rate[]>(verbs.map((verb) => [verb, []]))
  for (let repeat = 0; repeat < repeats; repeat += 1) {
    for (const verb of ['findOrInsert', 'find', 'assign', 'applyGradients', 'erase'] as const) {
      version += 1
      const batches = verb === 'findOrInsert' ? workload.arriving : workload.mixed
      samples.get(verb)?.push(await rateOf(batches, (batch) => act(verb, batch)))
    }
  }
  version += 1
  for (const batch of workload.arriving) await act('findOrInsert', batch)
  const restrict = await measureRestrict(table)
  const rates = [...samples].map(([verb, some]) => [verb, median(some)] as const)
  return { rates: new Map(rates), ...restrict }
}

/** To four fifths, in steps: scores come over the wire, vectors stay. */
async function measureRestrict(
  table: StoredTable,
): Promise<{ restrict: Figures; maxRestrictPauseMs: number }> {
  const before = table.size
  const numReserved = Math.floor(before * keptShare)
  const request = { numReserved, trigger: numReserved, policy: 'frequency' } as const
  const started = performance.now()
  let longest = 0
  while (table.size > numReserved) {
    const from = performance.now()
    await table.restrictSome(request)
    longest = Math.max(longest, performance.now() - from)
  }
  const totalMs = Math.round(performance.now() - started)
  return {
    restrict: { totalMs, removed: before - table.size },
    maxRestrictPauseMs: Math.round(longest),
  }
}

async function rateOf(
  batches: readonly Batch[],
  act: (batch: Batch) => Promise<void>,
): Promise<Rate> {
  let rows = 0
  const started = performance.now()
  const cpu = process.cpuUsage()
  for (const batch of batches) {
    await act(batch)
    rows += batch.keys.length / 2
  }
  const { user, system } = process.cpuUsage(cpu)
  const seconds = (performance.now() - started) / 1000
  return {
    rowsPerSecond: Math.round(rows / seconds),
    clientUs: Math.round(((user + system) / rows) * 100) / 100,
  }
}

function figuresOf(rates: readonly Rate[]): Figures {
  const samples = rates.map(({ rowsPerSecond }) => rowsPerSecond)
  return { ...median(rates), least: Math.min(...samples), greatest: Math.max(...samples) }
}

function median(rates: readonly Rate[]): Rate {
  const sorted = rates.toSorted((a, b) => a.rowsPerSecond - b.rowsPerSecond)
  const middle = sorted[sorted.length >> 1]
  assert(middle !== undefined, 'something was measured')
  return middle
}

/** The keys of rows stand in their records. */
function putKeys(records: Uint8Array, keys: Uint32Array): void {
  const words = new Uint32Array(records.buffer)
  const step = rowBytes / 4
  for (let i = 0; 2 * i < keys.length; i += 1) {
    words[i * step] = keys[2 * i]
    words[i * step + 1] = keys[2 * i + 1]
  }
}
