/**
 * e^x and ln x on four lanes, from additions and multiplications alone, so that the bits are the same on
 * every machine: range reduction and polynomials of Moshier's Cephes library (expf, logf), whose
 * error is below 2 units in the last place.
 */

const log2e: f32 = 1.44269504088896341
/** ln 2 in two parts; the first has so few bits that its product with an exponent is exact. */
const ln2High: f32 = 0.693359375
const ln2Low: f32 = -2.12194440e-4
/** Adding 1.5 x 2^23 rounds to an integer, which is then found in the low bits. */
const rounder: f32 = 12_582_912
const smallestExponent: f32 = -87.3
const largestExponent: f32 = 88.3

/** 0 below -87.3, Infinity above 88.3; NaN stays NaN. */
// @ts-ignore: decorator
@inline
export function exp4(x: v128): v128 {
  const shifted = f32x4.add(f32x4.mul(x, f32x4.splat(log2e)), f32x4.splat(rounder))
  const n = f32x4.sub(shifted, f32x4.splat(rounder))
  let r = f32x4.sub(x, f32x4.mul(n, f32x4.splat(ln2High)))
  r = f32x4.sub(r, f32x4.mul(n, f32x4.splat(ln2Low)))
  let p = f32x4.add(f32x4.mul(f32x4.splat(1.9875691500e-4), r), f32x4.splat(1.3981999507e-3))
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(8.3334519073e-3))
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(4.1665795894e-2))
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(1.6666665459e-1))
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(5.0000001201e-1))
  p = f32x4.add(f32x4.add(f32x4.mul(p, f32x4.mul(r, r)), r), f32x4.splat(1))
  // The low bits of `shifted` are n: moved up they are the exponent of 2^n, less the bias.
  const power = i32x4.add(i32x4.shl(shifted, 23), i32x4.splat(0x3f800000))
  const y = v128.andnot(f32x4.mul(p, power), f32x4.lt(x, f32x4.splat(smallestExponent)))
  return v128.bitselect(
    f32x4.splat(Infinity), y, f32x4.gt(x, f32x4.splat(largestExponent)),
  )
}

/** -Infinity for 0 and what is smaller than normal, NaN for negative numbers and NaN. */
// @ts-ignore: decorator
@inline
export function log4(x: v128): v128 {
  // x = m 2^e with m in [sqrt(1/2), sqrt(2)): 0x3f3504f3 is sqrt(1/2).
  const bits = i32x4.add(x, i32x4.splat(0x3f800000 - 0x3f3504f3))
  const e = f32x4.convert_i32x4_s(i32x4.sub(i32x4.shr_s(bits, 23), i32x4.splat(127)))
  const m = i32x4.add(v128.and(bits, i32x4.splat(0x007fffff)), i32x4.splat(0x3f3504f3))
  const r = f32x4.sub(m, f32x4.splat(1))
  const z = f32x4.mul(r, r)
  let p = f32x4.add(f32x4.mul(f32x4.splat(7.0376836292e-2), r), f32x4.splat(-1.1514610310e-1))
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(1.1676998740e-1))
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(-1.2420140846e-1))
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(1.4249322787e-1))
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(-1.6668057665e-1))
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(2.0000714765e-1))
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(-2.4999993993e-1))
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(3.3333331174e-1))
  let y = f32x4.mul(f32x4.mul(p, r), z)
  y = f32x4.add(y, f32x4.mul(e, f32x4.splat(ln2Low)))
  y = f32x4.sub(y, f32x4.mul(z, f32x4.splat(0.5)))
  y = f32x4.add(f32x4.add(r, y), f32x4.mul(e, f32x4.splat(ln2High)))
  const infinity = f32x4.splat(Infinity)
  y = v128.bitselect(f32x4.splat(-Infinity), y, f32x4.lt(x, f32x4.splat(1.17549435e-38)))
  y = v128.bitselect(f32x4.splat(NaN), y, f32x4.lt(x, f32x4.splat(0)))
  // Infinity is its own logarithm, and so is NaN.
  return v128.bitselect(y, x, f32x4.lt(x, infinity))
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
