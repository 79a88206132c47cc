/**
 * A model's specification, checked and resolved once: which table and which columns of its side's
 * input every feature has. Sides: the two towers, and the learned offsets to the popularity weight.
 */
import { unreachable } from '../base/assert.ts'
import { ServiceError } from '../base/errors.ts'
import type { FeatureSpec, LayerSpec, ModelSpec, ModelTableSpec, TowerSpec } from './spec.ts'

/** Values of one `categories` feature that are read; more are left out. */
export const maxCategories = 32

/** Vectors of one query. */
export const mostHeads = 8

export type Numeric = Extract<FeatureSpec, { kind: 'numeric' }>

/** Of the transform `quantile`. */
export const bucketsOf = ({ buckets = 16 }: Numeric): number => buckets

export interface FeaturePlan {
  readonly spec: FeatureSpec
  /** Index in the model's tables; -1: plain numbers, no table. */
  readonly table: number
  /** Its columns in the side's input: `width` of them from `column` on. */
  readonly column: number
  readonly width: number
  /** Most keys that one example has of it. */
  readonly maxKeys: number
  /**
   * Of a sequence: which of the candidate's features that have a table stands for an item; -1: the
   * item's id.
   */
  readonly of: number
}

export interface SidePlan {
  readonly features: readonly FeaturePlan[]
  readonly combine: TowerSpec['combine']
  /** Floats of input per example. */
  readonly width: number
}

export interface ModelPlan {
  readonly spec: ModelSpec
  readonly tables: readonly ModelTableSpec[]
  readonly query: SidePlan
  readonly candidate: SidePlan
  /** Absent in a model without popularity. */
  readonly popularity: SidePlan | undefined
}

/** Vectors of one query. */
export const headsOf = ({ query }: Pick<ModelSpec, 'query'>): number => query.heads ?? 1

/** Throws `CONFIG_INVALID` where the parts of a specification do not fit together. */
export function planModel(spec: ModelSpec): ModelPlan {
  checkTables(spec.tables)
  if (!(spec.score.temperature > 0)) refuse('score.temperature', 'must be above 0')
  const candidate = planTower(spec, 'candidate')
  const query = planTower(spec, 'query', candidate)
  const offsets = spec.score.popularity
  const popularity =
    offsets === undefined
      ? undefined
      : planSide(offsets.features, {
          spec,
          path: 'score.popularity.features',
          combine: 'sum',
          items: candidate,
        })
  if (popularity !== undefined && popularity.features.some((feature) => feature.width !== 1)) {
    refuse('score.popularity.features', 'need tables of dim 1')
  }
  return { spec, tables: spec.tables, query, candidate, popularity }
}

/**
 * The specification without the engine, where any gives the same: what computes a model is no part
 * of what is learned. Towers that are LayersModels have one engine alone.
 */
export function withoutEngine(spec: ModelSpec): ModelSpec {
  const { engine: _, ...learned } = spec
  const towers = [spec.query, spec.candidate]
  return towers.some(({ layersModel }) => layersModel !== undefined) ? spec : learned
}

/** Floats per row after the layer, given those before it. */
export const layerOutput = (layer: LayerSpec, input: number): number =>
  layer.kind === 'dense' ? layer.units : input

/** Whether nothing but its rows decides what a tower gives: it has no dense weights. */
export const isStatic = (side: SidePlan, { layers, layersModel }: TowerSpec): boolean =>
  layers.length === 0 &&
  layersModel === undefined &&
  side.combine !== 'sum' &&
  !side.features.some(({ spec }) => isMeasured(spec))

/** Of what one `prepare*` may be given. */
interface Most {
  readonly maxQueries: number
  readonly maxItems: number
}

/** Most keys that are hashed at once: those of one feature of all queries, or of all new items. */
export function mostHashed(plan: ModelPlan, { maxQueries, maxItems }: Most): number {
  const ofQuery = [...plan.query.features, ...(plan.popularity?.features ?? [])]
  const perItem = plan.candidate.features.reduce((sum, { maxKeys }) => sum + maxKeys, 1)
  const inHistory = ofQuery.map(({ spec }) => (spec.kind === 'sequence' ? spec.length : 0))
  const items = Math.max(maxItems, maxQueries * Math.max(0, ...inHistory))
  const perQuery = Math.max(1, ...ofQuery.map(({ maxKeys }) => maxKeys))
  const buckets = ofQuery.map(({ spec }) => (spec.kind === 'gap' ? spec.boundariesMs.length : 0))
  return Math.max(perItem * items, perQuery * maxQueries, ...buckets.map((n) => n + 2))
}

function checkTables(tables: readonly ModelTableSpec[]): void {
  const names = new Set<string>()
  for (const { name, dim } of tables) {
    if (names.has(name)) refuse('tables', `"${name}" is declared twice`)
    if (!Number.isInteger(dim) || dim < 1) refuse(`tables.${name}.dim`, 'must be a whole number')
    names.add(name)
  }
}

/** `items`: the candidate's plan, for the query tower. */
function planTower(spec: ModelSpec, side: 'query' | 'candidate', items?: SidePlan): SidePlan {
  const { features, combine, layers, layersModel } = spec[side]
  const path = `${side}.features`
  if (features.length === 0) refuse(path, 'needs a feature')
  checkHeads(spec[side].heads, side)
  const plan = planSide(features, { spec, path, combine, items })
  for (const layer of layers) {
    if (layer.kind === 'cross' && layer.diagScale < 0) {
      refuse(`${side}.layers`, `diagScale is ${layer.diagScale}, it must not be negative`)
    }
  }
  if (layersModel !== undefined) {
    if (spec.engine !== 'tfjs') refuse(`${side}.layersModel`, 'needs the engine tfjs')
    if (layers.length > 0) refuse(`${side}.layers`, 'must be empty beside a layersModel')
    return plan
  }
  checkOutput(
    spec,
    side,
    layers.reduce((width, layer) => layerOutput(layer, width), plan.width),
  )
  return plan
}

function checkOutput(spec: ModelSpec, side: 'query' | 'candidate', output: number): void {
  const heads = side === 'query' ? headsOf(spec) : 1
  if (output === heads * spec.dim) return
  const expected = heads === 1 ? `${spec.dim}` : `${spec.dim}, of each of ${heads} heads`
  refuse(`${side}.layers`, `end in ${output} floats, the model's dim is ${expected}`)
}

function checkHeads(heads: number | undefined, side: 'query' | 'candidate'): void {
  if (heads === undefined) return
  if (side === 'candidate') refuse('candidate.heads', 'an item has one vector')
  if (Number.isInteger(heads) && heads >= 1 && heads <= mostHeads) return
  refuse('query.heads', `must be a whole number from 1 to ${mostHeads}`)
}

interface SideContext {
  readonly spec: ModelSpec
  readonly path: string
  readonly combine: TowerSpec['combine']
  /** The candidate's features; undefined: this is the candidate. */
  readonly items: SidePlan | undefined
}

function planSide(features: readonly FeatureSpec[], side: SideContext): SidePlan {
  const planned: FeaturePlan[] = []
  let column = 0
  for (const feature of features) {
    const path = `${side.path}.${feature.name}`
    if (planned.some(({ spec }) => spec.name === feature.name)) refuse(path, 'is declared twice')
    checkNumbers(feature, path)
    if (side.items === undefined && isOfUser(feature)) {
      refuse(path, `a candidate has no feature of kind ${feature.kind}`)
    }
    const table = tableOf(feature, side.spec.tables, path)
    const width = table < 0 ? plainWidth(feature) : (side.spec.tables[table]?.dim ?? 0)
    const of = itemFeature(feature, side.items, path)
    const ofItem = of < 0 ? 1 : (withTables(side.items)[of]?.maxKeys ?? 1)
    const maxKeys = maxKeysOf(feature) * ofItem
    planned.push({ spec: feature, table, column, width, maxKeys, of })
    if (side.combine === 'concat') column += width
    else checkSum(planned, path)
  }
  const width = side.combine === 'concat' ? column : (planned[0]?.width ?? 1)
  return { features: planned, combine: side.combine, width }
}

const isOfUser = (feature: FeatureSpec): boolean =>
  feature.kind === 'sequence' ||
  feature.kind === 'context' ||
  feature.kind === 'gap' ||
  (feature.kind === 'time' && feature.field === undefined)

const withTables = (side: SidePlan | undefined): readonly FeaturePlan[] =>
  side?.features.filter(({ table }) => table >= 0) ?? []

/** What a sequence says its items by. */
function itemFeature(feature: FeatureSpec, items: SidePlan | undefined, path: string): number {
  if (feature.kind !== 'sequence' || feature.of === undefined) return -1
  const { of } = feature
  const found = withTables(items).findIndex(({ spec }) => spec.name === of)
  if (found < 0) refuse(path, `the candidate has no feature "${of}" with a table`)
  return found
}

function checkNumbers(feature: FeatureSpec, path: string): void {
  if (feature.kind === 'categories' && feature.combine === 'max' && feature.weights !== undefined) {
    refuse(path, 'max has no weights')
  }
  if (feature.kind === 'numeric' && isMeasured(feature) && feature.table !== undefined) {
    refuse(path, `${feature.transform} has no table`)
  }
  if (feature.kind === 'time' && feature.periodsMs.some((period) => !(period > 0))) {
    refuse(path, 'periods must be above 0')
  }
}

/** Columns of a feature without a table. */
function plainWidth(spec: FeatureSpec): number {
  if (spec.kind === 'numeric') return spec.transform === 'quantile' ? bucketsOf(spec) + 1 : 2
  if (spec.kind === 'dense') return spec.dim + 1
  if (spec.kind !== 'time') return 0
  return 2 * spec.periodsMs.length * spec.harmonics + (spec.field === undefined ? 0 : 1)
}

/** Whether what it becomes depends on the stream so far. */
const isMeasured = (feature: FeatureSpec): boolean =>
  feature.kind === 'numeric' && (feature.transform === 'zscore' || feature.transform === 'quantile')

function tableOf(feature: FeatureSpec, tables: readonly ModelTableSpec[], path: string): number {
  if (feature.kind === 'numeric') {
    if ((feature.table === undefined) !== (feature.boundaries === undefined)) {
      refuse(path, 'needs both a table and boundaries, or neither')
    }
    if (feature.boundaries !== undefined) checkAscending(feature.boundaries, path)
  }
  if (feature.kind === 'sequence') checkAscending(feature.gapBoundariesMs, path)
  if (feature.kind === 'gap') checkAscending(feature.boundariesMs, path)
  if (feature.table === undefined) return -1
  const index = tables.findIndex(({ name }) => name === feature.table)
  if (index < 0) refuse(path, `there is no table "${feature.table}"`)
  return index
}

function checkSum(planned: readonly FeaturePlan[], path: string): void {
  const width = planned[0]?.width
  if (planned.some((feature) => feature.table < 0)) refuse(path, 'a plain number cannot be summed')
  if (planned.some((feature) => feature.width !== width)) {
    refuse(path, 'features that are summed need tables of one dim')
  }
}

function checkAscending(boundaries: readonly number[], path: string): void {
  if (boundaries.some((bound, i) => i > 0 && !(bound > (boundaries[i - 1] ?? 0)))) {
    refuse(path, 'boundaries must ascend')
  }
}

function maxKeysOf(feature: FeatureSpec): number {
  switch (feature.kind) {
    case 'sequence':
      return feature.length
    case 'categories':
      return maxCategories
    case 'text':
      return feature.maxTokens * feature.ngrams
    case 'numeric':
      return feature.table === undefined ? 0 : 1
    case 'id':
    case 'context':
    case 'gap':
      return 1
    case 'dense':
    case 'time':
      return 0
    default:
      return unreachable(feature)
  }
}

function refuse(path: string, reason: string): never {
  throw new ServiceError('CONFIG_INVALID', { source: 'the model', path, reason })
}
