/** Bias, activations and row normalisation, forward and backward; see src/kernels/dense-kernels.ts. */
import {
  constants, DENSITY, HALF, MINUS_HALF, ONE, TAIL_1, TAIL_2, TAIL_3, TAIL_4, TAIL_5, TAIL_SCALE,
} from './constants'
import { exp4 } from './exp-log'
import { clearFloats, dot, loadPart, storePart } from './vector'

const relu: i32 = 1
const gelu: i32 = 2
const tanh: i32 = 3

export function biasActivation(
  out: usize, x: usize, bias: usize, columns: i32, activation: i32, from: i32, to: i32,
): void {
  const bytes = usize(columns) << 2
  const whole = bytes & ~15
  for (let row = from; row < to; row++) {
    const source = x + usize(row) * bytes
    const target = out + usize(row) * bytes
    let j: usize = 0
    for (; j < whole; j += 16) {
      let v = v128.load(source + j)
      if (bias) v = f32x4.add(v, v128.load(bias + j))
      v128.store(source + j, v)
      v128.store(target + j, activate(v, activation))
    }
    if (j < bytes) {
      const rest = (bytes - j) >> 2
      let v = loadPart(source + j, rest, 0)
      if (bias) v = f32x4.add(v, loadPart(bias + j, rest, 0))
      storePart(source + j, v, rest)
      storePart(target + j, activate(v, activation), rest)
    }
  }
}

export function activationBackward(
  gradients: usize, x: usize, activation: i32, from: i32, to: i32,
): void {
  if (activation < relu || activation > tanh) return
  const end = usize(to) << 2
  let i = usize(from) << 2
  for (; i + 16 <= end; i += 16) {
    const v = slope(v128.load(gradients + i), v128.load(x + i), activation)
    v128.store(gradients + i, v)
  }
  if (i < end) {
    const rest = (end - i) >> 2
    const v = slope(loadPart(gradients + i, rest, 0), loadPart(x + i, rest, 0), activation)
    storePart(gradients + i, v, rest)
  }
}

// @ts-ignore: decorator
@inline
function activate(x: v128, activation: i32): v128 {
  // x < 0 is 0, and NaN stays NaN.
  if (activation == relu) return f32x4.pmax(x, f32x4.splat(0))
  if (activation == tanh) return hyperbolicTangent(x)
  if (activation != gelu) return x
  return f32x4.mul(x, cumulative(x, bell(x)))
}

/** gradient x activation'(x). */
// @ts-ignore: decorator
@inline
function slope(gradient: v128, x: v128, activation: i32): v128 {
  if (activation == relu) return v128.and(gradient, f32x4.gt(x, f32x4.splat(0)))
  if (activation == tanh) {
    return f32x4.mul(gradient, f32x4.sub(v128.load(constants, ONE), f32x4.mul(x, x)))
  }
  const e = bell(x)
  const density = f32x4.mul(e, v128.load(constants, DENSITY))
  return f32x4.mul(gradient, f32x4.add(cumulative(x, e), f32x4.mul(x, density)))
}

/** 1 - 2 / (exp(2 x) + 1). */
// @ts-ignore: decorator
@inline
function hyperbolicTangent(x: v128): v128 {
  const one = v128.load(constants, ONE)
  const e = exp4(f32x4.add(x, x))
  return f32x4.sub(one, f32x4.div(f32x4.add(one, one), f32x4.add(e, one)))
}

/** exp(-x x / 2). */
// @ts-ignore: decorator
@inline
function bell(x: v128): v128 {
  return exp4(f32x4.mul(f32x4.mul(x, x), v128.load(constants, MINUS_HALF)))
}

/**
 * The normal distribution function, Phi(x) = (1 + erf(x / sqrt 2)) / 2, given e = exp(-x x / 2):
 * formula 7.1.26 of Abramowitz and Stegun, error below 1.5e-7.
 */
// @ts-ignore: decorator
@inline
function cumulative(x: v128, e: v128): v128 {
  const k = constants
  const one = v128.load(k, ONE)
  const t = f32x4.div(one, f32x4.add(one, f32x4.mul(v128.load(k, TAIL_SCALE), f32x4.abs(x))))
  let p = f32x4.add(f32x4.mul(v128.load(k, TAIL_5), t), v128.load(k, TAIL_4))
  p = f32x4.add(f32x4.mul(p, t), v128.load(k, TAIL_3))
  p = f32x4.add(f32x4.mul(p, t), v128.load(k, TAIL_2))
  p = f32x4.add(f32x4.mul(p, t), v128.load(k, TAIL_1))
  const tail = f32x4.mul(f32x4.mul(f32x4.mul(p, t), e), v128.load(k, HALF))
  return v128.bitselect(tail, f32x4.sub(one, tail), f32x4.lt(x, f32x4.splat(0)))
}

export function sumColumns(
  out: usize, x: usize, rows: i32, columns: i32, accumulate: i32, from: i32, to: i32,
): void {
  const rowBytes = usize(columns) << 2
  const start = usize(from) << 2
  const bytes = usize(to - from) << 2
  const whole = bytes & ~15
  const first = x + start
  const sums = out + start
  if (!accumulate) clearFloats(sums, to - from)
  for (let row = 0; row < rows; row++) {
    const source = first + usize(row) * rowBytes
    let j: usize = 0
    for (; j < whole; j += 16) {
      v128.store(sums + j, f32x4.add(v128.load(sums + j), v128.load(source + j)))
    }
    for (; j < bytes; j += 4) store<f32>(sums + j, load<f32>(sums + j) + load<f32>(source + j))
  }
}

export function normalizeRows(
  out: usize, inverses: usize, x: usize, columns: i32, epsilon: f32, from: i32, to: i32,
): void {
  const bytes = usize(columns) << 2
  const whole = bytes & ~15
  for (let row = from; row < to; row++) {
    const source = x + usize(row) * bytes
    const target = out + usize(row) * bytes
    const inverse = f32(1) / sqrt<f32>(dot(source, source, columns) + epsilon)
    store<f32>(inverses + (usize(row) << 2), inverse)
    const factor = f32x4.splat(inverse)
    let j: usize = 0
    for (; j < whole; j += 16) v128.store(target + j, f32x4.mul(v128.load(source + j), factor))
    for (; j < bytes; j += 4) store<f32>(target + j, load<f32>(source + j) * inverse)
  }
}

export function normalizeRowsBackward(
  gradients: usize, y: usize, inverses: usize, columns: i32, from: i32, to: i32,
): void {
  const bytes = usize(columns) << 2
  const whole = bytes & ~15
  for (let row = from; row < to; row++) {
    const g = gradients + usize(row) * bytes
    const unit = y + usize(row) * bytes
    const along = dot(g, unit, columns)
    const inverse = load<f32>(inverses + (usize(row) << 2))
    const alongs = f32x4.splat(along)
    const factor = f32x4.splat(inverse)
    let j: usize = 0
    for (; j < whole; j += 16) {
      const across = f32x4.sub(v128.load(g + j), f32x4.mul(v128.load(unit + j), alongs))
      v128.store(g + j, f32x4.mul(across, factor))
    }
    for (; j < bytes; j += 4) {
      store<f32>(g + j, (load<f32>(g + j) - load<f32>(unit + j) * along) * inverse)
    }
  }
}
