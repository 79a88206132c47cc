/**
 * Vectors as whole numbers of 16 bits, in pairs: code = round(vector / scale), scale = length /
 * `codeLength`. No coordinate is off by more than half a scale, so a vector by no more than
 * sqrt(dims) / 2 of them, and a product of two codes, times both scales, differs from the vectors'
 * by no more than |a| |b| times e + e^2 / 4, e = sqrt(dims) / `codeLength`.
 */
import { codeLength, stopOf } from './rank-layout'

/** Lengths outside of these, or none: squares may have been lost. */
const leastLength: f32 = 1e-15
const mostLength: f32 = 1e15

/** What bounds a product with a vector. */
@unmanaged
export class Measured {
  length: f32
  /** Of what is left of it at a scan's stop. */
  tail: f32
  scale: f32
}

/** Those of a vector; none is a number where they could not be trusted. */
export function measure(out: Measured, vector: usize, dims: i32): void {
  const stop = stopOf(dims) << 1
  const after = squares(vector, stop, dims)
  const length = sqrt(squares(vector, 0, stop) + after)
  // Neither is true of what is no number.
  const isSound = length > leastLength && length < mostLength
  const none: f32 = !isSound && isZero(vector, dims) ? 0 : NaN
  out.length = isSound ? length : none
  out.tail = isSound ? sqrt(after) : none
  out.scale = isSound ? length / codeLength : none
}

/** Every fourth in one sum. */
function squares(vector: usize, from: i32, to: i32): f32 {
  let k = vector + (usize(from) << 2)
  const end = vector + (usize(to) << 2)
  let four = f32x4.splat(0)
  for (; k + 16 <= end; k += 16) {
    const x = v128.load(k)
    four = f32x4.add(four, f32x4.mul(x, x))
  }
  let rest: f32 = 0
  for (; k < end; k += 4) rest += load<f32>(k) * load<f32>(k)
  const low = f32x4.extract_lane(four, 0) + f32x4.extract_lane(four, 1)
  return low + (f32x4.extract_lane(four, 2) + f32x4.extract_lane(four, 3)) + rest
}

function isZero(vector: usize, dims: i32): bool {
  for (let k: usize = 0; k < usize(dims) << 2; k += 4) if (load<f32>(vector + k) != 0) return false
  return true
}

/** Writes a vector's code, its words `step` bytes apart. */
export function encode(out: usize, step: usize, vector: usize, dims: i32, scale: f32): void {
  const unit: f32 = scale > 0 ? 1 / scale : 0
  const whole = dims & ~7
  let at = out
  for (let k = 0; k < whole; k += 8) {
    const from = vector + (usize(k) << 2)
    const words = i16x8.narrow_i32x4_s(
      rounded(v128.load(from), unit),
      rounded(v128.load(from, 16), unit),
    )
    v128.store_lane<u32>(at, words, 0)
    v128.store_lane<u32>(at + step, words, 1)
    v128.store_lane<u32>(at + 2 * step, words, 2)
    v128.store_lane<u32>(at + 3 * step, words, 3)
    at += 4 * step
  }
  for (let k = whole; k < dims; k += 2) {
    const low = one(vector, k, unit)
    const high = k + 1 < dims ? one(vector, k + 1, unit) : 0
    store<u32>(at, (u32(low) & 0xffff) | (u32(high) << 16))
    at += step
  }
}

@inline
function rounded(x: v128, unit: f32): v128 {
  const scaled = f32x4.mul(x, f32x4.splat(unit))
  return i32x4.trunc_sat_f32x4_s(f32x4.floor(f32x4.add(scaled, f32x4.splat(0.5))))
}

function one(vector: usize, k: i32, unit: f32): i32 {
  const words = rounded(f32x4.splat(load<f32>(vector + (usize(k) << 2))), unit)
  return i16x8.extract_lane_s(i16x8.narrow_i32x4_s(words, words), 0)
}
