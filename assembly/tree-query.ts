/**
 * A search of a partitioned index (tree-AH as ScaNN's: Guo et al. 2020): score all centroids,
 * choose the best leaves, scan their codes by lookup, and rank the survivors again by their rows.
 *
 * The scan (LUT16, Andre et al. 2015): for each dimension a table of the 16 levels' products with
 * the query, cut to 6 bits, lies in a register, and one swizzle looks up 16 members' codes. Four
 * tables' values are summed in bytes, which they fill to 252, then widened.
 * Where ScaNN sums 8-bit tables in 16 bits, the 6 bits cost some hundredths of the error that the
 * codes themselves make, and save a third of the work.
 *
 * `src/kernels/reference/reference-tree-query.ts` is the twin, `src/kernels/tree-kernels.ts` the interface.
 */
import { Reservoir, append, idOf, keepBest, keyOf, nthBest, scoreOf, sortBest } from './reservoir'
import { scratch } from './scratch'
import {
  TreeLayout,
  blockAt,
  centroidOf,
  codedOf,
  rowOf,
  setWord,
  tailEndsOf,
  word,
} from './tree-layout'

@unmanaged
class TreeQuery {
  /** stride f32, zero behind the last dimension. */
  vector: usize
  /** codes x 16 bytes. */
  tables: usize
  /**
   * f32 per leaf: its centroid's product without tails; behind the last panel those again with the
   * tails of members that weigh most, by which leaves are chosen.
   */
  leafScores: usize
  /** Ids that may be returned; 0: all. */
  allow: usize
  /** What a unit of the tables is worth, and what is to be added to their sum, for scale 1. */
  unit: f32
  offset: f32
  /** Chosen leaves. */
  leaves: Reservoir
  /** Members found. */
  found: Reservoir
}

const leavesAt: usize = 24
const foundAt: usize = 44

@inline
function leavesOf(query: usize): Reservoir {
  return changetype<Reservoir>(query + leavesAt)
}

@inline
function foundOf(query: usize): Reservoir {
  return changetype<Reservoir>(query + foundAt)
}

/** The greatest value of a table. */
const tableSteps: f32 = 63

/** Tables and leaf scores of a query's vector. */
export function treePrepare(layout: usize, address: usize): void {
  const tree = changetype<TreeLayout>(layout)
  const query = changetype<TreeQuery>(address)
  makeTables(tree, query)
  for (let panel = 0; panel < tree.panels; panel += 1) scorePanel(tree, query, panel)
}

/** Products with the levels at scratch + 1024, then cut to steps of one size for all. */
function makeTables(tree: TreeLayout, query: TreeQuery): void {
  const products = scratch + 1024
  const coded = codedOf(tree)
  let range: f32 = 0
  let offset: f32 = 0
  for (let d = 0; d < tree.codes; d += 1) {
    const to = products + (usize(d) << 6)
    const value: f32 = d < coded ? load<f32>(query.vector + (usize(d) << 2)) : 0
    const low = multiply(value, tree.codebook + (usize(d) << 7), to)
    range = max(range, greatest(to) - low)
    offset += low
    v128.store(to, f32x4.sub(v128.load(to), f32x4.splat(low)))
    v128.store(to, f32x4.sub(v128.load(to, 16), f32x4.splat(low)), 16)
    v128.store(to, f32x4.sub(v128.load(to, 32), f32x4.splat(low)), 32)
    v128.store(to, f32x4.sub(v128.load(to, 48), f32x4.splat(low)), 48)
  }
  query.unit = range / tableSteps
  query.offset = offset
  const steps: f32 = range > 1e-30 ? tableSteps / range : 0
  for (let d: usize = 0; d < usize(tree.codes); d += 1) {
    v128.store(query.tables + (d << 4), cut(products + (d << 6), f32x4.splat(steps)))
  }
}

/** A query's coordinate times 16 levels; returns the least. */
@inline
function multiply(value: f32, levels: usize, to: usize): f32 {
  const x = f32x4.splat(value)
  let least = f32x4.splat(Infinity)
  for (let i: usize = 0; i < 64; i += 16) {
    const product = f32x4.mul(x, v128.load(levels + i))
    v128.store(to + i, product)
    least = f32x4.pmin(least, product)
  }
  least = f32x4.pmin(least, v128.shuffle<f32>(least, least, 2, 3, 0, 1))
  least = f32x4.pmin(least, v128.shuffle<f32>(least, least, 1, 0, 3, 2))
  return f32x4.extract_lane(least, 0)
}

@inline
function greatest(at: usize): f32 {
  let most = f32x4.pmax(
    f32x4.pmax(v128.load(at), v128.load(at, 16)),
    f32x4.pmax(v128.load(at, 32), v128.load(at, 48)),
  )
  most = f32x4.pmax(most, v128.shuffle<f32>(most, most, 2, 3, 0, 1))
  most = f32x4.pmax(most, v128.shuffle<f32>(most, most, 1, 0, 3, 2))
  return f32x4.extract_lane(most, 0)
}

/** Sixteen floats times `steps` as bytes, to the nearest, halves to even. */
@inline
function cut(from: usize, steps: v128): v128 {
  const a = i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.mul(v128.load(from), steps)))
  const b = i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.mul(v128.load(from, 16), steps)))
  const c = i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.mul(v128.load(from, 32), steps)))
  const d = i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.mul(v128.load(from, 48), steps)))
  return i8x16.narrow_i16x8_u(i16x8.narrow_i32x4_s(a, b), i16x8.narrow_i32x4_s(c, d))
}

/**
 * Inner products of the query with 32 centroids. What a leaf is chosen for is the best that it may
 * hold: with the greatest tail of its members (the least, where the query's is negative), not the
 * mean. Else an item that has become popular among others that are not would be found last.
 */
@inline
function scorePanel(tree: TreeLayout, query: TreeQuery, panel: i32): void {
  let s0 = f32x4.splat(0)
  let s1 = f32x4.splat(0)
  let s2 = f32x4.splat(0)
  let s3 = f32x4.splat(0)
  let s4 = f32x4.splat(0)
  let s5 = f32x4.splat(0)
  let s6 = f32x4.splat(0)
  let s7 = f32x4.splat(0)
  let at = centroidOf(tree, panel << 5)
  let from = query.vector
  const end = from + (usize(codedOf(tree)) << 2)
  for (; from < end; from += 4) {
    const x = v128.load_splat<u32>(from)
    s0 = f32x4.add(s0, f32x4.mul(x, v128.load(at)))
    s1 = f32x4.add(s1, f32x4.mul(x, v128.load(at, 16)))
    s2 = f32x4.add(s2, f32x4.mul(x, v128.load(at, 32)))
    s3 = f32x4.add(s3, f32x4.mul(x, v128.load(at, 48)))
    s4 = f32x4.add(s4, f32x4.mul(x, v128.load(at, 64)))
    s5 = f32x4.add(s5, f32x4.mul(x, v128.load(at, 80)))
    s6 = f32x4.add(s6, f32x4.mul(x, v128.load(at, 96)))
    s7 = f32x4.add(s7, f32x4.mul(x, v128.load(at, 112)))
    at += 128
  }
  const to = query.leafScores + (usize(panel) << 7)
  storePanel(to, s0, s1, s2, s3)
  storePanel(to + 64, s4, s5, s6, s7)
  let ends = tailEndsOf(tree, panel << 5)
  for (let t = 0; t < tree.tailDims; t += 1) {
    const weight = load<f32>(from + (usize(t) << 2))
    const x = f32x4.splat(weight)
    const side = ends + (weight >= 0 ? 0 : 128)
    s0 = f32x4.add(s0, f32x4.mul(x, v128.load(side)))
    s1 = f32x4.add(s1, f32x4.mul(x, v128.load(side, 16)))
    s2 = f32x4.add(s2, f32x4.mul(x, v128.load(side, 32)))
    s3 = f32x4.add(s3, f32x4.mul(x, v128.load(side, 48)))
    s4 = f32x4.add(s4, f32x4.mul(x, v128.load(side, 64)))
    s5 = f32x4.add(s5, f32x4.mul(x, v128.load(side, 80)))
    s6 = f32x4.add(s6, f32x4.mul(x, v128.load(side, 96)))
    s7 = f32x4.add(s7, f32x4.mul(x, v128.load(side, 112)))
    ends += 256
  }
  const reach = to + (usize(tree.panels) << 7)
  storePanel(reach, s0, s1, s2, s3)
  storePanel(reach + 64, s4, s5, s6, s7)
}

@inline
function storePanel(to: usize, a: v128, b: v128, c: v128, d: v128): void {
  v128.store(to, a)
  v128.store(to, b, 16)
  v128.store(to, c, 32)
  v128.store(to, d, 48)
}

/**
 * Chooses the best `leaves.keep` of the leaves that have members, or, if `after` is a leaf, of
 * those that come behind it; best first.
 */
export function treeChoose(layout: usize, address: usize, after: i32): void {
  const tree = changetype<TreeLayout>(layout)
  const query = changetype<TreeQuery>(address)
  const chosen = leavesOf(address)
  const scores = query.leafScores + (usize(tree.panels) << 7)
  let before: u64 = u64.MAX_VALUE
  if (after >= 0) before = keyOf(load<f32>(scores + (usize(after) << 2)), after)
  chosen.size = 0
  chosen.least = -Infinity
  for (let leaf = 0; leaf < tree.panels << 5; leaf += 4) {
    const four = v128.load(scores + (usize(leaf) << 2))
    let hits = i32x4.bitmask(f32x4.gt(four, f32x4.splat(chosen.least)))
    while (hits != 0) {
      const other = leaf + ctz(hits)
      hits &= hits - 1
      const score = load<f32>(scores + (usize(other) << 2))
      // What is appended may raise the bar for the rest of the four.
      if (score <= chosen.least) continue
      if (word(tree.sizes, other) != 0 && keyOf(score, other) < before) {
        append(chosen, score, other)
      }
    }
  }
  keepBest(chosen)
  sortBest(chosen)
}

/** Scans the chosen leaves `from` to `to`; returns how many members they have. */
export function treeScan(layout: usize, address: usize, from: i32, to: i32): i32 {
  const tree = changetype<TreeLayout>(layout)
  const query = changetype<TreeQuery>(address)
  const chosen = leavesOf(address)
  const end = min(to, chosen.size)
  // Kept in memory: V8 would build the constant anew in every round.
  v128.store(scratch, i8x16.splat(15))
  let members = 0
  for (let i = from; i < end; i += 1) {
    const leaf = idOf(load<u64>(chosen.keys + (usize(i) << 3)))
    const scale = load<f32>(tree.scales + (usize(leaf) << 2))
    const product = load<f32>(query.leafScores + (usize(leaf) << 2))
    const base = product + query.offset * scale
    const unit = query.unit * scale
    const size = word(tree.sizes, leaf)
    members += size
    let lanes = ((size - 1) & 31) + 1
    for (let block = word(tree.heads, leaf); block != 0; block = word(tree.nexts, block - 1)) {
      scanBlock(tree, query, block - 1, lanes, base, unit)
      lanes = 32
    }
  }
  return members
}

function scanBlock(
  tree: TreeLayout,
  query: TreeQuery,
  block: u32,
  lanes: i32,
  base: f32,
  unit: f32,
): void {
  const half = v128.load(scratch)
  let low = i32x4.splat(0)
  let lowOdd = i32x4.splat(0)
  let high = i32x4.splat(0)
  let highOdd = i32x4.splat(0)
  let at = blockAt(tree, block)
  const ids = at + (usize(tree.codes) << 4)
  for (let table = query.tables; at < ids; at += 64) {
    const c0 = v128.load(at)
    const c1 = v128.load(at, 16)
    const c2 = v128.load(at, 32)
    const c3 = v128.load(at, 48)
    const t0 = v128.load(table)
    const t1 = v128.load(table, 16)
    const t2 = v128.load(table, 32)
    const t3 = v128.load(table, 48)
    const a = i8x16.add(
      i8x16.add(
        i8x16.swizzle(t0, v128.and(c0, half)),
        i8x16.swizzle(t1, v128.and(c1, half)),
      ),
      i8x16.add(
        i8x16.swizzle(t2, v128.and(c2, half)),
        i8x16.swizzle(t3, v128.and(c3, half)),
      ),
    )
    const b = i8x16.add(
      i8x16.add(
        i8x16.swizzle(t0, v128.and(i16x8.shr_u(c0, 4), half)),
        i8x16.swizzle(t1, v128.and(i16x8.shr_u(c1, 4), half)),
      ),
      i8x16.add(
        i8x16.swizzle(t2, v128.and(i16x8.shr_u(c2, 4), half)),
        i8x16.swizzle(t3, v128.and(i16x8.shr_u(c3, 4), half)),
      ),
    )
    low = i16x8.add(low, a)
    lowOdd = i16x8.add(lowOdd, i16x8.shr_u(a, 8))
    high = i16x8.add(high, b)
    highOdd = i16x8.add(highOdd, i16x8.shr_u(b, 8))
    table += 64
  }
  // Members 0, 2 .. 14 are in the low bytes: what the odd ones left in the high bytes goes away.
  low = i16x8.sub(low, i16x8.shl(lowOdd, 8))
  high = i16x8.sub(high, i16x8.shl(highOdd, 8))
  const some = v128.or(
    scoreHalf(tree, query, ids + 128, scratch + 64, base, unit, low, lowOdd),
    scoreHalf(tree, query, ids + 192, scratch + 128, base, unit, high, highOdd),
  )
  if (v128.any_true(some)) offerBlock(tree, query, ids, lanes)
}

/**
 * Scores of sixteen members from their sums into memory at `to`; lanes of the result are set where
 * one is good enough.
 */
@inline
function scoreHalf(
  tree: TreeLayout,
  query: TreeQuery,
  tails: usize,
  to: usize,
  base: f32,
  unitOfSums: f32,
  even: v128,
  odd: v128,
): v128 {
  const first = v128.shuffle<i16>(even, odd, 0, 8, 1, 9, 2, 10, 3, 11)
  const second = v128.shuffle<i16>(even, odd, 4, 12, 5, 13, 6, 14, 7, 15)
  const unit = f32x4.splat(unitOfSums)
  const from = f32x4.splat(base)
  let s0 = f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_u(first))
  let s1 = f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_u(first))
  let s2 = f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_u(second))
  let s3 = f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_u(second))
  s0 = f32x4.add(f32x4.mul(s0, unit), from)
  s1 = f32x4.add(f32x4.mul(s1, unit), from)
  s2 = f32x4.add(f32x4.mul(s2, unit), from)
  s3 = f32x4.add(f32x4.mul(s3, unit), from)
  let weight = query.vector + (usize(codedOf(tree)) << 2)
  for (let t = 0; t < tree.tailDims; t += 1) {
    const w = v128.load_splat<u32>(weight)
    s0 = f32x4.add(s0, f32x4.mul(w, v128.load(tails)))
    s1 = f32x4.add(s1, f32x4.mul(w, v128.load(tails, 16)))
    s2 = f32x4.add(s2, f32x4.mul(w, v128.load(tails, 32)))
    s3 = f32x4.add(s3, f32x4.mul(w, v128.load(tails, 48)))
    tails += 128
    weight += 4
  }
  v128.store(to, s0)
  v128.store(to, s1, 16)
  v128.store(to, s2, 32)
  v128.store(to, s3, 48)
  const least = f32x4.splat(foundOf(changetype<usize>(query)).least)
  return v128.or(
    v128.or(f32x4.gt(s0, least), f32x4.gt(s1, least)),
    v128.or(f32x4.gt(s2, least), f32x4.gt(s3, least)),
  )
}

/** Takes the members whose score at scratch + 64 is good enough and that may be returned. */
function offerBlock(tree: TreeLayout, query: TreeQuery, ids: usize, lanes: i32): void {
  const found = foundOf(changetype<usize>(query))
  const scores = scratch + 64
  for (let group = 0; group < lanes; group += 4) {
    const four = v128.load(scores + (usize(group) << 2))
    let hits = i32x4.bitmask(f32x4.gt(four, f32x4.splat(found.least)))
    while (hits != 0) {
      const lane = group + ctz(hits)
      hits &= hits - 1
      if (lane >= lanes) return
      const score = load<f32>(scores + (usize(lane) << 2))
      if (score <= found.least) continue
      const id = word(ids, lane)
      if (query.allow != 0 && ((word(query.allow, id >> 5) >> (id & 31)) & 1) == 0) continue
      append(found, score, id)
    }
  }
}

/** The k-th best score by codes of what has been found; -Infinity if that is fewer. */
export function treeReach(address: usize, k: i32): f32 {
  return nthBest(foundOf(address), k)
}

/** How many bits are set in a number of words that 4 divides. */
export function treeCountBits(bitmap: usize, words: i32): i32 {
  const end = bitmap + (usize(words) << 2)
  let sum = i64x2.splat(0)
  let at = bitmap
  while (at < end) {
    // A byte counts to 255: 31 times 8.
    const stop = min(end, at + 31 * 16)
    let bytes = i8x16.splat(0)
    for (; at + 16 <= stop; at += 16) bytes = i8x16.add(bytes, i8x16.popcnt(v128.load(at)))
    const pairs = i32x4.extadd_pairwise_i16x8_u(i16x8.extadd_pairwise_i8x16_u(bytes))
    sum = i64x2.add(sum, i64x2.extend_low_i32x4_u(pairs))
    sum = i64x2.add(sum, i64x2.extend_high_i32x4_u(pairs))
  }
  return i32(i64x2.extract_lane(sum, 0) + i64x2.extract_lane(sum, 1))
}

/**
 * Puts the rows' inner products in place of the scores of what was found and writes the best k ids
 * and scores, best first; returns how many.
 */
export function treeFinish(layout: usize, address: usize, k: i32, ids: usize, scores: usize): i32 {
  const tree = changetype<TreeLayout>(layout)
  const query = changetype<TreeQuery>(address)
  const found = foundOf(address)
  keepBest(found)
  for (let i = 0; i < found.size; i += 1) {
    const at = found.keys + (usize(i) << 3)
    const id = idOf(load<u64>(at))
    store<u64>(at, keyOf(product(rowOf(tree, id), tree.stride, query.vector), id))
  }
  found.keep = k
  keepBest(found)
  sortBest(found)
  for (let i = 0; i < found.size; i += 1) {
    const key = load<u64>(found.keys + (usize(i) << 3))
    setWord(ids, i, idOf(key))
    store<f32>(scores + (usize(i) << 2), scoreOf(key))
  }
  return found.size
}

/** As the flat index adds it up: four sums by dimension modulo 4, then (0 + 2) + (1 + 3). */
@inline
function product(row: usize, stride: i32, vector: usize): f32 {
  let sum = f32x4.splat(0)
  for (let i: usize = 0; i < usize(stride) << 2; i += 16) {
    sum = f32x4.add(sum, f32x4.mul(v128.load(vector + i), v128.load(row + i)))
  }
  const even = f32x4.extract_lane(sum, 0) + f32x4.extract_lane(sum, 2)
  return even + (f32x4.extract_lane(sum, 1) + f32x4.extract_lane(sum, 3))
}
