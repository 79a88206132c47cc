/** Element by element, and sums over a block; see src/kernels/dense-kernels.ts. */
import { exp4, log4 } from './exp-log'
import { addMultiple, loadPart, storePart, sumLanes } from './vector'

export function exp(out: usize, x: usize, from: i32, to: i32): void {
  const end = usize(to) << 2
  let i = usize(from) << 2
  for (; i + 16 <= end; i += 16) v128.store(out + i, exp4(v128.load(x + i)))
  const rest = (end - i) >> 2
  if (i < end) storePart(out + i, exp4(loadPart(x + i, rest, 0)), rest)
}

export function log(out: usize, x: usize, from: i32, to: i32): void {
  const end = usize(to) << 2
  let i = usize(from) << 2
  for (; i + 16 <= end; i += 16) v128.store(out + i, log4(v128.load(x + i)))
  const rest = (end - i) >> 2
  if (i < end) storePart(out + i, log4(loadPart(x + i, rest, 1)), rest)
}

export function scale(out: usize, x: usize, factor: f32, from: i32, to: i32): void {
  const factors = f32x4.splat(factor)
  const end = usize(to) << 2
  let i = usize(from) << 2
  for (; i + 16 <= end; i += 16) v128.store(out + i, f32x4.mul(factors, v128.load(x + i)))
  for (; i < end; i += 4) store<f32>(out + i, factor * load<f32>(x + i))
}

export function addScaled(out: usize, x: usize, factor: f32, from: i32, to: i32): void {
  const start = usize(from) << 2
  addMultiple(out + start, x + start, factor, to - from)
}

/** Four partial sums by i % 4, in f64. */
export function sum(x: usize, n: i32): f64 {
  return total(x, n, false)
}

export function sumOfSquares(x: usize, n: i32): f64 {
  return total(x, n, true)
}

/**
 * Of n rows of `dim` floats: the largest sum of squares, in f32; NaN if an element is, infinite if
 * one is or the sum is beyond f32.
 */
export function largestSquares(x: usize, dim: i32, n: i32): f32 {
  const bytes = usize(dim) << 2
  let largest: f32 = 0
  // Two rows at a time, since each waits for its own additions; an odd last one is its own partner.
  for (let row = 0; row < n; row += 2) {
    const first = x + usize(row) * bytes
    const squares = largerSquares(first, row + 1 < n ? first + bytes : first, bytes)
    if (squares != squares) return squares
    if (squares > largest) largest = squares
  }
  return largest
}

/** Of two rows, each summed in four parts by i % 4; NaN if one is. */
// @ts-ignore: decorator
@inline
function largerSquares(x: usize, y: usize, bytes: usize): f32 {
  const whole = bytes & ~15
  let ofX = f32x4.splat(0)
  let ofY = ofX
  let i: usize = 0
  for (; i < whole; i += 16) {
    const v = v128.load(x + i)
    const w = v128.load(y + i)
    ofX = f32x4.add(ofX, f32x4.mul(v, v))
    ofY = f32x4.add(ofY, f32x4.mul(w, w))
  }
  if (i < bytes) {
    const v = loadPart(x + i, (bytes - i) >> 2, 0)
    const w = loadPart(y + i, (bytes - i) >> 2, 0)
    ofX = f32x4.add(ofX, f32x4.mul(v, v))
    ofY = f32x4.add(ofY, f32x4.mul(w, w))
  }
  return max(sumLanes(ofX), sumLanes(ofY))
}

// @ts-ignore: decorator
@inline
function total(x: usize, n: i32, squared: bool): f64 {
  const bytes = usize(n) << 2
  const whole = bytes & ~15
  let low = f64x2.splat(0)
  let high = f64x2.splat(0)
  for (let i: usize = 0; i < bytes; i += 16) {
    const v = i < whole ? v128.load(x + i) : loadPart(x + i, (bytes - i) >> 2, 0)
    const a = f64x2.promote_low_f32x4(v)
    const b = f64x2.promote_low_f32x4(v128.shuffle<i64>(v, v, 1, 0))
    low = f64x2.add(low, squared ? f64x2.mul(a, a) : a)
    high = f64x2.add(high, squared ? f64x2.mul(b, b) : b)
  }
  return (
    f64x2.extract_lane(low, 0) + f64x2.extract_lane(low, 1) +
    (f64x2.extract_lane(high, 0) + f64x2.extract_lane(high, 1))
  )
}
