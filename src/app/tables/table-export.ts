/** `freshet export tables`: the rows of a data directory's newest checkpoint to files. */
import { join } from 'node:path'

import { present } from '../../base/assert.ts'
import type { Clock } from '../../base/clock.ts'
import { ServiceError } from '../../base/errors.ts'
import { type ExportableTable, ndjsonOf, npyPairOf } from '../../embedding/exchange/table-export.ts'
import type { TableSpec } from '../../embedding/table-spec.ts'
import type { JsonObject } from '../command.ts'
import type { Config } from '../config/config-schema.ts'
import { makeDirectory } from '../make-directory.ts'
import { newestCheckpoint, type NewestCheckpoint } from '../newest-checkpoint.ts'
import { chosenTables, loadTable } from './checkpoint-tables.ts'
import { farOptions, withFarRows } from './far-tables.ts'
import { whileStopped } from './stopped-service.ts'
import { StoredRows } from './stored-rows.ts'
import { tableFiles, type TableFormat, writeWhole } from './table-files.ts'
import { type Exported, writeManifest } from './table-manifest.ts'

export interface ExportOptions {
  readonly config: Config
  /** Names of tables; none: all. */
  readonly tables: readonly string[]
  readonly format: TableFormat
  /** Where the files go. */
  readonly directory: string
  /** A trainer is at work, and rows in Redis are exported as they lie there. */
  readonly isLive?: boolean
  readonly clock: Clock
  readonly progress: (line: string) => void
}

/**
 * Writes the files of each table, and `tables.json` last. Rows in Redis are those of the newest
 * checkpoint where nobody trains, else each slice of them is as it lies there.
 */
export async function exportTables(options: ExportOptions): Promise<JsonObject> {
  const { config, directory, format, progress } = options
  const newest = newestCheckpoint(config.process.dataDirectory)
  const { checkpoint, saved } = newest
  const { here, far } = chosenTables(newest, options.tables)
  makeDirectory(directory)
  const tables: Exported['tables'] = []
  const write = async (table: ExportableTable & { readonly size: number }): Promise<void> => {
    const { name, dim, optimizer } = table.spec
    progress(`${name}: ${table.size} rows`)
    await writeTable(table, { directory, format })
    tables.push({ name, rows: table.size, dim, optimizer: optimizer.kind })
  }
  for (const spec of here) await write(loadTable(checkpoint, spec))
  if (far.length > 0) await exportFar(options, { newest, far, write })
  const { sequence } = checkpoint
  await writeManifest(directory, { sequence, keySeed: saved.spec.seed, tables })
  return { directory, format, checkpoint: sequence, damaged: newest.damaged, tables }
}

interface FarExport {
  readonly newest: NewestCheckpoint
  readonly far: readonly TableSpec[]
  readonly write: (table: ExportableTable & { readonly size: number }) => Promise<void>
}

async function exportFar(options: ExportOptions, work: FarExport): Promise<void> {
  const { config, isLive } = options
  const { newest, far, write } = work
  // A lease is no lock: it is not taken from a trainer at work for this.
  if (isLive === true || config.process.shape === 'distributed') {
    await exportLive(options, work)
    return
  }
  try {
    await whileStopped(config, () =>
      withFarRows({ ...options, newest, specs: far }, async (farRows) => {
        for (const { name } of far) await write(present(farRows.table(name), name))
      }),
    )
  } catch (error) {
    if (!(error instanceof ServiceError && error.code === 'LOG_LOCKED')) throw error
    await exportLive(options, work)
  }
}

async function exportLive(
  { config, directory, progress }: ExportOptions,
  { newest, far, write }: FarExport,
): Promise<void> {
  const { redis: server } = farOptions(config, far)
  progress('a service runs: rows in Redis as they lie there')
  for (const spec of far) {
    const path = join(directory, `${spec.name}.rows`)
    const keySeed = newest.saved.spec.seed
    using stored = await StoredRows.read({ config, spec, keySeed, tag: server.tag, path })
    await write(stored)
  }
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
