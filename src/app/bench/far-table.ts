/** Tables with their rows in Redis, and streams of keys, for benchmarks. */
import { systemClock } from '../../base/clock.ts'
import type { Keys } from '../../base/keys.ts'
import { seededRandom } from '../../base/random.ts'
import { MemoryTable } from '../../embedding/memory/memory-table.ts'
import { openRedisRowStore, type RedisRowStore } from '../../embedding/redis/redis-row-store.ts'
import type { TableSpec } from '../../embedding/table-spec.ts'
import { RowKeeper } from '../../embedding/tiered/row-keeper.ts'
import { TieredTable } from '../../embedding/tiered/tiered-table.ts'
import type { RedisSettings } from '../../redis/redis-connection.ts'

export interface FarBenchOptions {
  readonly rows: number
  readonly dim: number
  readonly seed: number
  readonly repeats: number
  /** Absent: one of the benchmark's own. */
  readonly redis?: RedisSettings
}

/** Keys of one batch. */
export const batchKeys = 4096

/** Adagrad on vectors of random numbers. */
export const benchSpec = (name: string, dim: number, capacityRows: number): TableSpec => ({
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

/** Under a model tag of the benchmark's own. Commands may take their time: nothing fails here. */
export const openBenchStore = (
  table: TableSpec,
  recordBytes: number,
  connection: RedisSettings,
): Promise<RedisRowStore> =>
  openRedisRowStore({
    table,
    recordBytes,
    tag: `bench-${process.pid}`,
    connection,
    limits: { commandTimeoutMs: 60_000 },
  })

export interface FarTable extends AsyncDisposable {
  readonly table: TieredTable
  readonly store: RedisRowStore
}

interface FarTableOptions {
  readonly memoryRows: number
  readonly connection: RedisSettings
  /** Whether changed rows go to the store by themselves when there must be room. */
  readonly makesRoom: boolean
}

export async function openFarTable(spec: TableSpec, options: FarTableOptions): Promise<FarTable> {
  const { memoryRows, connection, makesRoom } = options
  const { recordBytes } = new MemoryTable({ ...spec, capacityRows: 1 })
  const store = await openBenchStore(spec, recordBytes, connection)
  const rows = new RowKeeper({
    name: spec.name,
    store,
    clock: systemClock,
    wait: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
    signal: new AbortController().signal,
    // Never asked for: no server fails.
    ...(!makesRoom && { saved: () => undefined }),
    report: () => {},
  })
  const close = async (): Promise<void> => {
    await store.clear()
    await store.close()
  }
  const table = new TieredTable(spec, { memoryRows, rows })
  return { table, store, [Symbol.asyncDispose]: close }
}

/** As hashes are: random. */
export function randomKeys(rows: number, seed: number): Keys {
  const random = seededRandom(seed)
  return new Uint32Array(2 * rows).map(() => random.integer(2 ** 32))
}

/** The same keys in another order, in which a batch's rows lie anywhere (Fisher and Yates). */
export function shuffledKeys(keys: Keys, seed: number): Keys {
  const random = seededRandom(seed)
  const shuffled = keys.slice()
  for (let i = shuffled.length / 2 - 1; i > 0; i -= 1) {
    const j = random.integer(i + 1)
    for (const word of [0, 1]) {
      const other = shuffled[2 * j + word]
      shuffled[2 * j + word] = shuffled[2 * i + word]
      shuffled[2 * i + word] = other
    }
  }
  return shuffled
}

export const batchesOf = (keys: Keys): readonly Keys[] =>
  Array.from({ length: Math.ceil(keys.length / 2 / batchKeys) }, (_, i) =>
    keys.slice(2 * i * batchKeys, 2 * (i + 1) * batchKeys),
  )

export const median = (samples: readonly number[]): number =>
  samples.toSorted((a, b) => a - b)[samples.length >> 1]
