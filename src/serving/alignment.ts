/**
 * How well the live index stands for the current towers: recall@10 and @100 of its answers against
 * exact search over items embedded anew, for a rolling sample of real queries; where few have been
 * asked, items' own vectors ask.
 *
 * The fresh vectors go into a second index a chunk at a time, so that nothing waits long; but the
 * towers learn on meanwhile, so the first are seconds old when the last are in. Exact search over
 * them therefore only names candidates, several times as many as are wanted. In one turn then the
 * query and those candidates are embedded once more and ranked, and the live index is asked the
 * same: both sides answer for one state of the towers.
 */
import { isSet, setBit } from '../ann/ann-index.ts'
import { exactAnswers } from '../ann/exact-answers.ts'
import { FlatIndex } from '../ann/flat-index.ts'
import type { KernelImplementation } from '../kernels/kernels.ts'
import type { QueryInput } from '../model/inputs.ts'
import type { Item } from '../stream/example.ts'
import { searchHeads } from './head-search.ts'
import type { LiveIndex } from './live-index.ts'
import type { QuerySample } from './query-sample.ts'
import { ranksOf } from './ranks.ts'
import { itemsPerCall, queriesPerCall, type Replica } from './replica.ts'

export interface AlignmentOptions {
  readonly replica: Replica
  readonly liveIndex: LiveIndex
  readonly sample: QuerySample
  /** Between two chunks: lets the event loop turn. */
  readonly breathe: () => Promise<void>
  readonly implementation: KernelImplementation
}

export interface AlignmentReport {
  readonly recall10: number
  readonly recall100: number
  /**
   * Recall@10 against exact search over the vectors that the index has, as it last found itself (0:
   * not yet): what its structure is to blame for. The rest is the vectors' age.
   */
  readonly structure10: number
  /** Queries asked and items compared. */
  readonly queries: number
  readonly items: number
}

const fewQueries = 8
/** The audit's index begins anew for a catalogue so many times smaller. */
const vacatedFactor = 8
/** The larger of the two k. */
const mostK = 100
/** Per query, ranked by the towers of the moment: about a millisecond's worth. */
const candidates = 4 * itemsPerCall

/** Who asks: a user, or an item as if it were one. */
type Asker = { readonly input: QueryInput } | { readonly item: Item }

export class Alignment {
  readonly #options: AlignmentOptions
  /** Items as they would be embedded now, those of earlier audits among them; kept. */
  #fresh: FlatIndex | undefined
  #last: AlignmentReport | undefined

  constructor(options: AlignmentOptions) {
    this.#options = options
  }

  /** Of the last audit. */
  get last(): AlignmentReport | undefined {
    return this.#last
  }

  /** One audit at a time, please. Throws the signal's reason. */
  async audit(signal: AbortSignal): Promise<AlignmentReport> {
    const { replica } = this.#options
    const askers = this.#askers()
    const fresh = this.#freshIndex(replica.facts.catalogue.size)
    const compared = new Uint32Array(Math.ceil(replica.facts.catalogue.handleCapacity / 32))
    const items = await this.#embedAll(fresh, compared, signal)
    const report = await this.#compare(askers, fresh, compared)
    this.#last = { ...report, items }
    return this.#last
  }

  /** Another one where most of the last one's memory would be of items that have gone. */
  #freshIndex(items: number): FlatIndex {
    const { replica, implementation } = this.#options
    if (this.#fresh !== undefined && items * vacatedFactor < this.#fresh.size) {
      this.#fresh = undefined
    }
    this.#fresh ??= new FlatIndex({
      dim: replica.indexDim,
      exactDims: 1,
      capacityItems: replica.facts.catalogue.handleCapacity,
      precision: 'f32',
      maxK: candidates,
      implementation,
    })
    return this.#fresh
  }

  #askers(): readonly Asker[] {
    const { replica, sample } = this.#options
    const inputs = sample.take().slice(0, queriesPerCall)
    if (inputs.length >= fewQueries) return inputs.map((input) => ({ input }))
    const { items } = replica.facts.catalogue.list(0, queriesPerCall)
    return items.map((item) => ({ item }))
  }

  /** By the towers as they are now: of a user one vector for each head. */
  #query(asker: Asker): Float32Array {
    const { replica } = this.#options
    return 'input' in asker ? replica.embedQueries([asker.input]) : replica.embedItems([asker.item])
  }

  /** Embeds the catalogue as it is now; sets the bits of what was embedded. */
  async #embedAll(fresh: FlatIndex, compared: Uint32Array, signal: AbortSignal): Promise<number> {
    const { replica, breathe } = this.#options
    let embedded = 0
    let cursor: number | undefined = 0
    while (cursor !== undefined) {
      signal.throwIfAborted()
      const page = replica.facts.catalogue.list(cursor, itemsPerCall)
      cursor = page.cursor
      if (page.items.length > 0) {
        const handles = Int32Array.from(page.items, ({ handle }) => handle)
        fresh.upsert(handles, replica.embedItems(page.items))
        for (const handle of handles) setBit(compared, handle, true)
        embedded += handles.length
      }
      await breathe()
    }
    return embedded
  }

  async #compare(
    askers: readonly Asker[],
    fresh: FlatIndex,
    compared: Uint32Array,
  ): Promise<Omit<AlignmentReport, 'items'>> {
    const { replica, liveIndex } = this.#options
    const hits = { 10: new Hits(10), 100: new Hits(mostK) }
    for (const asker of askers) {
      // Items that came or went meanwhile are nobody's fault.
      const { visible } = liveIndex
      const allow = compared.map((word, i) => word & (visible[i] ?? 0))
      const near = new Set<number>()
      for (const head of this.#heads(this.#query(asker))) {
        for (const handle of await this.#near(fresh, head, allow)) near.add(handle)
      }
      const query = this.#query(asker)
      // Asked for ten, the index spends less than for a hundred. The live index answers first: it
      // is not to find anything embedded for the audit.
      const asked = { vectors: [query], dim: replica.indexDim, allow: [allow] }
      const [ten, hundred] = [10, mostK].map((k) => searchHeads(liveIndex, asked, k, {}).ids)
      const wanted = this.#best(fresh, query, near)
      hits[10].add(wanted, ten)
      hits[100].add(wanted, hundred)
    }
    const { tree } = liveIndex.indexStats()
    return {
      recall10: hits[10].recall,
      recall100: hits[100].recall,
      structure10: tree === undefined ? 1 : Math.max(0, tree.recall),
      queries: askers.length,
    }
  }

  /** Of these, the best by the towers as they are now; what has gone meanwhile is left out. */
  #best(fresh: FlatIndex, query: Float32Array, near: Set<number>): Int32Array {
    const { replica, liveIndex } = this.#options
    const { visible } = liveIndex
    const items = [...near].flatMap((handle) => {
      const item = replica.facts.catalogue.byHandle(handle)
      return item !== undefined && isSet(visible, handle) ? [item] : []
    })
    for (let from = 0; from < items.length; from += itemsPerCall) {
      const some = items.slice(from, from + itemsPerCall)
      fresh.upsert(
        Int32Array.from(some, ({ handle }) => handle),
        replica.embedItems(some),
      )
    }
    const ids = Int32Array.from(items, ({ handle }) => handle)
    const scores = new Float32Array(ids.length).fill(-Infinity)
    for (const head of this.#heads(query)) {
      for (const [i, score] of fresh.scores(head, ids).entries()) {
        scores[i] = Math.max(scores[i], score)
      }
    }
    return ranksOf(ids, scores)
      .subarray(0, mostK)
      .map((i) => ids[i])
  }

  #heads(query: Float32Array): readonly Float32Array[] {
    const { indexDim } = this.#options.replica
    return Array.from({ length: query.length / indexDim }, (_, head) =>
      query.subarray(head * indexDim, (head + 1) * indexDim),
    )
  }

  /** Exactly those that rank best by fresh vectors; with a breath between any two steps. */
  async #near(fresh: FlatIndex, query: Float32Array, allow: Uint32Array): Promise<Int32Array> {
    const { memory, idLimit } = fresh
    const queries = [query]
    const steps = exactAnswers(memory, {
      queries,
      k: candidates,
      idLimit,
      allow: allow.subarray(0, idLimit >> 5),
    })
    let step = steps.next()
    for (; step.done !== true; step = steps.next()) await this.#options.breathe()
    return step.value[0]
  }
}

/** Counts how many of the first k wanted are among the first k found. */
class Hits {
  readonly #k: number
  #hits = 0
  #wanted = 0

  constructor(k: number) {
    this.#k = k
  }

  /** 1 when nothing was wanted: nothing is missing. */
  get recall(): number {
    return this.#wanted === 0 ? 1 : this.#hits / this.#wanted
  }

  add(wanted: Int32Array, found: Int32Array): void {
    const among = new Set(found.subarray(0, this.#k))
    for (const id of wanted.subarray(0, this.#k)) {
      if (id < 0) continue
      this.#wanted += 1
      if (among.has(id)) this.#hits += 1
    }
  }
}
