/** The twins of assembly/rank.ts: every candidate is scored, nothing is skipped. */
import type { Address } from './operands.ts'
import type { RankKernels } from './rank-kernels.ts'

const { fround } = Math

interface Candidates {
  readonly panels: number
  readonly norms: number
  readonly popularity: number
  readonly dims: number
  readonly count: number
}

export function referenceRankKernels(memory: WebAssembly.Memory): RankKernels {
  const f = new Float32Array(memory.buffer)
  const w = new Int32Array(memory.buffer)

  const describe = (address: Address): Candidates => {
    const [panels, norms, popularity, dims, count] = w.subarray(address >>> 2, (address >>> 2) + 5)
    // Addresses are unsigned.
    return {
      panels: panels >>> 2,
      norms: norms >>> 2,
      popularity: popularity >>> 2,
      dims,
      count,
    }
  }
  const score = (all: Candidates, vector: number, slot: number): number => {
    const at = all.panels + (slot >>> 3) * all.dims * 8 + (slot & 7)
    let sum = 0
    for (let k = 0; k < all.dims; k += 1) sum = fround(sum + fround(f[vector + k] * f[at + 8 * k]))
    if (all.popularity === 0) return sum
    return fround(sum + fround(f[vector + all.dims] * f[all.popularity + slot]))
  }
  const norm = (vector: number, dims: number): number => {
    let sum = 0
    for (let k = 0; k < dims; k += 1) sum = fround(sum + fround(f[vector + k] * f[vector + k]))
    return fround(Math.sqrt(sum))
  }
  const add = (out: number, value: number, least: number, by: 1 | -1): void => {
    if (value > least) w[out] += by
    if (value === least) w[out + 1] += by
  }

  return {
    rankTargets: (out, candidates, queries, stride, targets, from, to) => {
      const all = describe(candidates)
      for (let q = from; q < to; q += 1) {
        const target = w[(targets >>> 2) + q]
        const vector = (queries >>> 2) + q * stride
        const at = (out >>> 2) + 2 * q
        w.fill(0, at, at + 2)
        if (target < 0) continue
        const least = score(all, vector, target)
        for (let slot = 0; slot < all.count; slot += 1) add(at, score(all, vector, slot), least, 1)
      }
    },
    rankExcluded: (out, candidates, queries, stride, targets, offsets, excluded, from, to) => {
      const all = describe(candidates)
      for (let q = from; q < to; q += 1) {
        const target = w[(targets >>> 2) + q]
        if (target < 0) continue
        const vector = (queries >>> 2) + q * stride
        const least = score(all, vector, target)
        const end = w[(offsets >>> 2) + q + 1]
        for (let e = w[(offsets >>> 2) + q]; e < end; e += 1) {
          add((out >>> 2) + 2 * q, score(all, vector, w[(excluded >>> 2) + e]), least, -1)
        }
      }
    },
    packPanels: (candidates, slots, vectors, stride, count) => {
      const all = describe(candidates)
      for (let i = 0; i < count; i += 1) {
        const slot = w[(slots >>> 2) + i]
        const vector = (vectors >>> 2) + i * stride
        const at = all.panels + (slot >>> 3) * all.dims * 8 + (slot & 7)
        for (let k = 0; k < all.dims; k += 1) f[at + 8 * k] = f[vector + k]
        f[all.norms + slot] = norm(vector, all.dims)
      }
    },
    countAbove: (out, values, n, thresholds, from, to) => {
      for (let t = from; t < to; t += 1) {
        const at = (out >>> 2) + 2 * t
        w.fill(0, at, at + 2)
        for (let i = 0; i < n; i += 1) add(at, f[(values >>> 2) + i], f[(thresholds >>> 2) + t], 1)
      }
    },
  }
}
