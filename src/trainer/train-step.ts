/**
 * One step of learning: columns, rows, loss and gradients, the guard's word, and then all updates
 * or none. Pure: everything it reads and changes is handed in. Rows that lie elsewhere are waited
 * for; nothing else may touch the model or the tables meanwhile.
 */
import type { Stamp } from '../embedding/embedding-table.ts'
import { rateScaleAt } from '../model/schedule.ts'
import type { ModelSpec } from '../model/spec.ts'
import type { Lookup } from '../model/table-lookup.ts'
import type { TwoTower } from '../model/two-tower.ts'
import type { Example } from '../stream/example.ts'
import type { Catalogue } from '../stream/facts/catalogue.ts'
import type { Guard, GuardTrip } from './guard.ts'
import type { ActiveItems, ColumnBuilder, Columns } from './negatives.ts'
import { eachTable, settled, type Tables } from './rows.ts'
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
  readonly catalogue: ActiveItems & Pick<Catalogue, 'logPopularity'>
  /** Counts batches: seeds the negatives. */
  readonly step: number
  /** Event time, and the model's version once the step is taken. */
  readonly stamp: Stamp
  /** Called when the rows are there, and before the work with them. */
  readonly onRows?: () => void
}

export interface TrainResult {
  /** Weighted mean; 0 when nothing was trained on. */
  readonly loss: number
  readonly weight: number
  readonly columns: Columns
  /** Why the step was not taken. */
  readonly trip: GuardTrip | undefined
}

export async function trainStep(
  learning: Learning,
  examples: readonly Example[],
  context: StepContext,
): Promise<TrainResult> {
  const { model, bias, guard, tables } = learning
  const queries = examples.map(({ query }) => query)
  const ofQueries = model.prepareStepQueries(queries, context.step)
  const queryRows = fetchRows(ofQueries, tables, context.stamp)
  // Rows that are far are fetched with those of the candidates, at the same time.
  if (queryRows === undefined) model.beginQueries()
  const columns = learning.columns.build(examples, context.catalogue, bias, context.step)
  const popularity = popularityBefore(columns, model.spec, context)
  const ofCandidates = model.prepareStepCandidates(columns.items)
  const candidateRows = fetchRows(ofCandidates, tables, context.stamp)
  const waiting = [queryRows, candidateRows].filter((rows) => rows !== undefined)
  if (waiting.length > 0) await settled(waiting)
  context.onRows?.()
  const lookups = [...ofQueries, ...ofCandidates]
  const result = model.step({ ...columns, popularity })
  const trip = guard.check(result, context.stamp.time)
  if (trip === undefined) {
    const rates = ratesOf(model.spec, context)
    await applyGradients(lookups, tables, { ...context.stamp, rateScale: rates.rows })
    model.update(rates.dense)
  }
  return { loss: result.loss, weight: result.weight, columns, trip }
}

/** What the rates are multiplied by in this step: by its stamp, and by the model's schedule. */
function ratesOf(
  { schedule }: ModelSpec,
  { stamp, step }: StepContext,
): { readonly rows: number; readonly dense: number } {
  const { rateScale = 1 } = stamp
  if (schedule === undefined) return { rows: rateScale, dense: rateScale }
  const dense = rateScale * rateScaleAt(schedule, step)
  return { rows: schedule.of === 'all' ? dense : rateScale, dense }
}

/**
 * A click counts at once, so an item's count now holds the very click that the model is to predict:
 * trained on that, it would learn to trust a number that gives the answer away. So counts are those
 * from before the batch.
 */
function popularityBefore(
  { handles }: Columns,
  { score }: ModelSpec,
  { catalogue, stamp }: StepContext,
): Float32Array {
  const { popularity } = score
  if (popularity === undefined) return new Float32Array(0)
  const logs = new Float32Array(handles.length)
  const at = { time: stamp.time, smoothing: popularity.smoothing, settled: true }
  catalogue.logPopularity(handles, at, logs)
  return logs
}

type Waiting = Promise<void> | undefined

const fetchRows = (lookups: readonly Lookup[], tables: Tables, stamp: Stamp): Waiting =>
  eachTable(lookups, tables, (table, { keys, rows, occurrences }) =>
    table.findOrInsert(keys, rows, stamp, occurrences),
  )

const applyGradients = (lookups: readonly Lookup[], tables: Tables, stamp: Stamp): Waiting =>
  eachTable(lookups, tables, (table, { keys, gradients, occurrences }) =>
    table.applyGradients(keys, gradients, occurrences, stamp),
  )
