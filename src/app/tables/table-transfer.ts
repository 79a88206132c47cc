/**
 * `freshet export tables` and `freshet import tables`: the rows of a data directory's newest
 * checkpoint to files and back. An import changes no file in place: it writes a checkpoint that
 * takes the place of the one that was read once all of it is durable, so a bad file, a full disk
 * or a kill leaves everything as it was.
 */
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'

import * as z from 'zod'

import { present } from '../../base/assert.ts'
import { ByteReader } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { ServiceError } from '../../base/errors.ts'
import type { Stamp } from '../../embedding/embedding-table.ts'
import { type ExportableTable, ndjsonOf, npyPairOf } from '../../embedding/exchange/table-export.ts'
import { ImportDamage, importNdjson, importNpyPair } from '../../embedding/exchange/table-import.ts'
import { MemoryTable } from '../../embedding/memory/memory-table.ts'
import type { TableSpec } from '../../embedding/table-spec.ts'
import { Facts } from '../../stream/facts/facts.ts'
import { lockDirectory } from '../../stream/files/directory-lock.ts'
import type { Checkpoint, CheckpointPart } from '../../trainer/checkpoint/checkpoint.ts'
import type { JsonObject } from '../command.ts'
import type { Config } from '../config/config-schema.ts'
import { makeDirectory } from '../make-directory.ts'
import { suggestion } from '../nearest.ts'
import { checkpointStore, newestCheckpoint, type NewestCheckpoint } from '../newest-checkpoint.ts'
import { dataPaths } from '../options.ts'
import { withFarTables } from './far-tables.ts'
import { piecesOf, tableFiles, type TableFormat, withSources, writeWhole } from './table-files.ts'

export interface TransferOptions {
  readonly config: Config
  /** Names of tables; none: all, or in an import all that there are files of. */
  readonly tables: readonly string[]
  readonly format: TableFormat
  /** Where the files are. */
  readonly directory: string
  readonly clock: Clock
  readonly progress: (line: string) => void
}

export interface ImportOptions extends TransferOptions {
  /** The rows of the files are all that a table has then; else its other rows stay. */
  readonly replace: boolean
}

/** What the files are of, beside them: an import refuses rows that would mean something else. */
const manifestFile = 'tables.json'
const formatName = 'freshet-tables'
const manifest = z.object({
  format: z.literal(formatName),
  version: z.literal(1),
  sequence: z.number(),
  keys: z.object({ hash: z.literal('xxh64'), seed: z.number() }),
  tables: z.array(
    z.object({ name: z.string(), rows: z.number(), dim: z.number(), optimizer: z.string() }),
  ),
})
type Manifest = z.infer<typeof manifest>

const partOf = (table: string): string => `table-${table}`

/**
 * Writes the files of each table, and `tables.json` last. Throws `LOG_LOCKED` where rows are in
 * Redis and a service runs, which changes them.
 */
export async function exportTables(options: TransferOptions): Promise<JsonObject> {
  const { config, clock, directory, format, progress } = options
  const { dataDirectory } = config.process
  const newest = newestCheckpoint(dataDirectory)
  const { checkpoint, saved } = newest
  const { here, far } = chosen(newest, options.tables)
  makeDirectory(directory)
  const tables: Manifest['tables'] = []
  const write = async (table: ExportableTable & { readonly size: number }): Promise<void> => {
    const { name, dim, optimizer } = table.spec
    progress(`${name}: ${table.size} rows`)
    await writeTable(table, { directory, format })
    tables.push({ name, rows: table.size, dim, optimizer: optimizer.kind })
  }
  for (const spec of here) await write(load(checkpoint, spec))
  if (far.length > 0) {
    await whileStopped(dataDirectory, () =>
      withFarTables({ config, newest, specs: far, clock, progress }, write),
    )
  }
  const { sequence } = checkpoint
  const keys = { hash: 'xxh64', seed: saved.spec.seed } as const
  const described: Manifest = { format: formatName, version: 1, sequence, keys, tables }
  const text = `${JSON.stringify(described, undefined, 2)}\n`
  await writeWhole(join(directory, manifestFile), [new TextEncoder().encode(text)])
  return { directory, format, checkpoint: sequence, damaged: newest.damaged, tables }
}

async function writeTable(
  table: ExportableTable,
  { directory, format }: Pick<TransferOptions, 'directory' | 'format'>,
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

/**
 * Reads the files into the newest checkpoint. Throws `INPUT_INVALID` with the place of the first
 * thing wrong, and `LOG_LOCKED` while a service runs there; nothing has changed then.
 */
export async function importTables(options: ImportOptions): Promise<JsonObject> {
  const { dataDirectory } = options.config.process
  return whileStopped(dataDirectory, async () => {
    const store = checkpointStore(dataDirectory)
    await store.clean()
    const newest = newestCheckpoint(dataDirectory)
    const { checkpoint } = newest
    const imported = await readTables(newest, options)
    const parts = checkpoint.parts.map((name): CheckpointPart => ({
      name,
      chunks: imported.get(name)?.table.snapshot() ?? checkpoint.chunks(name),
    }))
    const { sequence, position, config } = checkpoint
    await store.write({ sequence, position, config, createdAt: options.clock.now() }, parts)
    const tables = [...imported.values()].map(({ table, rows }) => ({
      name: table.spec.name,
      imported: rows,
      rows: table.size,
    }))
    return { checkpoint: sequence, tables }
  })
}

/** Holds the lock of the log, if there is one. Throws `LOG_LOCKED`. */
async function whileStopped<Result>(
  dataDirectory: string,
  work: () => Promise<Result>,
): Promise<Result> {
  const { log } = dataPaths(dataDirectory)
  const lock = existsSync(log) ? lockDirectory(log) : undefined
  try {
    return await work()
  } finally {
    lock?.release()
  }
}

interface Imported {
  readonly table: MemoryTable
  /** Of the files. */
  readonly rows: number
}

/** By the names of their parts. */
async function readTables(
  newest: NewestCheckpoint,
  options: ImportOptions,
): Promise<ReadonlyMap<string, Imported>> {
  const { directory, format, progress } = options
  const isThere = ({ name }: TableSpec): boolean =>
    tableFiles[format](name).every((file) => existsSync(join(directory, file)))
  const { checkpoint, saved } = newest
  const { here, far } = chosen(newest, options.tables)
  const isWanted = (spec: TableSpec): boolean => options.tables.length > 0 || isThere(spec)
  const refused = far.find(isWanted)
  if (refused !== undefined) {
    throw invalidNames(`the rows of ${refused.name} are in Redis: only tables in memory take rows`)
  }
  const specs = here.filter(isWanted)
  if (specs.length === 0) {
    const reason = `it has no ${format} file of a table of the model`
    throw new ServiceError('INPUT_UNREADABLE', { file: directory, reason })
  }
  await requireSameModel(directory, saved.spec.seed, specs)
  const stamp = stampOf(checkpoint, saved)
  const imported = new Map<string, Imported>()
  for (const spec of specs) {
    const table = options.replace ? new MemoryTable(spec) : load(checkpoint, spec)
    const rows = await readTable(table, options, stamp)
    progress(`${spec.name}: ${rows} rows imported, ${table.size} in all`)
    imported.set(partOf(spec.name), { table, rows })
  }
  return imported
}

async function readTable(
  table: MemoryTable,
  { directory, format }: ImportOptions,
  stamp: Stamp,
): Promise<number> {
  const paths = tableFiles[format](table.spec.name).map((file) => join(directory, file))
  try {
    if (format === 'ndjson') return await importNdjson(table, piecesOf(paths[0]), stamp)
    return await withSources([paths[0], paths[1]], (keys, values) =>
      importNpyPair(table, { keys, values }, stamp),
    )
  } catch (error) {
    if (!(error instanceof ImportDamage)) throw error
    const { place, reason } = error
    const details = { file: paths.join(' and '), place, reason }
    throw new ServiceError('INPUT_INVALID', details, { cause: error })
  }
}

/** Files from elsewhere have no manifest, and are taken at their word. */
async function requireSameModel(
  directory: string,
  seed: number,
  specs: readonly TableSpec[],
): Promise<void> {
  const file = join(directory, manifestFile)
  if (!existsSync(file)) return
  const invalid = (place: string, reason: string): ServiceError =>
    new ServiceError('INPUT_INVALID', { file, place, reason })
  let found: Manifest
  try {
    found = manifest.parse(JSON.parse(await readFile(file, 'utf8')))
  } catch {
    throw invalid('its content', `it is no ${formatName} of version 1`)
  }
  if (found.keys.seed !== seed) {
    throw invalid('keys', `hashed with seed ${found.keys.seed}, and the model has ${seed}`)
  }
  for (const { name, dim, optimizer } of specs) {
    const other = found.tables.find((table) => table.name === name)
    if (other === undefined || (other.dim === dim && other.optimizer === optimizer.kind)) continue
    const expected = `${dim} floats and ${optimizer.kind}`
    throw invalid(name, `made with ${other.dim} floats and ${other.optimizer}, not ${expected}`)
  }
}

/** The model's version and the time of its stream: what a row gets that does not say its own. */
function stampOf(checkpoint: Checkpoint, saved: NewestCheckpoint['saved']): Stamp {
  const whole = (part: string): Uint8Array => present([...checkpoint.chunks(part)].at(0), part)
  const { time } = Facts.load(whole('facts'), saved.facts)
  // The step comes first in what the learner saves.
  return { time, version: new ByteReader(whole('learner')).float64() }
}

interface Chosen {
  readonly here: readonly TableSpec[]
  /** Their rows are not in the checkpoint. */
  readonly far: readonly TableSpec[]
}

/** Tables by name, or all. Throws `USAGE_INVALID`. */
function chosen({ checkpoint, saved }: NewestCheckpoint, names: readonly string[]): Chosen {
  const known = saved.tables.map(({ name }) => name)
  const wrong = names.find((name) => !known.includes(name))
  if (wrong !== undefined) {
    throw invalidNames(`there is no table "${wrong}"${suggestion(wrong, known)}`)
  }
  const wanted = saved.tables.filter(({ name }) => names.length === 0 || names.includes(name))
  const isHere = ({ name }: TableSpec): boolean => checkpoint.parts.includes(partOf(name))
  return { here: wanted.filter(isHere), far: wanted.filter((spec) => !isHere(spec)) }
}

const invalidNames = (reason: string): ServiceError =>
  new ServiceError('USAGE_INVALID', { what: 'tables', reason })

function load(checkpoint: Checkpoint, spec: TableSpec): MemoryTable {
  const table = new MemoryTable(spec)
  table.load(checkpoint.chunks(partOf(spec.name)))
  return table
}
