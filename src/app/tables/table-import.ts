/**
 * `freshet import tables`: rows of files, or of another model tag in Redis, into the newest
 * checkpoint of a data directory. No file is changed in place: a checkpoint takes the place of the
 * one that was read once all of it is durable, so what is wrong with the rows, a full disk or a
 * kill leaves everything as it was.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'

import { present } from '../../base/assert.ts'
import { ByteReader } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { ServiceError } from '../../base/errors.ts'
import type { Stamp } from '../../embedding/embedding-table.ts'
import { importRecords } from '../../embedding/exchange/record-import.ts'
import {
  ImportDamage,
  type ImportableTable,
  importNdjson,
  importNpyPair,
} from '../../embedding/exchange/table-import.ts'
import { MemoryTable } from '../../embedding/memory/memory-table.ts'
import { RedisTags } from '../../embedding/redis/redis-tags.ts'
import type { TableSpec } from '../../embedding/table-spec.ts'
import { Facts } from '../../stream/facts/facts.ts'
import { CheckpointMirror } from '../../trainer/checkpoint/checkpoint-mirror.ts'
import {
  type Checkpoint,
  type CheckpointPart,
  CheckpointStore,
  tablePart,
} from '../../trainer/checkpoint/checkpoint.ts'
import { openCopies } from '../../trainer/checkpoint/open-copies.ts'
import type { FarRows } from '../../trainer/far-rows.ts'
import type { TrainerReport } from '../../trainer/trainer-status.ts'
import type { JsonObject } from '../command.ts'
import type { Config } from '../config/config-schema.ts'
import { rowServer } from '../config/far-rows-options.ts'
import { copiesOptions } from '../config/servers-options.ts'
import { checkpointStore, newestCheckpoint, type NewestCheckpoint } from '../newest-checkpoint.ts'
import { dataPaths } from '../options.ts'
import { chosenTables, loadTable } from './checkpoint-tables.ts'
import { FarImport } from './far-import.ts'
import { withFarRows } from './far-tables.ts'
import { type Held, whileStopped } from './stopped-service.ts'
import { rowsUnderTag } from './stored-rows.ts'
import { piecesOf, tableFiles, type TableFormat, withSources } from './table-files.ts'
import { requireSameModel } from './table-manifest.ts'

interface FileSource {
  readonly directory: string
  readonly format: TableFormat
}

interface TagSource {
  readonly tag: string
}

export interface ImportOptions {
  readonly config: Config
  /** Names of tables; none: all that the source has rows of. */
  readonly tables: readonly string[]
  readonly source: FileSource | TagSource
  /** The rows of the source are all that a table has then; else its other rows stay. */
  readonly replace: boolean
  readonly clock: Clock
  readonly progress: (line: string) => void
}

/**
 * Throws `INPUT_INVALID` with the place of the first thing wrong, `ROW_STORE_INCOMPATIBLE` for rows
 * of another kind, and `LOG_LOCKED` or `TRAINER_ACTIVE` while a service runs there; nothing has
 * changed then.
 */
export async function importTables(options: ImportOptions): Promise<JsonObject> {
  const { config } = options
  return await whileStopped(config, (held) =>
    withMirror(options, held, async (mirror) => {
      await checkpointStore(config.process.dataDirectory).clean()
      await mirror?.fetch(() => undefined)
      return await importAll(options, { held, mirror })
    }),
  )
}

async function importAll(
  options: ImportOptions,
  place: Pick<Work, 'held' | 'mirror'>,
): Promise<JsonObject> {
  const newest = newestCheckpoint(options.config.process.dataDirectory)
  const chosen = chosenTables(newest, options.tables)
  const [here, far] = [await wanted(chosen.here, options), await wanted(chosen.far, options)]
  if (here.length + far.length === 0) throw nothingFound(options)
  const { source } = options
  const { seed } = newest.saved.spec
  if ('directory' in source) await requireSameModel(source.directory, seed, [...here, ...far])
  const work = { options, newest, stamp: stampOf(newest), ...place }
  if (far.length === 0) return await importInto(work, { here, far })
  return await withFarRows({ ...options, newest, specs: far }, (farRows) =>
    importInto(work, { here, far, farRows }),
  )
}

interface Work {
  readonly options: ImportOptions
  readonly newest: NewestCheckpoint
  readonly stamp: Stamp
  readonly held: Held | undefined
  readonly mirror: CheckpointMirror | undefined
}

interface Targets {
  readonly here: readonly TableSpec[]
  readonly far: readonly TableSpec[]
  /** The stores of `far`. */
  readonly farRows?: FarRows
}

async function importInto(work: Work, { here, far, farRows }: Targets): Promise<JsonObject> {
  const { options, newest } = work
  const { checkpoint } = newest
  const directory = dataPaths(options.config.process.dataDirectory).checkpoints
  using opened = new DisposableStack()
  const parts = new Map<string, CheckpointPart['chunks']>()
  const tables: JsonObject[] = []
  for (const spec of here) {
    const table = options.replace ? new MemoryTable(spec) : loadTable(checkpoint, spec)
    tables.push(await take(work, table))
    parts.set(tablePart(spec.name), table.snapshot())
  }
  for (const spec of far) {
    const { replace } = options
    const incoming = opened.use(new FarImport({ checkpoint, spec, replace, directory }))
    tables.push(await take(work, incoming.table))
    for (const { name, chunks } of incoming.parts()) parts.set(name, chunks)
  }
  await replaceCheckpoint(work, parts)
  // Sends what the stores lack, as after a crash.
  await farRows?.start(checkpoint.sequence)
  return { checkpoint: checkpoint.sequence, tables }
}

/** With the copies in which trainers on other machines find checkpoints, where there are any. */
async function withMirror<Result>(
  { config, progress }: ImportOptions,
  held: Held | undefined,
  work: (mirror: CheckpointMirror | undefined) => Promise<Result>,
): Promise<Result> {
  const place = copiesOptions(config)
  if (place === undefined) return await work(undefined)
  const { keep } = config.process.checkpoints
  const directory = dataPaths(config.process.dataDirectory).checkpoints
  const copies = await openCopies(place, held?.epoch)
  const report = ({ message }: TrainerReport): void => progress(message)
  try {
    return await work(new CheckpointMirror({ directory, keep, copies, report }))
  } finally {
    copies.close()
  }
}

async function replaceCheckpoint(
  { options, newest: { checkpoint }, held, mirror }: Work,
  imported: ReadonlyMap<string, CheckpointPart['chunks']>,
): Promise<void> {
  const { sequence, position, config } = checkpoint
  const parts = checkpoint.parts.map((name): CheckpointPart => ({
    name,
    chunks: imported.get(name) ?? checkpoint.chunks(name),
  }))
  const { checkpoints: directory } = dataPaths(options.config.process.dataDirectory)
  const workshop = held && { workshop: held.workshop }
  const store = new CheckpointStore({ directory, keep: Infinity, ...workshop })
  await store.write({ sequence, position, config, createdAt: options.clock.now() }, parts)
  await mirror?.send(sequence)
}

/** The rows of the source into one table; what to say of it. */
async function take(
  { options, newest, stamp }: Work,
  table: ImportableTable & { readonly size: number },
): Promise<JsonObject> {
  const { source, progress } = options
  const { name } = table.spec
  const imported = await ('tag' in source
    ? takeTag(table, options, { tag: source.tag, seed: newest.saved.spec.seed, stamp })
    : takeFiles(table, source, stamp))
  progress(`${name}: ${imported} rows imported, ${table.size} in all`)
  return { name, imported, rows: table.size }
}

async function takeFiles(
  table: ImportableTable,
  { directory, format }: FileSource,
  stamp: Stamp,
): Promise<number> {
  const paths = tableFiles[format](table.spec.name).map((file) => join(directory, file))
  return await sayingWhere(paths.join(' and '), () => {
    if (format === 'ndjson') return importNdjson(table, piecesOf(paths[0]), stamp)
    return withSources([paths[0], paths[1]], (keys, values) =>
      importNpyPair(table, { keys, values }, stamp),
    )
  })
}

async function takeTag(
  table: ImportableTable,
  { config }: ImportOptions,
  { tag, seed: keySeed, stamp }: { tag: string; seed: number; stamp: Stamp },
): Promise<number> {
  const rows = rowsUnderTag({ config, spec: table.spec, keySeed, tag })
  return await sayingWhere(`tag ${tag}`, () => importRecords(table, rows, stamp.version))
}

async function sayingWhere(file: string, work: () => Promise<number>): Promise<number> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof ImportDamage)) throw error
    const { place, reason } = error
    throw new ServiceError('INPUT_INVALID', { file, place, reason }, { cause: error })
  }
}

/** Those named, or those that the source has something of. */
async function wanted(
  specs: readonly TableSpec[],
  { tables, source, config }: ImportOptions,
): Promise<readonly TableSpec[]> {
  if (tables.length > 0) return specs
  const found: TableSpec[] = []
  for (const spec of specs) {
    const isThere =
      'tag' in source
        ? await hasTag(spec.name, source.tag, config)
        : tableFiles[source.format](spec.name).every((file) =>
            existsSync(join(source.directory, file)),
          )
    if (isThere) found.push(spec)
  }
  return found
}

async function hasTag(table: string, tag: string, config: Config): Promise<boolean> {
  const { connection, limits } = rowServer(config)
  await using tags = await RedisTags.open(table, connection, limits)
  return (await tags.list()).some((stored) => stored.tag === tag)
}

function nothingFound({ source }: ImportOptions): ServiceError {
  const isTag = 'tag' in source
  const file = isTag ? `tag ${source.tag}` : source.directory
  const reason = `it has no ${isTag ? 'rows' : `${source.format} file`} of a table of the model`
  return new ServiceError('INPUT_UNREADABLE', { file, reason })
}

/** The model's version and the time of its stream: what a row gets that does not say its own. */
function stampOf({ checkpoint, saved }: NewestCheckpoint): Stamp {
  const { time } = Facts.load(whole(checkpoint, 'facts'), saved.facts)
  // The step comes first in what the learner saves.
  return { time, version: new ByteReader(whole(checkpoint, 'learner')).float64() }
}

const whole = (checkpoint: Checkpoint, part: string): Uint8Array =>
  present([...checkpoint.chunks(part)].at(0), part)
