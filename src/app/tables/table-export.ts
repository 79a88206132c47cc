/** `freshet export tables`: the rows of a data directory's newest checkpoint to files. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'

import { present } from '../../base/assert.ts'
import type { Clock } from '../../base/clock.ts'
import { type ExportableTable, ndjsonOf, npyPairOf } from '../../embedding/exchange/table-export.ts'
import type { JsonObject } from '../command.ts'
import type { Config } from '../config/config-schema.ts'
import { newestCheckpoint } from '../newest-checkpoint.ts'
import { chosenTables, loadTable } from './checkpoint-tables.ts'
import { withFarRows } from './far-tables.ts'
import { whileStopped } from './stopped-service.ts'
import { tableFiles, type TableFormat, writeWhole } from './table-files.ts'
import { type Exported, writeManifest } from './table-manifest.ts'

export interface ExportOptions {
  readonly config: Config
  /** Names of tables; none: all. */
  readonly tables: readonly string[]
  readonly format: TableFormat
  /** Where the files go. */
  readonly directory: string
  readonly clock: Clock
  readonly progress: (line: string) => void
}

/**
 * Writes the files of each table, and `tables.json` last. Throws `LOG_LOCKED` or `TRAINER_ACTIVE`
 * where rows are in Redis and a service runs, which changes them.
 */
export async function exportTables(options: ExportOptions): Promise<JsonObject> {
  const { config, directory, format, progress } = options
  const { dataDirectory } = config.process
  const newest = newestCheckpoint(dataDirectory)
  const { checkpoint, saved } = newest
  const { here, far } = chosenTables(newest, options.tables)
  await mkdir(directory, { recursive: true })
  const tables: Exported['tables'] = []
  const write = async (table: ExportableTable & { readonly size: number }): Promise<void> => {
    const { name, dim, optimizer } = table.spec
    progress(`${name}: ${table.size} rows`)
    await writeTable(table, { directory, format })
    tables.push({ name, rows: table.size, dim, optimizer: optimizer.kind })
  }
  for (const spec of here) await write(loadTable(checkpoint, spec))
  if (far.length > 0) {
    await whileStopped(config, () =>
      withFarRows({ ...options, newest, specs: far }, async (farRows) => {
        for (const { name } of far) await write(present(farRows.table(name), name))
      }),
    )
  }
  const { sequence } = checkpoint
  await writeManifest(directory, { sequence, keySeed: saved.spec.seed, tables })
  return { directory, format, checkpoint: sequence, damaged: newest.damaged, tables }
}

async function writeTable(
  table: ExportableTable,
  { directory, format }: Pick<ExportOptions, 'directory' | 'format'>,
): Promise<void> {
  const paths = tableFiles[format](table.spec.name).map((file) => join(directory, file))
  if (format === 'ndjson') {
    await writeWhole(paths[0], ndjsonOf(table))
    return
  }
  const { keys, values } = await npyPairOf(table)
  await writeWhole(paths[0], keys)
  await writeWhole(paths[1], values)
}
