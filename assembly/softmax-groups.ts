/**
 * Sampled softmax over all columns, forward and backward, without the matrix of scores: rows are
 * taken in tiles that stay in the second-level cache, as in Dao et al., "FlashAttention" (2022),
 * but whole in the columns, since these are few. See src/kernels/tower-kernels.ts for the job's
 * words and formulas.
 *
 * A group is a fixed number of rows whose part of the candidates' gradient is summed on its own, so
 * that threads share nothing and the sum of the parts does not depend on who computed which.
 */
import { exp1, log1 } from './exp-log'
import { multiply, multiplyPanels } from './matmul'
import {
  countNegatives,
  keepHardest,
  logisticRow,
  sigmoid1,
  softplus1,
  sumRow,
} from './row-losses'
import { scratch, thread } from './scratch'
import { dot, sumLanes } from './vector'

/**
 * Where the exponential's constants lie for the length of a call, behind what matmul uses of the
 * scratch space: V8 builds a constant vector anew at every use, which doubles the time of the loop.
 */
const constantsOffset: usize = 61_440

/** 2^f for |f| <= 1/2, relative error below 2e-7: a polynomial through Chebyshev's nodes. */
function writeConstants(): void {
  const at = scratch + constantsOffset
  v128.store(at, f32x4.splat(1.44269504088896341))
  // Adding 1.5 x 2^23 rounds to an integer, which is then found in the low bits.
  v128.store(at, f32x4.splat(12_582_912), 16)
  v128.store(at, f32x4.splat(0.00133908633648), 32)
  v128.store(at, f32x4.splat(0.00967603191833), 48)
  v128.store(at, f32x4.splat(0.0555035711422), 64)
  v128.store(at, f32x4.splat(0.240221074853), 80)
  v128.store(at, f32x4.splat(0.693147188026), 96)
  v128.store(at, f32x4.splat(1), 112)
  // 2^-92 and below counts as 0: beside a largest of 1 it is nothing, and denormals are slow.
  v128.store(at, f32x4.splat(12_582_912 - 92), 128)
}

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
  const heads = word(job, 26)
  const rowBytes = usize(dim) << 2
  // Lines an odd number of cache lines apart: at a power of two a column of them would want one set.
  const lineBytes = usize(columns >> 4 | 1) << 6
  // The popularity stands behind the candidates like one more number of each.
  const depth = address(job, 13) ? dim + 1 : dim
  writeConstants()
  const scores = address(job, 22) + thread * usize(word(job, 23))
  const scaled = scores + usize((tileRows * heads + 3) & ~3) * lineBytes

  for (let group = (from + groupRows - 1) / groupRows; group * groupRows < to; group++) {
    const end = min(batch, (group + 1) * groupRows)
    const part = address(job, 21) + usize(group) * usize(columns) * rowBytes
    let accumulate = 0
    for (let row = group * groupRows; row < end; row += tileRows) {
      const rows = min(tileRows, end - row)
      const lines = rows * heads
      const first = row * heads
      const queries = address(job, 6) + usize(first) * rowBytes
      const gradients = address(job, 19) + usize(first) * rowBytes
      for (let i = 0; i < lines; i++) {
        scaledQuery(job, first + i, (first + i) / heads, scaled + usize(i * depth << 2))
      }
      // What stands in lines that do not exist is computed and not used.
      multiplyPanels(scores, lineBytes, scaled, address(job, 8), (lines + 3) & ~3, columns, depth)
      for (let i = 0; i < rows; i++) {
        const line = scores + usize(i * heads) * lineBytes
        if (heads > 1) mergeHeads(line, lineBytes, heads, columns)
        softmaxRow(job, row + i, line)
        if (heads > 1) shareAmongHeads(line, lineBytes, heads, columns)
      }
      multiply(
        gradients, dim, scores, lineBytes, 4, address(job, 7), rowBytes, 4, columns, 0, 0, lines,
      )
      for (let i = 0; i < lines; i++) {
        const share = load<f32>(address(job, 18) + (usize((first + i) / heads) << 2))
        const offset = usize(i) * rowBytes
        scaleFloats(gradients + offset, gradients + offset, dim, share)
        scaleFloats(scaled + offset, queries + offset, dim, share)
      }
      multiply(part, dim, scores, 4, lineBytes, scaled, rowBytes, 4, lines, accumulate, 0, columns)
      accumulate = 1
    }
  }
}

/**
 * The first of a query's lines becomes the largest of all in each column, the others 1 where theirs
 * was the largest and 0 elsewhere. Of equal ones the first is it.
 */
function mergeHeads(line: usize, lineBytes: usize, heads: i32, columns: i32): void {
  const bytes = usize(columns) << 2
  for (let j: usize = 0; j < bytes; j += 16) {
    let most = v128.load(line + j)
    for (let h = 1; h < heads; h++) {
      const at = line + usize(h) * lineBytes + j
      const s = v128.load(at)
      const isMore = f32x4.gt(s, most)
      most = v128.bitselect(s, most, isMore)
      // Those before that are no longer the largest.
      for (let g = 1; g < h; g++) {
        const before = line + usize(g) * lineBytes + j
        v128.store(before, v128.andnot(v128.load(before), isMore))
      }
      v128.store(at, v128.and(f32x4.splat(1), isMore))
    }
    v128.store(line + j, most)
  }
}

/** Each column's gradient, now in the first line, moves to the line of the head that it is of. */
function shareAmongHeads(line: usize, lineBytes: usize, heads: i32, columns: i32): void {
  const bytes = usize(columns) << 2
  for (let j: usize = 0; j < bytes; j += 16) {
    const gradient = v128.load(line + j)
    let own = gradient
    for (let h = 1; h < heads; h++) {
      const at = line + usize(h) * lineBytes + j
      const isIt = f32x4.gt(v128.load(at), f32x4.splat(0))
      v128.store(at, v128.and(gradient, isIt))
      own = v128.andnot(own, isIt)
    }
    v128.store(line + j, own)
  }
}

/** One head of a query / temperature, and the weight of the popularity behind it. */
// @ts-ignore: decorator
@inline
function scaledQuery(job: usize, head: i32, row: i32, out: usize): void {
  const dim = word(job, 2)
  const query = address(job, 6) + (usize(head) * usize(dim) << 2)
  scaleFloats(out, query, dim, load<f32>(job + 20))
  if (!address(job, 13)) return
  const weight = load<f32>(address(job, 14) + (usize(row) << 2))
  store<f32>(out + (usize(dim) << 2), weight)
}

/**
 * A row's scores become exp(logit - largest logit), less their sum at the target: times the row's
 * share they are the gradient. Columns are a multiple of 16.
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
  const corrections = address(job, 11)
  const own = load<f32>(line + column) + load<f32>(address(job, 12) + at)
  mask(job, row, line)
  store<f32>(line + column, -Infinity)
  if (word(job, 24)) keepHardest(line, corrections, columns, word(job, 24))
  if (word(job, 25)) {
    pairwiseRow(job, row, line, own)
    return
  }
  const most = max(own, largestLogit(line, columns, corrections))
  const ownExponential = exp1(own - most)
  const total = exponentials(line, columns, corrections, most) + ownExponential

  store<f32>(address(job, 17) + at, weight * (log1(total) + (most - own)))
  store<f32>(line + column, ownExponential - total)
  const share = weight / total
  store<f32>(address(job, 18) + at, share * load<f32>(job + 20))
  if (popularity) store<f32>(address(job, 20) + at, share * dot(line, popularity, columns))
}

/**
 * The other losses, 1: sigmoid, 2: BPR. The line's scores become gradients by the logits but for the
 * row's share; the target's is no logit yet and becomes what its own logit gets.
 */
function pairwiseRow(job: usize, row: i32, line: usize, own: f32): void {
  const at = usize(row) << 2
  const columns = word(job, 1)
  const column = usize(load<i32>(address(job, 9) + at)) << 2
  const weight = load<f32>(address(job, 10) + at)
  const corrections = address(job, 11)
  const share = f32(1) / f32(max(1, countNegatives(line, corrections, columns)))
  const isSigmoid = word(job, 25) == 1
  const sum = logisticRow(line, corrections, columns, isSigmoid ? 0 : own, share)
  const ownLoss: f32 = isSigmoid ? softplus1(-own) : 0
  store<f32>(address(job, 17) + at, weight * (sum * share + ownLoss))
  store<f32>(line + column, isSigmoid ? -sigmoid1(-own) : -sumRow(line, columns))
  store<f32>(address(job, 18) + at, weight * load<f32>(job + 20))
  const popularity = address(job, 13)
  if (popularity) store<f32>(address(job, 20) + at, weight * dot(line, popularity, columns))
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

/** The largest of line + corrections. */
// @ts-ignore: decorator
@inline
function largestLogit(line: usize, columns: i32, corrections: usize): f32 {
  const end = line + (usize(columns) << 2)
  let a = f32x4.splat(-Infinity)
  let b = a
  let c = a
  let d = a
  while (line < end) {
    a = f32x4.pmax(a, f32x4.add(v128.load(line), v128.load(corrections)))
    b = f32x4.pmax(b, f32x4.add(v128.load(line, 16), v128.load(corrections, 16)))
    c = f32x4.pmax(c, f32x4.add(v128.load(line, 32), v128.load(corrections, 32)))
    d = f32x4.pmax(d, f32x4.add(v128.load(line, 48), v128.load(corrections, 48)))
    line += 64
    corrections += 64
  }
  a = f32x4.pmax(f32x4.pmax(a, b), f32x4.pmax(c, d))
  const first = max(f32x4.extract_lane(a, 0), f32x4.extract_lane(a, 1))
  return max(first, max(f32x4.extract_lane(a, 2), f32x4.extract_lane(a, 3)))
}

/**
 * line <- exp(line + corrections - most), four vectors abreast to hide latencies; their sum, of
 * each block of 16 first its columns 4 apart. NaN stays NaN.
 */
function exponentials(line: usize, columns: i32, corrections: usize, most: f32): f32 {
  const end = line + (usize(columns) << 2)
  const k = scratch + constantsOffset
  const shift = f32x4.splat(most)
  let sum = f32x4.splat(0)
  while (line < end) {
    let c = v128.load(k)
    let x = f32x4.sub(f32x4.add(v128.load(line), v128.load(corrections)), shift)
    let y = f32x4.sub(f32x4.add(v128.load(line, 16), v128.load(corrections, 16)), shift)
    let z = f32x4.sub(f32x4.add(v128.load(line, 32), v128.load(corrections, 32)), shift)
    let w = f32x4.sub(f32x4.add(v128.load(line, 48), v128.load(corrections, 48)), shift)
    x = f32x4.mul(x, c)
    y = f32x4.mul(y, c)
    z = f32x4.mul(z, c)
    w = f32x4.mul(w, c)
    // To 2^(n + f): n in the low bits of nx, |f| <= 1/2 in x.
    c = v128.load(k, 16)
    const nx = f32x4.add(x, c)
    const ny = f32x4.add(y, c)
    const nz = f32x4.add(z, c)
    const nw = f32x4.add(w, c)
    x = f32x4.sub(x, f32x4.sub(nx, c))
    y = f32x4.sub(y, f32x4.sub(ny, c))
    z = f32x4.sub(z, f32x4.sub(nz, c))
    w = f32x4.sub(w, f32x4.sub(nw, c))
    c = v128.load(k, 32)
    let px = f32x4.mul(x, c)
    let py = f32x4.mul(y, c)
    let pz = f32x4.mul(z, c)
    let pw = f32x4.mul(w, c)
    for (let term = k + 48; term < k + 112; term += 16) {
      c = v128.load(term)
      px = f32x4.mul(f32x4.add(px, c), x)
      py = f32x4.mul(f32x4.add(py, c), y)
      pz = f32x4.mul(f32x4.add(pz, c), z)
      pw = f32x4.mul(f32x4.add(pw, c), w)
    }
    c = v128.load(k, 112)
    px = i32x4.add(f32x4.add(px, c), i32x4.shl(nx, 23))
    py = i32x4.add(f32x4.add(py, c), i32x4.shl(ny, 23))
    pz = i32x4.add(f32x4.add(pz, c), i32x4.shl(nz, 23))
    pw = i32x4.add(f32x4.add(pw, c), i32x4.shl(nw, 23))
    c = v128.load(k, 128)
    px = v128.andnot(px, f32x4.le(nx, c))
    py = v128.andnot(py, f32x4.le(ny, c))
    pz = v128.andnot(pz, f32x4.le(nz, c))
    pw = v128.andnot(pw, f32x4.le(nw, c))
    v128.store(line, px)
    v128.store(line, py, 16)
    v128.store(line, pz, 32)
    v128.store(line, pw, 48)
    sum = f32x4.add(sum, f32x4.add(f32x4.add(px, py), f32x4.add(pz, pw)))
    line += 64
    corrections += 64
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
