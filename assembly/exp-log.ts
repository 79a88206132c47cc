/**
 * e^x and ln x on four lanes, from additions and multiplications alone, so that the bits are the same on
 * every machine: range reduction and polynomials of Moshier's Cephes library (expf, logf), whose
 * error is below 2 units in the last place.
 */
import {
  BIAS, constants, EXP_0, EXP_1, EXP_2, EXP_3, EXP_4, EXP_5, FRACTION, FROM_ROOT_HALF, HALF, INFINITE,
  LARGEST_POWER, LN2_HIGH, LN2_LOW, LOG2E, LOG_0, LOG_1, LOG_2, LOG_3, LOG_4, LOG_5, LOG_6, LOG_7,
  LOG_8, MINUS_INFINITE, NOT_A_NUMBER, ONE, ROOT_HALF, ROUNDER, SMALLEST_NORMAL, SMALLEST_POWER,
} from './constants'

/** 0 below -87.3, Infinity above 88.3; NaN stays NaN. */
// @ts-ignore: decorator
@inline
export function exp4(x: v128): v128 {
  const k = constants
  const rounder = v128.load(k, ROUNDER)
  const shifted = f32x4.add(f32x4.mul(x, v128.load(k, LOG2E)), rounder)
  const n = f32x4.sub(shifted, rounder)
  let r = f32x4.sub(x, f32x4.mul(n, v128.load(k, LN2_HIGH)))
  r = f32x4.sub(r, f32x4.mul(n, v128.load(k, LN2_LOW)))
  let p = f32x4.add(f32x4.mul(v128.load(k, EXP_5), r), v128.load(k, EXP_4))
  p = f32x4.add(f32x4.mul(p, r), v128.load(k, EXP_3))
  p = f32x4.add(f32x4.mul(p, r), v128.load(k, EXP_2))
  p = f32x4.add(f32x4.mul(p, r), v128.load(k, EXP_1))
  p = f32x4.add(f32x4.mul(p, r), v128.load(k, EXP_0))
  const one = v128.load(k, ONE)
  p = f32x4.add(f32x4.add(f32x4.mul(p, f32x4.mul(r, r)), r), one)
  // The low bits of `shifted` are n: moved up and added to the bits of 1 they make 2^n.
  const power = i32x4.add(i32x4.shl(shifted, 23), one)
  const y = v128.andnot(f32x4.mul(p, power), f32x4.lt(x, v128.load(k, SMALLEST_POWER)))
  return v128.bitselect(
    v128.load(k, INFINITE), y, f32x4.gt(x, v128.load(k, LARGEST_POWER)),
  )
}

/** -Infinity for 0 and what is smaller than normal, NaN for negative numbers and NaN. */
// @ts-ignore: decorator
@inline
export function log4(x: v128): v128 {
  const k = constants
  const bits = i32x4.add(x, v128.load(k, FROM_ROOT_HALF))
  const e = f32x4.convert_i32x4_s(i32x4.sub(i32x4.shr_s(bits, 23), v128.load(k, BIAS)))
  const m = i32x4.add(v128.and(bits, v128.load(k, FRACTION)), v128.load(k, ROOT_HALF))
  const r = f32x4.sub(m, v128.load(k, ONE))
  const z = f32x4.mul(r, r)
  let p = f32x4.add(f32x4.mul(v128.load(k, LOG_8), r), v128.load(k, LOG_7))
  p = f32x4.add(f32x4.mul(p, r), v128.load(k, LOG_6))
  p = f32x4.add(f32x4.mul(p, r), v128.load(k, LOG_5))
  p = f32x4.add(f32x4.mul(p, r), v128.load(k, LOG_4))
  p = f32x4.add(f32x4.mul(p, r), v128.load(k, LOG_3))
  p = f32x4.add(f32x4.mul(p, r), v128.load(k, LOG_2))
  p = f32x4.add(f32x4.mul(p, r), v128.load(k, LOG_1))
  p = f32x4.add(f32x4.mul(p, r), v128.load(k, LOG_0))
  let y = f32x4.mul(f32x4.mul(p, r), z)
  y = f32x4.add(y, f32x4.mul(e, v128.load(k, LN2_LOW)))
  y = f32x4.sub(y, f32x4.mul(z, v128.load(k, HALF)))
  y = f32x4.add(f32x4.add(r, y), f32x4.mul(e, v128.load(k, LN2_HIGH)))
  const tiny = f32x4.lt(x, v128.load(k, SMALLEST_NORMAL))
  y = v128.bitselect(v128.load(k, MINUS_INFINITE), y, tiny)
  y = v128.bitselect(v128.load(k, NOT_A_NUMBER), y, f32x4.lt(x, f32x4.splat(0)))
  // Infinity is its own logarithm, and so is NaN.
  return v128.bitselect(y, x, f32x4.lt(x, v128.load(k, INFINITE)))
}

// @ts-ignore: decorator
@inline
export function exp1(x: f32): f32 {
  return f32x4.extract_lane(exp4(f32x4.splat(x)), 0)
}

// @ts-ignore: decorator
@inline
export function log1(x: f32): f32 {
  return f32x4.extract_lane(log4(f32x4.splat(x)), 0)
}
