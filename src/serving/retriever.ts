/**
 * Answers requests for items: query tower, index, filters, top k. Requests of one turn of the
 * event loop are answered together, at most eight at a time: their queries go through the tower in
 * one call and share a pass over the index. All of a group happens in one turn, so every answer
 * rests on one state of facts, parameters and index.
 */
import { type Bitmap, type SearchOptions, type SearchResult, setBit } from '../ann/ann-index.ts'
import { queriesPerScan } from '../ann/flat-memory.ts'
import type { Clock } from '../base/clock.ts'
import { ServiceError } from '../base/errors.ts'
import type { QueryInput } from '../model/inputs.ts'
import type { Item } from '../stream/example.ts'
import { uncrowded } from './crowding.ts'
import { explain } from './explanation.ts'
import { type HeadQueries, searchHeads } from './head-search.ts'
import type { LiveIndex } from './live-index.ts'
import { newestItems } from './newest-items.ts'
import { buildQuery } from './query-builder.ts'
import type { QuerySample } from './query-sample.ts'
import type {
  Embedding,
  Fallback,
  ItemSelection,
  RecommendedItem,
  RecommendRequest,
  Recommendations,
  SimilarRequest,
} from './recommendation.ts'
import type { Replica } from './replica.ts'
import { checkRequest, checkSelection } from './request-check.ts'

export interface RetrieverOptions {
  readonly replica: Replica
  readonly liveIndex: LiveIndex
  readonly clock: Clock
  /** Takes a share of the queries, for the audit. */
  readonly sample: QuerySample
}

/** Requests that may wait: some hundred milliseconds' worth. */
const maxQueued = 1_000
const nothingSeen = new Int32Array(0)

/** A request that waits for its turn. */
interface Pending {
  readonly request: RecommendRequest | SimilarRequest
  readonly resolve: (answer: Recommendations) => void
  readonly reject: (error: unknown) => void
}

/** A request on its way through the index. */
interface Task {
  readonly pending: Pending
  readonly selection: ItemSelection
  readonly fallback: Fallback | undefined
  /** indexDim floats for each head; of a tower's query once it has been through. */
  vector: Float32Array
  readonly input: QueryInput | undefined
  /** Handles that must not come back: those that the request names, and those the user had. */
  readonly excluded: readonly number[]
  readonly seen: Int32Array
}

interface Found {
  readonly ids: Int32Array
  readonly scores: Float32Array | Float64Array
}

/** What a task may be answered with, to be narrowed, and the best k of it. */
interface Searching {
  readonly allow: Bitmap
  readonly search: (k: number) => SearchResult
}

export class Retriever {
  readonly #options: RetrieverOptions
  readonly #queue: Pending[] = []
  #isScheduled = false
  /** One bitmap per query of a group, and one to build filters in. */
  #bitmaps: readonly Uint32Array[] = []

  constructor(options: RetrieverOptions) {
    this.#options = options
  }

  /**
   * Rejects with `REQUEST_INVALID`, with `SERVING_NOT_READY` before the first parameters have
   * come, and with `OVERLOADED` when too many wait.
   */
  recommend(request: RecommendRequest): Promise<Recommendations> {
    return this.#enqueue(request, () => checkRequest(request))
  }

  /** Items whose vectors have the largest inner product with this one's, popularity left out. */
  similar(request: SimilarRequest): Promise<Recommendations> {
    return this.#enqueue(request, () => checkSelection(request))
  }

  /** What the index is searched with for such a user. Rejects as `recommend`. */
  async embedQuery(request: RecommendRequest): Promise<Embedding> {
    checkRequest(request)
    this.#requireParameters()
    const { replica, clock } = this.#options
    const { input, fallback } = buildQuery(replica.facts, request, clock.now())
    const vector = input === undefined ? this.#popularity() : replica.embedQueries([input])
    const { state: model } = replica
    return fallback === undefined ? { vector, model } : { vector, model, fallback }
  }

  /** An item as the index has it. Rejects with `ITEM_UNKNOWN`. */
  async embedItem(itemId: string): Promise<Embedding> {
    this.#requireParameters()
    const { replica } = this.#options
    return { vector: this.#vectorOf(this.#item(itemId)), model: replica.state }
  }

  #requireParameters(): void {
    if (this.#options.replica.state.sequence > 0) return
    throw new ServiceError('SERVING_NOT_READY', { missing: 'parameters' })
  }

  #item(itemId: string): Item {
    const item = this.#options.replica.facts.catalogue.byId(itemId)
    if (item === undefined) throw new ServiceError('ITEM_UNKNOWN', { itemId })
    return item
  }

  /** A copy; of an item that has just come, made for the occasion. */
  #vectorOf(item: Item): Float32Array {
    const { replica, liveIndex } = this.#options
    return liveIndex.vector(item.handle) ?? replica.embedItems([item])
  }

  #enqueue(request: Pending['request'], check: () => void): Promise<Recommendations> {
    return new Promise((resolve, reject) => {
      check()
      this.#requireParameters()
      if (this.#queue.length >= maxQueued) {
        throw new ServiceError('OVERLOADED', { reason: `${maxQueued} requests are waiting` })
      }
      this.#queue.push({ request, resolve, reject })
      this.#schedule()
    })
  }

  #schedule(): void {
    if (this.#isScheduled || this.#queue.length === 0) return
    this.#isScheduled = true
    setImmediate(() => {
      this.#isScheduled = false
      this.#answer(this.#queue.splice(0, queriesPerScan))
      // What is left waits for the next turn: sockets and folds come in between.
      this.#schedule()
    })
  }

  #answer(group: readonly Pending[]): void {
    const { clock, liveIndex } = this.#options
    const now = clock.now()
    liveIndex.expire(now)
    const tasks = group.flatMap((pending) => this.#attempt(pending, () => this.#task(pending, now)))
    try {
      this.#embed(tasks)
      const { latest = [], ranked = [] } = Object.groupBy(tasks, ({ fallback }) =>
        fallback === 'latest' ? 'latest' : 'ranked',
      )
      for (const alike of Map.groupBy(ranked, passOf).values()) this.#search(alike)
      this.#findLatest(latest)
    } catch (error) {
      for (const { pending } of tasks) pending.reject(error)
    }
  }

  #attempt<Value>({ reject }: Pending, work: () => Value): Value[] {
    try {
      return [work()]
    } catch (error) {
      reject(error)
      return []
    }
  }

  #task(pending: Pending, now: number): Task {
    const { request } = pending
    if ('itemId' in request) return this.#similarTask(pending, request)
    const { facts } = this.#options.replica
    const { input, fallback, seen } = buildQuery(facts, request, now)
    if (input !== undefined) this.#options.sample.offer(input)
    const excluded = this.#handles(request.exclude)
    return {
      pending,
      selection: request,
      fallback,
      input,
      excluded,
      seen: request.excludeSeen === false ? nothingSeen : seen,
      vector: this.#popularity(),
    }
  }

  #similarTask(pending: Pending, request: SimilarRequest): Task {
    const item = this.#item(request.itemId)
    const vector = this.#vectorOf(item)
    vector[vector.length - 1] = 0
    const excluded = [...this.#handles(request.exclude), item.handle]
    return {
      pending,
      selection: request,
      fallback: undefined,
      input: undefined,
      excluded,
      seen: nothingSeen,
      vector,
    }
  }

  /** The query that ranks by popularity alone. */
  #popularity(): Float32Array {
    const { indexDim } = this.#options.replica
    const vector = new Float32Array(indexDim)
    vector[indexDim - 1] = 1
    return vector
  }

  #handles(ids: readonly string[] | undefined): number[] {
    const { catalogue } = this.#options.replica.facts
    return (ids ?? []).flatMap((id) => catalogue.byId(id)?.handle ?? [])
  }

  #embed(tasks: readonly Task[]): void {
    const { replica } = this.#options
    const towards = tasks.filter(({ input }) => input !== undefined)
    if (towards.length === 0) return
    const vectors = replica.embedQueries(towards.flatMap(({ input }) => input ?? []))
    const length = replica.queryHeads * replica.indexDim
    for (const [i, task] of towards.entries()) {
      task.vector = vectors.subarray(i * length, (i + 1) * length)
    }
  }

  /** Tasks that may share a pass. */
  #search(tasks: readonly Task[]): void {
    const k = Math.max(...tasks.map(({ selection }) => reach(selection)))
    const [{ selection }] = tasks
    const allow = this.#filters(tasks)
    const vectors = tasks.map(({ vector }) => vector)
    const found = this.#find({ vectors, allow }, k, selection)
    for (const [i, task] of tasks.entries()) {
      const ids = found.ids.subarray(i * k, i * k + reach(task.selection))
      const scores = found.scores.subarray(i * k, i * k + reach(task.selection))
      const best = this.#uncrowded(
        task,
        { ids, scores },
        {
          allow: allow[i],
          search: (n) =>
            this.#find({ vectors: [task.vector], allow: [allow[i]] }, n, task.selection),
        },
      )
      task.pending.resolve(this.#answerOf(task, best))
    }
  }

  #find(asked: Omit<HeadQueries, 'dim'>, k: number, selection: ItemSelection): SearchResult {
    const { replica, liveIndex } = this.#options
    const queries = { ...asked, dim: replica.indexDim }
    return searchHeads(liveIndex, queries, k, searchOptions(selection))
  }

  #findLatest(tasks: readonly Task[]): void {
    const { catalogue } = this.#options.replica.facts
    const allow = this.#filters(tasks)
    for (const [i, task] of tasks.entries()) {
      const search = (k: number): SearchResult => newestItems(catalogue, k, allow[i])
      const best = this.#uncrowded(task, search(reach(task.selection)), {
        allow: allow[i],
        search,
      })
      const scores = Float64Array.from(best.ids, (id) => catalogue.byHandle(id)?.firstSeenAt ?? 0)
      task.pending.resolve(this.#answerOf(task, { ids: best.ids, scores }))
    }
  }

  /** `allow`: what the task may be answered with, to be narrowed. */
  #uncrowded(task: Task, found: SearchResult, { allow, search }: Searching): SearchResult {
    const { selection } = task
    if (selection.crowding === undefined) return found
    const { replica, liveIndex } = this.#options
    return uncrowded(found, {
      perTag: selection.crowding,
      k: reach(selection),
      tagOf: (handle) => replica.facts.catalogue.byHandle(handle)?.crowdingTag,
      hide: (handle) => setBit(allow, handle, false),
      hideTag: (tag) => liveIndex.hideCrowd(tag, allow),
      search,
    })
  }

  /** For each task the bitmap of what it may be answered with. */
  #filters(tasks: readonly Task[]): readonly Uint32Array[] {
    const { liveIndex } = this.#options
    const { visible } = liveIndex
    if (this.#bitmaps[0]?.length !== visible.length) {
      this.#bitmaps = Array.from(
        { length: queriesPerScan + 1 },
        () => new Uint32Array(visible.length),
      )
    }
    const scratch = this.#bitmaps[queriesPerScan]
    return tasks.map(({ selection, excluded, seen }, i) => {
      const bitmap = this.#bitmaps[i]
      bitmap.set(visible)
      if (selection.among !== undefined) {
        scratch.fill(0)
        for (const handle of this.#handles(selection.among)) setBit(scratch, handle, true)
        for (let word = 0; word < bitmap.length; word += 1) bitmap[word] &= scratch[word]
      }
      if (selection.filter !== undefined) liveIndex.narrow(selection.filter, bitmap, scratch)
      for (const handle of excluded) setBit(bitmap, handle, false)
      for (const handle of seen) setBit(bitmap, handle, false)
      return bitmap
    })
  }

  #answerOf(task: Task, { ids, scores }: Found): Recommendations {
    const { replica } = this.#options
    const items: RecommendedItem[] = []
    for (let i = task.selection.offset ?? 0; i < ids.length && ids[i] >= 0; i += 1) {
      items.push(this.#itemOf(task, ids[i], scores[i]))
    }
    const model = replica.state
    return task.fallback === undefined
      ? { items, model }
      : { items, model, fallback: task.fallback }
  }

  #itemOf(task: Task, handle: number, score: number): RecommendedItem {
    const { vector, selection, input, fallback } = task
    const { replica, liveIndex } = this.#options
    const item = replica.facts.catalogue.byHandle(handle)
    if (item === undefined) throw new Error(`handle ${handle} was found but has no item`)
    const { id, attributes } = item
    if (selection.explain !== true) return { id, score, attributes }
    const history = input?.history.map((entry) => entry.item) ?? []
    const ranked = selection.exact === true ? 'exact' : 'index'
    const source = fallback === 'latest' ? 'latest' : ranked
    const explanation = explain(liveIndex, { query: vector, handle, score, source, history })
    return { id, score, attributes, explanation }
  }
}

const searchOptions = ({ exact = false, effort }: ItemSelection): SearchOptions =>
  effort === undefined ? { exact } : { exact, effort }

/** How many of the best a selection needs. */
const reach = ({ n, offset = 0 }: ItemSelection): number => n + offset

/** Equal for tasks that one pass can serve; a pass for ten does not pay for a thousand. */
function passOf({ selection }: Task): string {
  // The number of bits: up to 15, up to 31, ...
  const size = Math.max(4, 32 - Math.clz32(reach(selection)))
  return `${size} ${selection.exact ?? false} ${selection.effort ?? ''}`
}
