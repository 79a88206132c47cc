/**
 * The index under measurement: points, queries, exact answers, and the clock around each verb. One
 * query a call; trees are grown by the index's second thread.
 */
import { setTimeout as pause } from 'node:timers/promises'

import type { IndexStats, SearchOptions } from '../src/ann/ann-index.ts'
import { PartitionedIndex } from '../src/ann/partitioned-index.ts'
import { IndexLedger } from '../src/serving/index-ledger.ts'
import { restoreIndex } from '../src/serving/index-save.ts'
import { IndexThread } from '../src/serving/index-thread.ts'
import type { Points } from './index-data.ts'
import { Pauses } from './pauses.ts'

export interface SearchFigures {
  readonly recall10: number
  /** Median of the repeats, and their extremes. */
  readonly queriesPerSecond: number
  readonly least: number
  readonly greatest: number
  /** Median of the repeats, a second of the thread's own: see `Pauses`. */
  readonly ownQueriesPerSecond: number
  readonly p50Us: number
  readonly p99Us: number
}

export const k = 10
const repeats = 3
/** Queries of a pass that compares them with every vector. */
const fewQueries = 64
/** Vectors in one slice of maintenance. */
const slice = 64
/** Vectors in one upsert of a build. */
const chunk = 256

/** Between two looks whether the second thread is done, milliseconds. */
const lookMs = 1

/** What is special to the index; absent: as it is by default. */
export interface SubjectSettings {
  /** Up to so many items there is no tree. */
  readonly flatBelow?: number
  /** The last so many dimensions are kept in f32, as the service keeps popularity. */
  readonly exactDims?: number
}

export class Subject implements AsyncDisposable {
  #queries: Points
  readonly #thread = new IndexThread()
  readonly #items: Points
  readonly #settings: SubjectSettings
  readonly index: PartitionedIndex
  /** Slices of maintenance, and upserts: what a query may have to wait for. */
  #maintenance = new Pauses()
  #upserts = new Pauses()
  /** Keeps results alive. */
  sink = 0

  constructor(items: Points, queries: Points, settings: SubjectSettings) {
    this.#queries = queries
    this.#items = items
    this.#settings = settings
    this.index = new PartitionedIndex({
      ...settings,
      dim: items.dim,
      capacityItems: items.n,
      maxK: 100,
      background: this.#thread,
    })
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#maintenance[Symbol.dispose]()
    this.#upserts[Symbol.dispose]()
    return this.#thread.close()
  }

  get stats(): IndexStats {
    return this.index.stats()
  }

  /** Seconds for all items, until the index answers from its leaves; audits come after. */
  async build(items: Points): Promise<number> {
    const begin = performance.now()
    for (let from = 0; from < items.n; from += chunk) {
      const n = Math.min(chunk, items.n - from)
      const ids = Int32Array.from({ length: n }, (_, i) => from + i)
      this.index.upsert(ids, items.values.subarray(from * items.dim, (from + n) * items.dim))
    }
    while (this.stats.tree === undefined) await this.#workOrWait()
    const seconds = (performance.now() - begin) / 1000
    // The queries say what recall is to be held for.
    this.answers({})
    await this.settle()
    return seconds
  }

  /** Until there is nothing left to do. */
  async settle(): Promise<void> {
    while ((await this.#workOrWait()) > 0 || this.#thread.isBusy);
  }

  /** As long as the second thread is at work there may be nothing to do here. */
  async #workOrWait(): Promise<number> {
    const done = this.maintain(slice)
    if (done === 0) await pause(lookMs)
    return done
  }

  maintain(vectors: number): number {
    return this.#maintenance.time(() => this.index.maintain(vectors))
  }

  /** Milliseconds that it took. */
  upsert(ids: Int32Array, vectors: Float32Array): number {
    this.#upserts.time(() => this.index.upsert(ids, vectors))
    return this.#upserts.last.ms
  }

  /** From here on. */
  forgetPauses(): void {
    this.#maintenance[Symbol.dispose]()
    this.#upserts[Symbol.dispose]()
    this.#maintenance = new Pauses()
    this.#upserts = new Pauses()
  }

  /** How long slices of maintenance and upserts kept the thread: see `Pauses`. */
  pauses(): object {
    const { byClock, own, count } = this.#maintenance
    return {
      slices: count,
      longestMs: rounded(quantile(own, 1)),
      p999Ms: rounded(quantile(own, 0.999)),
      p99Ms: rounded(quantile(own, 0.99)),
      over2Ms: own.filter((ms) => ms > 2).length,
      longestByClockMs: rounded(quantile(byClock, 1)),
      p999ByClockMs: rounded(quantile(byClock, 0.999)),
      longestUpsertMs: rounded(quantile(this.#upserts.own, 1)),
    }
  }

  /** Seconds that saving took, during which the index may be used. */
  async save(path: string): Promise<number> {
    const ledger = new IndexLedger(this.stats.capacityItems)
    for (let id = 0; id < this.#items.n; id += 1) ledger.own(id, String(id))
    const begin = performance.now()
    await this.#thread.save(this.index, path, ledger.shared)
    return (performance.now() - begin) / 1000
  }

  /** An empty one with the same settings. */
  sibling(items = this.#items, queries = this.#queries): Subject {
    return new Subject(items, queries, this.#settings)
  }

  /** Seconds until an empty index answers from a file. */
  load(path: string): number {
    const begin = performance.now()
    const ledger = new IndexLedger(this.stats.capacityItems)
    restoreIndex(path, { index: this.index, ledger, itemAt: (handle) => String(handle) })
    return (performance.now() - begin) / 1000
  }

  /** From now on these are asked: audits learn of them. */
  ask(queries: Points): void {
    this.#queries = queries
    this.answers({})
  }

  /** The share of queries that got as many answers as there are. */
  complete(truth: Int32Array, options: SearchOptions): number {
    const found = this.answers(options)
    const places = Array.from({ length: truth.length / k }, (_, query) => query * k)
    const count = (ids: Int32Array, at: number): number =>
      ids.subarray(at, at + k).filter((id) => id >= 0).length
    return places.filter((at) => count(found, at) === count(truth, at)).length / places.length
  }

  /** The best ids of every query. */
  answers(options: SearchOptions): Int32Array {
    return this.index.search(this.#queries.values, k, options).ids
  }

  one(query: number, options: SearchOptions = {}): Int32Array {
    const { n, dim, values } = this.#queries
    const at = (query % n) * dim
    return this.index.search(values.subarray(at, at + dim), k, options).ids
  }

  recall(truth: Int32Array, options: SearchOptions = {}): number {
    return recall(truth, this.answers(options))
  }

  measure(truth: Int32Array, options: SearchOptions): SearchFigures {
    using passes = new Pauses()
    const times: number[] = []
    const n = options.exact === true ? Math.min(fewQueries, this.#queries.n) : this.#queries.n
    const found = new Int32Array(n * k)
    const pass = (): void => {
      for (let q = 0; q < n; q += 1) {
        const started = performance.now()
        found.set(this.one(q, options), q * k)
        times.push(performance.now() - started)
      }
    }
    // Warms up.
    pass()
    times.length = 0
    for (let repeat = 0; repeat < repeats; repeat += 1) passes.time(pass)
    const ratesOf = (all: readonly number[]): readonly number[] => all.map((ms) => (n / ms) * 1000)
    const rates = ratesOf(passes.byClock)
    return {
      recall10: recall(truth.subarray(0, n * k), found),
      queriesPerSecond: Math.round(quantile(rates, 0.5)),
      least: Math.round(Math.min(...rates)),
      greatest: Math.round(Math.max(...rates)),
      ownQueriesPerSecond: Math.round(quantile(ratesOf(passes.own), 0.5)),
      p50Us: rounded(quantile(times, 0.5) * 1000),
      p99Us: rounded(quantile(times, 0.99) * 1000),
    }
  }
}

/** Share of the true best that was found; places that stay empty are not wanted. */
function recall(truth: Int32Array, found: Int32Array): number {
  let [wanted, hits] = [0, 0]
  for (let at = 0; at < truth.length; at += k) {
    const among = new Set(found.subarray(at, at + k))
    for (const id of truth.subarray(at, at + k)) {
      if (id < 0) continue
      wanted += 1
      if (among.has(id)) hits += 1
    }
  }
  return wanted === 0 ? 1 : hits / wanted
}

/** Of no values 0. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? 0
}

export const rounded = (value: number): number => Number(value.toPrecision(4))
