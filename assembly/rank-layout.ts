/**
 * How the candidates of `rank-scan.ts` and `rank.ts` lie, and one score by itself.
 *
 * Vectors lie one after the other. For the scan each has a code, its coordinates in whole numbers
 * of 16 bits in units of the vector's own scale. Codes lie in panels of eight candidates: for each
 * pair of dimensions one word of each candidate, so that lanes are candidates. Aside lie three
 * numbers of each: the length of the whole vector and of what a scan has left of it where it stops
 * to look, and the scale. A vector that is too long, too short or no number has
 * lengths and a scale that are no number: nothing is said of it but by its score.
 */

/** Widens a bound for rounding: relative to its terms, some thousand times an f32's. */
export const slack: f32 = 1e-4

/** A code is as long as this, but for its own rounding: two such have products within an i32. */
export const codeLength: f32 = 32000

/** Eight candidates' words of a code, or one number of each. */
export const laneBytes: usize = 32
/** Three numbers of eight candidates: lengths, what is left of them, scales. */
export const numberBytes: usize = 96
export const tailBytes: usize = 32
export const scaleBytes: usize = 64

/** Where candidates lie: six words. */
@unmanaged
export class Candidates {
  /** count x dims f32. */
  vectors: usize
  /** ceil(count / 8) x ceil(dims / 2) x 8 words. */
  codes: usize
  /** ceil(count / 8) x 3 x 8 f32. */
  numbers: usize
  /** Log popularity of each; 0: scores have no such term. */
  popularity: usize
  dims: i32
  count: i32
}

/** Words of a code. */
@inline
export function pairsOf(dims: i32): i32 {
  return (dims + 1) >> 1
}

/** The word of a code before which a scan stops to look who may still reach the target. */
@inline
export function stopOf(dims: i32): i32 {
  return pairsOf(dims) >> 1
}

/** A vector of a query; `number` counts all heads of all queries. */
@inline
export function headOf(queries: usize, stride: i32, number: i32): usize {
  return queries + ((usize(number) * usize(stride)) << 2)
}

/** One score, of which all others are bounds: that of the best of a query's heads. */
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
  const bytes = usize(all.dims) << 2
  const at = all.vectors + usize(slot) * bytes
  let sum: f32 = 0
  for (let k: usize = 0; k < bytes; k += 4) sum += load<f32>(vector + k) * load<f32>(at + k)
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
