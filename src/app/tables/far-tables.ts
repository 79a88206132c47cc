/**
 * Tables whose rows are in Redis, opened as a checkpoint has them. Talks to the store as a trainer
 * does, so no service may run on the data directory meanwhile.
 */
import type { Clock } from '../../base/clock.ts'
import { ServiceError } from '../../base/errors.ts'
import type { TableSpec } from '../../embedding/table-spec.ts'
import { directoryPart, FarRows, type FarRowsOptions } from '../../trainer/far-rows.ts'
import type { Config } from '../config/config-schema.ts'
import { farRowsOptions } from '../config/far-rows-options.ts'
import { checkpointStore, type NewestCheckpoint } from '../newest-checkpoint.ts'

export interface FarTablesOptions {
  readonly config: Config
  readonly newest: NewestCheckpoint
  readonly specs: readonly TableSpec[]
  readonly clock: Clock
  readonly progress: (line: string) => void
}

/** Throws `ROWS_ELSEWHERE` where `process.tables` knows nothing of a table. */
export function farOptions(config: Config, specs: readonly TableSpec[]): FarRowsOptions {
  const options = farRowsOptions(config, true)
  const unknown = specs.find(({ name }) => options?.memoryRows[name] === undefined)
  if (options !== undefined && unknown === undefined) return options
  const table = unknown?.name ?? ''
  throw new ServiceError('ROWS_ELSEWHERE', { table, part: directoryPart(table) })
}

/**
 * Calls `use` when the stores have what the checkpoint says. Throws `ROWS_ELSEWHERE` where
 * `process.tables` knows nothing of a table, and `ROW_STORE_*`.
 */
export async function withFarRows<Result>(
  { config, newest: { checkpoint }, specs, clock, progress }: FarTablesOptions,
  use: (farRows: FarRows) => Promise<Result>,
): Promise<Result> {
  const options = farOptions(config, specs)
  const farRows = await FarRows.open({
    // What is read here goes through and stays in no memory.
    options: { ...options, memoryRows: Object.fromEntries(specs.map(({ name }) => [name, 1])) },
    tables: specs,
    kernels: config.process.kernels,
    clock,
    checkpoints: checkpointStore(config.process.dataDirectory),
    report: ({ message }) => progress(message),
  })
  try {
    for (const { name } of specs) farRows.table(name)?.load(checkpoint.chunks(directoryPart(name)))
    await farRows.start(checkpoint.sequence)
    return await use(farRows)
  } finally {
    await farRows.close()
  }
}
