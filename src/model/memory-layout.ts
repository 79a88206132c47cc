/**
 * The model's one memory: everything it will ever need for batches of a given size, laid out once.
 * Laying it out with a counter first tells how large the arena must be.
 */
import type { Block } from '../kernels/arena.ts'
import type { Address } from '../kernels/operands.ts'
import { DenseParameters, type Allocator } from './dense-parameters.ts'
import { type FeaturePlan, headsOf, type ModelPlan, type SidePlan } from './plan.ts'
import {
  PooledSide,
  poolingLayout,
  type PooledSideOptions,
  type PoolingLayout,
} from './pooled-side.ts'
import { TableLookup } from './table-lookup.ts'
import { layOutEngine, type EngineLimits, type EngineMemory } from './wasm-engine.ts'

/** What features fill, and what leads back to them. */
interface TowerInputs {
  readonly input: Block<Float32Array>
  readonly inputGradients: Block<Float32Array>
}

/** What every engine has in the model's memory. */
interface TowerBlocks {
  readonly parameters: DenseParameters
  readonly query: TowerInputs
  readonly candidate: TowerInputs
}

export interface ModelMemory {
  /** Of the engine `wasm`; another has memory of its own. */
  readonly engine: EngineMemory | undefined
  readonly towers: TowerBlocks
  /** Biases of summed features and weights of sequences. */
  readonly pooling: DenseParameters
  /** One for each table, in the order of the specification. */
  readonly lookups: readonly TableLookup[]
  readonly query: PooledSide
  readonly candidate: PooledSide
  readonly popularity: PooledSide | undefined
  /** The popularity weight of each query, and its gradient where an engine has none of its own. */
  readonly popularityWeights: Block<Float32Array>
  readonly popularityWeightGradients: Block<Float32Array>
  /** What `embed*` hand out: rows of the model's output dim. */
  readonly queryVectors: Block<Float32Array>
  readonly itemVectors: Block<Float32Array>
}

/** `denseWeights`: of an engine that has its towers elsewhere; absent: the built-in one. */
export interface ModelLimits extends EngineLimits {
  readonly denseWeights?: number | undefined
}

export function layOutModel(
  allocator: Allocator,
  plan: ModelPlan,
  limits: ModelLimits,
): ModelMemory {
  const { maxQueries, maxItems } = limits
  const popular = plan.popularity === undefined ? 0 : 1
  const outputDim = plan.spec.dim + popular
  const { denseWeights } = limits
  const engine = denseWeights === undefined ? layOutEngine(allocator, plan, limits) : undefined
  const towers = engine ?? {
    parameters: new DenseParameters(allocator, denseWeights ?? 0, plan.spec.denseOptimizer),
    query: towerInputs(allocator, maxQueries * plan.query.width),
    candidate: towerInputs(allocator, maxItems * plan.candidate.width),
  }
  const lookups = plan.tables.map((_, table) => layOutLookup(allocator, plan, limits, table))
  const layouts = poolingLayouts(plan)
  const pooling = new DenseParameters(allocator, layouts.end, plan.spec.denseOptimizer)
  const popularityWeights = allocator.floats(popular * maxQueries)
  const side = (options: Omit<PooledSideOptions, 'lookups'>): PooledSide =>
    new PooledSide(allocator, pooling, { ...options, lookups })
  const { query, candidate, popularity } = plan
  return {
    engine,
    towers,
    pooling,
    lookups,
    query: side({
      plan: query,
      layout: layouts.query,
      inputs: towers.query.input,
      maxExamples: maxQueries,
    }),
    candidate: side({
      plan: candidate,
      layout: layouts.candidate,
      inputs: towers.candidate.input,
      maxExamples: maxItems,
    }),
    popularity:
      popularity &&
      side({
        plan: popularity,
        layout: layouts.popularity,
        inputs: popularityWeights,
        maxExamples: maxQueries,
      }),
    popularityWeights,
    popularityWeightGradients: allocator.floats(popular * maxQueries),
    queryVectors: allocator.floats(maxQueries * headsOf(plan.spec) * outputDim),
    itemVectors: allocator.floats(maxItems * outputDim),
  }
}

const towerInputs = (allocator: Allocator, floats: number): TowerInputs => {
  return { input: allocator.floats(floats), inputGradients: allocator.floats(floats) }
}

interface PoolingLayouts {
  readonly query: PoolingLayout
  readonly candidate: PoolingLayout
  readonly popularity: PoolingLayout
  readonly end: number
}

const noFeatures: SidePlan = { features: [], combine: 'concat', width: 0 }

/** The sides' pooling weights, one behind the other. */
function poolingLayouts({ query, candidate, popularity }: ModelPlan): PoolingLayouts {
  const first = poolingLayout(query, 0)
  const second = poolingLayout(candidate, first.end)
  const third = poolingLayout(popularity ?? noFeatures, second.end)
  return { query: first, candidate: second, popularity: third, end: third.end }
}

function layOutLookup(
  allocator: Allocator,
  plan: ModelPlan,
  { maxQueries, maxItems }: EngineLimits,
  table: number,
): TableLookup {
  const keys = (features: readonly FeaturePlan[]): number =>
    features.reduce((sum, feature) => sum + (feature.table === table ? feature.maxKeys : 0), 0)
  const ofQuery = keys([...plan.query.features, ...(plan.popularity?.features ?? [])])
  const ofCandidate = keys(plan.candidate.features)
  const oneSide = ofCandidate === 0 ? 'query' : 'candidate'
  return new TableLookup(allocator, {
    spec: plan.tables[table],
    usedBy: ofQuery > 0 && ofCandidate > 0 ? 'both' : oneSide,
    maxEntries: ofQuery * maxQueries + ofCandidate * maxItems,
  })
}

/** Counts what an arena would have to hold; its blocks have addresses but no room. */
export class CountingAllocator implements Allocator {
  #used = 64

  get bytes(): number {
    return this.#used
  }

  floats(length: number, alignment = 64): Block<Float32Array> {
    return { address: this.#take(length, alignment), view: new Float32Array(0) }
  }

  ints(length: number, alignment = 64): Block<Int32Array> {
    return { address: this.#take(length, alignment), view: new Int32Array(0) }
  }

  words(length: number, alignment = 64): Block<Uint32Array> {
    return { address: this.#take(length, alignment), view: new Uint32Array(0) }
  }

  #take(length: number, alignment: number): Address {
    const address = Math.ceil(this.#used / alignment) * alignment
    this.#used = address + length * 4
    return address
  }
}
