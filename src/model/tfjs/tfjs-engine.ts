/**
 * The dense engine on TensorFlow.js: for GPUs, wide towers, large batches, and towers that the user
 * brings. Specified towers have their gradients written out; where a LayersModel takes part they
 * are derived. Weights live in the model's memory and learn there, like those of the built-in
 * engine: the same optimizers, the same saved bytes.
 *
 * Invariants: outside a call no tensor is there but the weights', and no typed array leaves a
 * `tidy` as its result (which would be walked key by key).
 */
import { assert } from '../../base/assert.ts'
import type { ThreadPool } from '../../kernels/thread-pool.ts'
import {
  type DenseEngine,
  divisorOf,
  type ExportedTowers,
  type StepInput,
  type StepOutput,
} from '../dense-engine.ts'
import type { DenseParameters } from '../dense-parameters.ts'
import type { ModelPlan } from '../plan.ts'
import { ClosedTower } from './closed-tower.ts'
import type { TfjsParts } from './open-tfjs.ts'
import type { LossOutcome } from './tensor-loss.ts'
import type { TensorTower } from './tensor-tower.ts'
import type { Tensor, Tensorflow } from './tensorflow.ts'

/** Where a step stands, for whoever times it. */
type Stage = 'forward' | 'loss' | 'backward'

/** What the engine shares with the model. */
export interface TfjsSurroundings {
  readonly parameters: DenseParameters
  readonly pool: ThreadPool
  readonly plan: ModelPlan
  readonly onStage?: ((stage: Stage) => void) | undefined
}

/** The towers' inputs, and what is found out about a batch. */
interface Batch {
  readonly input: StepInput
  readonly queries: Tensor
  readonly candidates: Tensor
  readonly found: Findings
}

interface Findings {
  loss: number
  queries: Float32Array
  candidates: Float32Array
  popularityWeights: Float32Array
}

const nothing = new Float32Array(0)

export class TfjsEngine implements DenseEngine {
  readonly kind: string
  readonly #tf: Tensorflow
  readonly #parts: TfjsParts
  readonly #parameters: DenseParameters
  readonly #pool: ThreadPool
  readonly #widths: { readonly query: number; readonly candidate: number }
  readonly #onStage: (stage: Stage) => void
  /** Whether the towers have the parameters as they are now. */
  #isFresh = false
  #divisor = 0

  constructor(parts: TfjsParts, { parameters, pool, plan, onStage }: TfjsSurroundings) {
    this.kind = `tfjs (${parts.loaded.description})`
    this.#tf = parts.loaded.tf
    this.#parts = parts
    this.#parameters = parameters
    this.#pool = pool
    this.#widths = { query: plan.query.width, candidate: plan.candidate.width }
    this.#onStage = onStage ?? (() => {})
    const { query, candidate } = parts
    query.initialize(parameters.values.view.subarray(0, query.weightCount))
    candidate.initialize(parameters.values.view.subarray(query.weightCount))
    this.resetState()
  }

  get weightCount(): number {
    return this.#parameters.size
  }

  get stateCount(): number {
    return this.#parameters.stateSize
  }

  /** Its library has threads of its own, and a step is one pass. */
  beginQueries(): void {}

  step(input: StepInput): StepOutput {
    const { batch, columns, shared } = input
    this.#refresh()
    const found: Findings = {
      loss: 0,
      queries: nothing,
      candidates: nothing,
      popularityWeights: nothing,
    }
    this.#tf.tidy(() => {
      this.#onStage('forward')
      const queries = this.#rows(input.queries, shared?.rows ?? batch, this.#widths.query)
      const candidates = this.#rows(input.candidates, columns, this.#widths.candidate)
      this.#pass({ input, queries, candidates, found })
    })
    const { weight, divisor } = weigh(input)
    this.#divisor = divisor
    const { gradients, size } = this.#parameters
    const squares = this.#pool.kernels.sumOfSquares(gradients.address, size)
    return {
      loss: weight > 0 ? found.loss / weight : 0,
      weight,
      divisor,
      queryGradients: found.queries,
      candidateGradients: found.candidates,
      popularityWeightGradients: found.popularityWeights,
      squaredGradient: () => squares / (divisor * divisor),
    }
  }

  update(rateScale: number): void {
    if (this.#divisor === 0) return
    this.#parameters.update(this.#pool.kernels, 1 / this.#divisor, rateScale)
    this.#divisor = 0
    this.#isFresh = false
  }

  embedQueries(inputs: Float32Array, n: number): Float32Array {
    return this.#embed(this.#parts.query, { inputs, n, width: this.#widths.query })
  }

  embedCandidates(inputs: Float32Array, n: number): Float32Array {
    return this.#embed(this.#parts.candidate, { inputs, n, width: this.#widths.candidate })
  }

  saveWeights(into: Float32Array): void {
    into.set(this.#parameters.values.view)
  }

  loadWeights(from: Float32Array): void {
    this.#parameters.values.view.set(from)
    this.#isFresh = false
  }

  saveState(into: Float32Array): void {
    this.#parameters.saveState(into)
  }

  loadState(from: Float32Array): void {
    this.#parameters.loadState(from)
  }

  resetState(): void {
    this.#parameters.resetState()
  }

  async exportTowers(): Promise<ExportedTowers> {
    const { query, candidate } = this.#parts
    const { view } = this.#parameters.values
    return {
      query: await query.export('query', view.subarray(0, query.weightCount)),
      candidate: await candidate.export('candidate', view.subarray(query.weightCount)),
    }
  }

  close(): void {
    this.#parts.query.close()
    this.#parts.candidate.close()
  }

  #refresh(): void {
    if (this.#isFresh) return
    const { query, candidate } = this.#parts
    const { view } = this.#parameters.values
    query.load(view.subarray(0, query.weightCount))
    candidate.load(view.subarray(query.weightCount))
    this.#isFresh = true
  }

  #pass(batch: Batch): void {
    const { query, candidate } = this.#parts
    if (query instanceof ClosedTower && candidate instanceof ClosedTower) {
      this.#written(batch, query, candidate)
    } else {
      this.#derived(batch, query, candidate)
    }
  }

  /** By gradients that are written out. */
  #written(batch: Batch, query: ClosedTower, candidate: ClosedTower): void {
    const { seed = 0 } = batch.input
    const q = query.forward(batch.queries, seed)
    const c = candidate.forward(batch.candidates, seed)
    this.#onStage('loss')
    const outcome = this.#parts.loss.run(batch.input, q.output, c.output)
    this.#onStage('backward')
    const ofQueries = q.backward(outcome.queries)
    const ofCandidates = c.backward(outcome.candidates)
    note(batch, outcome)
    batch.found.queries = ofQueries.inputs.dataSync()
    batch.found.candidates = ofCandidates.inputs.dataSync()
    this.#take([...ofQueries.weights, ...ofCandidates.weights])
  }

  /** By gradients that are derived from what the towers did; the loss' own are written out. */
  #derived(batch: Batch, query: TensorTower, candidate: TensorTower): void {
    const tf = this.#tf
    const lossOf = tf.customGrad<[Tensor, Tensor]>((q, c, save) => {
      this.#onStage('loss')
      const outcome = this.#parts.loss.run(batch.input, q, c)
      note(batch, outcome)
      save([outcome.queries, outcome.candidates])
      this.#onStage('backward')
      return { value: outcome.loss, gradFunc: (_, saved) => saved }
    })
    const { seed = 0 } = batch.input
    const objective = (queries: Tensor, candidates: Tensor): Tensor =>
      lossOf(query.derivable(queries, seed), candidate.derivable(candidates, seed))
    const inputs = [batch.queries, batch.candidates]
    const { grads } = tf.valueAndGrads(objective)([
      ...inputs,
      ...query.weights,
      ...candidate.weights,
    ])
    const [ofQueries, ofCandidates, ...ofWeights] = grads
    batch.found.queries = ofQueries.dataSync()
    batch.found.candidates = ofCandidates.dataSync()
    this.#take(ofWeights)
  }

  /** The weights' gradients, one behind the other. */
  #take(gradients: readonly Tensor[]): void {
    const { view } = this.#parameters.gradients
    let at = 0
    for (const gradient of gradients) {
      const values = gradient.dataSync()
      view.set(values, at)
      at += values.length
    }
    assert(at === view.length, 'a gradient for every weight')
  }

  #embed(tower: TensorTower, { inputs, n, width }: Inputs): Float32Array {
    this.#refresh()
    let found: Float32Array = nothing
    this.#tf.tidy(() => {
      found = tower.embed(this.#rows(inputs, n, width)).dataSync()
    })
    return found
  }

  /** A copy: the given array is the model's memory and may be longer. */
  #rows(values: Float32Array, n: number, width: number): Tensor {
    return this.#tf.tensor(values.slice(0, n * width), [n, width])
  }
}

interface Inputs {
  readonly inputs: Float32Array
  readonly n: number
  readonly width: number
}

function note({ found }: Batch, { loss, popularityWeights }: LossOutcome): void {
  found.loss = loss.dataSync()[0]
  if (popularityWeights !== undefined) found.popularityWeights = popularityWeights.dataSync()
}

/** The sum of the weights of what has a target; and with it what pulls and pushes. */
function weigh(input: StepInput): { weight: number; divisor: number } {
  const { batch, targets, weights, pushes } = input
  let weight = 0
  for (let b = 0; b < batch; b += 1) weight += targets[b] < 0 ? 0 : weights[b]
  let pushed = 0
  for (const push of pushes?.weights ?? []) pushed += push
  return { weight, divisor: divisorOf(input, weight + pushed) }
}
