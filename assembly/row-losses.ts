/**
 * What may be done with a row of scores beside the softmax: only the hardest negatives kept, and
 * losses that look at one negative at a time. Scores become logits by adding the columns'
 * corrections; -Infinity is no negative.
 */
import { ONE, constants } from './constants'
import { exp1, exp4, log1, log4 } from './exp-log'
import { sumLanes } from './vector'

/** A float's bits as a whole number that is ordered as floats are. */
// @ts-ignore: decorator
@inline
function keys(x: v128): v128 {
  return v128.xor(x, v128.and(i32x4.shr_s(x, 31), i32x4.splat(0x7fffffff)))
}

// @ts-ignore: decorator
@inline
function key(x: f32): i32 {
  const bits = reinterpret<i32>(x)
  return bits ^ ((bits >> 31) & 0x7fffffff)
}

/** How many logits have at least this key. */
function countFrom(line: usize, corrections: usize, columns: i32, least: i32): i32 {
  const end = usize(columns) << 2
  const bound = i32x4.splat(least)
  let found = i32x4.splat(0)
  for (let j: usize = 0; j < end; j += 16) {
    const logit = f32x4.add(v128.load(line + j), v128.load(corrections + j))
    found = i32x4.sub(found, i32x4.ge_s(keys(logit), bound))
  }
  return (
    i32x4.extract_lane(found, 0) + i32x4.extract_lane(found, 1) +
    i32x4.extract_lane(found, 2) + i32x4.extract_lane(found, 3)
  )
}

/** Of the negatives only the `count` largest stay, of equal ones the first. */
export function keepHardest(line: usize, corrections: usize, columns: i32, count: i32): void {
  let low = key(-Infinity) + 1
  if (countFrom(line, corrections, columns, low) <= count) return
  // The largest key that at least so many reach, by halving.
  let high = i32.MAX_VALUE
  while (low < high) {
    const middle = i32((i64(low) + i64(high) + 1) >> 1)
    if (countFrom(line, corrections, columns, middle) >= count) low = middle
    else high = middle - 1
  }
  let equal = count - countFrom(line, corrections, columns, low + 1)
  for (let j: usize = 0, end = usize(columns) << 2; j < end; j += 4) {
    const found = key(load<f32>(line + j) + load<f32>(corrections + j))
    if (found > low || (found == low && equal-- > 0)) continue
    store<f32>(line + j, -Infinity)
  }
}

export function countNegatives(line: usize, corrections: usize, columns: i32): i32 {
  return countFrom(line, corrections, columns, key(-Infinity) + 1)
}

/**
 * line <- sigmoid(logit - shift) share; the sum of log(1 + e^(logit - shift)), in four parts by
 * column % 4.
 */
export function logisticRow(
  line: usize, corrections: usize, columns: i32, shift: f32, share: f32,
): f32 {
  const end = usize(columns) << 2
  const zero = f32x4.splat(0)
  const one = v128.load(constants, ONE)
  let sum = zero
  for (let j: usize = 0; j < end; j += 16) {
    const logit = f32x4.add(v128.load(line + j), v128.load(corrections + j))
    const x = f32x4.sub(logit, f32x4.splat(shift))
    const e = exp4(f32x4.neg(f32x4.abs(x)))
    const more = f32x4.add(one, e)
    const inverse = f32x4.div(one, more)
    const sigmoid = v128.bitselect(inverse, f32x4.mul(e, inverse), f32x4.ge(x, zero))
    sum = f32x4.add(sum, f32x4.add(f32x4.max(x, zero), log4(more)))
    v128.store(line + j, f32x4.mul(sigmoid, f32x4.splat(share)))
  }
  return sumLanes(sum)
}

/** log(1 + e^x). */
export function softplus1(x: f32): f32 {
  return max<f32>(x, 0) + log1(f32(1) + exp1(-abs<f32>(x)))
}

export function sigmoid1(x: f32): f32 {
  const e = exp1(-abs<f32>(x))
  const inverse = f32(1) / (f32(1) + e)
  return x >= 0 ? inverse : e * inverse
}

/** In four parts by column % 4. */
export function sumRow(line: usize, columns: i32): f32 {
  let sum = f32x4.splat(0)
  for (let j: usize = 0, end = usize(columns) << 2; j < end; j += 16) {
    sum = f32x4.add(sum, v128.load(line + j))
  }
  return sumLanes(sum)
}
