/** From `process.tables` to the trainer's options: which tables are far, and where. */
import type { FarRowsOptions } from '../../trainer/far-rows.ts'
import type { Config } from './config-schema.ts'
import { redisMemoryRows } from './config-tables-schema.ts'
import { redisSettings } from './servers-options.ts'

/** How the server of rows is reached. Throws `CONFIG_INVALID` for a file that cannot be read. */
export function rowServer({
  process,
}: Config): Pick<FarRowsOptions['redis'], 'connection' | 'limits'> {
  const { redis } = process.tables
  const { commandTimeoutMs, attempts, probeIntervalMs } = redis
  return {
    connection: redisSettings(redis, 'process.tables.redis'),
    limits: { commandTimeoutMs, attempts, probeIntervalMs },
  }
}

/** Rows in memory, of each table whose rows are not all there. */
function memoryRowsOf({ model, process }: Config): Readonly<Record<string, number>> {
  const { rows, memoryRows, byTable } = process.tables
  const far: Record<string, number> = {}
  for (const { name, capacityRows } of model.tables) {
    const own = byTable[name] ?? {}
    const where = own.rows ?? rows
    if (where === 'memory') continue
    const wanted = own.memoryRows ?? (where === 'redis' ? redisMemoryRows : memoryRows)
    far[name] = Math.min(wanted, capacityRows)
  }
  return far
}

/**
 * Undefined: all rows are in memory. `keeps` false: nothing outlives the process, so its rows lie
 * under a tag of their own. Throws `CONFIG_INVALID` for a file that cannot be read.
 */
export function farRowsOptions(config: Config, keeps: boolean): FarRowsOptions | undefined {
  const memoryRows = memoryRowsOf(config)
  if (Object.keys(memoryRows).length === 0) return undefined
  const { model, process } = config
  const { tag = model.name, slices, startWaitMs, stopWaitMs } = process.tables.redis
  return {
    memoryRows,
    redis: {
      ...rowServer(config),
      tag: keeps ? tag : `${tag}-scratch`,
      keySeed: model.seed,
      ...(slices !== undefined && { slices }),
    },
    startWaitMs,
    stopWaitMs,
  }
}
