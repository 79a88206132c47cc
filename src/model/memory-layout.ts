/**
 * The model's one memory: everything it will ever need for batches of a given size, laid out once.
 * Laying it out with a counter first tells how large the arena must be.
 */
import type { Block } from '../kernels/arena.ts'
import type { Address } from '../kernels/operands.ts'
import { DenseParameters, type Allocator } from './dense-parameters.ts'
import type { FeaturePlan, ModelPlan, SidePlan } from './plan.ts'
import { PooledSide, poolingLayout } from './pooled-side.ts'
import { TableLookup } from './table-lookup.ts'
import { layOutEngine, type EngineLimits, type EngineMemory } from './wasm-engine.ts'

export interface ModelMemory {
  readonly engine: EngineMemory
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

export function layOutModel(
  allocator: Allocator,
  plan: ModelPlan,
  limits: EngineLimits,
): ModelMemory {
  const { maxQueries, maxItems } = limits
  const popular = plan.popularity === undefined ? 0 : 1
  const outputDim = plan.spec.dim + popular
  const engine = layOutEngine(allocator, plan, limits)
  const lookups = plan.tables.map((_, table) => layOutLookup(allocator, plan, limits, table))
  const layouts = poolingLayouts(plan)
  const pooling = new DenseParameters(allocator, layouts.end, plan.spec.denseOptimizer)
  const popularityWeights = allocator.floats(popular * maxQueries)
  const side = (
    sidePlan: SidePlan,
    layout: PooledSideLayout,
    input: Block<Float32Array>,
    maxExamples: number,
  ): PooledSide => {
    const { address, view } = input
    const inputs: { address: Address; view: Float32Array } = { address, view }
    const options = { plan: sidePlan, layout, lookups, inputs, maxExamples }
    return new PooledSide(allocator, pooling, options)
  }
  return {
    engine,
    pooling,
    lookups,
    query: side(plan.query, layouts.query, engine.query.input, maxQueries),
    candidate: side(plan.candidate, layouts.candidate, engine.candidate.input, maxItems),
    popularity:
      plan.popularity === undefined
        ? undefined
        : side(plan.popularity, layouts.popularity, popularityWeights, maxQueries),
    popularityWeights,
    popularityWeightGradients: allocator.floats(popular * maxQueries),
    queryVectors: allocator.floats(maxQueries * outputDim),
    itemVectors: allocator.floats(maxItems * outputDim),
  }
}

type PooledSideLayout = ReturnType<typeof poolingLayout>

function poolingLayouts({ query, candidate, popularity }: ModelPlan): {
  readonly query: PooledSideLayout
  readonly candidate: PooledSideLayout
  readonly popularity: PooledSideLayout
  readonly end: number
} {
  const first = poolingLayout(query, 0)
  const second = poolingLayout(candidate, first.end)
  const nothing: SidePlan = { features: [], combine: 'concat', width: 0 }
  const third = poolingLayout(popularity ?? nothing, second.end)
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
  const usedBy = ofQuery > 0 && ofCandidate > 0 ? 'both' : oneSide
  const spec = plan.tables[table]
  const entries = ofQuery * maxQueries + ofCandidate * maxItems
  return new TableLookup(allocator, spec, usedBy, entries)
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
