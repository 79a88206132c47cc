/**
 * Two towers and their loss, on matrices: it knows no keys, no tables, no users. `wasm-engine` is
 * built in and gives the same bits on every machine and for every number of threads; `tfjs-engine`
 * runs on TensorFlow.js and agrees with it to rounding. Weights and state are laid out alike, so
 * what one has saved the other loads.
 *
 * Shapes: B queries, C candidate columns, Q and P floats of tower input, d floats of tower output;
 * all matrices row-major f32. Arrays may be longer than their shape needs.
 */
import type { ModelArtifacts } from './tower-export.ts'

/** Pairs whose query and item are pushed apart. */
export interface Pushes {
  /** (query, column), flat, 2 per pair. */
  readonly pairs: Int32Array
  /** One per pair. */
  readonly weights: Float32Array
}

/** Queries that are the same to their tower share a row of its input. */
export interface SharedRows {
  /** R, at most B. */
  readonly rows: number
  /** The row of each query (B). */
  readonly rowOf: Int32Array
}

/** One batch to learn from. Columns are distinct items. */
export interface StepInput {
  readonly batch: number
  readonly columns: number
  /**
   * B x Q and C x P: the pooled features. An engine may work in them where they are its own memory.
   */
  readonly queries: Float32Array
  /** Absent: each query has its own row. Else `queries` and their gradients are R x Q. */
  readonly shared?: SharedRows | undefined
  readonly candidates: Float32Array
  /** The column of each query's positive; -1: no loss, only pulls (below). */
  readonly targets: Int32Array
  /** Weight of each query's loss. */
  readonly weights: Float32Array
  /** Added to every score of a column: minus the log of its sampling probability (C). */
  readonly corrections: Float32Array
  /** Added instead where the column is the query's own positive (B). */
  readonly targetCorrections: Float32Array
  /**
   * Log popularity of each column, and its learned weight in each query; empty without popularity.
   */
  readonly popularity: Float32Array
  readonly popularityWeights: Float32Array
  /**
   * (query, column) pairs that are no negatives: accidental hits and seen items. Flat, 2 per pair.
   */
  readonly masked: Int32Array
  /** (query, column) pairs whose item alone is pulled towards the query, by `pull`. */
  readonly pulls: Int32Array
  readonly pull: number
  /** Absent: none. */
  readonly pushes?: Pushes
  /** Of what is dropped; default 0. */
  readonly seed?: number | undefined
  readonly temperature: number
  readonly l2: number
  /** Dense weights learn from the mean over weights, the default, or from the sum. */
  readonly reduction?: 'mean' | 'sum' | undefined
}

/**
 * Views into the engine's memory, valid until its next call. Gradients are of the objective
 *
 *     sum of weight (cross-entropy + l2 (|q|^2 + |c|^2)) - pull (sum of pulled pairs' scores)
 *       + sum over pushed pairs of weight log(1 + exp(q . c / temperature))
 *
 * with c the query's positive, and a pulled pair's query taken as constant; divided by `divisor`
 * they are what the dense weights are updated with: those of its mean, or of the sum.
 */
export interface StepOutput {
  /** Weighted mean of the cross-entropy; 0 where nothing has weight. */
  readonly loss: number
  /** Sum of the weights of the queries that have a target. */
  readonly weight: number
  /**
   * `weight`, the number of pulls and the weights of pushes; at least a tiny number. 1 where the
   * reduction is `sum`.
   */
  readonly divisor: number
  readonly queryGradients: Float32Array
  readonly candidateGradients: Float32Array
  readonly popularityWeightGradients: Float32Array
  /**
   * Squared L2 norm of all dense gradients of the mean: for the guard. These may still be under way
   * until it is asked for, which has to be once and before the engine's next call.
   */
  readonly squaredGradient: () => number
}

/** Below it a division would make noise of nothing. */
const leastDivisor = 1e-6

/** `divisor`, of the weights of queries with a target and those of pushes. */
export function divisorOf({ pull, pulls, reduction }: StepInput, weight: number): number {
  if (reduction === 'sum') return 1
  return Math.max(leastDivisor, weight + (pull > 0 ? pulls.length / 2 : 0))
}

export interface ExportedTowers {
  readonly query: ModelArtifacts
  readonly candidate: ModelArtifacts
}

export interface DenseEngine {
  /** Name and backend, for the log and for checkpoints. */
  readonly kind: string

  /**
   * Says ahead of `step` what its queries are, and what is dropped of them: an engine may see to
   * their tower while the caller sees to the candidates. n rows of Q, unchanged until the step.
   */
  beginQueries(queries: Float32Array, n: number, seed?: number): void

  /** Loss and gradients of the batch that was begun; weights stay as they are. */
  step(input: StepInput): StepOutput

  /** One update of the dense weights with the gradients of the last step. */
  update(rateScale: number): void

  /**
   * n x Q -> n x d, and n x P -> n x d; views into the engine's memory, valid until its next call.
   */
  embedQueries(inputs: Float32Array, n: number): Float32Array
  embedCandidates(inputs: Float32Array, n: number): Float32Array

  /** Floats of dense weights, and of optimizer state behind them. */
  readonly weightCount: number
  readonly stateCount: number
  saveWeights(into: Float32Array): void
  loadWeights(from: Float32Array): void
  saveState(into: Float32Array): void
  loadState(from: Float32Array): void
  /** The optimizer as before its first step. */
  resetState(): void

  /** Each tower as a LayersModel with the weights as they are. */
  exportTowers(): Promise<ExportedTowers>

  /** Gives back what it holds outside the model's memory. */
  close(): void
}
