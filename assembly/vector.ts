/**
 * Four floats at a time. A block whose length is no multiple of four ends in a part of a vector: its
 * missing lanes are filled with what changes nothing, so that element j is always in lane j % 4 and
 * one loop body serves all. Not exported from the module.
 */

/** 1 to 3 floats, the other lanes `fill`. */
// @ts-ignore: decorator
@inline
export function loadPart(at: usize, count: usize, fill: f32): v128 {
  let v = f32x4.replace_lane(f32x4.splat(fill), 0, load<f32>(at))
  if (count > 1) v = f32x4.replace_lane(v, 1, load<f32>(at, 4))
  if (count > 2) v = f32x4.replace_lane(v, 2, load<f32>(at, 8))
  return v
}

/** A whole vector, or what is left of a block: `count` floats, the other lanes 0. */
// @ts-ignore: decorator
@inline
export function loadSome(at: usize, count: usize): v128 {
  return count >= 4 ? v128.load(at) : loadPart(at, count, 0)
}

/** A whole vector, or its first `count` lanes. */
// @ts-ignore: decorator
@inline
export function storeSome(at: usize, v: v128, count: usize): void {
  if (count >= 4) v128.store(at, v)
  else storePart(at, v, count)
}

/** The first 1 to 3 lanes. */
// @ts-ignore: decorator
@inline
export function storePart(at: usize, v: v128, count: usize): void {
  store<f32>(at, f32x4.extract_lane(v, 0))
  if (count > 1) store<f32>(at, f32x4.extract_lane(v, 1), 4)
  if (count > 2) store<f32>(at, f32x4.extract_lane(v, 2), 8)
}

/** (l0 + l1) + (l2 + l3): how every sum over lanes ends. */
// @ts-ignore: decorator
@inline
export function sumLanes(v: v128): f32 {
  return (
    f32x4.extract_lane(v, 0) + f32x4.extract_lane(v, 1) +
    (f32x4.extract_lane(v, 2) + f32x4.extract_lane(v, 3))
  )
}

/** x . y, in four partial sums by j % 4. */
// @ts-ignore: decorator
@inline
export function dot(x: usize, y: usize, n: i32): f32 {
  const bytes = usize(n) << 2
  const whole = bytes & ~15
  let sum = f32x4.splat(0)
  let i: usize = 0
  for (; i < whole; i += 16) sum = f32x4.add(sum, f32x4.mul(v128.load(x + i), v128.load(y + i)))
  if (i < bytes) {
    const rest = (bytes - i) >> 2
    sum = f32x4.add(sum, f32x4.mul(loadPart(x + i, rest, 0), loadPart(y + i, rest, 0)))
  }
  return sumLanes(sum)
}

/** out += factor x. */
// @ts-ignore: decorator
@inline
export function addMultiple(out: usize, x: usize, factor: f32, n: i32): void {
  const bytes = usize(n) << 2
  const whole = bytes & ~15
  const factors = f32x4.splat(factor)
  let i: usize = 0
  for (; i < whole; i += 16) {
    v128.store(out + i, f32x4.add(v128.load(out + i), f32x4.mul(factors, v128.load(x + i))))
  }
  for (; i < bytes; i += 4) store<f32>(out + i, load<f32>(out + i) + factor * load<f32>(x + i))
}

/** out = 0 + factor x: what `addMultiple` gives on cleared floats, of -0 as well. */
// @ts-ignore: decorator
@inline
export function setMultiple(out: usize, x: usize, factor: f32, n: i32): void {
  const bytes = usize(n) << 2
  const whole = bytes & ~15
  const factors = f32x4.splat(factor)
  const zero = f32x4.splat(0)
  let i: usize = 0
  for (; i < whole; i += 16) {
    v128.store(out + i, f32x4.add(zero, f32x4.mul(factors, v128.load(x + i))))
  }
  for (; i < bytes; i += 4) store<f32>(out + i, f32(0) + factor * load<f32>(x + i))
}

// @ts-ignore: decorator
@inline
export function copyFloats(out: usize, x: usize, n: i32): void {
  const bytes = usize(n) << 2
  const whole = bytes & ~15
  let i: usize = 0
  for (; i < whole; i += 16) v128.store(out + i, v128.load(x + i))
  for (; i < bytes; i += 4) store<f32>(out + i, load<f32>(x + i))
}

// @ts-ignore: decorator
@inline
export function clearFloats(out: usize, n: i32): void {
  const bytes = usize(n) << 2
  const whole = bytes & ~15
  let i: usize = 0
  for (; i < whole; i += 16) v128.store(out + i, f32x4.splat(0))
  for (; i < bytes; i += 4) store<f32>(out + i, 0)
}
