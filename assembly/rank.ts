/**
 * Beside the scan of `rank-scan.ts`: what does not count is taken out again, vectors are put where
 * candidates lie, and values are counted that are there already.
 */
import { encode, Measured, measure } from './rank-codes'
import {
  Candidates, greatest, headOf, laneBytes, leastOf, numberBytes, pairsOf, scaleBytes, scoreOf,
  tailBytes,
} from './rank-layout'
import { scratch } from './scratch'

/** Takes excluded candidates back out of the counts of `rankTargets`. Range: queries. */
export function rankExcluded(
  out: usize,
  candidates: usize,
  queries: usize,
  stride: i32,
  heads: i32,
  targets: usize,
  offsets: usize,
  excluded: usize,
  from: i32,
  to: i32,
): void {
  const all = changetype<Candidates>(candidates)
  for (let q = from; q < to; q += 1) {
    const target = load<i32>(targets + (usize(q) << 2))
    if (target < 0) continue
    const vectors = headOf(queries, stride, q * heads)
    const least = leastOf(all, vectors, stride, heads, target)
    const end = load<i32>(offsets + (usize(q) << 2), 4)
    let above = 0
    let equal = 0
    for (let e = load<i32>(offsets + (usize(q) << 2)); e < end; e += 1) {
      const value = scoreOf(all, vectors, stride, heads, load<i32>(excluded + (usize(e) << 2)))
      if (value > least) above += 1
      if (value == least) equal += 1
    }
    const counts = out + (usize(q) << 3)
    store<i32>(counts, load<i32>(counts) - above)
    store<i32>(counts, load<i32>(counts, 4) - equal, 4)
  }
}

/** Puts vectors (`stride` floats apart), their numbers and codes where candidates lie, by slots. */
export function packCandidates(
  candidates: usize,
  slots: usize,
  vectors: usize,
  stride: i32,
  count: i32,
): void {
  const all = changetype<Candidates>(candidates)
  const measured = changetype<Measured>(scratch)
  const vectorBytes = usize(all.dims) << 2
  const panelBytes = usize(pairsOf(all.dims)) * laneBytes
  for (let i = 0; i < count; i += 1) {
    const slot = load<i32>(slots + (usize(i) << 2))
    const vector = vectors + ((usize(i) * usize(stride)) << 2)
    const panel = usize(slot >> 3)
    const lane = usize(slot & 7) << 2
    memory.copy(all.vectors + usize(slot) * vectorBytes, vector, vectorBytes)
    measure(measured, vector, all.dims)
    const numbers = all.numbers + panel * numberBytes + lane
    store<f32>(numbers, measured.length)
    store<f32>(numbers + tailBytes, measured.tail)
    store<f32>(numbers + scaleBytes, measured.scale)
    encode(all.codes + panel * panelBytes + lane, laneBytes, vector, all.dims, measured.scale)
  }
}

/** Values of a block whose greatest and least are kept. */
const blockValues: i32 = 256

/** The greatest and the least of every 256 of n values. Whole. */
export function boundBlocks(bounds: usize, values: usize, n: i32): void {
  for (let from = 0; from < n; from += blockValues) {
    const at = values + (usize(from) << 2)
    const count = min(blockValues, n - from)
    let high = f32x4.splat(load<f32>(at))
    let low = high
    for (let i = 0; i + 4 <= count; i += 4) {
      const x = v128.load(at + (usize(i) << 2))
      high = f32x4.max(high, x)
      low = f32x4.min(low, x)
    }
    for (let i = count & ~3; i < count; i += 1) {
      const x = v128.load_splat<u32>(at + (usize(i) << 2))
      high = f32x4.max(high, x)
      low = f32x4.min(low, x)
    }
    const out = bounds + (usize(from / blockValues) << 3)
    store<f32>(out, greatest(high))
    store<f32>(out, -greatest(f32x4.neg(low)), 4)
  }
}

/**
 * For each threshold how many of n values are above it and how many equal; only blocks that lie on
 * both sides of it are gone over. Range: thresholds.
 */
export function countAbove(
  out: usize,
  values: usize,
  n: i32,
  bounds: usize,
  thresholds: usize,
  from: i32,
  to: i32,
): void {
  for (let t = from; t < to; t += 1) {
    const threshold = load<f32>(thresholds + (usize(t) << 2))
    const counts = out + (usize(t) << 3)
    store<i64>(counts, 0)
    for (let first = 0; first < n; first += blockValues) {
      const block = bounds + (usize(first / blockValues) << 3)
      const count = min(blockValues, n - first)
      if (load<f32>(block) < threshold) continue
      if (load<f32>(block, 4) > threshold) store<i32>(counts, load<i32>(counts) + count)
      else countBlock(counts, values + (usize(first) << 2), count, threshold)
    }
  }
}

function countBlock(counts: usize, values: usize, n: i32, threshold: f32): void {
  const whole = n & ~3
  const splat = f32x4.splat(threshold)
  let above = i32x4.splat(0)
  let equal = i32x4.splat(0)
  for (let i = 0; i < whole; i += 4) {
    const x = v128.load(values + (usize(i) << 2))
    above = i32x4.sub(above, f32x4.gt(x, splat))
    equal = i32x4.sub(equal, f32x4.eq(x, splat))
  }
  let more = sumLanes(above)
  let same = sumLanes(equal)
  for (let i = whole; i < n; i += 1) {
    const x = load<f32>(values + (usize(i) << 2))
    if (x > threshold) more += 1
    if (x == threshold) same += 1
  }
  store<i32>(counts, load<i32>(counts) + more)
  store<i32>(counts, load<i32>(counts, 4) + same, 4)
}

@inline
function sumLanes(x: v128): i32 {
  return (
    i32x4.extract_lane(x, 0) +
    i32x4.extract_lane(x, 1) +
    i32x4.extract_lane(x, 2) +
    i32x4.extract_lane(x, 3)
  )
}
