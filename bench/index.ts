/**
 * `freshet bench index`: the live index's structure on one core, one query a call. Recall against
 * exact scores by effort; filters from every item to one in ten thousand; building, replacing
 * vectors one by one and in batches, searches meanwhile; and a life: see `index-life.ts`.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'

import { seededRandom } from '../src/base/random.ts'
import { dissolved, drifted, mixture, type Points, readNpy } from './index-data.ts'
import { measureDrift, measureGrowth, measureRestart } from './index-life.ts'
import { k, quantile, rounded, Subject, type SubjectSettings } from './index-subject.ts'

export interface IndexBenchOptions extends SubjectSettings {
  readonly count: number
  readonly dim: number
  readonly seed: number
  /** .npy files to run instead of the mixture. */
  readonly vectors?: string
  readonly queries?: string
}

const queryCount = 1_000
const upsertBatch = 256
const efforts = [0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
const selectivities = [1, 0.1, 0.01, 0.001, 0.0001]
const driftBy = 0.3
const itemStream = 2
const queryStream = 4
const driftStream = 100
const dissolveStream = 6
/** Upserts a second while searches are measured. */
const meanwhilePerSecond = 20_000

export interface IndexBenchResult {
  readonly [figure: string]: unknown
}

export async function run(
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
  await using subject = new Subject(items, queries, settingsOf(options))
  progress('building')
  const buildSeconds = await subject.build(items)
  progress('exact answers')
  const truth = subject.answers({ exact: true })
  const curve = efforts.map((effort) => {
    progress(`effort ${effort}`)
    return Object.assign({ effort }, subject.measure(truth, { effort }))
  })
  const { tree, kind, bytes } = subject.stats
  const chosen = { effort: tree?.effort ?? 1, ...subject.measure(truth, {}) }
  progress('exact')
  const exact = subject.measure(truth, { exact: true })
  const filtered = selectivities.map((selectivity) => {
    progress(`one item in ${Math.round(1 / selectivity)}`)
    const allow = randomBitmap(items.n, selectivity, options.seed)
    const answers = subject.answers({ exact: true, allow })
    const complete = subject.complete(answers, { allow })
    return Object.assign({ selectivity, complete }, subject.measure(answers, { allow }))
  })
  progress('restart')
  const restart = await measureRestart(subject, truth)
  progress('replacing vectors')
  const churn = new Churn(subject, items, options.seed)
  const upserts = {
    upsertsPerSecond: churn.rate(upsertBatch),
    singleUpsertsPerSecond: churn.rate(1),
    whileUpserting: await churn.searches(),
  }
  progress('drift')
  const moved = drifted(items, driftStream, driftBy)
  const drift = await measureDrift(subject, moved, queries)
  progress('clusters dissolve')
  const [others, otherQueries] = [moved, queries].map((all) => dissolved(all, dissolveStream))
  const dissolving = await measureDrift(subject, others, otherQueries)
  const pauses = subject.pauses()
  progress('growing and shrinking')
  await using growing = subject.sibling()
  const growth = await measureGrowth(growing, items)
  const { seed } = options
  return {
    config: { count: items.n, dim: items.dim, seed, queries: queries.n, index: kind, k },
    leaves: tree?.leaves ?? 0,
    curve,
    chosen,
    exact,
    filtered,
    buildSeconds: rounded(buildSeconds),
    bytesPerItem: rounded(bytes / items.n - items.dim * 4),
    rowBytesPerItem: items.dim * 4,
    ...upserts,
    recallAfterDrift: drift.after,
    recallFreshBuild: drift.fresh,
    drift,
    dissolving,
    restart,
    growth,
    ...pauses,
    sink: subject.sink,
  }
}

const settingsOf = ({ flatBelow, exactDims }: SubjectSettings): SubjectSettings => ({
  ...(flatBelow !== undefined && { flatBelow }),
  ...(exactDims !== undefined && { exactDims }),
})

/** Random items replaced by themselves. */
class Churn {
  readonly #subject: Subject
  readonly #items: Points
  readonly #random: ReturnType<typeof seededRandom>

  constructor(subject: Subject, items: Points, seed: number) {
    this.#subject = subject
    this.#items = items
    this.#random = seededRandom(seed, 1)
  }

  rate(batch: number): number {
    const batches = Math.ceil(20_000 / batch)
    let busy = 0
    for (let i = 0; i < batches; i += 1) busy += this.#upsert(batch)
    return Math.round((batches * batch * 1000) / busy)
  }

  /** Queries a second and their latency, without and with upserts and maintenance in between. */
  async searches(): Promise<object> {
    const quiet = await this.#latencies(0)
    const busy = await this.#latencies(meanwhilePerSecond)
    return { upsertsPerSecond: meanwhilePerSecond, quiet, busy }
  }

  async #latencies(upsertsPerSecond: number): Promise<object> {
    const times: number[] = []
    const begin = performance.now()
    let upserted = 0
    for (let q = 0; q < 20_000; q += 1) {
      const due = ((performance.now() - begin) / 1000) * upsertsPerSecond
      if (due - upserted >= upsertBatch) {
        this.#upsert(upsertBatch)
        upserted += upsertBatch
        this.#subject.maintain(upsertBatch)
        await nextTurn()
      }
      const started = performance.now()
      this.#subject.sink += this.#subject.one(q)[0]
      times.push(performance.now() - started)
    }
    const seconds = (performance.now() - begin) / 1000
    return {
      queriesPerSecond: Math.round(times.length / seconds),
      p50Us: rounded(quantile(times, 0.5) * 1000),
      p99Us: rounded(quantile(times, 0.99) * 1000),
      upserted: Math.round(upserted / seconds),
    }
  }

  /** Milliseconds that it took. */
  #upsert(batch: number): number {
    const { n, dim, values } = this.#items
    const vectors = new Float32Array(batch * dim)
    const ids = Int32Array.from({ length: batch }, () => this.#random.integer(n))
    for (const [i, id] of ids.entries()) {
      vectors.set(values.subarray(id * dim, (id + 1) * dim), i * dim)
    }
    return this.#subject.upsert(ids, vectors)
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
