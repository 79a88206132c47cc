import type { SearchOptions } from '../src/ann/ann-index.ts'
/**
 * `freshet bench index`: the flat index on one core, one query a call. Recall against exact scores;
 * building, replacing vectors, drift, and filters from every item to one in ten thousand.
 */
import { FlatIndex } from '../src/ann/flat-index.ts'
import { seededRandom } from '../src/base/random.ts'
import { drifted, mixture, type Points, readNpy } from './index-data.ts'

export interface IndexBenchOptions {
  readonly count: number
  readonly dim: number
  readonly seed: number
  /** .npy files to run instead of the mixture. */
  readonly vectors?: string
  readonly queries?: string
}

const k = 10
const queryCount = 1_000
const repeats = 3
const upsertBatch = 256
const efforts = [0, 0.25, 0.5, 1]
const selectivities = [1, 0.1, 0.01, 0.001, 0.0001]
const waves = 10
const driftBy = 0.3
const itemStream = 2
const queryStream = 4
const driftStream = 100

export interface SearchFigures {
  readonly recall10: number
  /** Median of the repeats, and their extremes. */
  readonly queriesPerSecond: number
  readonly least: number
  readonly greatest: number
  readonly p50Us: number
  readonly p99Us: number
}

export interface IndexBenchResult {
  readonly [figure: string]: Figure
}
type Figure = number | string | { readonly [name: string]: Figure } | readonly Figure[]

export function run(
  options: IndexBenchOptions,
  progress: (line: string) => void,
): Promise<IndexBenchResult> {
  progress('points')
  const items =
    options.vectors === undefined
      ? mixture(options.count, options.dim, itemStream)
      : readNpy(options.vectors)
  const queries =
    options.queries === undefined
      ? mixture(queryCount, items.dim, queryStream)
      : readNpy(options.queries)
  const subject = new Subject(items, queries)
  progress('building')
  const buildSeconds = subject.build()
  progress('exact answers')
  const truth = subject.answers({ exact: true })
  subject.measure(truth, { effort: 0 })
  const curve = efforts.map((effort) => {
    progress(`effort ${effort}`)
    return Object.assign({ effort }, subject.measure(truth, { effort }))
  })
  progress('exact')
  const exact = subject.measure(truth, { exact: true })
  const filtered = selectivities.map((selectivity) => {
    progress(`one item in ${Math.round(1 / selectivity)}`)
    const allow = randomBitmap(items.n, selectivity, options.seed)
    const answers = subject.answers({ exact: true, allow })
    return Object.assign({ selectivity }, subject.measure(answers, { allow }))
  })
  progress('replacing vectors')
  const upserts = subject.measureUpserts(options.seed)
  progress('drift')
  const { count, seed } = options
  return Promise.resolve({
    config: { count, dim: items.dim, seed, queries: queries.n, repeats, index: subject.kind, k },
    curve,
    exact,
    filtered,
    buildSeconds: rounded(buildSeconds),
    bytesPerItem: rounded(subject.bytesPerItem),
    rowBytesPerItem: items.dim * 4,
    ...upserts,
    ...subject.measureDrift(),
    sink: subject.sink,
  })
}

class Subject {
  readonly #items: Points
  readonly #queries: Points
  #index: FlatIndex
  /** Keeps results alive. */
  sink = 0

  constructor(items: Points, queries: Points) {
    this.#items = items
    this.#queries = queries
    this.#index = this.#empty()
  }

  get kind(): string {
    return this.#index.stats().kind
  }

  get bytesPerItem(): number {
    return this.#index.stats().bytes / this.#items.n
  }

  /** Seconds for all items, into memory that was never touched. */
  build(): number {
    this.#index = this.#empty()
    const begin = performance.now()
    fill(this.#index, this.#items)
    return (performance.now() - begin) / 1000
  }

  /** The best ids of every query. */
  answers(options: SearchOptions, index: FlatIndex = this.#index): Int32Array {
    return index.search(this.#queries.values, k, options).ids
  }

  measure(truth: Int32Array, options: SearchOptions): Record<keyof SearchFigures, number> {
    const rates: number[] = []
    const times: number[] = []
    const found = new Int32Array(truth.length)
    for (let repeat = 0; repeat < repeats; repeat += 1) {
      const begin = performance.now()
      for (let q = 0; q < this.#queries.n; q += 1) {
        const started = performance.now()
        found.set(this.#one(q, options), q * k)
        times.push(performance.now() - started)
      }
      rates.push((this.#queries.n / (performance.now() - begin)) * 1000)
    }
    return {
      recall10: recall(truth, found),
      queriesPerSecond: Math.round(quantile(rates, 0.5)),
      least: Math.round(Math.min(...rates)),
      greatest: Math.round(Math.max(...rates)),
      p50Us: rounded(quantile(times, 0.5) * 1000),
      p99Us: rounded(quantile(times, 0.99) * 1000),
    }
  }

  /** Random items replaced by themselves, a query in between: what it waits for is the pause. */
  measureUpserts(seed: number): { upsertsPerSecond: number; maxPauseMs: number } {
    const { n, dim, values } = this.#items
    const random = seededRandom(seed, 1)
    const vectors = new Float32Array(upsertBatch * dim)
    let [busy, longest] = [0, 0]
    const batches = Math.max(40, Math.min(1_000, Math.floor(n / upsertBatch)))
    for (let batch = 0; batch < batches; batch += 1) {
      const ids = Int32Array.from({ length: upsertBatch }, () => random.integer(n))
      for (const [i, id] of ids.entries()) {
        vectors.set(values.subarray(id * dim, (id + 1) * dim), i * dim)
      }
      const begin = performance.now()
      this.#index.upsert(ids, vectors)
      const ms = performance.now() - begin
      busy += ms
      longest = Math.max(longest, ms)
      if (batch % 10 === 0) this.sink += this.#one(batch % this.#queries.n, {})[0]
    }
    const upsertsPerSecond = Math.round((batches * upsertBatch * 1000) / busy)
    return { upsertsPerSecond, maxPauseMs: rounded(longest) }
  }

  /**
   * Every vector replaced, a tenth at a time, and the same vectors in an index built of them
   * alone.
   */
  measureDrift(): { recallAfterDrift: number; recallFreshBuild: number } {
    const moved = drifted(this.#items, driftStream, driftBy)
    const { n, dim, values } = moved
    for (let wave = 0; wave < waves; wave += 1) {
      for (let id = wave; id < n; id += waves) {
        this.#index.upsert(Int32Array.of(id), values.subarray(id * dim, (id + 1) * dim))
      }
    }
    const fresh = this.#empty()
    fill(fresh, moved)
    const truth = this.answers({ exact: true }, fresh)
    return {
      recallAfterDrift: recall(truth, this.answers({})),
      recallFreshBuild: recall(truth, this.answers({}, fresh)),
    }
  }

  #empty(): FlatIndex {
    const { n, dim } = this.#items
    return new FlatIndex({ dim, capacityItems: n, exactBelow: 0, maxK: 100 })
  }

  #one(query: number, options: SearchOptions): Int32Array {
    const { dim, values } = this.#queries
    return this.#index.search(values.subarray(query * dim, (query + 1) * dim), k, options).ids
  }
}

function fill(index: FlatIndex, { n, dim, values }: Points): void {
  const chunk = 4096
  for (let from = 0; from < n; from += chunk) {
    const ids = Int32Array.from({ length: Math.min(chunk, n - from) }, (_, i) => from + i)
    index.upsert(ids, values.subarray(from * dim, (from + ids.length) * dim))
  }
}

function randomBitmap(n: number, selectivity: number, seed: number): Uint32Array {
  const random = seededRandom(seed, 2)
  const bitmap = new Uint32Array(Math.ceil(n / 32))
  for (let i = 0; i < n; i += 1) {
    if (random.next() < selectivity) bitmap[i >> 5] |= 1 << (i & 31)
  }
  return bitmap
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

function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))]
}

const rounded = (value: number): number => Number(value.toPrecision(4))
