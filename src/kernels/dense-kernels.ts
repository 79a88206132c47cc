/**
 * The kernels that towers, losses and dense optimizers are made of. Matrices are row-major f32
 * without padding unless a stride (in floats) is given; indices and offsets are i32 and must be in
 * range: a kernel checks nothing. Blocks must not overlap unless it is said that they may be the
 * same. What is summed is summed in the order of its index, one rounding per operation: see
 * `reference-*.ts`, which give the same bits.
 */
import type { Address, Flag, Split, Whole } from './operands.ts'

/** Operand of `biasActivation` and `activationBackward`. */
export const activationCode = { linear: 0, relu: 1, gelu: 2, tanh: 3 } as const
export type ActivationCode = (typeof activationCode)[keyof typeof activationCode]

/** C is m x n; the range is of rows of C; `accumulate` 1 adds the product to what C holds. */
type Matmul = Split<
  [c: Address, a: Address, b: Address, m: number, n: number, k: number, accumulate: Flag]
>

export interface MatmulKernels {
  /** C = A B, with A m x k and B k x n. */
  matmul: Matmul
  /** C = A Bt, with A m x k and B n x k. */
  matmulTransposedB: Matmul
  /** C = At B, with A k x m and B k x n. */
  matmulTransposedA: Matmul
}

export interface LayerKernels {
  /**
   * x += bias (of `columns` floats, or absent) in every row, and out = activation(x). x is left
   * holding the sum, which gelu's derivative needs; out may be x. Range: rows.
   */
  biasActivation: Split<
    [out: Address, x: Address, bias: Address, columns: number, activation: ActivationCode]
  >
  /**
   * gradients *= activation'(x), x as `biasActivation` left it; for relu also its output, for tanh
   * its output alone. Range: elements.
   */
  activationBackward: Split<[gradients: Address, x: Address, activation: ActivationCode]>
  /** out[j] (+)= the sum of column j of x: a bias' gradient. Range: columns. */
  sumColumns: Split<[out: Address, x: Address, rows: number, columns: number, accumulate: Flag]>
  /**
   * Each row divided by its length: out = x r, r = 1 / sqrt(x.x + epsilon), r kept in `inverses` (a
   * float per row). out may be x. Range: rows.
   */
  normalizeRows: Split<
    [out: Address, inverses: Address, x: Address, columns: number, epsilon: number]
  >
  /**
   * In place: gradients of the normalised rows y become those of x, r (g - y (g.y)). Range: rows.
   */
  normalizeRowsBackward: Split<[gradients: Address, y: Address, inverses: Address, columns: number]>
}

export interface CrossKernels {
  /**
   * A cross layer (Wang et al. 2021, "DCN V2") behind its product: u += bias + diagonal x, and
   * out = x0 u + x, all element by element but the bias. Range: rows.
   */
  crossRows: Split<
    [
      out: Address,
      u: Address,
      x0: Address,
      x: Address,
      bias: Address,
      columns: number,
      diagonal: number,
    ]
  >
  /** du = g x0 and d0 (+)= g u, given the gradients g of `out`. Range: elements. */
  crossBackward: Split<
    [du: Address, d0: Address, g: Address, u: Address, x0: Address, accumulate: Flag]
  >
}

export interface LayerNormKernels {
  /**
   * A row less its mean, divided by the root of its variance + epsilon, in `unit`;
   * out = gain unit + bias. The divisors' inverses are kept, a float per row. Range: rows.
   */
  layerNorm: Split<
    [
      out: Address,
      unit: Address,
      inverses: Address,
      x: Address,
      gain: Address,
      bias: Address,
      columns: number,
      epsilon: number,
    ]
  >
  /** dx = inverse (h - mean h - unit mean(h unit)), h = g gain. dx may not be g. Range: rows. */
  layerNormBackward: Split<
    [dx: Address, g: Address, unit: Address, inverses: Address, gain: Address, columns: number]
  >
  /** out[j] (+)= the sum over rows of x[.][j] y[.][j]: the gradient of a gain. Range: columns. */
  sumProducts: Split<
    [out: Address, x: Address, y: Address, rows: number, columns: number, accumulate: Flag]
  >
}

export interface DropoutKernels {
  /**
   * out = factor x where a hash of the element's number and the seed is at least `threshold`, both
   * u32, else 0; out may be x. Gradients go back the same way. Range: elements.
   */
  dropout: Split<[out: Address, x: Address, seed: number, threshold: number, factor: number]>
}

export interface RowKernels {
  /** out[i] = rows[indices[i]], dim floats each, `outStride` floats apart. Range: i. */
  gatherRows: Split<[out: Address, outStride: number, rows: Address, indices: Address, dim: number]>
  /**
   * out[indices[i]] += rows[i] for i from 0 to count in order; rows lie `rowStride` floats apart,
   * those of out close together. Range: the *columns* [from, to) of every row, up to dim.
   */
  scatterAddRows: Split<
    [out: Address, rows: Address, rowStride: number, indices: Address, count: number, dim: number]
  >
}

/**
 * Bags: bag b has the entries e in [offsets[b], offsets[b + 1]), each the row indices[e] of `rows`
 * (dim floats each) with the weight weights[e] (absent: 1). The vectors of the bags lie `stride`
 * floats apart, so that features may stand side by side in one matrix.
 */
export interface BagKernels {
  /** out[b] (+)= the weighted sum of the bag's rows; of nothing: 0. Range: bags. */
  poolBags: Split<
    [
      out: Address,
      stride: number,
      rows: Address,
      dim: number,
      offsets: Address,
      indices: Address,
      weights: Address,
      accumulate: Flag,
    ]
  >
  /** rowGradients[indices[e]] += weights[e] gradients[b], in the order of e. Range: *columns*. */
  poolBagsBackward: Split<
    [
      rowGradients: Address,
      gradients: Address,
      stride: number,
      dim: number,
      offsets: Address,
      indices: Address,
      weights: Address,
      bags: number,
    ]
  >
  /** weightGradients[e] = rows[indices[e]] . gradients[b]. Range: bags. */
  bagWeightGradients: Split<
    [
      weightGradients: Address,
      rows: Address,
      gradients: Address,
      stride: number,
      dim: number,
      offsets: Address,
      indices: Address,
    ]
  >
}

/** The same bags, without weights: the largest value of each column instead of the sum. */
export interface MaxBagKernels {
  /**
   * out[b] (+)= the largest value in each column among the bag's rows; of nothing: 0. Range: bags.
   */
  maxBags: Split<
    [
      out: Address,
      stride: number,
      rows: Address,
      dim: number,
      offsets: Address,
      indices: Address,
      accumulate: Flag,
    ]
  >
  /** The gradient goes to the first entry that holds the largest value. Range: *columns*. */
  maxBagsBackward: Split<
    [
      rowGradients: Address,
      rows: Address,
      gradients: Address,
      stride: number,
      dim: number,
      offsets: Address,
      indices: Address,
      bags: number,
    ]
  >
}

/** Element by element; ranges are of elements. */
export interface ElementKernels {
  /** out = e^x; 0 below -87.3 and Infinity above 88.7. out may be x. */
  exp: Split<[out: Address, x: Address]>
  /** out = ln x; -Infinity at 0 and for what is smaller than normal, NaN below. out may be x. */
  log: Split<[out: Address, x: Address]>
  /** out = factor x. out may be x. */
  scale: Split<[out: Address, x: Address, factor: number]>
  /** out += factor x. */
  addScaled: Split<[out: Address, x: Address, factor: number]>
  /** In f64, in a fixed order; NaN or infinite exactly if an element is. */
  sum: Whole<[x: Address, n: number], number>
  sumOfSquares: Whole<[x: Address, n: number], number>
  /** Of n rows of `dim` floats: the largest sum of squares, in f32; NaN if an element is. */
  largestSquares: Whole<[x: Address, dim: number, n: number], number>
}

/**
 * Optimizers on blocks of floats: w weights, g gradients, the rest their state. Ranges: elements.
 */
export interface OptimizerKernels {
  /** a += g g; w -= rate g / sqrt(a + epsilon). */
  adagrad: Split<[w: Address, a: Address, g: Address, rate: number, epsilon: number]>
  /** a = max(a decay, floor) + g g; then as `adagrad`. `decay` 1: no decay is due. */
  adagradDecay: Split<
    [
      w: Address,
      a: Address,
      g: Address,
      rate: number,
      epsilon: number,
      decay: number,
      floor: number,
    ]
  >
  /**
   * m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g g; w -= rate m / (sqrt(v) + epsilon).
   * The caller puts the bias correction of step t into rate: rate sqrt(1 - beta2^t) / (1 -
   * beta1^t).
   */
  adam: Split<
    [
      w: Address,
      m: Address,
      v: Address,
      g: Address,
      rate: number,
      beta1: number,
      beta2: number,
      epsilon: number,
    ]
  >
  /**
   * m = beta m - rate g; w += m, or with `nesterov` w += beta m - rate g (Keras' `SGD(momentum)`).
   */
  momentum: Split<[w: Address, m: Address, g: Address, rate: number, beta: number, nesterov: Flag]>
  /**
   *     v = rho v + (1 - rho) g g
   *     a = rho a + (1 - rho) g           centered (a is there): v - a a for v below, at least 0
   *     s = rate g / sqrt(v + epsilon)
   *     m = beta m + s                    with momentum (m is there): m for s below
   *     w -= s
   */
  rmsprop: Split<
    [
      w: Address,
      v: Address,
      a: Address,
      m: Address,
      g: Address,
      rate: number,
      rho: number,
      beta: number,
      epsilon: number,
    ]
  >
  /**
   * Proximal, its rate falling with the root of a; `l2` is Keras' twice, and beta / rate:
   *
   *     z += g - (sqrt(a + g g) - sqrt(a)) / rate w
   *     a += g g
   *     w = (clip(z, -l1, l1) - z) / (sqrt(a) / rate + l2)
   */
  ftrl: Split<
    [w: Address, a: Address, z: Address, g: Address, rate: number, l1: number, l2: number]
  >
  /**
   * Adagrad's step s = rate g / sqrt(a + epsilon), with a as it was, shrunk as a whole until no |s|
   * is above relative |w| + slack / sqrt(a + epsilon) + absolute; w -= s; a += g g. Not to be
   * split: all elements share one factor. n is at most 16,384.
   */
  clippyAdagrad: Whole<
    [
      w: Address,
      a: Address,
      g: Address,
      rate: number,
      epsilon: number,
      relative: number,
      slack: number,
      absolute: number,
      n: number,
    ]
  >
}

export type DenseKernels = MatmulKernels &
  LayerKernels &
  CrossKernels &
  LayerNormKernels &
  DropoutKernels &
  RowKernels &
  BagKernels &
  MaxBagKernels &
  ElementKernels &
  OptimizerKernels
