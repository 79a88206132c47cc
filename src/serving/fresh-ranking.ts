/**
 * Ranks what the index finds by the towers as they are now. While a young model learns, vectors
 * move faster than a catalogue can be embedded again; who comes into question moves far more
 * slowly than who comes first. So the index is asked for some more than are wanted, those of them
 * whose vectors are older than the model are embedded anew on the spot, and their new rows decide.
 * They stay in the index, so that the next query finds them done until the model moves on.
 *
 * How many more follows what it takes: from how far down the best have come lately.
 */
import type { AnnIndex, SearchOptions, SearchResult } from '../ann/ann-index.ts'
import type { Item } from '../stream/example.ts'
import { ranksOf } from './ranks.ts'
import { itemsPerCall, type Replica } from './replica.ts'
import type { VectorAges } from './vector-ages.ts'

export interface FreshRankingOptions {
  readonly replica: Replica
  readonly index: AnnIndex
  readonly itemOf: (handle: number) => Item | undefined
  readonly ages: VectorAges
}

/** Embedded anew for one search, at most, the best of every query first: under a millisecond. */
const mostRefreshed = 4 * itemsPerCall
/** Beyond the k wanted, so many for each of them and `base` more. */
const base = 20
const [leastShare, mostShare] = [0.3, 6]
/** Room below the place that the lowest of the best came from. */
const headroom = 2
/** The share falls by this with every search that would have done with less. */
const decay = 0.98

export class FreshRanking {
  readonly #options: FreshRankingOptions
  #share = 1
  #refreshed = 0
  readonly #stale: number[] = []

  constructor(options: FreshRankingOptions) {
    this.#options = options
  }

  /** Vectors embedded anew for searches, since start. */
  get refreshed(): number {
    return this.#refreshed
  }

  /** As the index's. */
  search(queries: Float32Array, k: number, options: SearchOptions): SearchResult {
    const { index } = this.#options
    const wide = Math.min(index.maxK, k + Math.ceil(this.#share * (k + base)))
    const found = index.search(queries, wide, options)
    if (!this.#refresh(found.ids, wide)) {
      this.#share = Math.max(leastShare, this.#share * decay)
      return narrowed(found, wide, k)
    }
    return this.#ranked(queries, found, { wide, k })
  }

  /** Embeds again what is outdated, the best first; whether anything was. */
  #refresh(ids: Int32Array, wide: number): boolean {
    const { replica, itemOf, ages } = this.#options
    // Vectors of a part of the parameters would be worse than old ones.
    if (!replica.isComplete) return false
    const stale = this.#stale
    stale.length = 0
    for (let rank = 0; rank < wide && stale.length < mostRefreshed; rank += 1) {
      for (let at = rank; at < ids.length && stale.length < mostRefreshed; at += wide) {
        const handle = ids[at]
        if (handle < 0 || !this.#isStale(handle)) continue
        // Other queries' finds come up once.
        ages.embedded(handle, replica.state.version)
        stale.push(handle)
      }
    }
    for (let from = 0; from < stale.length; from += itemsPerCall) {
      const items = stale.slice(from, from + itemsPerCall).flatMap((one) => itemOf(one) ?? [])
      const handles = Int32Array.from(items, ({ handle }) => handle)
      this.#options.index.upsert(handles, replica.embedItems(items))
    }
    this.#refreshed += stale.length
    return stale.length > 0
  }

  #isStale(handle: number): boolean {
    const { replica, ages } = this.#options
    if (ages.isMoved(handle)) return true
    return replica.needsSweep && ages.versionOf(handle) !== replica.state.version
  }

  #ranked(queries: Float32Array, found: SearchResult, { wide, k }: Breadth): SearchResult {
    const { index } = this.#options
    const n = found.ids.length / wide
    const best = { ids: new Int32Array(n * k), scores: new Float32Array(n * k) }
    let lowest = k - 1
    for (let q = 0; q < n; q += 1) {
      const ids = found.ids.subarray(q * wide, (q + 1) * wide)
      const query = queries.subarray(q * index.dim, (q + 1) * index.dim)
      const scores = index.scores(query, ids)
      const ranks = ranksOf(ids, scores)
      for (let place = 0; place < k; place += 1) {
        const rank = ranks[place]
        best.ids[q * k + place] = ids[rank]
        best.scores[q * k + place] = scores[rank]
        if (ids[rank] >= 0) lowest = Math.max(lowest, rank)
      }
    }
    const needed = (headroom * (lowest + 1 - k)) / (k + base)
    this.#share = Math.min(mostShare, Math.max(leastShare, this.#share * decay, needed))
    return best
  }
}

interface Breadth {
  readonly wide: number
  readonly k: number
}

/** The first k of every `wide`. */
function narrowed({ ids, scores }: SearchResult, wide: number, k: number): SearchResult {
  const n = ids.length / wide
  if (n === 1) return { ids: ids.subarray(0, k), scores: scores.subarray(0, k) }
  const best = { ids: new Int32Array(n * k), scores: new Float32Array(n * k) }
  for (let q = 0; q < n; q += 1) {
    best.ids.set(ids.subarray(q * wide, q * wide + k), q * k)
    best.scores.set(scores.subarray(q * wide, q * wide + k), q * k)
  }
  return best
}
