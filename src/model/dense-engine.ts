/**
 * Two towers and their loss, on matrices: it knows no keys, no tables, no users. `wasm-engine` is
 * built in and gives the same bits on every machine and for every number of threads.
 *
 * Shapes: B queries, C candidate columns, Q and P floats of tower input, d floats of tower output;
 * all matrices row-major f32.
 */

/** One batch to learn from. Columns are distinct items. */
export interface StepInput {
  readonly batch: number
  readonly columns: number
  /** B x Q and C x P: the pooled features. */
  readonly queries: Float32Array
  readonly candidates: Float32Array
  /** The column of each query's positive; -1: no loss, only pulls (below). */
  readonly targets: Int32Array
  /** Weight of each query's loss; the loss is the weighted mean. */
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
  readonly temperature: number
  readonly l2: number
}

/** Views into the engine's memory, valid until its next call. Gradients are of the *mean* loss. */
export interface StepOutput {
  readonly loss: number
  readonly queryGradients: Float32Array
  readonly candidateGradients: Float32Array
  readonly popularityWeightGradients: Float32Array
  /** L2 norm of all dense gradients: for the guard. */
  readonly gradientNorm: number
}

export interface DenseEngine {
  /** Name and backend, for the log and for checkpoints. */
  readonly kind: string

  /** Loss and gradients of one batch, and one update of the dense weights. */
  step(input: StepInput): StepOutput

  /**
   * n x Q -> n x d, and n x P -> n x d; views into the engine's memory, valid until its next call.
   */
  embedQueries(inputs: Float32Array, n: number): Float32Array
  embedCandidates(inputs: Float32Array, n: number): Float32Array

  /** All dense weights, flat (a copy), and the optimizer's state behind them when asked for. */
  weights(options?: { readonly optimizerState: boolean }): Float32Array

  /** Takes what `weights` gave, with or without optimizer state. Throws `WEIGHTS_INVALID`. */
  load(weights: Float32Array): void
}
