/** Softmax cross-entropy over candidate columns; see src/kernels/dense-kernels.ts. */
import { exp4, log1 } from './exp-log'
import { clearFloats, dot, largest, loadPart, storePart, sumLanes } from './vector'

export function maskPairs(
  scores: usize, columns: i32, pairs: usize, count: i32, from: i32, to: i32,
): void {
  for (let i = 0; i < count; i++) {
    const pair = pairs + (usize(i) << 3)
    const row = load<i32>(pair)
    if (row < from || row >= to) continue
    const at = usize(row) * usize(columns) + usize(load<i32>(pair, 4))
    store<f32>(scores + (at << 2), -Infinity)
  }
}

export function softmaxLoss(
  scores: usize, losses: usize, columns: i32, targets: usize, weights: usize, corrections: usize,
  targetCorrections: usize, popularity: usize, popularityWeights: usize,
  popularityWeightGradients: usize, scale: f32, normalizer: f32, from: i32, to: i32,
): void {
  for (let row = from; row < to; row++) {
    const at = usize(row) << 2
    const line = scores + usize(row) * (usize(columns) << 2)
    const target = load<i32>(targets + at)
    if (target < 0) {
      clearFloats(line, columns)
      store<f32>(losses + at, 0)
      if (popularity) store<f32>(popularityWeightGradients + at, 0)
      continue
    }
    const column = usize(target) << 2
    const weight = load<f32>(weights + at)
    const pull = popularity ? load<f32>(popularityWeights + at) : f32(0)
    const own = scale * load<f32>(line + column) + load<f32>(targetCorrections + at)
    const ownLogit = popularity ? own + pull * load<f32>(popularity + column) : own

    logits(line, columns, corrections, popularity, pull, scale)
    store<f32>(line + column, ownLogit)
    const most = largest(line, columns)
    const total = exponentials(line, columns, most)
    store<f32>(losses + at, weight * (log1(total) + (most - ownLogit)))

    const share = normalizer * weight
    const perExponential = share / total
    if (popularity) {
      const expected = dot(line, popularity, columns) * perExponential
      const gradient = expected - share * load<f32>(popularity + column)
      store<f32>(popularityWeightGradients + at, gradient)
    }
    scaleLine(line, columns, perExponential * scale)
    store<f32>(line + column, load<f32>(line + column) - share * scale)
  }
}

// @ts-ignore: decorator
@inline
function logits(
  line: usize, columns: i32, corrections: usize, popularity: usize, pull: f32, scale: f32,
): void {
  const bytes = usize(columns) << 2
  const scales = f32x4.splat(scale)
  const pulls = f32x4.splat(pull)
  let j: usize = 0
  for (; j + 16 <= bytes; j += 16) {
    let v = f32x4.add(f32x4.mul(scales, v128.load(line + j)), v128.load(corrections + j))
    if (popularity) v = f32x4.add(v, f32x4.mul(pulls, v128.load(popularity + j)))
    v128.store(line + j, v)
  }
  for (; j < bytes; j += 4) {
    let v = scale * load<f32>(line + j) + load<f32>(corrections + j)
    if (popularity) v = v + pull * load<f32>(popularity + j)
    store<f32>(line + j, v)
  }
}

/** line <- exp(line - most); the sum, in four partial sums by column % 4. */
// @ts-ignore: decorator
@inline
function exponentials(line: usize, columns: i32, most: f32): f32 {
  const bytes = usize(columns) << 2
  const shift = f32x4.splat(most)
  let sum = f32x4.splat(0)
  let j: usize = 0
  for (; j + 16 <= bytes; j += 16) {
    const e = exp4(f32x4.sub(v128.load(line + j), shift))
    v128.store(line + j, e)
    sum = f32x4.add(sum, e)
  }
  if (j < bytes) {
    const rest = (bytes - j) >> 2
    const e = exp4(f32x4.sub(loadPart(line + j, rest, -Infinity), shift))
    storePart(line + j, e, rest)
    sum = f32x4.add(sum, e)
  }
  return sumLanes(sum)
}

// @ts-ignore: decorator
@inline
function scaleLine(line: usize, columns: i32, factor: f32): void {
  const bytes = usize(columns) << 2
  const factors = f32x4.splat(factor)
  let j: usize = 0
  for (; j + 16 <= bytes; j += 16) v128.store(line + j, f32x4.mul(v128.load(line + j), factors))
  for (; j < bytes; j += 4) store<f32>(line + j, load<f32>(line + j) * factor)
}
