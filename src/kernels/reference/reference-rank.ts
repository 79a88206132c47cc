/** The twins of assembly/rank*.ts: every candidate is scored, so neither codes nor bounds are. */
import type { Address } from '../operands.ts'
import type { RankKernels } from '../rank-kernels.ts'

const { fround } = Math

/** All places count in words of four bytes. */
interface Candidates {
  readonly vectors: number
  /** 0: scores have no such term. */
  readonly popularity: number
  readonly dims: number
  readonly count: number
}

/** Where a query's first head is, how far it is to the next, and how many there are. */
interface Query {
  readonly vector: number
  readonly stride: number
  readonly heads: number
}

/** The memory as words, and what the kernels have in common. */
class RankMemory {
  readonly floats: Float32Array
  readonly words: Int32Array

  constructor({ buffer }: WebAssembly.Memory) {
    this.floats = new Float32Array(buffer)
    this.words = new Int32Array(buffer)
  }

  candidates(address: Address): Candidates {
    const at = address >>> 2
    const [vectors, , , popularity, dims, count] = this.words.subarray(at, at + 6)
    return { vectors: vectors >>> 2, popularity: popularity >>> 2, dims, count }
  }

  score(all: Candidates, { vector, stride, heads }: Query, slot: number): number {
    const { floats } = this
    let best = -Infinity
    for (let h = 0; h < heads; h += 1) {
      const sum = this.#product(all, vector + h * stride, slot)
      if (sum > best) best = sum
    }
    if (all.popularity === 0) return best
    return fround(best + fround(floats[vector + all.dims] * floats[all.popularity + slot]))
  }

  #product(all: Candidates, vector: number, slot: number): number {
    const { floats } = this
    const at = all.vectors + slot * all.dims
    let sum = 0
    for (let k = 0; k < all.dims; k += 1) {
      sum = fround(sum + fround(floats[vector + k] * floats[at + k]))
    }
    return sum
  }

  /** As `score`, but NaN where that is not finite. */
  least(all: Candidates, query: Query, target: number): number {
    const value = this.score(all, query, target)
    return Number.isFinite(value) ? value : NaN
  }

  /** Counts a value against the least that is above: two words from `out` on. */
  count(out: number, values: Iterable<number>, least: number, by: 1 | -1): void {
    for (const value of values) {
      if (value > least) this.words[out] += by
      if (value === least) this.words[out + 1] += by
    }
  }
}

export function referenceRankKernels(memory: WebAssembly.Memory): RankKernels {
  const ranks = new RankMemory(memory)
  const { floats, words } = ranks
  return {
    rankTargets: (...[out, candidates, queries, stride, heads, targets, , from, to]) => {
      const all = ranks.candidates(candidates)
      for (let q = from; q < to; q += 1) {
        const target = words[(targets >>> 2) + q]
        const query = { vector: (queries >>> 2) + q * heads * stride, stride, heads }
        const at = (out >>> 2) + 2 * q
        words.fill(0, at, at + 2)
        if (target < 0) continue
        const scores = Array.from({ length: all.count }, (_, slot) => ranks.score(all, query, slot))
        ranks.count(at, scores, ranks.least(all, query, target), 1)
      }
    },
    rankExcluded: (...operands) => {
      const [out, candidates, queries, stride, heads, targets, offsets, excluded, from, to] =
        operands
      const all = ranks.candidates(candidates)
      for (let q = from; q < to; q += 1) {
        const target = words[(targets >>> 2) + q]
        if (target < 0) continue
        const query = { vector: (queries >>> 2) + q * heads * stride, stride, heads }
        const [first, end] = words.subarray((offsets >>> 2) + q, (offsets >>> 2) + q + 2)
        const slots = words.slice((excluded >>> 2) + first, (excluded >>> 2) + end)
        const scores = Array.from(slots, (slot) => ranks.score(all, query, slot))
        ranks.count((out >>> 2) + 2 * q, scores, ranks.least(all, query, target), -1)
      }
    },
    packCandidates: (...[candidates, slots, vectors, stride, count]) => {
      const all = ranks.candidates(candidates)
      for (let i = 0; i < count; i += 1) {
        const slot = words[(slots >>> 2) + i]
        const vector = (vectors >>> 2) + i * stride
        floats.copyWithin(all.vectors + slot * all.dims, vector, vector + all.dims)
      }
    },
    boundBlocks: (...[bounds, values, n]) => {
      for (let at = 0; at < n; at += 256) {
        const from = (values >>> 2) + at
        const block = floats.subarray(from, from + Math.min(256, n - at))
        floats[(bounds >>> 2) + at / 128] = Math.max(...block)
        floats[(bounds >>> 2) + at / 128 + 1] = Math.min(...block)
      }
    },
    countAbove: (...[out, values, n, , thresholds, from, to]) => {
      for (let t = from; t < to; t += 1) {
        const at = (out >>> 2) + 2 * t
        words.fill(0, at, at + 2)
        const all = floats.subarray(values >>> 2, (values >>> 2) + n)
        ranks.count(at, all, floats[(thresholds >>> 2) + t], 1)
      }
    },
  }
}
