/**
 * Ranks of targets among all candidates, for the progressive evaluation: how many score above a
 * query's target and how many the same. Scores are only counted, never stored.
 *
 * Candidates lie in panels of eight: panel p holds, for each dimension, that coordinate of the
 * candidates 8p .. 8p + 7, so that lanes are candidates and a sum over dimensions keeps its order.
 * Lengths and log popularities lie aside, one f32 per candidate.
 *
 * A panel of which no candidate can reach the target's score is skipped: by Cauchy and Schwarz no
 * score is above |q| |v| + w popularity. The bound is widened by far more than rounding can add, so
 * the counts are exactly those of a scan of everything. Where popularity decides most of a score,
 * few panels remain. Heads of one query share a panel as queries do, and the best of them counts.
 * `src/kernels/reference/reference-rank.ts`, the twin, scans everything.
 */
import { scratch } from './scratch'

/** Widens a bound: relative to its terms, some thousand times an f32's rounding. */
const slack: f32 = 1e-4

/** Where candidates lie: five words. */
@unmanaged
class Candidates {
  /** ceil(count / 8) x dims x 8 f32. */
  panels: usize
  /** An upper bound of each candidate's length. */
  norms: usize
  /** Log popularity of each; 0: scores have no such term. */
  popularity: usize
  dims: i32
  count: i32
}

/** One of the four queries that share each load of a panel; in scratch. */
@unmanaged
class Ranked {
  /** dims f32, and the weight of log popularity behind them. */
  vector: usize
  /** The target's score; infinite: there is no target, NaN: it has no finite score. */
  least: f32
  /** |q|, widened. */
  length: f32
  weight: f32
  above: i32
  equal: i32
}

/** Bytes from the start of scratch to the scores of one panel, 4 x 8 f32. */
const panelScores: usize = 128

@inline
function ranked(i: i32): Ranked {
  return changetype<Ranked>(scratch + usize(i) * offsetof<Ranked>())
}

/** See `RankKernels` in src/kernels/rank-kernels.ts. Range: queries. */
export function rankTargets(
  out: usize,
  candidates: usize,
  queries: usize,
  stride: i32,
  heads: i32,
  targets: usize,
  from: i32,
  to: i32,
): void {
  const all = changetype<Candidates>(candidates)
  if (heads > 1) {
    for (let q = from; q < to; q += 1) {
      const target = load<i32>(targets + (usize(q) << 2))
      rankHeads(all, headOf(queries, stride, q * heads), stride, heads, target)
      store<i32>(out + (usize(q) << 3), ranked(0).above)
      store<i32>(out + (usize(q) << 3), ranked(0).equal, 4)
    }
    return
  }
  for (let first = from; first < to; first += 4) {
    const count = min(4, to - first)
    // What is missing of the four repeats the first of them and counts nothing.
    for (let i = 0; i < 4; i += 1) {
      const q = i < count ? first + i : first
      const target = i < count ? load<i32>(targets + (usize(q) << 2)) : -1
      begin(ranked(i), all, headOf(queries, stride, q), target)
    }
    for (let slot = 0; slot < all.count; slot += 8) {
      if (!worthScoring(all, slot)) continue
      scorePanel(all, slot)
      for (let i = 0; i < 4; i += 1) countPanel(all, slot, i)
    }
    for (let i = 0; i < count; i += 1) {
      const isAsked = load<i32>(targets + (usize(first + i) << 2)) >= 0
      store<i32>(out + (usize(first + i) << 3), isAsked ? ranked(i).above : 0)
      store<i32>(out + (usize(first + i) << 3), isAsked ? ranked(i).equal : 0, 4)
    }
  }
}

/** A vector of a query; `number` counts all heads of all queries. */
@inline
function headOf(queries: usize, stride: i32, number: i32): usize {
  return queries + ((usize(number) * usize(stride)) << 2)
}

/** The counts of one query, left in the first of the four: its heads take their places in turn. */
function rankHeads(all: Candidates, vectors: usize, stride: i32, heads: i32, target: i32): void {
  const query = ranked(0)
  begin(query, all, vectors, -1)
  if (target < 0) return
  query.least = leastOf(all, vectors, stride, heads, target)
  for (let h = 1; h < heads; h += 1) {
    const length = norm(headOf(vectors, stride, h), all.dims) * (1 + slack)
    query.length = max(query.length, length)
  }
  for (let i = 1; i < 4; i += 1) {
    memory.copy(changetype<usize>(ranked(i)), changetype<usize>(query), offsetof<Ranked>())
  }
  const out = scratch + panelScores
  for (let slot = 0; slot < all.count; slot += 8) {
    if (!worthScoring(all, slot)) continue
    let a = f32x4.splat(-Infinity)
    let b = a
    for (let first = 0; first < heads; first += 4) {
      // Beyond the last head the last once more: it changes nothing.
      for (let i = 0; i < 4; i += 1) {
        ranked(i).vector = headOf(vectors, stride, min(first + i, heads - 1))
      }
      scorePanel(all, slot)
      for (let i: usize = 0; i < 128; i += 32) {
        a = f32x4.pmax(a, v128.load(out + i))
        b = f32x4.pmax(b, v128.load(out + i, 16))
      }
    }
    v128.store(out, a)
    v128.store(out, b, 16)
    countPanel(all, slot, 0)
  }
}

@inline
function begin(query: Ranked, all: Candidates, vector: usize, target: i32): void {
  query.vector = vector
  query.least = target < 0 ? f32.POSITIVE_INFINITY : leastOf(all, vector, 0, 1, target)
  query.length = norm(vector, all.dims) * (1 + slack)
  query.weight = all.popularity == 0 ? 0 : load<f32>(vector + (usize(all.dims) << 2))
  query.above = 0
  query.equal = 0
}

/**
 * Whether the bound of any of the eight reaches the target of any of the four; one that is no
 * number says nothing.
 */
@inline
function worthScoring(all: Candidates, slot: i32): bool {
  const byte = usize(slot) << 2
  for (let half: usize = 0; half < 32; half += 16) {
    const norms = v128.load(all.norms + byte + half)
    const popularity =
      all.popularity == 0 ? f32x4.splat(0) : v128.load(all.popularity + byte + half)
    for (let i = 0; i < 4; i += 1) {
      const query = ranked(i)
      const term = f32x4.mul(f32x4.splat(query.weight), popularity)
      const wide = f32x4.add(term, f32x4.mul(f32x4.splat(slack), f32x4.abs(term)))
      const bound = f32x4.add(f32x4.mul(f32x4.splat(query.length), norms), wide)
      if (!i32x4.all_true(f32x4.lt(bound, f32x4.splat(query.least)))) return true
    }
  }
  return false
}

/** Eight candidates by four queries, without popularity. */
@inline
function scorePanel(all: Candidates, slot: i32): void {
  let a0 = f32x4.splat(0)
  let a1 = f32x4.splat(0)
  let a2 = f32x4.splat(0)
  let a3 = f32x4.splat(0)
  let b0 = f32x4.splat(0)
  let b1 = f32x4.splat(0)
  let b2 = f32x4.splat(0)
  let b3 = f32x4.splat(0)
  const q0 = ranked(0).vector
  const q1 = ranked(1).vector
  const q2 = ranked(2).vector
  const q3 = ranked(3).vector
  const end = usize(all.dims) << 2
  let at = all.panels + usize(slot) * end
  for (let k: usize = 0; k < end; k += 4) {
    const a = v128.load(at)
    const b = v128.load(at, 16)
    const x0 = v128.load_splat<u32>(q0 + k)
    a0 = f32x4.add(a0, f32x4.mul(x0, a))
    b0 = f32x4.add(b0, f32x4.mul(x0, b))
    const x1 = v128.load_splat<u32>(q1 + k)
    a1 = f32x4.add(a1, f32x4.mul(x1, a))
    b1 = f32x4.add(b1, f32x4.mul(x1, b))
    const x2 = v128.load_splat<u32>(q2 + k)
    a2 = f32x4.add(a2, f32x4.mul(x2, a))
    b2 = f32x4.add(b2, f32x4.mul(x2, b))
    const x3 = v128.load_splat<u32>(q3 + k)
    a3 = f32x4.add(a3, f32x4.mul(x3, a))
    b3 = f32x4.add(b3, f32x4.mul(x3, b))
    at += 32
  }
  const out = scratch + panelScores
  v128.store(out, a0)
  v128.store(out, b0, 16)
  v128.store(out, a1, 32)
  v128.store(out, b1, 48)
  v128.store(out, a2, 64)
  v128.store(out, b2, 80)
  v128.store(out, a3, 96)
  v128.store(out, b3, 112)
}

/** Adds popularity to query i's scores of the panel and counts them against its target's. */
@inline
function countPanel(all: Candidates, slot: i32, i: i32): void {
  const query = ranked(i)
  const least = f32x4.splat(query.least)
  const weight = f32x4.splat(query.weight)
  const scores = scratch + panelScores + (usize(i) << 5)
  for (let half = 0; half < 8; half += 4) {
    const byte = usize(half) << 2
    let s = v128.load(scores + byte)
    if (all.popularity != 0) {
      const popularity = v128.load(all.popularity + (usize(slot) << 2) + byte)
      s = f32x4.add(s, f32x4.mul(weight, popularity))
    }
    // Lanes behind the last candidate do not count.
    const live = i32x4.lt_s(i32x4(0, 1, 2, 3), i32x4.splat(all.count - slot - half))
    query.above += popcnt(i32x4.bitmask(v128.and(f32x4.gt(s, least), live)))
    query.equal += popcnt(i32x4.bitmask(v128.and(f32x4.eq(s, least), live)))
  }
}

/** One score, as the scan above computes it, to the bit: that of the best of a query's heads. */
function score(all: Candidates, vectors: usize, stride: i32, heads: i32, slot: i32): f32 {
  let best: f32 = -Infinity
  for (let h = 0; h < heads; h += 1) {
    const one = product(all, headOf(vectors, stride, h), slot)
    if (one > best) best = one
  }
  if (all.popularity == 0) return best
  const weight = load<f32>(vectors + (usize(all.dims) << 2))
  return best + weight * load<f32>(all.popularity + (usize(slot) << 2))
}

function product(all: Candidates, vector: usize, slot: i32): f32 {
  const dims = usize(all.dims)
  let at = all.panels + ((usize(slot >> 3) * dims) << 5) + (usize(slot & 7) << 2)
  let sum: f32 = 0
  for (let k: usize = 0; k < dims << 2; k += 4) {
    sum += load<f32>(vector + k) * load<f32>(at)
    at += 32
  }
  return sum
}

/** The score of a target; where that is not finite NaN, which nothing is above or equal to. */
function leastOf(all: Candidates, vectors: usize, stride: i32, heads: i32, target: i32): f32 {
  const value = score(all, vectors, stride, heads, target)
  return value + (value - value)
}

function norm(vector: usize, dims: i32): f32 {
  let sum: f32 = 0
  for (let k: usize = 0; k < usize(dims) << 2; k += 4) {
    const x = load<f32>(vector + k)
    sum += x * x
  }
  return sqrt(sum)
}

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
      const value = score(all, vectors, stride, heads, load<i32>(excluded + (usize(e) << 2)))
      if (value > least) above += 1
      if (value == least) equal += 1
    }
    const counts = out + (usize(q) << 3)
    store<i32>(counts, load<i32>(counts) - above)
    store<i32>(counts, load<i32>(counts, 4) - equal, 4)
  }
}

/** Puts vectors (`stride` floats apart) and their lengths where candidates lie, row i at slots[i]. */
export function packPanels(
  candidates: usize,
  slots: usize,
  vectors: usize,
  stride: i32,
  count: i32,
): void {
  const all = changetype<Candidates>(candidates)
  const dims = usize(all.dims)
  for (let i = 0; i < count; i += 1) {
    const slot = load<i32>(slots + (usize(i) << 2))
    const vector = vectors + ((usize(i) * usize(stride)) << 2)
    let at = all.panels + ((usize(slot >> 3) * dims) << 5) + (usize(slot & 7) << 2)
    for (let k: usize = 0; k < dims << 2; k += 4) {
      store<f32>(at, load<f32>(vector + k))
      at += 32
    }
    store<f32>(all.norms + (usize(slot) << 2), norm(vector, all.dims))
  }
}

/** For each threshold how many of n values are above it and how many equal. Range: thresholds. */
export function countAbove(
  out: usize,
  values: usize,
  n: i32,
  thresholds: usize,
  from: i32,
  to: i32,
): void {
  const whole = n & ~3
  for (let t = from; t < to; t += 1) {
    const threshold = load<f32>(thresholds + (usize(t) << 2))
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
    store<i32>(out + (usize(t) << 3), more)
    store<i32>(out + (usize(t) << 3), same, 4)
  }
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
