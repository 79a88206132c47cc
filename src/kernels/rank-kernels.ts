/**
 * The kernels of the progressive evaluation: how many candidates score above a query's target. The
 * candidates are described by a block of six words,
 *
 *     vectors, codes, numbers, popularity (addresses; popularity may be absent), dims, count
 *
 * Vectors are dims floats each. Codes and numbers belong to the kernels, in panels of eight
 * candidates: ceil(dims / 2) and 3 words of each. Popularity is one float per candidate, up to a
 * multiple of 8. A candidate is its slot, its place in this order. score = sum of q[k] v[k], k
 * ascending, then + q[dims] popularity; of a query of several heads the largest sum, q[dims] being
 * the same in all.
 */
import type { Address, Split, Whole } from './operands.ts'

export interface RankKernels {
  /**
   * out[2q], out[2q + 1] = how many candidates score above query q's target, and how many the
   * same, the target among them. targets: slots; -1: no target, counts 0. A target whose score
   * is not finite equals nothing, itself neither: counts 0. Heads lie `stride` floats apart, those
   * of a query one after the other. `codes`: room for 1 + ceil(dims / 2) words of each head.
   * Range: queries.
   */
  rankTargets: Split<
    [
      out: Address,
      candidates: Address,
      queries: Address,
      stride: number,
      heads: number,
      targets: Address,
      codes: Address,
    ]
  >
  /**
   * Takes the candidates excluded[offsets[q]] .. excluded[offsets[q + 1] - 1] (slots, distinct)
   * back out of query q's counts. Range: queries.
   */
  rankExcluded: Split<
    [
      out: Address,
      candidates: Address,
      queries: Address,
      stride: number,
      heads: number,
      targets: Address,
      offsets: Address,
      excluded: Address,
    ]
  >
  /**
   * Row i of `vectors` (`stride` floats apart) becomes the candidate at slots[i], code and all.
   */
  packCandidates: Whole<
    [candidates: Address, slots: Address, vectors: Address, stride: number, count: number]
  >
  /** bounds[2b], bounds[2b + 1] = the greatest and the least of values 256b .. 256b + 255. */
  boundBlocks: Whole<[bounds: Address, values: Address, n: number]>
  /**
   * out[2t], out[2t + 1] = how many of n values are above thresholds[t], and how many equal to it.
   * `bounds` are theirs, by `boundBlocks`. Range: thresholds.
   */
  countAbove: Split<
    [out: Address, values: Address, n: number, bounds: Address, thresholds: Address]
  >
}
