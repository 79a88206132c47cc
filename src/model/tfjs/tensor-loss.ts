/** The loss of a batch between two towers on tensors. */
import type { StepInput } from '../dense-engine.ts'
import type { LossSpec } from '../spec.ts'
import type { Tensor } from './tensorflow.ts'

export interface LossShape {
  readonly dim: number
  /** Vectors of a query. */
  readonly heads: number
  readonly loss: Pick<LossSpec, 'kind' | 'hardNegatives'>
  readonly popularity: boolean
  /** Logits that are there at once. */
  readonly tileFloats: number
}

/** Gradients are of the summed loss. */
export interface LossOutcome {
  /** As the tower's output is: a row for each query, or for those that share it. */
  readonly queries: Tensor
  readonly candidates: Tensor
  /** By the popularity's weight in each query. */
  readonly popularityWeights: Tensor | undefined
  /** Of all queries, weighted: one number. */
  readonly loss: Tensor
}

export interface TensorLoss {
  /** `queries` and `candidates`: the towers' outputs. To be called in a `tidy`. */
  run(input: StepInput, queries: Tensor, candidates: Tensor): LossOutcome
}

/** Whether the loss is the softmax over all columns. */
export const isPlain = ({ kind = 'softmax', hardNegatives }: LossShape['loss']): boolean =>
  kind === 'softmax' && hardNegatives === undefined
