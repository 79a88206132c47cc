/** Products of matrices, one of them perhaps transposed. */
import type { Tensor, Tensorflow } from './tensorflow.ts'

type Product = (a: Tensor, b: Tensor) => Tensor

export interface Products {
  readonly ab: Product
  readonly abT: Product
  readonly aTb: Product
}

/**
 * `explicit`: transposed first, which the WebAssembly backend wants: its product has a fast way for
 * matrices as they are alone, and takes 10 to 40 times as long otherwise.
 */
export const productsOf = (tf: Tensorflow, explicit: boolean): Products =>
  explicit
    ? {
        ab: (a, b) => tf.matMul(a, b),
        abT: (a, b) => tf.matMul(a, tf.transpose(b)),
        aTb: (a, b) => tf.matMul(tf.transpose(a), b),
      }
    : {
        ab: (a, b) => tf.matMul(a, b),
        abT: (a, b) => tf.matMul(a, b, false, true),
        aTb: (a, b) => tf.matMul(a, b, true, false),
      }
