/** What a batch says beside its vectors, as the loss on tensors takes it. */
import { assert } from '../../base/assert.ts'
import type { StepInput } from '../dense-engine.ts'

/** Above it sums of exponentials are computed once more, from the largest logit down. */
export const largestSum = 1e30
/**
 * The own positive's exponential in the matrix may be so many times its own: what is taken off a
 * sum is not to leave rounding errors behind.
 */
const mostTakenOff = 128

/** Rows of a batch. */
export interface Span {
  readonly from: number
  readonly rows: number
}

export interface LossBatch {
  readonly rows: number
  readonly columns: number
  /** Of queries without a positive: column 0, with no weight. */
  readonly targets: Int32Array
  readonly weights: Float32Array
  /** What the own positive's logit has in the place of its column's correction. */
  readonly targetCorrections: Float32Array
  /** By how much the own positive's logit is larger under its column's correction. */
  readonly ownExcess: Float32Array
  /** Sum of the weights. */
  readonly weight: number
  /** Columns that are no negatives, sorted by row; those of row b from `maskOffsets[b]` on. */
  readonly maskColumns: Int32Array
  readonly maskOffsets: Int32Array
}

export function lossBatch(input: StepInput): LossBatch {
  const { batch, columns } = input
  const arrays = [input.targets, input.weights, input.targetCorrections]
  assert(
    arrays.every((array) => array.length >= batch) && input.corrections.length >= columns,
    'an array of the batch is as long as the batch',
  )
  const targets = new Int32Array(batch)
  const weights = new Float32Array(batch)
  const targetCorrections = new Float32Array(batch)
  const ownExcess = new Float32Array(batch)
  let weight = 0
  for (let b = 0; b < batch; b += 1) {
    const target = input.targets[b]
    assert(target < columns, 'a target is a column of the batch')
    targetCorrections[b] = target < 0 ? input.corrections[0] : input.targetCorrections[b]
    if (target < 0) continue
    targets[b] = target
    weights[b] = input.weights[b]
    ownExcess[b] = input.corrections[target] - targetCorrections[b]
    weight += weights[b]
  }
  const shape = { rows: batch, columns, weight }
  return { ...shape, targets, weights, targetCorrections, ownExcess, ...sortedMasks(input) }
}

/** By counting; pairs whose column is the query's own positive are none. */
function sortedMasks({ batch, masked, targets }: StepInput): {
  maskColumns: Int32Array
  maskOffsets: Int32Array
} {
  const maskOffsets = new Int32Array(batch + 1)
  for (let i = 0; i < masked.length; i += 2) {
    if (targets[masked[i]] !== masked[i + 1]) maskOffsets[masked[i] + 1] += 1
  }
  for (let b = 0; b < batch; b += 1) maskOffsets[b + 1] += maskOffsets[b]
  const maskColumns = new Int32Array(maskOffsets[batch])
  const next = maskOffsets.slice()
  for (let i = 0; i < masked.length; i += 2) {
    const [row, column] = [masked[i], masked[i + 1]]
    if (targets[row] === column) continue
    maskColumns[next[row]] = column
    next[row] += 1
  }
  return { maskColumns, maskOffsets }
}

/**
 * What is added to a row's sum of exponentials: the own positive's, which is 1, less what the sum
 * has of it already under the column's correction. `isWritten`: masks, or rounding, want it written
 * into the matrix as nothing instead.
 */
export function takenOff(
  { ownExcess, maskOffsets }: LossBatch,
  { from, rows }: Span,
): { readonly taken: Float32Array; readonly isWritten: boolean } {
  const taken = new Float32Array(rows)
  let most = 0
  for (let i = 0; i < rows; i += 1) {
    const inMatrix = Math.exp(ownExcess[from + i])
    most = Math.max(most, inMatrix)
    taken[i] = 1 - inMatrix
  }
  const isMasked = maskOffsets[from + rows] > maskOffsets[from]
  const isWritten = isMasked || !(most <= mostTakenOff)
  return { taken: isWritten ? taken.fill(1) : taken, isWritten }
}

/** Rows in runs of at most `most`. */
export function spans(rows: number, most: number): readonly Span[] {
  const found: Span[] = []
  for (let from = 0; from < rows; from += most) {
    found.push({ from, rows: Math.min(most, rows - from) })
  }
  return found
}
