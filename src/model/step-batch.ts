/** What a step of the model is given, and what it says of itself. */
import type { Pushes } from './dense-engine.ts'

/**
 * What a step needs beside queries and columns. B queries, C columns, in the order of
 * `prepareStep`.
 */
export interface StepBatch {
  /** The column of each query's positive, -1: not trained on (B). */
  readonly targets: Int32Array
  /** Weight of each example (B); the loss is the weighted mean. */
  readonly weights: Float32Array
  /**
   * Added to every score of a column: minus the log of its sampling probability, its multiplicity
   * folded in (C).
   */
  readonly corrections: Float32Array
  /** Added instead where the column is the query's own positive (B). */
  readonly targetCorrections: Float32Array
  /** Log popularity of each column (C); may be empty in a model without popularity. */
  readonly popularity: Float32Array
  /** (query, column) pairs that are no negatives: seen items, accidental hits. Flat, 2 per pair. */
  readonly masked: Int32Array
  /**
   * (query, column) pairs whose item alone is pulled towards the query by the spec's `newItemPull`.
   */
  readonly pulls: Int32Array
  /** Absent: none. */
  readonly pushes?: Pushes
}

export interface StepResult {
  /** Weighted mean cross-entropy; 0 when no example has weight. */
  readonly loss: number
  /** Sum of the weights behind it. */
  readonly weight: number
  /** L2 norm of all dense gradients; not finite when anything went wrong. */
  readonly gradientNorm: number
  /** L2 norm of all row gradients, as left in the lookups; not finite when anything went wrong. */
  readonly rowGradientNorm: number
  /**
   * L2 norm of the longest row that was read of each table, in the order of the specification; 0
   * where none was, NaN where one is not of numbers. Valid until the next step.
   */
  readonly rowNorms: Float64Array
}
