/** Crowding: at most so many items of one crowding tag in an answer, the best of each. */
import type { SearchResult } from '../ann/ann-index.ts'

export interface CrowdRules {
  /** Items of one tag, at most. */
  readonly perTag: number
  /** Items wanted. */
  readonly k: number
  /** undefined: the item is in nobody's way. */
  tagOf(handle: number): string | undefined
  /** Keeps an item, or all items of a tag, out of the searches to come. */
  hide(handle: number): void
  hideTag(tag: string): void
  /** The best of what is not hidden; unused places hold -1. */
  search(k: number): SearchResult
}

/**
 * The best k items under the rule, from the first search's result on. Every further search finds
 * at least one item that may come in, since full tags are hidden by then; so there are at most k.
 */
export function uncrowded(first: SearchResult, rules: CrowdRules): SearchResult {
  const { perTag, k } = rules
  const taken: { readonly handle: number; readonly score: number }[] = []
  const counts = new Map<string, number>()
  for (let found = first; ; found = rules.search(k - taken.length)) {
    for (let i = 0; i < found.ids.length && found.ids[i] >= 0 && taken.length < k; i += 1) {
      const handle = found.ids[i]
      rules.hide(handle)
      const tag = rules.tagOf(handle)
      const before = tag === undefined ? 0 : (counts.get(tag) ?? 0)
      if (before >= perTag) continue
      taken.push({ handle, score: found.scores[i] })
      if (tag === undefined) continue
      counts.set(tag, before + 1)
      if (before + 1 === perTag) rules.hideTag(tag)
    }
    // Fewer than were asked for: there are no more.
    if (taken.length === k || found.ids.at(-1) === -1) break
  }
  // A later search may turn up what an approximate one had overlooked.
  taken.sort((a, b) => b.score - a.score || a.handle - b.handle)
  return {
    ids: Int32Array.from({ length: k }, (_, i) => taken[i]?.handle ?? -1),
    scores: Float32Array.from({ length: k }, (_, i) => taken[i]?.score ?? -Infinity),
  }
}
