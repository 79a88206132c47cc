/**
 * Sampled softmax over all columns, forward and backward, without the matrix of scores: rows are taken
 * in tiles that stay in the second-level cache, as in Dao et al., "FlashAttention" (2022), but whole in the
 * columns, since these are few. See src/kernels/tower-kernels.ts for the job's words and formulas.
 *
 * A group is a fixed number of rows whose part of the candidates' gradient is summed on its own, so
 * that threads share nothing and the sum of the parts does not depend on who computed which.
 */
import { exp4, log1 } from './exp-log'
import { matmul, matmulTransposedA } from './matmul'
import { dot, sumLanes } from './vector'

// @ts-ignore: decorator
@inline
function word(job: usize, index: usize): i32 {
  return load<i32>(job + (index << 2))
}

// @ts-ignore: decorator
@inline
function address(job: usize, index: usize): usize {
  return usize(load<u32>(job + (index << 2)))
}

export function softmaxGroups(job: usize, from: i32, to: i32): void {
  const batch = word(job, 0)
  const columns = word(job, 1)
  const dim = word(job, 2)
  const groupRows = word(job, 3)
  const tileRows = word(job, 4)
  const rowBytes = usize(dim) << 2
  const lineBytes = usize(columns) << 2
  // The share of a thread starts where no other's does: so does its tile.
  let group = (from + groupRows - 1) / groupRows
  const scores = address(job, 22) + usize(group) * usize(tileRows) * (lineBytes + rowBytes)
  const scaled = scores + usize(tileRows) * lineBytes

  for (; group * groupRows < to; group++) {
    const end = min(batch, (group + 1) * groupRows)
    const part = address(job, 21) + usize(group) * usize(columns) * rowBytes
    let accumulate = 0
    for (let row = group * groupRows; row < end; row += tileRows) {
      const rows = min(tileRows, end - row)
      const queries = address(job, 6) + usize(row) * rowBytes
      const gradients = address(job, 19) + usize(row) * rowBytes
      scaleFloats(scaled, queries, rows * dim, load<f32>(job + 20))
      matmul(scores, scaled, address(job, 8), rows, columns, dim, 0, 0, rows)
      for (let i = 0; i < rows; i++) softmaxRow(job, row + i, scores + usize(i) * lineBytes)
      matmul(gradients, scores, address(job, 7), rows, dim, columns, 0, 0, rows)
      for (let i = 0; i < rows; i++) {
        const share = load<f32>(address(job, 18) + (usize(row + i) << 2))
        const offset = usize(i) * rowBytes
        scaleFloats(gradients + offset, gradients + offset, dim, share)
        scaleFloats(scaled + offset, queries + offset, dim, share)
      }
      matmulTransposedA(part, scores, scaled, columns, dim, rows, accumulate, 0, columns)
      accumulate = 1
    }
  }
}

/**
 * A row's scores become exp(logit - largest logit), less their sum at the target: times the row's
 * share they are the gradient. Columns are a multiple of 4.
 */
function softmaxRow(job: usize, row: i32, line: usize): void {
  const at = usize(row) << 2
  const columns = word(job, 1)
  const target = load<i32>(address(job, 9) + at)
  const weight = load<f32>(address(job, 10) + at)
  const popularity = address(job, 13)
  if (target < 0 || weight == 0) {
    memory.fill(line, 0, usize(columns) << 2)
    store<f32>(address(job, 17) + at, 0)
    store<f32>(address(job, 18) + at, 0)
    if (popularity) store<f32>(address(job, 20) + at, 0)
    return
  }
  const column = usize(target) << 2
  const pull = popularity ? load<f32>(address(job, 14) + at) : f32(0)
  let own = load<f32>(line + column) + load<f32>(address(job, 12) + at)
  if (popularity) own += pull * load<f32>(popularity + column)
  mask(job, row, line)
  store<f32>(line + column, -Infinity)
  const most = max(own, logits(line, columns, address(job, 11), popularity, pull))
  store<f32>(line + column, own)

  const total = exponentials(line, columns, most)
  const ownShifted = own - most
  store<f32>(address(job, 17) + at, weight * (log1(total) - ownShifted))
  store<f32>(line + column, load<f32>(line + column) - total)
  const share = weight / total
  store<f32>(address(job, 18) + at, share * load<f32>(job + 20))
  if (popularity) store<f32>(address(job, 20) + at, share * dot(line, popularity, columns))
}

/** -Infinity where the row's bits are set. */
// @ts-ignore: decorator
@inline
function mask(job: usize, row: i32, line: usize): void {
  const masks = address(job, 15)
  if (!masks) return
  const words = word(job, 16)
  const bits = masks + (usize(row) * usize(words) << 2)
  for (let k = 0; k < words; k++) {
    let rest = load<u32>(bits + (usize(k) << 2))
    while (rest) {
      store<f32>(line + (usize(k) << 7) + (usize(ctz(rest)) << 2), -Infinity)
      rest &= rest - 1
    }
  }
}

/** line += corrections + pull popularity; the largest of it. */
// @ts-ignore: decorator
@inline
function logits(line: usize, columns: i32, corrections: usize, popularity: usize, pull: f32): f32 {
  const bytes = usize(columns) << 2
  const pulls = f32x4.splat(pull)
  let most = f32x4.splat(-Infinity)
  for (let j: usize = 0; j < bytes; j += 16) {
    let v = f32x4.add(v128.load(line + j), v128.load(corrections + j))
    if (popularity) v = f32x4.add(v, f32x4.mul(pulls, v128.load(popularity + j)))
    v128.store(line + j, v)
    most = f32x4.pmax(most, v)
  }
  const first = max(f32x4.extract_lane(most, 0), f32x4.extract_lane(most, 1))
  return max(first, max(f32x4.extract_lane(most, 2), f32x4.extract_lane(most, 3)))
}

/** line <- exp(line - most); their sum, in four partial sums by column % 4. */
// @ts-ignore: decorator
@inline
function exponentials(line: usize, columns: i32, most: f32): f32 {
  const bytes = usize(columns) << 2
  const shift = f32x4.splat(most)
  let sum = f32x4.splat(0)
  for (let j: usize = 0; j < bytes; j += 16) {
    const e = exp4(f32x4.sub(v128.load(line + j), shift))
    v128.store(line + j, e)
    sum = f32x4.add(sum, e)
  }
  return sumLanes(sum)
}

// @ts-ignore: decorator
@inline
function scaleFloats(out: usize, x: usize, n: i32, factor: f32): void {
  const bytes = usize(n) << 2
  const factors = f32x4.splat(factor)
  let j: usize = 0
  for (; j + 16 <= bytes; j += 16) v128.store(out + j, f32x4.mul(v128.load(x + j), factors))
  for (; j < bytes; j += 4) store<f32>(out + j, load<f32>(x + j) * factor)
}
