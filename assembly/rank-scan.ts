/**
 * How many candidates score above a query's target, and how many the same, for the progressive
 * evaluation: scores are only counted, never stored.
 *
 * A panel of eight of which none can reach the target's score is left alone. By Cauchy and Schwarz
 * no score is above |q| |v| + w popularity; and of those that this leaves, most are given up at
 * half of their dimensions, when what is left of both vectors is too short for what is missing.
 * (Not at a quarter too: nobody can foresee who is given up there, the processor neither.) Products
 * are of codes, eight of them in the time of four floats'. What they differ by
 * from the vectors' is bounded, and bounds are widened by far more than rounding can add: whoever
 * is above or below the target by more than that is, and the few others are asked for their score.
 * So the counts are exactly those of a scan of all scores, as the twin does it,
 * `src/kernels/reference/reference-rank.ts`.
 *
 * Blocks of panels are gone over with one query after the other while they are in the cache, and
 * four panels at a time, since a sum waits for itself.
 */
import { encode, Measured, measure } from './rank-codes'
import {
  Candidates, codeLength, greatest, headOf, laneBytes, leastOf, numberBytes, pairsOf, scaleBytes,
  scoreOf, slack, stopOf, tailBytes,
} from './rank-layout'
import { scratch } from './scratch'

/** One of the queries at hand; in scratch. */
@unmanaged
class Query {
  /** Of the first head: dims f32, and the weight of log popularity behind them. */
  vector: usize
  /** Of each head its scale and its code. */
  codes: usize
  /** The target's score. */
  least: f32
  weight: f32
  /** Of the longest head, widened: all of it, and from the stop on. */
  length: f32
  tail: f32
  above: i32
  equal: i32
  /** `least`, less and more what an estimate by codes may be wrong by in the block at hand. */
  floor: f32
  ceiling: f32
  /** The same of an estimate by vectors. */
  nearFloor: f32
  nearCeiling: f32
}

/** Queries that are at hand at a time. */
const mostQueries: i32 = 64
/** Panels of a block; a multiple of four. */
const blockPanels: i32 = 64

/** Bytes from the start of scratch on: queries; of each panel of the block what bounds it. */
const norms: usize = 64 * 64
const highest: usize = norms + 256
const lowest: usize = highest + 256
/** The panels of the block that are worth scoring, and room to make them a multiple of four. */
const chosen: usize = lowest + 256
/** Eight sums of each of them so far; estimates of their scores. */
const sums: usize = chosen + 512
const estimates: usize = sums + 68 * laneBytes
const measured: usize = estimates + 68 * laneBytes

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
  codes: usize,
  from: i32,
  to: i32,
): void {
  const all = changetype<Candidates>(candidates)
  const codeBytes = headBytes(all) * usize(heads)
  for (let first = from; first < to; first += mostQueries) {
    const count = min(mostQueries, to - first)
    for (let i = 0; i < count; i += 1) {
      const query = queryAt(i)
      const number = first + i
      query.vector = headOf(queries, stride, number * heads)
      query.codes = codes + usize(number) * codeBytes
      begin(query, all, stride, heads, load<i32>(targets + (usize(number) << 2)))
    }
    scan(all, stride, heads, count)
    for (let i = 0; i < count; i += 1) {
      store<i32>(out + (usize(first + i) << 3), queryAt(i).above)
      store<i32>(out + (usize(first + i) << 3), queryAt(i).equal, 4)
    }
  }
}

/** Of a head's scale and code. */
@inline
function headBytes(all: Candidates): usize {
  return usize(1 + pairsOf(all.dims)) << 2
}

function begin(query: Query, all: Candidates, stride: i32, heads: i32, target: i32): void {
  query.least = target < 0 ? NaN : leastOf(all, query.vector, stride, heads, target)
  query.weight = all.popularity == 0 ? 0 : load<f32>(query.vector + (usize(all.dims) << 2))
  query.above = 0
  query.equal = 0
  let length: f32 = 0
  let tail: f32 = 0
  const head = changetype<Measured>(scratch + measured)
  for (let h = 0; h < heads; h += 1) {
    const vector = headOf(query.vector, stride, h)
    const at = query.codes + usize(h) * headBytes(all)
    measure(head, vector, all.dims)
    store<f32>(at, head.scale)
    encode(at + 4, 4, vector, all.dims, head.scale)
    // The greatest of them is no number if one is none.
    length = max(length, head.length)
    tail = max(tail, head.tail)
  }
  query.length = length * (1 + slack)
  query.tail = tail * (1 + slack)
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
      const worth = choose(all, query, first, count)
      if (worth == 0) continue
      if (heads == 1) countOne(all, query, worth, stride)
      else countBest(all, query, worth, stride, heads)
    }
  }
}

/** The greatest length of each panel of the block, and its greatest and least popularity. */
function boundPanels(all: Candidates, first: i32, count: i32): void {
  // What is behind the last of them is looked at, too.
  if (count < blockPanels) memory.fill(scratch + norms, 0, chosen - norms)
  for (let p = 0; p < count; p += 1) {
    const panel = usize(first + p)
    const at = scratch + (usize(p) << 2)
    const length = all.numbers + panel * numberBytes
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

/**
 * What an estimate may be wrong by, relative to the product of lengths: codes by their rounding,
 * 1.1 for what is left out; sums and their order in f32.
 */
@inline
function errorOf(dims: i32): f32 {
  return slack + (1.1 / codeLength) * sqrt(f32(dims)) + f32(dims) * 1.2e-7
}

/** The same of a product of vectors, whose sums are in another order than a score's. */
@inline
function nearErrorOf(dims: i32): f32 {
  return 1e-6 + f32(dims) * 2.4e-7
}

/** Lists the panels that may reach the target; a bound that is no number says nothing. */
function choose(all: Candidates, query: Query, first: i32, count: i32): i32 {
  const least = f32x4.splat(query.least)
  const weight = f32x4.splat(query.weight)
  const length = f32x4.splat(query.length)
  const relative = f32x4.splat(errorOf(all.dims))
  let n = 0
  let most = f32x4.splat(0)
  for (let p = 0; p < count; p += 4) {
    const at = scratch + (usize(p) << 2)
    const high = f32x4.mul(weight, v128.load(at + highest))
    const low = f32x4.mul(weight, v128.load(at + lowest))
    const product = f32x4.mul(length, v128.load(at + norms))
    const term = f32x4.mul(f32x4.splat(slack), f32x4.max(f32x4.abs(high), f32x4.abs(low)))
    const error = f32x4.add(f32x4.mul(relative, product), term)
    const bound = f32x4.add(f32x4.add(product, f32x4.max(high, low)), error)
    most = f32x4.max(most, error)
    let worth = ~i32x4.bitmask(f32x4.lt(bound, least)) & 15
    if (count - p < 4) worth &= (1 << (count - p)) - 1
    for (; worth != 0; worth &= worth - 1) {
      store<u32>(scratch + chosen + (usize(n) << 2), first + p + ctz(worth))
      n += 1
    }
  }
  const error = greatest(most)
  query.floor = query.least - error
  query.ceiling = query.least + error
  // Of popularity's term there is a hundredth left: no more than the rounding of one sum.
  const near = error * max(f32(0.01), nearErrorOf(all.dims) / errorOf(all.dims))
  query.nearFloor = query.least - near
  query.nearCeiling = query.least + near
  return n
}

/** Counts what the chosen panels hold against a query of one vector. */
function countOne(all: Candidates, query: Query, worth: i32, stride: i32): void {
  const stop = stopOf(all.dims)
  const left = sumOn(all, query, query.codes, worth, 0, stop)
  if (left == 0) return
  sumOn(all, query, query.codes, left, stop, pairsOf(all.dims))
  const scale = load<f32>(query.codes)
  for (let i = 0; i < left; i += 1) {
    const panel = chosenAt(i)
    const to = scratch + estimates + usize(i) * laneBytes
    v128.store(to, product(all, panel, scale, v128.load(sumsAt(i)), 0))
    v128.store(to, product(all, panel, scale, v128.load(sumsAt(i), 16), 16), 16)
  }
  count(all, query, left, stride, 1)
}

/** The same for several heads, of which the best counts: nobody is given up in the middle. */
function countBest(all: Candidates, query: Query, worth: i32, stride: i32, heads: i32): void {
  for (let h = 0; h < heads; h += 1) {
    const codes = query.codes + usize(h) * headBytes(all)
    const scale = load<f32>(codes)
    sumOn(all, query, codes, worth, 0, pairsOf(all.dims))
    for (let i = 0; i < worth; i += 1) {
      for (let half: usize = 0; half < laneBytes; half += 16) {
        const one = product(all, chosenAt(i), scale, v128.load(sumsAt(i) + half), half)
        const to = scratch + estimates + usize(i) * laneBytes + half
        v128.store(to, h == 0 ? one : f32x4.max(v128.load(to), one))
      }
    }
  }
  count(all, query, worth, stride, heads)
}

/** What four sums of codes' products are of the vectors'. `half`: 0, or 16 for the later four. */
@inline
function product(all: Candidates, panel: usize, scale: f32, sum: v128, half: usize): v128 {
  const scales = v128.load(all.numbers + panel * numberBytes + scaleBytes + half)
  return f32x4.mul(f32x4.convert_i32x4_s(sum), f32x4.mul(scales, f32x4.splat(scale)))
}

/**
 * Adds the products of the words [from, to) of codes to the sums of the first n that are chosen;
 * before the last word it leaves and counts those that may still reach the target, then all of
 * them. `codes`: of a head, behind its scale.
 */
function sumOn(
  all: Candidates,
  query: Query,
  codes: usize,
  n: i32,
  from: i32,
  to: i32,
): i32 {
  const isLast = to == pairsOf(all.dims)
  const panelBytes = usize(pairsOf(all.dims)) * laneBytes
  const panels = all.codes + usize(from) * laneBytes
  const begin = codes + 4 + (usize(from) << 2)
  const end = codes + 4 + (usize(to) << 2)
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
    let a0 = i32x4.splat(0)
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
    for (let q = begin; q < end; q += 4) {
      const x = v128.load_splat<u32>(q)
      a0 = i32x4.add(a0, i32x4.dot_i16x8_s(x, v128.load(p0)))
      b0 = i32x4.add(b0, i32x4.dot_i16x8_s(x, v128.load(p0, 16)))
      a1 = i32x4.add(a1, i32x4.dot_i16x8_s(x, v128.load(p1)))
      b1 = i32x4.add(b1, i32x4.dot_i16x8_s(x, v128.load(p1, 16)))
      a2 = i32x4.add(a2, i32x4.dot_i16x8_s(x, v128.load(p2)))
      b2 = i32x4.add(b2, i32x4.dot_i16x8_s(x, v128.load(p2, 16)))
      a3 = i32x4.add(a3, i32x4.dot_i16x8_s(x, v128.load(p3)))
      b3 = i32x4.add(b3, i32x4.dot_i16x8_s(x, v128.load(p3, 16)))
      p0 += laneBytes
      p1 += laneBytes
      p2 += laneBytes
      p3 += laneBytes
    }
    kept = keep(all, query, kept, c0, a0, b0, isLast)
    if (i + 1 < n) kept = keep(all, query, kept, c1, a1, b1, isLast)
    if (i + 2 < n) kept = keep(all, query, kept, c2, a2, b2, isLast)
    if (i + 3 < n) kept = keep(all, query, kept, c3, a3, b3, isLast)
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
  isLast: bool,
): i32 {
  const to = sumsAt(kept)
  v128.store(to, a)
  v128.store(to, b, 16)
  store<u32>(scratch + chosen + (usize(kept) << 2), u32(panel))
  if (isLast) return kept + 1
  const floor = f32x4.splat(query.floor)
  const scale = load<f32>(query.codes)
  const rest = f32x4.splat(query.tail)
  const tails = all.numbers + panel * numberBytes + tailBytes
  let x = f32x4.add(product(all, panel, scale, a, 0), f32x4.mul(rest, v128.load(tails)))
  let y = f32x4.add(product(all, panel, scale, b, 16), f32x4.mul(rest, v128.load(tails, 16)))
  if (all.popularity != 0) {
    const popularity = all.popularity + panel * laneBytes
    const weight = f32x4.splat(query.weight)
    x = f32x4.add(x, f32x4.mul(weight, v128.load(popularity)))
    y = f32x4.add(y, f32x4.mul(weight, v128.load(popularity, 16)))
  }
  // Without a branch, which half of the time would be mistaken.
  return kept + 1 - i32(i32x4.all_true(v128.and(f32x4.lt(x, floor), f32x4.lt(y, floor))))
}

/** Counts the chosen by their estimates, with popularity; where those are close one by one. */
function count(all: Candidates, query: Query, n: i32, stride: i32, heads: i32): void {
  const floor = f32x4.splat(query.floor)
  const ceiling = f32x4.splat(query.ceiling)
  const weight = f32x4.splat(query.weight)
  for (let i = 0; i < n; i += 1) {
    const slot = i32(chosenAt(i)) << 3
    const from = scratch + estimates + usize(i) * laneBytes
    for (let half = 0; half < 8; half += 4) {
      const byte = usize(half) << 2
      let s = v128.load(from + byte)
      if (all.popularity != 0) {
        const popularity = v128.load(all.popularity + (usize(slot) << 2) + byte)
        s = f32x4.add(s, f32x4.mul(weight, popularity))
      }
      // Lanes behind the last candidate do not count.
      const live = i32x4.bitmask(i32x4.lt_s(i32x4(0, 1, 2, 3), i32x4.splat(all.count - slot - half)))
      const above = i32x4.bitmask(f32x4.gt(s, ceiling)) & live
      query.above += popcnt(above)
      let open = ~(above | i32x4.bitmask(f32x4.lt(s, floor))) & live
      for (; open != 0; open &= open - 1) {
        countAt(all, query, stride, heads, slot + half + ctz(open))
      }
    }
  }
}

/** Counts one candidate: by an estimate of which little is left open, or by its score. */
function countAt(all: Candidates, query: Query, stride: i32, heads: i32, slot: i32): void {
  let near: f32 = -Infinity
  for (let h = 0; h < heads; h += 1) {
    near = max(near, nearProduct(all, headOf(query.vector, stride, h), slot))
  }
  if (all.popularity != 0) {
    near += query.weight * load<f32>(all.popularity + (usize(slot) << 2))
  }
  if (near < query.nearFloor) return
  if (near > query.nearCeiling) {
    query.above += 1
    return
  }
  const value = scoreOf(all, query.vector, stride, heads, slot)
  query.above += i32(value > query.least)
  query.equal += i32(value == query.least)
}

/** In the order that is quickest: a score waits for each of its sums. */
function nearProduct(all: Candidates, vector: usize, slot: i32): f32 {
  const bytes = usize(all.dims) << 2
  const at = all.vectors + usize(slot) * bytes
  const whole = bytes & ~31
  let a = f32x4.splat(0)
  let b = a
  for (let k: usize = 0; k < whole; k += 32) {
    a = f32x4.add(a, f32x4.mul(v128.load(vector + k), v128.load(at + k)))
    b = f32x4.add(b, f32x4.mul(v128.load(vector + k, 16), v128.load(at + k, 16)))
  }
  a = f32x4.add(a, b)
  let rest: f32 = 0
  for (let k = whole; k < bytes; k += 4) rest += load<f32>(vector + k) * load<f32>(at + k)
  const low = f32x4.extract_lane(a, 0) + f32x4.extract_lane(a, 1)
  return low + (f32x4.extract_lane(a, 2) + f32x4.extract_lane(a, 3)) + rest
}
