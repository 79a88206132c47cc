/** Why an item is in an answer. */
import type { LiveIndex } from './live-index.ts'
import type { Explanation } from './recommendation.ts'

/** Items of the history that are named, at most. */
const named = 3

export interface Explained {
  /** Of the query; the last float weighs popularity. */
  readonly query: Float32Array
  readonly handle: number
  readonly score: number
  readonly source: Explanation['source']
  /** What the user has had, newest first. */
  readonly history: readonly { readonly handle: number; readonly id: string }[]
}

export function explain(liveIndex: LiveIndex, explained: Explained): Explanation {
  const { query, handle, score, source, history } = explained
  const vector = liveIndex.vector(handle) ?? new Float32Array(query.length)
  const isRanked = source !== 'latest'
  const popularity = isRanked ? (query.at(-1) ?? 0) * (vector.at(-1) ?? 0) : 0
  const similarities = history.flatMap(({ handle: had, id }) => {
    const other = liveIndex.vector(had)
    return other === undefined ? [] : [{ id, similarity: cosine(vector, other) }]
  })
  return {
    towers: isRanked ? score - popularity : 0,
    popularity,
    vectorVersion: liveIndex.versionOf(handle),
    source,
    nearestHistory: similarities.toSorted((a, b) => b.similarity - a.similarity).slice(0, named),
  }
}

/** Of the towers' floats: the last one is popularity. */
function cosine(a: Float32Array, b: Float32Array): number {
  let product = 0
  let lengths = 0
  let others = 0
  for (let i = 0; i < a.length - 1; i += 1) {
    product += a[i] * b[i]
    lengths += a[i] * a[i]
    others += b[i] * b[i]
  }
  return lengths === 0 || others === 0 ? 0 : product / Math.sqrt(lengths * others)
}
