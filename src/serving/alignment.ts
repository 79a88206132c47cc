/**
 * How well the live index stands for the current towers: recall@10 and @100 of its answers against
 * exact search over items embedded anew, for a rolling sample of real queries. The fresh vectors
 * go into a second index a chunk at a time, so that nothing waits long; where few queries have
 * been asked, items' own vectors ask.
 */
import { exactAnswers } from '../ann/exact-answers.ts'
import { FlatIndex } from '../ann/flat-index.ts'
import type { KernelImplementation } from '../kernels/kernels.ts'
import type { LiveIndex } from './live-index.ts'
import type { QuerySample } from './query-sample.ts'
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
  /** Queries asked and items compared. */
  readonly queries: number
  readonly items: number
}

const fewQueries = 8
/** The audit's index begins anew for a catalogue so many times smaller. */
const vacatedFactor = 8
/** The larger of the two k. */
const mostK = 100

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
    const queries = this.#queries()
    const fresh = this.#freshIndex(replica.facts.catalogue.size)
    const compared = new Uint32Array(Math.ceil(replica.facts.catalogue.handleCapacity / 32))
    const items = await this.#embedAll(fresh, compared, signal)
    const report = await this.#compare(queries, fresh, compared)
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
      maxK: mostK,
      implementation,
    })
    return this.#fresh
  }

  /** Vectors of the sampled queries, all of one state. */
  #queries(): Float32Array {
    const { replica, sample } = this.#options
    const inputs = sample.take().slice(0, queriesPerCall)
    if (inputs.length >= fewQueries) return replica.embedQueries(inputs)
    const { catalogue } = replica.facts
    const items = catalogue.list(0, queriesPerCall).items
    return items.length === 0 ? new Float32Array(0) : replica.embedItems(items)
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
        for (const handle of handles) compared[handle >> 5] |= 1 << (handle & 31)
        embedded += handles.length
      }
      await breathe()
    }
    return embedded
  }

  async #compare(
    queries: Float32Array,
    fresh: FlatIndex,
    compared: Uint32Array,
  ): Promise<Omit<AlignmentReport, 'items'>> {
    const { replica, liveIndex } = this.#options
    const hits = { 10: new Hits(10), 100: new Hits(mostK) }
    const { indexDim } = replica
    const asked = Array.from({ length: queries.length / indexDim }, (_, i) =>
      queries.subarray(i * indexDim, (i + 1) * indexDim),
    )
    for (const query of asked) {
      // Items that came or went meanwhile are nobody's fault.
      const allow = compared.map((word, i) => word & (liveIndex.visible[i] ?? 0))
      const wanted = await this.#exact(fresh, query, allow)
      // Asked for ten, the index spends less than for a hundred.
      hits[10].add(wanted, liveIndex.search(query, 10, { allow }).ids)
      hits[100].add(wanted, liveIndex.search(query, mostK, { allow }).ids)
    }
    const recalls = { recall10: hits[10].recall, recall100: hits[100].recall }
    return { ...recalls, queries: asked.length }
  }

  /** With a breath between any two steps. */
  async #exact(fresh: FlatIndex, query: Float32Array, allow: Uint32Array): Promise<Int32Array> {
    const { memory, idLimit } = fresh
    const queries = [query]
    const steps = exactAnswers(memory, {
      queries,
      k: mostK,
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
