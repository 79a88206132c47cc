/** Products of matrices, one of them perhaps transposed. */
import type { NativeAttribute, NativeBackend, Tensor, Tensorflow } from './tensorflow.ts'

type Product = (a: Tensor, b: Tensor) => Tensor

export interface Products {
  readonly ab: Product
  readonly abT: Product
  readonly aTb: Product
}

/** A product of the backend in use, of two matrices each as it is or transposed. */
type Multiply = (a: Tensor, b: Tensor, transposeA: boolean, transposeB: boolean) => Tensor

/** `native`: what runs the library's own operations, where there is a library. */
export function productsOf(tf: Tensorflow, native?: NativeBackend): Products {
  const multiply: Multiply = native === undefined ? transposedFirst(tf) : single(native)
  return {
    ab: (a, b) => multiply(a, b, false, false),
    abT: (a, b) => multiply(a, b, false, true),
    aTb: (a, b) => multiply(a, b, true, false),
  }
}

/**
 * The library's product of two matrices. `tf.matMul` runs the one for any number of pairs of them,
 * which takes a fifth longer for large ones and half as long again for small ones.
 */
function single(native: NativeBackend): Multiply {
  const { TF_ATTR_BOOL: flag, TF_ATTR_TYPE: type, TF_FLOAT: float } = native.binding
  const transposed = (name: string): readonly NativeAttribute[] =>
    [false, true].map((value) => ({ name, type: flag, value }))
  const [left, right] = [transposed('transpose_a'), transposed('transpose_b')]
  const floats = { name: 'T', type, value: float }
  return (a, b, transposeA, transposeB) => {
    const attributes = [left[transposeA ? 1 : 0], right[transposeB ? 1 : 0], floats]
    return native.executeSingleOutput('MatMul', attributes, [a, b])
  }
}

/**
 * Transposed first, which the WebAssembly backend wants: its product has a fast way for matrices as
 * they are alone, and takes 10 to 40 times as long otherwise.
 */
const transposedFirst =
  (tf: Tensorflow): Multiply =>
  (a, b, transposeA, transposeB) =>
    tf.matMul(transposeA ? tf.transpose(a) : a, transposeB ? tf.transpose(b) : b)
