/**
 * Ranks what the index finds by the towers as they are now. While a young model learns, vectors
 * move faster than a catalogue can be embedded again; who comes into question moves far more
 * slowly than who comes first. So the index is asked for some more than are wanted, and those of
 * them whose vectors are older than the model are embedded anew on the spot, the likeliest first,
 * until no other can be expected among the best (threshold algorithm: Fagin et al. 2001, with
 * bounds that hold nearly always). They stay in the index, so that the next query finds them done
 * until the model moves on.
 *
 * How many more follows what it takes: from how far down the best have come lately.
 */
import type { AnnIndex, SearchOptions, SearchResult } from '../ann/ann-index.ts'
import { ranksOf } from '../ann/ranks.ts'
import type { Item } from '../stream/example.ts'
import { itemsPerCall, type Replica } from './replica.ts'
import { ScoreDrift } from './score-drift.ts'
import type { VectorAges } from './vector-ages.ts'

export interface FreshRankingOptions {
  readonly replica: Replica
  readonly index: AnnIndex
  readonly itemOf: (handle: number) => Item | undefined
  readonly ages: VectorAges
}

/** Embedded anew for one search, at most, as many for each of its queries: some milliseconds. */
const mostRefreshed = 4 * itemsPerCall
/** Embedded together: fewer are hardly quicker. */
const leastTogether = 16
/** Beyond the k wanted, so many for each of them and `base` more. */
const base = 20
const [leastShare, mostShare] = [0.3, 6]
/** Room below the place that the lowest of the best came from. */
const headroom = 2
/** The share falls by this with every search that would have done with less. */
const decay = 0.98

/** One query and what the index has found for it, best first. */
interface Found {
  readonly query: Float32Array
  /** Of the query. */
  readonly length: number
  readonly ids: Int32Array
  /** By the vectors as they are now. */
  scores: Float32Array
}

/** A place of what was found whose vector is older than the model. */
interface Stale {
  readonly place: number
  readonly age: number
  readonly isMoved: boolean
  /** What it will hardly score above. */
  readonly bound: number
}

export class FreshRanking {
  readonly #options: FreshRankingOptions
  readonly #drift = new ScoreDrift()
  #share = 1
  #refreshed = 0

  constructor(options: FreshRankingOptions) {
    this.#options = options
  }

  /** Vectors embedded anew for searches, since start. */
  get refreshed(): number {
    return this.#refreshed
  }

  /** As the index's. */
  search(queries: Float32Array, k: number, options: SearchOptions): SearchResult {
    const { index, replica } = this.#options
    const wide = Math.min(index.maxK, k + Math.ceil(this.#share * (k + base)))
    const { ids, scores } = index.search(queries, wide, options)
    const n = ids.length / wide
    const best = { ids: new Int32Array(n * k), scores: new Float32Array(n * k) }
    const before = this.#refreshed
    let lowest = k - 1
    for (let q = 0; q < n; q += 1) {
      const query = queries.subarray(q * index.dim, (q + 1) * index.dim)
      const found: Found = {
        query,
        length: lengthOf(query),
        ids: ids.subarray(q * wide, (q + 1) * wide),
        scores: scores.subarray(q * wide, (q + 1) * wide),
      }
      // What was embedded for the queries before may be here, too.
      if (this.#refreshed > before) found.scores = index.scores(found.query, found.ids)
      // Vectors of a part of the parameters would be worse than old ones.
      if (replica.isComplete) this.#refresh(found, k, Math.floor(mostRefreshed / n))
      const ranks = ranksOf(found.ids, found.scores)
      for (let place = 0; place < k; place += 1) {
        const rank = ranks[place]
        best.ids[q * k + place] = found.ids[rank]
        best.scores[q * k + place] = found.scores[rank]
        if (found.ids[rank] >= 0) lowest = Math.max(lowest, rank)
      }
    }
    const needed = (headroom * (lowest + 1 - k)) / (k + base)
    this.#share = Math.min(mostShare, Math.max(leastShare, this.#share * decay, needed))
    return best
  }

  /**
   * Embeds outdated vectors again, at most so many, as long as one may yet belong to the best k.
   */
  #refresh(found: Found, k: number, most: number): void {
    const stale = this.#staleOf(found).slice(0, most)
    if (stale.length === 0) return
    const known = found.scores.slice()
    for (const { place } of stale) known[place] = -Infinity
    const together = Math.min(itemsPerCall, Math.max(leastTogether, k))
    for (let from = 0; from < stale.length; from += together) {
      const bar = known.toSorted()[Math.max(0, known.length - k)]
      const some = stale.slice(from, from + together).filter(({ bound }) => bound > bar)
      if (some.length === 0) return
      this.#embed(found, some)
      for (const { place } of some) known[place] = found.scores[place]
    }
  }

  /** The likeliest first. */
  #staleOf({ length, ids, scores }: Found): Stale[] {
    const { replica, ages } = this.#options
    const { version } = replica.state
    const stale: Stale[] = []
    for (const [place, handle] of ids.entries()) {
      if (handle < 0) break
      const isMoved = ages.isMoved(handle)
      const age = Math.abs(version - ages.versionOf(handle))
      if (!isMoved && (age === 0 || !replica.needsSweep)) continue
      const bound = scores[place] + length * this.#drift.most(age, isMoved)
      stale.push({ place, age, isMoved, bound })
    }
    return stale.toSorted((a, b) => b.bound - a.bound || a.place - b.place)
  }

  #embed({ query, length, ids, scores }: Found, stale: readonly Stale[]): void {
    const { replica, index, itemOf, ages } = this.#options
    const items = stale.flatMap(({ place }) => itemOf(ids[place]) ?? [])
    const handles = Int32Array.from(items, ({ handle }) => handle)
    index.upsert(handles, replica.embedItems(items))
    for (const handle of handles) ages.embedded(handle, replica.state.version)
    this.#refreshed += handles.length
    const fresh = index.scores(
      query,
      Int32Array.from(stale, ({ place }) => ids[place]),
    )
    for (const [i, { place, age, isMoved }] of stale.entries()) {
      if (length > 0) this.#drift.note(age, isMoved, (fresh[i] - scores[place]) / length)
      scores[place] = fresh[i]
    }
  }
}

/** All dimensions; of most queries that is the tower's part. */
function lengthOf(vector: Float32Array): number {
  let squares = 0
  for (const value of vector) squares += value * value
  return Math.sqrt(squares)
}
