/**
 * The built-in dense engine: towers as programs of kernels over one shared memory. A step meets its
 * threads four times: forward, loss, backward, gradients of the weights. The last are left to the
 * workers while the caller sees to the rows.
 */
import { seededRandom } from '../base/random.ts'
import type { Block } from '../kernels/arena.ts'
import type { ThreadPool } from '../kernels/thread-pool.ts'
import type { DenseEngine, ExportedTowers, StepInput, StepOutput } from './dense-engine.ts'
import { DenseParameters, type Allocator } from './dense-parameters.ts'
import { headsOf, type ModelPlan, type SidePlan } from './plan.ts'
import { inference, ProgramSet, type Program } from './program.ts'
import { mayRepeat } from './repeated-queries.ts'
import { columnGranularity, SoftmaxLoss } from './softmax-loss.ts'
import type { ModelSpec, TowerSpec } from './spec.ts'
import { exportTower } from './tower-export.ts'
import { initialWeights, weightCount, type TowerShape } from './tower-weights.ts'
import { Tower } from './tower.ts'

export interface EngineLimits {
  readonly maxQueries: number
  readonly maxItems: number
  /** Default 1. */
  readonly threads?: number
}

/** For `onStage`: what the engine is about to do. */
export type EngineStage = 'forward' | 'loss' | 'backward'

const roundUp = (n: number, to: number): number => Math.ceil(n / to) * to

/** All of the engine's memory, and the programs in it. */
export interface EngineMemory {
  readonly parameters: DenseParameters
  readonly query: Tower
  readonly candidate: Tower
  readonly loss: SoftmaxLoss
  readonly forwardQueries: ProgramSet
  /** Candidates and their packing for the loss, and all weights transposed. */
  readonly forward: ProgramSet
  readonly embedQueries: ProgramSet
  readonly embedCandidates: ProgramSet
  readonly backward: ProgramSet
  readonly weightGradients: ProgramSet
  readonly shared: SharedQueries | undefined
}

/** Where each of the queries that share rows of the tower has a vector, and its gradient. */
interface SharedQueries {
  readonly rowOf: Block<Int32Array>
  readonly queries: Block<Float32Array>
  readonly gradients: Block<Float32Array>
  /** Floats of both per query. */
  readonly width: number
}

/** Of programs of both towers; also what their random weights differ by. */
const queryProgram = 0
const candidateProgram = 1
const nothing = (): void => {}

const shapeOf = (spec: TowerSpec, side: SidePlan, maxRows: number): TowerShape => ({
  layers: spec.layers,
  normalize: spec.normalize,
  heads: spec.heads ?? 1,
  width: side.width,
  maxRows,
})

const shapesOf = (plan: ModelPlan, limits: EngineLimits): [TowerShape, TowerShape] => [
  shapeOf(plan.spec.query, plan.query, limits.maxQueries),
  shapeOf(plan.spec.candidate, plan.candidate, roundUp(limits.maxItems, columnGranularity)),
]

const perRow = (...instructions: Tower['forward']): Program => ({ instructions })

export function layOutEngine(
  allocator: Allocator,
  plan: ModelPlan,
  limits: EngineLimits,
): EngineMemory {
  const { dim, denseOptimizer } = plan.spec
  const [queryShape, candidateShape] = shapesOf(plan, limits)
  const queryWeights = weightCount(queryShape)
  const size = queryWeights + weightCount(candidateShape)
  const parameters = new DenseParameters(allocator, size, denseOptimizer)
  const query = new Tower(allocator, queryShape, parameters, 0)
  const candidate = new Tower(allocator, candidateShape, parameters, queryWeights)
  const shared = layOutShared(allocator, plan, limits.maxQueries)
  const loss = new SoftmaxLoss(allocator, {
    dim,
    threads: limits.threads ?? 1,
    maxQueries: limits.maxQueries,
    maxColumns: candidateShape.maxRows,
    popularity: plan.popularity !== undefined,
    loss: plan.spec.loss,
    heads: queryShape.heads,
    query,
    candidate,
    shared: shared && { queries: shared.queries.address, gradients: shared.gradients.address },
  })
  const programs = (...parts: readonly Program[]): ProgramSet => new ProgramSet(allocator, parts)
  return {
    parameters,
    query,
    candidate,
    loss,
    forwardQueries: programs(perRow(...query.forward)),
    forward: programs(
      perRow(...candidate.forward, loss.pack),
      ...query.transposes,
      ...candidate.transposes,
    ),
    embedQueries: programs(perRow(...inference(query.forward))),
    embedCandidates: programs(perRow(...inference(candidate.forward))),
    backward: programs(perRow(...query.backward), perRow(loss.sumParts, ...candidate.backward)),
    weightGradients: programs(...query.weightGradients, ...candidate.weightGradients),
    shared,
  }
}

function layOutShared(
  allocator: Allocator,
  { spec, query }: ModelPlan,
  maxQueries: number,
): SharedQueries | undefined {
  if (!mayRepeat(query, spec.query)) return undefined
  const width = headsOf(spec) * spec.dim
  return {
    rowOf: allocator.ints(maxQueries),
    queries: allocator.floats(maxQueries * width),
    gradients: allocator.floats(maxQueries * width),
    width,
  }
}

export class WasmEngine implements DenseEngine {
  readonly kind = 'wasm'
  readonly #memory: EngineMemory
  readonly #pool: ThreadPool
  readonly #dim: number
  readonly #widths: { readonly query: number; readonly candidate: number }
  readonly #shapes: readonly [TowerShape, TowerShape]
  readonly #queryPrograms: number
  readonly #onStage: (stage: EngineStage) => void
  #divisor = 0
  /** Takes part in what the workers have of the query tower. */
  #joinQueries = nothing

  constructor(
    memory: EngineMemory,
    pool: ThreadPool,
    plan: ModelPlan,
    onStage: (stage: EngineStage) => void = () => {},
  ) {
    this.#memory = memory
    this.#pool = pool
    this.#dim = plan.spec.dim
    this.#widths = { query: plan.query.width, candidate: plan.candidate.width }
    this.#queryPrograms = memory.query.weightGradients.length
    this.#onStage = onStage
    this.#shapes = shapesOf(plan, { maxQueries: 0, maxItems: 0 })
    this.#initialize(plan.spec)
  }

  get weightCount(): number {
    return this.#memory.parameters.size
  }

  get stateCount(): number {
    return this.#memory.parameters.stateSize
  }

  beginQueries(queries: Float32Array, n: number, seed = 0): void {
    const { query, forwardQueries } = this.#memory
    this.#settleQueries()
    place(queries, query.input.view, n * this.#widths.query)
    forwardQueries.setExamples(queryProgram, n)
    forwardQueries.setSeed(seed)
    this.#joinQueries = forwardQueries.begin(this.#pool)
  }

  step(input: StepInput): StepOutput {
    const { batch, columns } = input
    const { query, candidate, loss, forward, backward, parameters } = this.#memory
    const pool = this.#pool
    const rows = input.shared?.rows ?? batch
    this.#onStage('forward')
    place(input.candidates, candidate.input.view, columns * this.#widths.candidate)
    loss.begin(input)
    forward.setExamples(0, columns)
    forward.setSeed(input.seed ?? 0)
    this.#settleQueries()
    forward.run(pool)
    loss.padCandidates()
    this.#handOut(input)
    this.#onStage('loss')
    const outcome = loss.run(pool, input)
    this.#onStage('backward')
    this.#takeBack(input)
    backward.setExamples(queryProgram, rows)
    backward.setExamples(candidateProgram, columns)
    loss.setParts(backward, candidateProgram)
    backward.setSeed(input.seed ?? 0)
    backward.run(pool)
    const finish = this.#beginWeightGradients(rows, columns)
    const { divisor } = outcome
    this.#divisor = divisor
    return {
      ...outcome,
      queryGradients: query.inputGradients.view,
      candidateGradients: candidate.inputGradients.view,
      squaredGradient: () => {
        finish()
        const { gradients, size } = parameters
        return pool.kernels.sumOfSquares(gradients.address, size) / (divisor * divisor)
      },
    }
  }

  update(rateScale: number): void {
    if (this.#divisor === 0) return
    this.#memory.parameters.update(this.#pool.kernels, 1 / this.#divisor, rateScale)
    this.#divisor = 0
  }

  embedQueries(inputs: Float32Array, n: number): Float32Array {
    const { query, embedQueries } = this.#memory
    this.#settleQueries()
    place(inputs, query.input.view, n * this.#widths.query)
    embedQueries.setExamples(0, n)
    embedQueries.run(this.#pool)
    return this.#floats(query.output, n * this.#shapes[0].heads)
  }

  embedCandidates(inputs: Float32Array, n: number): Float32Array {
    const { candidate, embedCandidates } = this.#memory
    this.#settleQueries()
    place(inputs, candidate.input.view, n * this.#widths.candidate)
    embedCandidates.setExamples(0, n)
    embedCandidates.run(this.#pool)
    return this.#floats(candidate.output, n)
  }

  saveWeights(into: Float32Array): void {
    into.set(this.#memory.parameters.values.view)
  }

  loadWeights(from: Float32Array): void {
    this.#memory.parameters.values.view.set(from)
  }

  saveState(into: Float32Array): void {
    this.#memory.parameters.saveState(into)
  }

  loadState(from: Float32Array): void {
    this.#memory.parameters.loadState(from)
  }

  resetState(): void {
    this.#memory.parameters.resetState()
  }

  exportTowers(): Promise<ExportedTowers> {
    const [query, candidate] = this.#shapes
    const { view } = this.#memory.parameters.values
    return Promise.resolve({
      query: exportTower('query', query, view),
      candidate: exportTower('candidate', candidate, view.subarray(weightCount(query))),
    })
  }

  /** All of it is in the model's memory. */
  close(): void {}

  #initialize(spec: ModelSpec): void {
    const [query, candidate] = this.#shapes
    const weights = this.#memory.parameters.values.view
    const queryWeights = weightCount(query)
    initialWeights(query, seededRandom(spec.seed, queryProgram), weights)
    const rest = weights.subarray(queryWeights)
    initialWeights(candidate, seededRandom(spec.seed, candidateProgram), rest)
    this.resetState()
  }

  #settleQueries(): void {
    const join = this.#joinQueries
    this.#joinQueries = nothing
    join()
  }

  /** To each query the vector of its row. */
  #handOut({ shared: given, batch }: StepInput): void {
    const { shared, query } = this.#memory
    if (given === undefined || shared === undefined) return
    const { rowOf, queries, width } = shared
    place(given.rowOf, rowOf.view, batch)
    const [to, from] = [queries.address, query.output]
    this.#pool.kernels.gatherRows(to, width, from, rowOf.address, width, 0, batch)
  }

  /** The gradients of a row's queries, summed in their order. */
  #takeBack({ shared: given, batch }: StepInput): void {
    const { shared, query } = this.#memory
    if (given === undefined || shared === undefined) return
    const { rowOf, gradients, width } = shared
    const { kernels } = this.#pool
    const [to, from] = [query.outputGradients, gradients.address]
    kernels.clear(to, 0, given.rows * width)
    kernels.scatterAddRows(to, from, width, rowOf.address, batch, width, 0, width)
  }

  #beginWeightGradients(queries: number, columns: number): () => void {
    const { query, candidate, weightGradients } = this.#memory
    const programs = query.weightGradients.length + candidate.weightGradients.length
    for (let i = 0; i < programs; i += 1) {
      weightGradients.setExamples(i, i < this.#queryPrograms ? queries : columns)
    }
    return weightGradients.begin(this.#pool)
  }

  #floats(address: number, rows: number): Float32Array {
    const { buffer } = this.#memory.query.input.view
    return new Float32Array(buffer, address, rows * this.#dim)
  }
}

/** Copies the first `length` numbers where they must be, unless they are there. */
function place<View extends Float32Array | Int32Array>(
  values: View,
  into: View,
  length: number,
): void {
  if (values.buffer === into.buffer && values.byteOffset === into.byteOffset) return
  into.set(values.length === length ? values : values.subarray(0, length))
}
