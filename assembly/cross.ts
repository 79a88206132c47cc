/** Cross layers, behind and before their products; see src/kernels/dense-kernels.ts. */
import { loadSome, storeSome } from './vector'

export function crossRows(
  out: usize, u: usize, x0: usize, x: usize, bias: usize, columns: i32, diagonal: f32, from: i32, to: i32,
): void {
  const bytes = usize(columns) << 2
  const diagonals = f32x4.splat(diagonal)
  for (let row = from; row < to; row++) {
    const at = usize(row) * bytes
    for (let j: usize = 0; j < bytes; j += 16) {
      const rest = (bytes - j) >> 2
      const value = loadSome(x + at + j, rest)
      const shift = f32x4.add(loadSome(bias + j, rest), f32x4.mul(diagonals, value))
      const inner = f32x4.add(loadSome(u + at + j, rest), shift)
      storeSome(u + at + j, inner, rest)
      const crossed = f32x4.mul(loadSome(x0 + at + j, rest), inner)
      storeSome(out + at + j, f32x4.add(crossed, value), rest)
    }
  }
}

export function crossBackward(
  du: usize, d0: usize, g: usize, u: usize, x0: usize, accumulate: i32, from: i32, to: i32,
): void {
  const end = usize(to) << 2
  for (let i = usize(from) << 2; i < end; i += 16) {
    const rest = (end - i) >> 2
    const gradient = loadSome(g + i, rest)
    let sum = f32x4.mul(gradient, loadSome(u + i, rest))
    if (accumulate) sum = f32x4.add(loadSome(d0 + i, rest), sum)
    storeSome(d0 + i, sum, rest)
    storeSome(du + i, f32x4.mul(gradient, loadSome(x0 + i, rest)), rest)
  }
}
