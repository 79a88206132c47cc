/**
 * How well the live index stands for the current towers: recall@10 and @100 of its answers against
 * exact search over items embedded anew, for a rolling sample of real queries; where few have been
 * asked, items' own vectors ask.
 *
 * The fresh vectors go into a second index a chunk at a time, so that nothing waits long; but the
 * towers learn on meanwhile, so the first are seconds old when the last are in. Therefore items
 * whose own rows change are embedded again, pass after pass, each over what the one before let
 * slip, as the memory of a running machine is moved (pre-copy: Clark et al. 2005). Exact search
 * over what is then nearly fresh names candidates, more than are wanted; so does every change
 * since, and so does the live index. While the replica stands still the query and those candidates
 * are embedded once more and ranked, and the live index is asked the same: both sides answer for
 * one state of the towers.
 */
import { isSet, setBit } from '../ann/ann-index.ts'
import { exactAnswers } from '../ann/exact-answers.ts'
import { FlatIndex } from '../ann/flat-index.ts'
import { ranksOf } from '../ann/ranks.ts'
import type { KernelImplementation } from '../kernels/kernels.ts'
import type { QueryInput } from '../model/inputs.ts'
import type { Item } from '../stream/example.ts'
import type { HandleQueue } from './handle-queue.ts'
import { searchHeads } from './head-search.ts'
import type { LiveIndex } from './live-index.ts'
import type { QuerySample } from './query-sample.ts'
import { itemsPerCall, queriesPerCall, type Replica } from './replica.ts'
import type { Standstill } from './standstill.ts'
import { backgroundTurn } from './turns.ts'

export interface AlignmentOptions {
  readonly replica: Replica
  readonly liveIndex: LiveIndex
  readonly sample: QuerySample
  /** Between two chunks: lets the event loop turn. */
  readonly breathe: () => Promise<void>
  /** Of the replica. */
  readonly standstill: Standstill
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
/** Queries that share a scan: for the last, all that changes until it is asked is gone over. */
const askedTogether = 2
/** Per query, embedded for it while the replica stands still. */
const candidates = 2 * itemsPerCall
/** Changes that are left for then, and the most that are embedded. */
const [fewChanged, mostChanged] = [itemsPerCall, 2 * itemsPerCall]
/** Embedded again in one turn, and for a query before it is asked, at most. */
const [caughtTogether, mostCaught] = [2 * itemsPerCall, 64 * itemsPerCall]

/** Who asks: a user, or an item as if it were one. */
type Asker = { readonly input: QueryInput } | { readonly item: Item }

/** What one query is asked by. */
interface Question {
  readonly audit: Audit
  /** What it may be answered with. */
  readonly allow: Uint32Array
  /** The best by nearly fresh vectors, and what has changed since. */
  readonly near: Set<number>
  readonly caught: Set<number>
}

/** What one audit goes by. */
interface Audit {
  /** Items as they would be embedded now, or nearly so; bits of those that are compared. */
  readonly fresh: FlatIndex
  readonly compared: Uint32Array
  /** Handles whose scores have changed since they were embedded for it. */
  readonly changed: HandleQueue
  readonly signal: AbortSignal
}

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
    const { replica, liveIndex } = this.#options
    const { catalogue } = replica.facts
    const askers = this.#askers()
    const fresh = this.#freshIndex(catalogue.size)
    const compared = new Uint32Array(Math.ceil(catalogue.handleCapacity / 32))
    const audit = { fresh, compared, changed: liveIndex.follow(), signal }
    try {
      const items = await this.#embedAll(audit)
      // Where more changes than can be embedded again, that is given up after a catalogue's worth.
      await this.#catchUp(audit, items)
      const report = await this.#compare(askers, audit)
      this.#last = { ...report, items }
      return this.#last
    } finally {
      liveIndex.unfollow()
    }
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
  async #embedAll({ fresh, compared, signal }: Audit): Promise<number> {
    const { replica, breathe } = this.#options
    let embedded = 0
    let cursor: number | undefined = 0
    while (cursor !== undefined) {
      signal.throwIfAborted()
      const page = replica.facts.catalogue.list(cursor, itemsPerCall)
      cursor = page.cursor
      this.#embed(fresh, page.items)
      for (const { handle } of page.items) setBit(compared, handle, true)
      embedded += page.items.length
      await breathe()
    }
    return embedded
  }

  /** Embeds again what has changed, until few are left or `most` are done; adds it to `caught`. */
  async #catchUp(audit: Audit, most: number, caught?: Set<number>): Promise<void> {
    const { fresh, changed, signal } = audit
    for (let left = most; changed.size > fewChanged && left > 0; left -= caughtTogether) {
      signal.throwIfAborted()
      const handles = shifted(changed, caughtTogether)
      this.#embed(fresh, this.#known(handles))
      for (const handle of handles) caught?.add(handle)
      await this.#options.breathe()
    }
  }

  async #compare(askers: readonly Asker[], audit: Audit): Promise<Omit<AlignmentReport, 'items'>> {
    const { liveIndex } = this.#options
    const [ten, hundred] = [new Hits(10), new Hits(mostK)]
    for (let from = 0; from < askers.length; from += askedTogether) {
      audit.signal.throwIfAborted()
      // Items that came or went meanwhile are nobody's fault.
      const { visible } = liveIndex
      const allow = audit.compared.map((word, i) => word & (visible[i] ?? 0))
      const group = askers.slice(from, from + askedTogether)
      const caught = new Set<number>()
      for (const { asker, near } of await this.#near(group, audit.fresh, allow)) {
        await this.#catchUp(audit, mostCaught, caught)
        await this.#ask(asker, { audit, allow, near, caught }, [ten, hundred])
      }
    }
    const { tree } = liveIndex.indexStats()
    return {
      recall10: ten.recall,
      recall100: hundred.recall,
      structure10: tree === undefined ? 1 : Math.max(0, tree.recall),
      queries: askers.length,
    }
  }

  /** While nothing changes: asks the live index and finds out what it should have said. */
  async #ask(asker: Asker, question: Question, all: readonly Hits[]): Promise<void> {
    const end = this.#options.standstill.begin()
    try {
      const { audit, allow, near, caught } = question
      const { replica, liveIndex } = this.#options
      const query = this.#query(asker)
      const asked = { vectors: [query], dim: replica.indexDim, allow: [allow] }
      const answers: Int32Array[] = []
      // Asked for ten, the index spends less than for a hundred.
      for (const { k } of all) {
        answers.push(searchHeads(liveIndex, asked, k, {}).ids)
        await backgroundTurn()
      }
      const changed = shifted(audit.changed, mostChanged)
      for (const handle of changed) caught.add(handle)
      const likely = near.union(new Set([...changed, ...answers.flatMap((ids) => [...ids])]))
      for (const handles of chunked([...likely], itemsPerCall)) {
        this.#embed(audit.fresh, this.#known(handles))
        await backgroundTurn()
      }
      // What has gone meanwhile is left out.
      const isThere = (handle: number): boolean =>
        handle >= 0 && isSet(allow, handle) && isSet(liveIndex.visible, handle)
      const named = Int32Array.from([...likely.union(caught)].filter(isThere))
      const best = this.#best(audit.fresh, query, named)
      for (const [i, hits] of all.entries()) hits.add(best, answers[i])
    } finally {
      end()
    }
  }

  /** The best of these, best first; a score is that of the best of the heads. */
  #best(fresh: FlatIndex, query: Float32Array, ids: Int32Array): Int32Array {
    const scores = new Float32Array(ids.length).fill(-Infinity)
    for (const head of this.#heads(query)) {
      for (const [i, score] of fresh.scores(head, ids).entries()) {
        scores[i] = Math.max(scores[i], score)
      }
    }
    // Of thousands only those are put in order that stand high enough.
    const bar = scores.toSorted().at(-mostK) ?? -Infinity
    const high = (_: number, i: number): boolean => scores[i] >= bar
    const best = ids.filter(high)
    return ranksOf(best, scores.filter(high))
      .subarray(0, mostK)
      .map((rank) => best[rank])
  }

  #known(handles: readonly number[]): Item[] {
    const { catalogue } = this.#options.replica.facts
    return handles.flatMap((handle) => catalogue.byHandle(handle) ?? [])
  }

  #embed(fresh: FlatIndex, items: readonly Item[]): void {
    for (const some of chunked(items, itemsPerCall)) {
      const handles = Int32Array.from(some, ({ handle }) => handle)
      fresh.upsert(handles, this.#options.replica.embedItems(some))
    }
  }

  #heads(query: Float32Array): readonly Float32Array[] {
    const { indexDim } = this.#options.replica
    return Array.from({ length: query.length / indexDim }, (_, head) =>
      query.subarray(head * indexDim, (head + 1) * indexDim),
    )
  }

  /**
   * Of each asker exactly those that rank best by the vectors there are; with a breath between any
   * two steps.
   */
  async #near(
    askers: readonly Asker[],
    { memory, idLimit }: FlatIndex,
    allow: Uint32Array,
  ): Promise<readonly { readonly asker: Asker; readonly near: Set<number> }[]> {
    const heads = askers.map((asker) => this.#heads(this.#query(asker)))
    const steps = exactAnswers(memory, {
      queries: heads.flat(),
      k: candidates,
      idLimit,
      allow: allow.subarray(0, idLimit >> 5),
    })
    let step = steps.next()
    for (; step.done !== true; step = steps.next()) await this.#options.breathe()
    const answers = step.value
    let at = 0
    return askers.map((asker, i) => {
      const near = new Set<number>()
      for (const ids of answers.slice(at, at + heads[i].length)) for (const id of ids) near.add(id)
      at += heads[i].length
      return { asker, near }
    })
  }
}

function* chunked<Value>(values: readonly Value[], size: number): Generator<readonly Value[]> {
  for (let from = 0; from < values.length; from += size) yield values.slice(from, from + size)
}

/** The first of a queue, at most so many. */
function shifted(queue: HandleQueue, most: number): number[] {
  return Array.from({ length: Math.min(most, queue.size) }, () => queue.shift())
}

/** Counts how many of the first k wanted are among the first k found. */
class Hits {
  readonly k: number
  #hits = 0
  #wanted = 0

  constructor(k: number) {
    this.k = k
  }

  /** 1 when nothing was wanted: nothing is missing. */
  get recall(): number {
    return this.#wanted === 0 ? 1 : this.#hits / this.#wanted
  }

  add(wanted: Int32Array, found: Int32Array): void {
    const among = new Set(found.subarray(0, this.k))
    for (const id of wanted.subarray(0, this.k)) {
      if (id < 0) continue
      this.#wanted += 1
      if (among.has(id)) this.#hits += 1
    }
  }
}
