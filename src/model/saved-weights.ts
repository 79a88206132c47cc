/** All dense weights of a model as one array, as checkpoints and deltas carry them. */
import { ServiceError } from '../base/errors.ts'
import type { DenseEngine } from './dense-engine.ts'
import type { DenseParameters } from './dense-parameters.ts'

/** What the array holds, in this order. */
export interface WeightParts {
  /** Weights by which rows are pooled, and what is measured of the stream. */
  readonly pooling: DenseParameters
  /** Those of the towers. */
  readonly engine: DenseEngine
}

const weightCountOf = ({ pooling, engine }: WeightParts): number =>
  pooling.size + engine.weightCount

const stateCountOf = ({ pooling, engine }: WeightParts): number =>
  pooling.stateSize + engine.stateCount

/** A copy, followed by the optimizers' state if `withState`. */
export function saveWeights(parts: WeightParts, withState: boolean): Float32Array<ArrayBuffer> {
  const { pooling, engine } = parts
  const count = weightCountOf(parts)
  const into = new Float32Array(count + (withState ? stateCountOf(parts) : 0))
  into.set(pooling.values.view)
  engine.saveWeights(into.subarray(pooling.size, count))
  if (!withState) return into
  pooling.saveState(into.subarray(count))
  engine.saveState(into.subarray(count + pooling.stateSize))
  return into
}

/** Takes what `saveWeights` gave; without state the optimizers start fresh. `WEIGHTS_INVALID`. */
export function loadWeights(parts: WeightParts, weights: Float32Array): void {
  const { pooling, engine } = parts
  const count = weightCountOf(parts)
  const withState = count + stateCountOf(parts)
  if (weights.length !== count && weights.length !== withState) {
    const expected = `${count} or ${withState}`
    throw new ServiceError('WEIGHTS_INVALID', { expected, actual: weights.length })
  }
  pooling.values.view.set(weights.subarray(0, pooling.size))
  engine.loadWeights(weights.subarray(pooling.size, count))
  if (weights.length === count) {
    pooling.resetState()
    engine.resetState()
    return
  }
  pooling.loadState(weights.subarray(count, count + pooling.stateSize))
  engine.loadState(weights.subarray(count + pooling.stateSize))
}
