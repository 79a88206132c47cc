/**
 * How many candidates score above a query's target, and how many the same, for the progressive
 * evaluation: scores are only counted, never stored.
 *
 * A panel of eight of which none can reach the target's score is left alone. By Cauchy and Schwarz
 * no score is above |q| |v| + w popularity; and of those that this leaves, most are given up at a
 * quarter or at half of their dimensions, when what is left of both vectors is too short for what
 * is missing. Bounds are widened by far more than rounding can add, and what is not given up is
 * summed on in the same order, so the counts are exactly those of a scan of everything.
 *
 * Blocks of panels are gone over with one query after the other while they are in the cache, and
 * four panels at a time, since a sum waits for itself. The twin,
 * `src/kernels/reference/reference-rank.ts`, scans everything.
 */
import {
  Candidates, greatest, headOf, laneBytes, leastOf, lengthBytes, slack, stopOf,
} from './rank-layout'
import { scratch } from './scratch'

/** One of the queries at hand; in scratch. */
@unmanaged
class Query {
  /** Of the first head: dims f32, and the weight of log popularity behind them. */
  vector: usize
  /** The target's score. */
  least: f32
  weight: f32
  /** Of the longest head, widened: all of it, and from each of the two stops on. */
  length: f32
  tail1: f32
  tail2: f32
  above: i32
  equal: i32
  /** `least`, less what rounding may do in the block at hand: below this is out of the question. */
  floor: f32
}

/** Queries that are at hand at a time. */
const mostQueries: i32 = 64
/** Panels of a block; a multiple of four. */
const blockPanels: i32 = 64

/** Bytes from the start of scratch on: queries; of each panel of the block what bounds it. */
const norms: usize = 64 * 40
const highest: usize = norms + 256
const lowest: usize = highest + 256
/** The panels of the block that are worth scoring, and room to make them a multiple of four. */
const chosen: usize = lowest + 256
/** Eight sums of each of them so far; of several heads the best. */
const sums: usize = chosen + 512
const bests: usize = sums + 68 * laneBytes

@inline
function queryAt(i: i32): Query {
  return changetype<Query>(scratch + usize(i) * offsetof<Query>())
}

@inline
function chosenAt(i: i32): usize {
  return usize(load<u32>(scratch + chosen + (usize(i) << 2)))
}

@inline
function sumsAt(i: i32): usize {
  return scratch + sums + usize(i) * laneBytes
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
  for (let first = from; first < to; first += mostQueries) {
    const count = min(mostQueries, to - first)
    for (let i = 0; i < count; i += 1) {
      const target = load<i32>(targets + (usize(first + i) << 2))
      begin(queryAt(i), all, headOf(queries, stride, (first + i) * heads), stride, heads, target)
    }
    scan(all, stride, heads, count)
    for (let i = 0; i < count; i += 1) {
      store<i32>(out + (usize(first + i) << 3), queryAt(i).above)
      store<i32>(out + (usize(first + i) << 3), queryAt(i).equal, 4)
    }
  }
}

function begin(
  query: Query,
  all: Candidates,
  vectors: usize,
  stride: i32,
  heads: i32,
  target: i32,
): void {
  query.vector = vectors
  query.least = target < 0 ? NaN : leastOf(all, vectors, stride, heads, target)
  query.weight = all.popularity == 0 ? 0 : load<f32>(vectors + (usize(all.dims) << 2))
  query.above = 0
  query.equal = 0
  query.length = longest(all, vectors, stride, heads, 0)
  query.tail1 = longest(all, vectors, stride, heads, 1)
  query.tail2 = longest(all, vectors, stride, heads, 2)
}

/** Of all heads, from the nth stop on. */
function longest(all: Candidates, vectors: usize, stride: i32, heads: i32, stop: i32): f32 {
  let most: f32 = 0
  for (let h = 0; h < heads; h += 1) {
    most = max(most, lengthFrom(headOf(vectors, stride, h), stopOf(all.dims, stop), all.dims))
  }
  return most * (1 + slack)
}

/** Of the coordinates from `from` on. */
function lengthFrom(vector: usize, from: i32, dims: i32): f32 {
  let sum: f32 = 0
  for (let k = usize(from) << 2; k < usize(dims) << 2; k += 4) {
    const x = load<f32>(vector + k)
    sum += x * x
  }
  return sqrt(sum)
}

function scan(all: Candidates, stride: i32, heads: i32, queries: i32): void {
  const panels = (all.count + 7) >> 3
  for (let first = 0; first < panels; first += blockPanels) {
    const count = min(blockPanels, panels - first)
    boundPanels(all, first, count)
    for (let i = 0; i < queries; i += 1) {
      const query = queryAt(i)
      // Of no target, or of one without a finite score, nothing counts.
      if (query.least != query.least) continue
      const worth = choose(query, first, count)
      if (worth == 0) continue
      if (heads == 1) countOne(all, query, worth)
      else countBest(all, query, worth, stride, heads)
    }
  }
}

/** The greatest length of each panel of the block, and its greatest and least popularity. */
function boundPanels(all: Candidates, first: i32, count: i32): void {
  for (let p = 0; p < count; p += 1) {
    const panel = usize(first + p)
    const at = scratch + (usize(p) << 2)
    const length = all.lengths + panel * lengthBytes
    const most = f32x4.max(v128.load(length), v128.load(length, 16))
    store<f32>(at + norms, greatest(most))
    let high = f32x4.splat(0)
    let low = f32x4.splat(0)
    if (all.popularity != 0) {
      const popularity = all.popularity + panel * laneBytes
      high = f32x4.max(v128.load(popularity), v128.load(popularity, 16))
      low = f32x4.min(v128.load(popularity), v128.load(popularity, 16))
    }
    store<f32>(at + highest, greatest(high))
    store<f32>(at + lowest, -greatest(f32x4.neg(low)))
  }
}

/** Lists the panels that may reach the target; a bound that is no number says nothing. */
function choose(query: Query, first: i32, count: i32): i32 {
  const least = f32x4.splat(query.least)
  const weight = f32x4.splat(query.weight)
  const length = f32x4.splat(query.length)
  let n = 0
  let most = f32x4.splat(0)
  for (let p = 0; p < count; p += 4) {
    const at = scratch + (usize(p) << 2)
    const high = f32x4.mul(weight, v128.load(at + highest))
    const low = f32x4.mul(weight, v128.load(at + lowest))
    const product = f32x4.mul(length, v128.load(at + norms))
    const term = f32x4.max(f32x4.abs(high), f32x4.abs(low))
    const error = f32x4.mul(f32x4.splat(slack), f32x4.add(product, term))
    const bound = f32x4.add(f32x4.add(product, f32x4.max(high, low)), error)
    most = f32x4.max(most, error)
    let worth = ~i32x4.bitmask(f32x4.lt(bound, least)) & 15
    if (count - p < 4) worth &= (1 << (count - p)) - 1
    for (; worth != 0; worth &= worth - 1) {
      store<u32>(scratch + chosen + (usize(n) << 2), first + p + ctz(worth))
      n += 1
    }
  }
  query.floor = query.least - greatest(most)
  return n
}

/** Counts what the chosen panels hold against a query of one vector. */
function countOne(all: Candidates, query: Query, worth: i32): void {
  const first = stopOf(all.dims, 1)
  const second = stopOf(all.dims, 2)
  let left = sumOn(all, query, query.vector, worth, 0, first, 1)
  if (left == 0) return
  left = sumOn(all, query, query.vector, left, first, second, 2)
  if (left == 0) return
  sumOn(all, query, query.vector, left, second, all.dims, 0)
  count(all, query, left, sums)
}

/** The same for several heads, of which the best counts: nobody is given up in the middle. */
function countBest(all: Candidates, query: Query, worth: i32, stride: i32, heads: i32): void {
  const best = scratch + bests
  for (let at: usize = 0; at < usize(worth) * laneBytes; at += 16) {
    v128.store(best + at, f32x4.splat(-Infinity))
  }
  for (let h = 0; h < heads; h += 1) {
    sumOn(all, query, headOf(query.vector, stride, h), worth, 0, all.dims, 0)
    for (let at: usize = 0; at < usize(worth) * laneBytes; at += 16) {
      const sum = v128.load(scratch + sums + at)
      v128.store(best + at, f32x4.pmax(v128.load(best + at), sum))
    }
  }
  count(all, query, worth, bests)
}

/**
 * Adds the products of the dimensions [from, to) to the sums of the first n that are chosen; leaves
 * and counts those that may still reach the target at this stop. At none: all of them.
 */
function sumOn(
  all: Candidates,
  query: Query,
  vector: usize,
  n: i32,
  from: i32,
  to: i32,
  stop: i32,
): i32 {
  const panelBytes = usize(all.dims) * laneBytes
  const panels = all.panels + usize(from) * laneBytes
  const end = vector + (usize(to) << 2)
  const rest = stop == 1 ? query.tail1 : query.tail2
  let kept = 0
  // Behind the last of them it repeats itself.
  for (let i = n; i < ((n + 3) & ~3); i += 1) {
    store<u32>(scratch + chosen + (usize(i) << 2), u32(chosenAt(n - 1)))
  }
  for (let i = 0; i < n; i += 4) {
    const c0 = chosenAt(i)
    const c1 = chosenAt(i + 1)
    const c2 = chosenAt(i + 2)
    const c3 = chosenAt(i + 3)
    let p0 = panels + c0 * panelBytes
    let p1 = panels + c1 * panelBytes
    let p2 = panels + c2 * panelBytes
    let p3 = panels + c3 * panelBytes
    let a0 = f32x4.splat(0)
    let b0 = a0
    let a1 = a0
    let b1 = a0
    let a2 = a0
    let b2 = a0
    let a3 = a0
    let b3 = a0
    if (from > 0) {
      const at = sumsAt(i)
      a0 = v128.load(at)
      b0 = v128.load(at, 16)
      a1 = v128.load(at, 32)
      b1 = v128.load(at, 48)
      a2 = v128.load(at, 64)
      b2 = v128.load(at, 80)
      a3 = v128.load(at, 96)
      b3 = v128.load(at, 112)
    }
    for (let q = vector + (usize(from) << 2); q < end; q += 4) {
      const x = v128.load_splat<u32>(q)
      a0 = f32x4.add(a0, f32x4.mul(x, v128.load(p0)))
      b0 = f32x4.add(b0, f32x4.mul(x, v128.load(p0, 16)))
      a1 = f32x4.add(a1, f32x4.mul(x, v128.load(p1)))
      b1 = f32x4.add(b1, f32x4.mul(x, v128.load(p1, 16)))
      a2 = f32x4.add(a2, f32x4.mul(x, v128.load(p2)))
      b2 = f32x4.add(b2, f32x4.mul(x, v128.load(p2, 16)))
      a3 = f32x4.add(a3, f32x4.mul(x, v128.load(p3)))
      b3 = f32x4.add(b3, f32x4.mul(x, v128.load(p3, 16)))
      p0 += laneBytes
      p1 += laneBytes
      p2 += laneBytes
      p3 += laneBytes
    }
    kept = keep(all, query, kept, c0, a0, b0, stop, rest)
    if (i + 1 < n) kept = keep(all, query, kept, c1, a1, b1, stop, rest)
    if (i + 2 < n) kept = keep(all, query, kept, c2, a2, b2, stop, rest)
    if (i + 3 < n) kept = keep(all, query, kept, c3, a3, b3, stop, rest)
  }
  return kept
}

/** Adds a panel to those that are kept, if it may still reach the target. */
@inline
function keep(
  all: Candidates,
  query: Query,
  kept: i32,
  panel: usize,
  a: v128,
  b: v128,
  stop: i32,
  rest: f32,
): i32 {
  const to = sumsAt(kept)
  v128.store(to, a)
  v128.store(to, b, 16)
  store<u32>(scratch + chosen + (usize(kept) << 2), u32(panel))
  if (stop == 0) return kept + 1
  const floor = f32x4.splat(query.floor)
  const tails = all.lengths + panel * lengthBytes + usize(stop) * laneBytes
  let x = f32x4.add(a, f32x4.mul(f32x4.splat(rest), v128.load(tails)))
  let y = f32x4.add(b, f32x4.mul(f32x4.splat(rest), v128.load(tails, 16)))
  if (all.popularity != 0) {
    const popularity = all.popularity + panel * laneBytes
    const weight = f32x4.splat(query.weight)
    x = f32x4.add(x, f32x4.mul(weight, v128.load(popularity)))
    y = f32x4.add(y, f32x4.mul(weight, v128.load(popularity, 16)))
  }
  const isOut = i32x4.all_true(v128.and(f32x4.lt(x, floor), f32x4.lt(y, floor)))
  return isOut ? kept : kept + 1
}

/** Adds popularity to the sums of the chosen and counts them against the target's score. */
function count(all: Candidates, query: Query, n: i32, from: usize): void {
  const least = f32x4.splat(query.least)
  const weight = f32x4.splat(query.weight)
  for (let i = 0; i < n; i += 1) {
    const slot = i32(chosenAt(i)) << 3
    const scores = scratch + from + usize(i) * laneBytes
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
}
