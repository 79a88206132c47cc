/**
 * The largest of several tensors, element by element, and which of them it is in: a query's score
 * with an item is the largest of its heads', and that head alone learns from it. Of equal ones it
 * is the first. One tensor is itself, and nothing is computed.
 */
import type { Tensor, Tensorflow } from './tensorflow.ts'

export interface Best {
  readonly most: Tensor
  /** A tensor's elements by whose the largest is: one tensor for each, 0 where it is another's. */
  readonly shares: (x: Tensor) => readonly Tensor[]
}

export function bestOf(tf: Tensorflow, tensors: readonly Tensor[]): Best {
  if (tensors.length === 1) return { most: tensors[0], shares: (x) => [x] }
  const most = tensors.reduce((a, b) => tf.maximum(a, b))
  let open = tf.ones(most.shape)
  const isIt = tensors.slice(0, -1).map((one) => {
    const found = tf.mul(tf.cast(tf.equal(one, most), 'float32'), open)
    open = tf.sub(open, found)
    return found
  })
  const all = [...isIt, open]
  return { most, shares: (x) => all.map((one) => tf.mul(x, one)) }
}
