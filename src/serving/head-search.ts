/**
 * The index asked by queries of several heads: by each head alone, and each item that any of them
 * finds counts by the best. With an exact index that is exact: an item among the k best by its own
 * best head is among the k best of that head.
 */
import type { Bitmap, SearchOptions, SearchResult } from '../ann/ann-index.ts'
import type { LiveIndex } from './live-index.ts'

export interface HeadQueries {
  /** Of each query its heads, one behind the other. */
  readonly vectors: readonly Float32Array[]
  /** Floats per head. */
  readonly dim: number
  /** One for each query. */
  readonly allow: readonly Bitmap[]
}

/** As the index's search, k places for each query. */
export function searchHeads(
  index: Pick<LiveIndex, 'search'>,
  { vectors, dim, allow }: HeadQueries,
  k: number,
  options: SearchOptions,
): SearchResult {
  const heads = vectors.map(({ length }) => length / dim)
  const lines = new Float32Array(vectors.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const vector of vectors) {
    lines.set(vector, at)
    at += vector.length
  }
  const allowed = allow.flatMap((one, i) => Array.from({ length: heads[i] }, () => one))
  const found = index.search(lines, k, { ...options, allow: allowed })
  if (heads.every((count) => count === 1)) return found
  const merged = {
    ids: new Int32Array(vectors.length * k).fill(-1),
    scores: new Float32Array(vectors.length * k).fill(-Infinity),
  }
  let line = 0
  for (const [i, count] of heads.entries()) {
    const best = bestOf(found, line * k, (line + count) * k)
    for (const [place, [id, score]] of best.slice(0, k).entries()) {
      merged.ids[i * k + place] = id
      merged.scores[i * k + place] = score
    }
    line += count
  }
  return merged
}

/** Every item in these places once, by its best score; best first, ties by smaller id. */
function bestOf({ ids, scores }: SearchResult, from: number, to: number): [number, number][] {
  const best = new Map<number, number>()
  for (let i = from; i < to; i += 1) {
    if (ids[i] >= 0) best.set(ids[i], Math.max(scores[i], best.get(ids[i]) ?? -Infinity))
  }
  return [...best].toSorted(([a, x], [b, y]) => y - x || a - b)
}
