/** What a learner is made of: its tables, and who ranks for its evaluation. */
import { present } from '../base/assert.ts'
import { tablesThatShare } from '../embedding/admission/admission.ts'
import { withAdmission } from '../embedding/admission/admitted-table.ts'
import type { DurableTable } from '../embedding/durable-table.ts'
import { MemoryTable } from '../embedding/memory/memory-table.ts'
import type { KernelImplementation } from '../kernels/kernels.ts'
import type { TwoTower } from '../model/two-tower.ts'
import { CatalogueMirror, type Mirror } from './catalogue-mirror.ts'
import { DeltaSource } from './delta-source.ts'
import { DeltaReader } from './evaluation/delta-reader.ts'
import { type Breathe, Ranker } from './evaluation/ranker.ts'
import type { FarRows } from './far-rows.ts'
import { LateMirror } from './late-mirror.ts'
import type { Tables } from './rows.ts'
import type { TrainerModel } from './trainer-config.ts'

export interface LearnerOptions {
  /** Of the dense kernels and of the evaluation; the result does not depend on it. Default 1. */
  readonly threads?: number
  readonly kernels?: KernelImplementation
  /** Asked now and then in the middle of long work: what it gives is awaited. */
  readonly breathe?: Breathe | undefined
  /** Tables whose rows do not all fit in memory. */
  readonly farRows?: FarRows | undefined
  /** Milliseconds of a clock that never goes back, for the pauses that tables report. */
  readonly now?: (() => number) | undefined
  /**
   * The evaluation ranks as a reader of deltas would, with one every so many milliseconds of stream
   * time (0: after every batch); absent: with the model as it is.
   */
  readonly deltaIntervalMs?: number | undefined
}

/** Rows that a step touches beside those of its keys: the one that unknown keys share. */
const spareRows = 8

export interface LearnerBasis {
  readonly options: TrainerModel
  readonly model: TwoTower
  readonly settings: LearnerOptions
}

/** Throws `MEMORY_EXHAUSTED`. */
export function makeTables({ options, model, settings }: LearnerBasis): Tables {
  const { kernels: implementation = 'wasm', farRows, now } = settings
  for (const [name, keys] of model.mostKeys) farRows?.reserve(name, keys + spareRows)
  const tables = new Map(
    options.tables.map((table) => {
      const rows = farRows?.table(table.name) ?? new MemoryTable(table, { implementation, now })
      return [table.name, withAdmission(rows, { implementation })]
    }),
  )
  for (const { name, restrict } of options.tables) {
    protectRows(present(tables.get(name), name), model, restrict?.protectedIds)
  }
  return tables
}

function makeRanker(
  { options, model, settings }: LearnerBasis,
  tables: Tables,
  handleCapacity: number,
): Promise<Ranker> {
  const { threads = 1, kernels: implementation = 'wasm', breathe } = settings
  const { seenPerUser, popularityHalfLifeMs } = options.facts
  const { maxQueries, maxItems } = model
  return Ranker.create({
    model,
    tables,
    handleCapacity,
    maxQueries,
    maxItems,
    maxExcluded: seenPerUser,
    halfLifeMs: popularityHalfLifeMs,
    threads,
    implementation,
    breathe,
  })
}

/** Who keeps the catalogue for the evaluation; throws `MEMORY_EXHAUSTED`. */
export async function makeMirror(
  basis: LearnerBasis,
  tables: Tables,
  handleCapacity: number,
): Promise<Mirror> {
  const { options, model, settings } = basis
  const { deltaIntervalMs: intervalMs, kernels: implementation = 'wasm' } = settings
  const { spec, tables: specs } = options
  const shared = tablesThatShare(specs)
  if (intervalMs === undefined) {
    return new CatalogueMirror(await makeRanker(basis, tables, handleCapacity), spec, shared)
  }
  const { maxQueries, maxItems } = model
  const limits = { maxQueries, maxItems, implementation }
  const reader = await DeltaReader.create({ spec, tables: specs, ...limits })
  const ranker = await makeRanker({ ...basis, model: reader.model }, reader.tables, handleCapacity)
  const mirror = new CatalogueMirror(ranker, spec, shared)
  return new LateMirror({ mirror, source: new DeltaSource({ model, tables }), reader, intervalMs })
}

/** The rows of items and users with these ids stay in the table. */
function protectRows(table: DurableTable, model: TwoTower, ids: readonly string[] = []): void {
  for (const id of ids) {
    for (const { table: name, keys } of [...model.itemRows(id), ...model.userRows(id)]) {
      if (name === table.spec.name) table.protect(keys)
    }
  }
}
