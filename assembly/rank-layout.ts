/**
 * How the candidates of `rank-scan.ts` and `rank.ts` lie, and one score by itself.
 *
 * Candidates lie in panels of eight: panel p holds, for each dimension, that coordinate of the
 * candidates 8p .. 8p + 7, so that lanes are candidates and a sum over dimensions keeps its order.
 * Lengths lie aside, three of each candidate: of the whole vector, and of what a scan has left of
 * it at its first and at its second stop.
 */

/** Widens a bound: relative to its terms, some thousand times an f32's rounding. */
export const slack: f32 = 1e-4

/** Eight candidates' coordinates of one dimension, or one length of each. */
export const laneBytes: usize = 32
/** Three lengths of eight candidates. */
export const lengthBytes: usize = 96

/** Where candidates lie: five words. */
@unmanaged
export class Candidates {
  /** ceil(count / 8) x dims x 8 f32. */
  panels: usize
  /** ceil(count / 8) x 3 x 8 f32. */
  lengths: usize
  /** Log popularity of each; 0: scores have no such term. */
  popularity: usize
  dims: i32
  count: i32
}

/** The dimension before which a scan stops for the nth time. */
@inline
export function stopOf(dims: i32, n: i32): i32 {
  return (dims * n) >> 2
}

/** A vector of a query; `number` counts all heads of all queries. */
@inline
export function headOf(queries: usize, stride: i32, number: i32): usize {
  return queries + ((usize(number) * usize(stride)) << 2)
}

/** Where a candidate's first coordinate is; the next is `laneBytes` on. */
@inline
export function placeOf(all: Candidates, slot: i32): usize {
  return all.panels + usize(slot >> 3) * usize(all.dims) * laneBytes + (usize(slot & 7) << 2)
}

/** One score, as a scan computes it, to the bit: that of the best of a query's heads. */
export function scoreOf(all: Candidates, vectors: usize, stride: i32, heads: i32, slot: i32): f32 {
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
  let at = placeOf(all, slot)
  let sum: f32 = 0
  for (let k: usize = 0; k < usize(all.dims) << 2; k += 4) {
    sum += load<f32>(vector + k) * load<f32>(at)
    at += laneBytes
  }
  return sum
}

/** The score of a target; where that is not finite NaN, which nothing is above or equal to. */
export function leastOf(
  all: Candidates,
  vectors: usize,
  stride: i32,
  heads: i32,
  target: i32,
): f32 {
  const value = scoreOf(all, vectors, stride, heads, target)
  return value + (value - value)
}

/** Of the four; one that is no number is the greatest. */
@inline
export function greatest(x: v128): f32 {
  const two = f32x4.max(x, v128.shuffle<f32>(x, x, 2, 3, 0, 1))
  return f32x4.extract_lane(f32x4.max(two, v128.shuffle<f32>(two, two, 1, 0, 3, 2)), 0)
}
