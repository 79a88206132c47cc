/** Layer normalisation (Ba et al. 2016), forward and backward; see src/kernels/dense-kernels.ts. */
import { clearFloats, dot, loadSome, storeSome, sumLanes } from './vector'

/** The mean of n floats, summed in four parts by j % 4. */
// @ts-ignore: decorator
@inline
function mean(x: usize, n: i32): f32 {
  const bytes = usize(n) << 2
  let sum = f32x4.splat(0)
  for (let j: usize = 0; j < bytes; j += 16) sum = f32x4.add(sum, loadSome(x + j, (bytes - j) >> 2))
  return sumLanes(sum) / f32(n)
}

export function layerNorm(
  out: usize, unit: usize, inverses: usize, x: usize, gain: usize, bias: usize, columns: i32,
  epsilon: f32, from: i32, to: i32,
): void {
  const bytes = usize(columns) << 2
  for (let row = from; row < to; row++) {
    const source = x + usize(row) * bytes
    const centred = unit + usize(row) * bytes
    const target = out + usize(row) * bytes
    const middle = f32x4.splat(mean(source, columns))
    for (let j: usize = 0; j < bytes; j += 16) {
      const rest = (bytes - j) >> 2
      storeSome(centred + j, f32x4.sub(loadSome(source + j, rest), middle), rest)
    }
    const variance = dot(centred, centred, columns) / f32(columns)
    const inverse = f32(1) / sqrt<f32>(variance + epsilon)
    store<f32>(inverses + (usize(row) << 2), inverse)
    const factor = f32x4.splat(inverse)
    for (let j: usize = 0; j < bytes; j += 16) {
      const rest = (bytes - j) >> 2
      const value = f32x4.mul(loadSome(centred + j, rest), factor)
      storeSome(centred + j, value, rest)
      const scaled = f32x4.mul(value, loadSome(gain + j, rest))
      storeSome(target + j, f32x4.add(scaled, loadSome(bias + j, rest)), rest)
    }
  }
}

export function layerNormBackward(
  dx: usize, g: usize, unit: usize, inverses: usize, gain: usize, columns: i32, from: i32, to: i32,
): void {
  const bytes = usize(columns) << 2
  for (let row = from; row < to; row++) {
    const target = dx + usize(row) * bytes
    const source = g + usize(row) * bytes
    const centred = unit + usize(row) * bytes
    for (let j: usize = 0; j < bytes; j += 16) {
      const rest = (bytes - j) >> 2
      storeSome(target + j, f32x4.mul(loadSome(source + j, rest), loadSome(gain + j, rest)), rest)
    }
    const middle = f32x4.splat(mean(target, columns))
    const along = f32x4.splat(dot(target, centred, columns) / f32(columns))
    const factor = f32x4.splat(load<f32>(inverses + (usize(row) << 2)))
    for (let j: usize = 0; j < bytes; j += 16) {
      const rest = (bytes - j) >> 2
      const level = f32x4.sub(loadSome(target + j, rest), middle)
      const across = f32x4.sub(level, f32x4.mul(loadSome(centred + j, rest), along))
      storeSome(target + j, f32x4.mul(across, factor), rest)
    }
  }
}

export function sumProducts(
  out: usize, x: usize, y: usize, rows: i32, columns: i32, accumulate: i32, from: i32, to: i32,
): void {
  const rowBytes = usize(columns) << 2
  const start = usize(from) << 2
  const bytes = usize(to - from) << 2
  const sums = out + start
  if (!accumulate) clearFloats(sums, to - from)
  for (let row = 0; row < rows; row++) {
    const at = usize(row) * rowBytes + start
    for (let j: usize = 0; j < bytes; j += 16) {
      const rest = (bytes - j) >> 2
      const product = f32x4.mul(loadSome(x + at + j, rest), loadSome(y + at + j, rest))
      storeSome(sums + j, f32x4.add(loadSome(sums + j, rest), product), rest)
    }
  }
}
