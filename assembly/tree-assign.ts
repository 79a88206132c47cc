/**
 * Which leaf a vector belongs to: the nearest centroid, in whole numbers. Tails have no say.
 *
 * `src/kernels/reference/reference-tree-leaves.ts` is the twin.
 */
import { scratch } from './scratch'
import { TreeLayout, codedOf, pairsOf, roundPanel, rowOf, setWord, word } from './tree-layout'

/**
 * The nearest leaf of each of n ids, ties by smaller leaf. In whole numbers, a multiplication and a
 * half for two dimensions of four leaves: centroids are rounded where they lie, a point when it is
 * staged, to so many steps that no sum overflows.
 */
export function treeAssign(layout: usize, ids: usize, n: i32, leaves: usize): void {
  const tree = changetype<TreeLayout>(layout)
  for (let first = 0; first < n; first += 4) {
    const count = min(4, n - first)
    if (count == 1) {
      stagePoint(tree, rowOf(tree, word(ids, first)), 0)
      nearestOfOne(tree)
      setWord(leaves, first, reduce(scratch + 128))
      continue
    }
    for (let i = 0; i < 4; i += 1) {
      const which = i < count ? first + i : first
      stagePoint(tree, rowOf(tree, word(ids, which)), i)
    }
    nearestOfFour(tree)
    const nearest = scratch + 128
    for (let i = 0; i < count; i += 1) setWord(leaves, first + i, reduce(nearest + (usize(i) << 5)))
  }
}

/** Of a coordinate of a centroid; a quarter of it is the range of the vectors it was made of. */
const centroidSteps: i32 = 8192
/** A point nearer to nothing than this is taken for it. */
const leastRange: f32 = 1e-34

@inline
function pointAt(tree: TreeLayout, i: i32): usize {
  return scratch + 512 + ((usize(i) * usize(pairsOf(tree))) << 2)
}

/** Where a point's unit is: what 1 of its products is worth. */
@inline
function unitAt(i: i32): usize {
  return scratch + 256 + (usize(i) << 2)
}

/** A row in units of the rounded centroids, rounded itself. */
function stagePoint(tree: TreeLayout, row: usize, i: i32): void {
  const to = pointAt(tree, i)
  let most: f32 = 0
  for (let d = 0; d < codedOf(tree); d += 1) most = max(most, abs(inUnits(tree, row, d)))
  const steps = f32(min(4095, i32.MAX_VALUE / (centroidSteps * (pairsOf(tree) << 1))))
  const factor: f32 = most > leastRange ? steps / most : 0
  store<u32>(to + (usize(pairsOf(tree) - 1) << 2), 0)
  for (let d = 0; d < codedOf(tree); d += 1) {
    store<i16>(to + (usize(d) << 1), i16(nearest(inUnits(tree, row, d) * factor)))
  }
  store<f32>(unitAt(i), most > leastRange ? most / steps : 0)
}

@inline
function inUnits(tree: TreeLayout, row: usize, d: i32): f32 {
  const at = usize(d) << 2
  return load<f32>(row + at) * load<f32>(tree.roundUnits + at)
}

/**
 * For each of four staged points and each leaf modulo 4 the best leaf: at scratch + 128, per point
 * 16 bytes of scores and 16 of leaves.
 */
function nearestOfFour(tree: TreeLayout): void {
  const p0 = pointAt(tree, 0)
  const step = usize(pairsOf(tree)) << 2
  const to = scratch + 128
  for (let i: usize = 0; i < 4; i += 1) {
    v128.store(to + (i << 5), f32x4.splat(-Infinity))
    v128.store(to + (i << 5), i32x4.splat(0), 16)
  }
  for (let leaf = 0; leaf < tree.panels << 5; leaf += 8) {
    let a0 = i32x4.splat(0)
    let b0 = i32x4.splat(0)
    let a1 = a0
    let b1 = b0
    let a2 = a0
    let b2 = b0
    let a3 = a0
    let b3 = b0
    let at = roundPanel(tree, leaf) + (usize(leaf & 31) << 2)
    for (let p: usize = 0; p < step; p += 4) {
      const a = v128.load(at)
      const b = v128.load(at, 16)
      const point = p0 + p
      const x0 = v128.load_splat<u32>(point)
      a0 = i32x4.add(a0, i32x4.dot_i16x8_s(x0, a))
      b0 = i32x4.add(b0, i32x4.dot_i16x8_s(x0, b))
      const x1 = v128.load_splat<u32>(point + step)
      a1 = i32x4.add(a1, i32x4.dot_i16x8_s(x1, a))
      b1 = i32x4.add(b1, i32x4.dot_i16x8_s(x1, b))
      const x2 = v128.load_splat<u32>(point + step * 2)
      a2 = i32x4.add(a2, i32x4.dot_i16x8_s(x2, a))
      b2 = i32x4.add(b2, i32x4.dot_i16x8_s(x2, b))
      const x3 = v128.load_splat<u32>(point + step * 3)
      a3 = i32x4.add(a3, i32x4.dot_i16x8_s(x3, a))
      b3 = i32x4.add(b3, i32x4.dot_i16x8_s(x3, b))
      at += 128
    }
    offer(tree, 0, leaf, a0, b0)
    offer(tree, 1, leaf, a1, b1)
    offer(tree, 2, leaf, a2, b2)
    offer(tree, 3, leaf, a3, b3)
  }
}

/** The same for the first staged point alone, a panel at a time. */
function nearestOfOne(tree: TreeLayout): void {
  const to = scratch + 128
  v128.store(to, f32x4.splat(-Infinity))
  v128.store(to, i32x4.splat(0), 16)
  const point = pointAt(tree, 0)
  const end = point + (usize(pairsOf(tree)) << 2)
  for (let leaf = 0; leaf < tree.panels << 5; leaf += 32) {
    let s0 = i32x4.splat(0)
    let s1 = s0
    let s2 = s0
    let s3 = s0
    let s4 = s0
    let s5 = s0
    let s6 = s0
    let s7 = s0
    let at = roundPanel(tree, leaf)
    for (let from = point; from < end; from += 4) {
      const x = v128.load_splat<u32>(from)
      s0 = i32x4.add(s0, i32x4.dot_i16x8_s(x, v128.load(at)))
      s1 = i32x4.add(s1, i32x4.dot_i16x8_s(x, v128.load(at, 16)))
      s2 = i32x4.add(s2, i32x4.dot_i16x8_s(x, v128.load(at, 32)))
      s3 = i32x4.add(s3, i32x4.dot_i16x8_s(x, v128.load(at, 48)))
      s4 = i32x4.add(s4, i32x4.dot_i16x8_s(x, v128.load(at, 64)))
      s5 = i32x4.add(s5, i32x4.dot_i16x8_s(x, v128.load(at, 80)))
      s6 = i32x4.add(s6, i32x4.dot_i16x8_s(x, v128.load(at, 96)))
      s7 = i32x4.add(s7, i32x4.dot_i16x8_s(x, v128.load(at, 112)))
      at += 128
    }
    offer(tree, 0, leaf, s0, s1)
    offer(tree, 0, leaf + 8, s2, s3)
    offer(tree, 0, leaf + 16, s4, s5)
    offer(tree, 0, leaf + 24, s6, s7)
  }
}

/** Scores of eight leaves from a point's products, and what of them is better. */
@inline
function offer(tree: TreeLayout, i: i32, leaf: i32, a: v128, b: v128): void {
  const biases = tree.biases + (usize(leaf) << 2)
  const unit = v128.load_splat<u32>(unitAt(i))
  better(
    scratch + 128 + (usize(i) << 5),
    leaf,
    f32x4.add(f32x4.mul(f32x4.convert_i32x4_s(a), unit), v128.load(biases)),
    f32x4.add(f32x4.mul(f32x4.convert_i32x4_s(b), unit), v128.load(biases, 16)),
  )
}

/** Takes over what eight leaves have that is better than the best so far. */
@inline
function better(to: usize, leaf: i32, a: v128, b: v128): void {
  let best = v128.load(to)
  let which = v128.load(to, 16)
  const isA = f32x4.gt(a, best)
  best = v128.bitselect(a, best, isA)
  which = v128.bitselect(i32x4.splat(leaf), which, isA)
  const isB = f32x4.gt(b, best)
  v128.store(to, v128.bitselect(b, best, isB))
  v128.store(to, v128.bitselect(i32x4.splat(leaf + 4), which, isB), 16)
}

/** The best of four lanes. */
function reduce(from: usize): u32 {
  let best = load<f32>(from)
  let leaf = load<u32>(from, 16)
  for (let lane: u32 = 1; lane < 4; lane += 1) {
    const score = load<f32>(from + (usize(lane) << 2))
    const other = load<u32>(from + (usize(lane) << 2), 16) + lane
    if (score > best || (score == best && other < leaf)) {
      best = score
      leaf = other
    }
  }
  return leaf
}
