/**
 * One step of learning: columns, rows, loss and gradients, the guard's word, and then all updates or
 * none. Pure: everything it reads and changes is handed in.
 */
import { present } from '../base/assert.ts'
import type { Stamp } from '../embedding/embedding-table.ts'
import type { Lookup } from '../model/table-lookup.ts'
import type { TwoTower } from '../model/two-tower.ts'
import type { Example } from '../stream/example.ts'
import type { Guard, GuardTrip } from './guard.ts'
import type { ActiveItems, ColumnBuilder, Columns } from './negatives.ts'
import type { Tables } from './ranker.ts'
import type { SamplingBias } from './sampling-bias.ts'

/** What a step changes, but for `columns`, which is working space. */
export interface Learning {
  readonly model: TwoTower
  readonly tables: Tables
  readonly bias: SamplingBias
  readonly guard: Guard
  readonly columns: ColumnBuilder
}

export interface StepContext {
  readonly catalogue: ActiveItems
  /** Counts batches: seeds the negatives. */
  readonly step: number
  /** Event time, and the model's version once the step is taken. */
  readonly stamp: Stamp
  /** Log popularity of each handle before the batch, into `out`. */
  popularity(handles: Int32Array, out: Float32Array): void
}

export interface TrainResult {
  /** Weighted mean; 0 when nothing was trained on. */
  readonly loss: number
  readonly weight: number
  readonly columns: Columns
  /** Why the step was not taken. */
  readonly trip: GuardTrip | undefined
}

export function trainStep(
  learning: Learning,
  examples: readonly Example[],
  context: StepContext,
): TrainResult {
  const { model, bias, guard } = learning
  const columns = learning.columns.build(examples, context.catalogue, bias, context.step)
  const popularity = new Float32Array(columns.items.length)
  context.popularity(columns.handles, popularity)
  const lookups = model.prepareStep(
    examples.map(({ query }) => query),
    columns.items,
  )
  fetchRows(lookups, learning.tables, context.stamp)
  const result = model.step({ ...columns, popularity })
  const trip = guard.check(result)
  if (trip === undefined) {
    applyGradients(lookups, learning.tables, context.stamp)
    model.update()
  }
  return { loss: result.loss, weight: result.weight, columns, trip }
}

function fetchRows(lookups: readonly Lookup[], tables: Tables, stamp: Stamp): void {
  for (const { table, keys, rows } of lookups) {
    present(tables.get(table), table).findOrInsert(keys, rows, stamp)
  }
}

function applyGradients(lookups: readonly Lookup[], tables: Tables, stamp: Stamp): void {
  for (const { table, keys, gradients, occurrences } of lookups) {
    present(tables.get(table), table).applyGradients(keys, gradients, occurrences, stamp)
  }
}
