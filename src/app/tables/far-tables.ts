/**
 * Tables whose rows are in Redis, opened as a checkpoint has them. Talks to the store as a trainer
 * does, so no service may run on the data directory meanwhile.
 */
import type { Clock } from '../../base/clock.ts'
import { ServiceError } from '../../base/errors.ts'
import type { TableSpec } from '../../embedding/table-spec.ts'
import type { TieredTable } from '../../embedding/tiered/tiered-table.ts'
import { directoryPart, FarRows } from '../../trainer/far-rows.ts'
import type { Config } from '../config/config-schema.ts'
import { checkpointStore, type NewestCheckpoint } from '../newest-checkpoint.ts'
import { trainerProcess } from '../options.ts'

export interface FarTablesOptions {
  readonly config: Config
  readonly newest: NewestCheckpoint
  readonly specs: readonly TableSpec[]
  readonly clock: Clock
  readonly progress: (line: string) => void
}

/**
 * Calls `use` with each, one after the other. Throws `ROWS_ELSEWHERE` where `process.tables` knows
 * nothing of a table, and `ROW_STORE_*`.
 */
export async function withFarTables(
  { config, newest: { checkpoint }, specs, clock, progress }: FarTablesOptions,
  use: (table: TieredTable) => Promise<void>,
): Promise<void> {
  const { farRows: options, kernels } = trainerProcess(config)
  for (const { name: table } of specs) {
    if (options?.memoryRows[table] !== undefined) continue
    throw new ServiceError('ROWS_ELSEWHERE', { table, part: directoryPart(table) })
  }
  if (options === undefined) return
  const farRows = await FarRows.open({
    options,
    tables: specs,
    kernels,
    clock,
    checkpoints: checkpointStore(config.process.dataDirectory),
    report: ({ message }) => progress(message),
  })
  try {
    for (const { name } of specs) farRows.table(name)?.load(checkpoint.chunks(directoryPart(name)))
    await farRows.start(checkpoint.sequence)
    for (const { name } of specs) {
      const table = farRows.table(name)
      if (table !== undefined) await use(table)
    }
  } finally {
    await farRows.close()
  }
}
