/**
 * The model as the trainer and the replica use it: two towers over embedding rows that the caller
 * fetches. It owns no table: it says which keys it needs, the caller fills their rows in, and after
 * a step it leaves a gradient for each.
 *
 *     const lookups = model.prepareStep(queries, items)
 *     for (const { table, keys, rows } of lookups) tables.get(table).findOrInsert(keys, rows, ...)
 *     const result = model.step(batch)            // and if the guard is content with it:
 *     for (const lookup of lookups) tables.get(lookup.table).applyGradients(...)
 *     model.update()
 *
 * Everything handed out is a view into one memory reserved at start, valid until the next
 * `prepare*`.
 */
import { assert } from '../base/assert.ts'
import type { Keys } from '../base/keys.ts'
import { seededRandom } from '../base/random.ts'
import { Arena, type Block } from '../kernels/arena.ts'
import { scratchBytes } from '../kernels/kernels.ts'
import { KeyDeduper } from '../kernels/key-deduper.ts'
import { KeyHasher } from '../kernels/key-hasher.ts'
import { ThreadPool } from '../kernels/thread-pool.ts'
import type { DenseEngine, ExportedTowers, StepOutput } from './dense-engine.ts'
import { ItemEncoder, QueryEncoder, type EncoderParts } from './encoder.ts'
import { namespaceSeed, namespaces } from './feature-keys.ts'
import type { ItemInput, QueryInput } from './inputs.ts'
import { ItemKeys } from './item-keys.ts'
import { CountingAllocator, layOutModel, type ModelMemory } from './memory-layout.ts'
import { openEngine } from './open-engine.ts'
import { outputRows, type OutputRows } from './output-rows.ts'
import {
  headsOf,
  isStatic,
  mostHashed,
  planModel,
  type FeaturePlan,
  type ModelPlan,
} from './plan.ts'
import { mayRepeat, RepeatedQueries } from './repeated-queries.ts'
import { loadWeights, saveWeights, type WeightParts } from './saved-weights.ts'
import type { ModelSpec } from './spec.ts'
import type { StepBatch, StepResult } from './step-batch.ts'
import type { Lookup, TableLookup } from './table-lookup.ts'
import type { TensorflowPlace } from './tfjs/load-tensorflow.ts'

/** Keys of one table. */
export interface TableKeys {
  readonly table: string
  readonly keys: Keys
}

/** Where a step stands, for whoever times it. */
export type StepStage = 'keys' | 'forward' | 'loss' | 'backward' | 'idle'

export interface TwoTowerOptions {
  /** Most queries in one `prepare*`: the batch, or the queries embedded together. */
  readonly maxQueries: number
  /** Most items in one `prepare*`: columns of a step, or items embedded together. */
  readonly maxItems: number
  /** Results do not depend on it. Default 1. */
  readonly threads?: number
  /** Default 'wasm'. */
  readonly implementation?: 'wasm' | 'reference'
  /** Where the packages of the engine `tfjs` are; absent: where Node looks for packages. */
  readonly tensorflow?: TensorflowPlace
  /** Called as each stage begins; for benchmarks. */
  readonly onStage?: (stage: StepStage) => void
}

/** Seeds of random starts: the engine has the ones before. */
const poolingSeed = 2
/** More than these, in floats, are brought back to their rows by all threads. */
const fewPooled = 65_536
/** Beside the blocks: scratch space of every thread, and what rounding up to pages needs. */
const slackBytes = 65_536

interface Parts {
  readonly plan: ModelPlan
  readonly memory: ModelMemory
  readonly pool: ThreadPool
  readonly engine: DenseEngine
  readonly options: TwoTowerOptions
}

export class TwoTower {
  readonly spec: ModelSpec
  /** Floats per vector in the index: spec.dim, and one more with popularity. */
  readonly outputDim: number
  /** Such vectors of a query: its score with an item is the largest of theirs. */
  readonly queryHeads: number
  /** Whether an item's vector depends on its rows alone: its tower has no dense weights. */
  readonly candidateIsStatic: boolean
  readonly maxQueries: number
  readonly maxItems: number
  readonly #plan: ModelPlan
  readonly #memory: ModelMemory
  readonly #pool: ThreadPool
  readonly #engine: DenseEngine
  readonly #weightParts: WeightParts
  readonly #hasher: KeyHasher
  readonly #deduper: KeyDeduper
  readonly #queryEncoder: QueryEncoder
  readonly #itemEncoder: ItemEncoder
  /** Where queries may be the same to their tower. */
  readonly #repeated: RepeatedQueries | undefined
  readonly #onStage: (stage: StepStage) => void
  readonly #rowNorms: Float64Array
  /** Tables that serve queries alone, and the others. */
  readonly #ofQueries: readonly TableLookup[]
  readonly #ofCandidates: readonly TableLookup[]
  /** Whether all rows of the query tower are those of `prepareStepQueries`. */
  readonly #queriesAlone: boolean
  /** Of the batch prepared last. */
  #queries = 0
  #items = 0
  #seed: number | undefined
  /** Once its query tower has begun: queries that share rows. */
  #shared: RepeatedQueries | undefined
  #hasBegun = false
  /** Of the last step; 0 once applied. */
  #divisor = 0

  /**
   * Checks the spec (`CONFIG_INVALID`), reserves memory, starts threads. Dense weights are seeded.
   */
  static async create(spec: ModelSpec, options: TwoTowerOptions): Promise<TwoTower> {
    const { threads = 1, implementation = 'wasm' } = options
    const plan = planModel(spec)
    const { create, denseWeights } = await openEngine(plan, options.tensorflow)
    const limits = { ...options, denseWeights }
    const counter = new CountingAllocator()
    layOutModel(counter, plan, limits)
    const arena = new Arena(counter.bytes + threads * (scratchBytes + 64) + slackBytes)
    const memory = layOutModel(arena, plan, limits)
    const pool = await ThreadPool.create(arena, { threads, implementation })
    const engine = create({ memory, pool, plan, onStage: options.onStage })
    return new TwoTower({ plan, memory, pool, engine, options })
  }

  private constructor({ plan, memory, pool, engine, options }: Parts) {
    const { maxQueries, maxItems, implementation = 'wasm', onStage = () => {} } = options
    const { spec } = plan
    this.spec = spec
    this.queryHeads = headsOf(spec)
    this.outputDim = spec.dim + (plan.popularity === undefined ? 0 : 1)
    this.candidateIsStatic = isStatic(plan.candidate, spec.candidate)
    this.maxQueries = maxQueries
    this.maxItems = maxItems
    this.#plan = plan
    this.#memory = memory
    this.#pool = pool
    this.#onStage = onStage
    this.#rowNorms = new Float64Array(memory.lookups.length)
    this.#engine = engine
    this.#weightParts = { pooling: memory.pooling, engine }
    this.#ofQueries = memory.lookups.filter(({ usedBy }) => usedBy === 'query')
    this.#queriesAlone = memory.query.bags.every(({ lookup }) => lookup.usedBy === 'query')
    this.#ofCandidates = memory.lookups.filter(({ usedBy }) => usedBy !== 'query')
    const entries = memory.lookups.map(({ maxEntries }) => maxEntries)
    this.#deduper = new KeyDeduper({ maxKeys: Math.max(1, ...entries), implementation })
    this.#hasher = new KeyHasher({ maxKeys: mostHashed(plan, options), implementation })
    const parts: EncoderParts = {
      hasher: this.#hasher,
      itemKeys: new ItemKeys(plan.candidate, spec.seed, this.#hasher),
      modelSeed: spec.seed,
    }
    const { query, candidate, popularity } = memory
    const querySides = popularity === undefined ? [query] : [query, popularity]
    this.#queryEncoder = new QueryEncoder(querySides, parts, maxQueries)
    this.#itemEncoder = new ItemEncoder(candidate, parts, maxItems)
    if (mayRepeat(plan.query, spec.query)) this.#repeated = new RepeatedQueries(query, maxQueries)
    this.#initializePooling()
  }

  /** What computes its towers, for the log and for metrics. */
  get engine(): string {
    return this.#engine.kind
  }

  /** Each tower as a LayersModel, from its pooled features to its vector. */
  exportTowers(): Promise<ExportedTowers> {
    return this.#engine.exportTowers()
  }

  /** Ends the threads. */
  close(): Promise<void> {
    this.#engine.close()
    return this.#pool.close()
  }

  /** Most rows of each table that one `prepare*` can ask for. */
  get mostKeys(): ReadonlyMap<string, number> {
    const { lookups } = this.#memory
    return new Map(lookups.map(({ spec, maxEntries }) => [spec.name, maxEntries]))
  }

  /**
   * The rows that training on these needs. Candidates are distinct items: the columns of the
   * scores. `step` numbers batches: it seeds what is dropped; absent: nothing is.
   */
  prepareStep(
    queries: readonly QueryInput[],
    candidates: readonly ItemInput[],
    step?: number,
  ): readonly Lookup[] {
    return this.#prepare(queries, candidates, { withGradients: true, step })
  }

  /**
   * The same in two parts: first the rows that are the queries' alone, so that once these are
   * there `beginQueries` can be called, then the others.
   */
  prepareStepQueries(queries: readonly QueryInput[], step?: number): readonly Lookup[] {
    this.#begin(step)
    this.#stageQueries(queries, step)
    return this.#dedupe(this.#ofQueries, true)
  }

  prepareStepCandidates(candidates: readonly ItemInput[]): readonly Lookup[] {
    this.#onStage('keys')
    this.#stageItems(candidates, this.#seed)
    return this.#dedupe(this.#ofCandidates, true)
  }

  /**
   * Leaves the query tower to the workers until `step`, where all its rows are those of
   * `prepareStepQueries`: keys and rows of candidates can be seen to meanwhile.
   */
  beginQueries(): void {
    if (this.#queriesAlone) this.#forwardQueries()
    this.#onStage('idle')
  }

  /** The rows that embedding these needs; then fill them and call `embedQueries`. */
  prepareQueries(queries: readonly QueryInput[]): readonly Lookup[] {
    return this.#prepare(queries, [])
  }

  prepareItems(items: readonly ItemInput[]): readonly Lookup[] {
    return this.#prepare([], items)
  }

  /**
   * Loss and gradients of the batch prepared last, with the rows now in its lookups. Touches no
   * weights: `update` does, once the caller is content with the result.
   */
  step(batch: StepBatch): StepResult {
    const { loss: lossSpec, score } = this.spec
    const { query, candidate, popularity, popularityWeights } = this.#memory
    assert(this.#queries > 0 && this.#items > 0, 'a step was prepared')
    if (!this.#hasBegun) this.#forwardQueries()
    this.#onStage('forward')
    candidate.forward(this.#pool, this.#items)
    popularity?.forward(this.#pool, this.#queries)
    const output = this.#engine.step({
      ...batch,
      batch: this.#queries,
      shared: this.#shared,
      seed: this.#seed,
      columns: this.#items,
      queries: query.inputs,
      candidates: candidate.inputs,
      popularityWeights: popularityWeights.view,
      pull: lossSpec.newItemPull,
      temperature: score.temperature,
      l2: lossSpec.l2,
      reduction: lossSpec.reduction,
    })
    this.#hasBegun = false
    this.#divisor = output.divisor
    // Meanwhile the workers have the gradients of the weights, if that takes them long enough.
    const early = this.#pooledFloats() > fewPooled ? output.squaredGradient() : undefined
    this.#backward(output)
    const result = this.#result(output, early)
    this.#onStage('idle')
    return result
  }

  /** Applies the dense gradients of the last step, once, by a share of the learning rate. */
  update(rateScale = 1): void {
    if (this.#divisor === 0) return
    const { query, candidate, popularity } = this.#memory
    for (const side of [query, candidate, popularity]) side?.plain.measure()
    this.#memory.pooling.update(this.#pool.kernels, 1 / this.#divisor, rateScale)
    this.#engine.update(rateScale)
    this.#divisor = 0
  }

  /**
   * n x queryHeads x outputDim, already divided by the temperature, the last float of each w when
   * there is popularity: score = dot(query, item), the largest of the heads'.
   */
  embedQueries(): Float32Array {
    const { query, popularity, popularityWeights, queryVectors } = this.#memory
    const n = this.#queries
    query.forward(this.#pool, n)
    popularity?.forward(this.#pool, n)
    const vectors = this.#engine.embedQueries(query.inputs, n)
    const factor = 1 / this.spec.score.temperature
    const [heads, last] = [this.queryHeads, popularityWeights.view]
    return this.#rows(vectors, { into: queryVectors.view, n, heads, factor, last })
  }

  /**
   * n x outputDim; with popularity the last float is the item's log popularity as given, else 0.
   */
  embedItems(logPopularity?: Float32Array): Float32Array {
    const { candidate, itemVectors } = this.#memory
    const n = this.#items
    candidate.forward(this.#pool, n)
    const vectors = this.#engine.embedCandidates(candidate.inputs, n)
    const rows = { into: itemVectors.view, n, heads: 1, factor: 1 }
    return this.#rows(vectors, { ...rows, last: logPopularity })
  }

  /**
   * Every key that an item's vector depends on: a changed row of one of these changes the vector.
   */
  itemKeys(item: ItemInput): readonly TableKeys[] {
    this.#prepare([], [item])
    const used = new Set(this.#memory.candidate.bags.map(({ lookup }) => lookup))
    return [...used].map(({ spec, unique }) => ({ table: spec.name, keys: unique.slice() }))
  }

  /** The rows that are this user's alone, in every table: what a deletion erases. */
  userRows(userId: string): readonly TableKeys[] {
    const own = this.#queryFeatures().filter(({ spec }) => spec.kind === 'id')
    return this.#rowsOf(namespaces.user, userId, own)
  }

  /** The rows that are this item's alone, in every table: what a deletion erases. */
  itemRows(itemId: string): readonly TableKeys[] {
    const own = [
      ...this.#plan.candidate.features.filter(({ spec }) => spec.kind === 'id'),
      ...this.#queryFeatures().filter(({ spec, of }) => spec.kind === 'sequence' && of < 0),
    ]
    return this.#rowsOf(namespaces.item, itemId, own)
  }

  /** All dense weights, flat (a copy), followed by the optimizer's state when asked for. */
  weights(options?: { readonly optimizerState: boolean }): Float32Array<ArrayBuffer> {
    return saveWeights(this.#weightParts, options?.optimizerState === true)
  }

  /**
   * Takes what `weights` gave; without state, the optimizer starts fresh. Throws `WEIGHTS_INVALID`.
   */
  load(weights: Float32Array): void {
    loadWeights(this.#weightParts, weights)
    this.#divisor = 0
  }

  #initializePooling(): void {
    const { query, candidate, popularity, pooling } = this.#memory
    const random = seededRandom(this.spec.seed, poolingSeed)
    query.initialize(random)
    candidate.initialize(random)
    popularity?.initialize(random, this.spec.score.popularity?.initialWeight)
    pooling.resetState()
  }

  #prepare(
    queries: readonly QueryInput[],
    items: readonly ItemInput[],
    { withGradients, step }: Preparation = { withGradients: false },
  ): readonly Lookup[] {
    this.#begin(step)
    if (queries.length > 0) this.#stageQueries(queries, step)
    if (items.length > 0) this.#stageItems(items, step)
    return this.#dedupe(this.#memory.lookups, withGradients)
  }

  #begin(step: number | undefined): void {
    this.#onStage('keys')
    for (const lookup of this.#memory.lookups) lookup.begin()
    this.#seed = step
    this.#queries = 0
    this.#items = 0
    this.#hasBegun = false
    this.#divisor = 0
  }

  #stageQueries(queries: readonly QueryInput[], step: number | undefined): void {
    assert(queries.length <= this.maxQueries, 'no more queries than were reserved')
    this.#queryEncoder.encode(queries, step)
    this.#queries = queries.length
  }

  #stageItems(items: readonly ItemInput[], step: number | undefined): void {
    assert(items.length <= this.maxItems, 'no more items than were reserved')
    this.#itemEncoder.encode(items, step)
    this.#items = items.length
  }

  #dedupe(lookups: readonly TableLookup[], withGradients: boolean): readonly Lookup[] {
    const found: Lookup[] = []
    for (const lookup of lookups) {
      lookup.dedupe(this.#deduper)
      if (lookup.entries > 0) found.push(lookup.lookup(withGradients))
    }
    this.#onStage('idle')
    return found
  }

  #forwardQueries(): void {
    const { query } = this.#memory
    this.#onStage('forward')
    query.forward(this.#pool, this.#queries)
    this.#shared = this.#repeated?.share(query.inputs, this.#queries)
    const rows = this.#shared?.rows ?? this.#queries
    this.#engine.beginQueries(query.inputs, rows, this.#seed)
    this.#hasBegun = true
  }

  /** From the engine's gradients to those of rows and pooling weights. */
  #backward(output: StepOutput): void {
    const { query, candidate, popularity, pooling, lookups, towers } = this.#memory
    const pool = this.#pool
    this.#onStage('backward')
    pooling.gradients.view.fill(0)
    for (const lookup of lookups) lookup.clearGradients(pool.kernels)
    const queries = settle(output.queryGradients, towers.query.inputGradients)
    this.#shared?.spread(towers.query.inputGradients.view)
    query.backward(pool, queries, this.#queries)
    const candidates = settle(output.candidateGradients, towers.candidate.inputGradients)
    candidate.backward(pool, candidates, this.#items)
    const weights = this.#memory.popularityWeightGradients
    popularity?.backward(pool, settle(output.popularityWeightGradients, weights), this.#queries)
    for (const { spec, gradients, distinct } of lookups) {
      if (spec.optimizer.gradients === 'sum' || distinct === 0) continue
      const { address } = gradients
      pool.kernels.scale(address, address, 1 / output.divisor, 0, distinct * spec.dim)
    }
  }

  /** Floats of rows that the step puts into towers' inputs, and back. */
  #pooledFloats(): number {
    const { query, candidate, popularity } = this.#memory
    return query.pooledFloats + candidate.pooledFloats + (popularity?.pooledFloats ?? 0)
  }

  #result(output: StepOutput, early: number | undefined): StepResult {
    const { loss, weight, divisor } = output
    const { pooling, lookups } = this.#memory
    const { kernels } = this.#pool
    const ofPooling = kernels.sumOfSquares(pooling.gradients.address, pooling.size)
    let ofRows = 0
    for (const [table, { gradients, rows, distinct, spec }] of lookups.entries()) {
      ofRows += kernels.sumOfSquares(gradients.address, distinct * spec.dim)
      const longest = kernels.largestSquares(rows.address, spec.dim, distinct)
      this.#rowNorms[table] = Math.sqrt(longest)
    }
    const squaredGradient = early ?? output.squaredGradient()
    return {
      loss,
      weight,
      gradientNorm: Math.sqrt(squaredGradient + ofPooling / (divisor * divisor)),
      rowGradientNorm: Math.sqrt(ofRows),
      rowNorms: this.#rowNorms,
    }
  }

  #rows(vectors: Float32Array, rows: Omit<OutputRows, 'dim' | 'width'>): Float32Array {
    return outputRows(vectors, { ...rows, dim: this.spec.dim, width: this.outputDim })
  }

  #queryFeatures(): readonly FeaturePlan[] {
    const { query, popularity } = this.#plan
    return [...query.features, ...(popularity?.features ?? [])]
  }

  #rowsOf(
    namespace: string,
    value: string,
    features: readonly FeaturePlan[],
  ): readonly TableKeys[] {
    this.#hasher.add(namespaceSeed(namespace, this.spec.seed), value)
    const keys = this.#hasher.finish().slice()
    const tables = new Set(features.map(({ table }) => table))
    return [...tables].map((table) => ({ table: this.#plan.tables[table].name, keys }))
  }
}

interface Preparation {
  readonly withGradients: boolean
  readonly step?: number | undefined
}

/**
 * The address of an engine's output: where it is, if that is this memory, else where it is copied.
 */
function settle(values: Float32Array, into: Block<Float32Array>): number {
  if (values.buffer === into.view.buffer) return values.byteOffset
  into.view.set(values.subarray(0, into.view.length))
  return into.address
}
