/**
 * `freshet bench index`: the live index's structure on one core, one query a call. Recall against
 * exact scores by effort; filters from every item to one in ten thousand; building, replacing
 * vectors one by one and in batches, searches meanwhile and how long maintenance keeps them; and a
 * life: see `index-life.ts`.
 */
import { setBit } from '../src/ann/ann-index.ts'
import { seededRandom } from '../src/base/random.ts'
import { Churn } from './index-churn.ts'
import { dissolved, drifted, mixture, type Points, readNpy } from './index-data.ts'
import { measureDrift, measureGrowth, measureRestart } from './index-life.ts'
import { k, rounded, Subject, type SubjectSettings } from './index-subject.ts'

export interface IndexBenchOptions extends SubjectSettings {
  readonly count: number
  readonly dim: number
  readonly seed: number
  /** .npy files to run instead of the mixture. */
  readonly vectors?: string
  readonly queries?: string
  /** Absent: all. */
  readonly parts?: readonly string[]
}

const queryCount = 1_000
const efforts = [0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
const selectivities = [1, 0.1, 0.01, 0.001, 0.0001]
const driftBy = 0.3
const itemStream = 2
const queryStream = 4
const driftStream = 100
const dissolveStream = 6

export interface IndexBenchResult {
  readonly [figure: string]: unknown
}

type Progress = (line: string) => void

/** What a part measures on. */
interface Bench {
  readonly subject: Subject
  readonly items: Points
  readonly queries: Points
  readonly seed: number
  readonly progress: Progress
  /** Every item, moved a little; made when first asked for. */
  readonly moved: () => Points
}

type Part = (bench: Bench) => object | Promise<object>

/** In this order: the later ones change the index. */
const parts: Readonly<Record<string, Part>> = {
  curve: measureCurve,
  filters: measureFilters,
  restart: async ({ subject }) => ({
    restart: await measureRestart(subject, subject.answers({ exact: true })),
  }),
  upserts: measureUpserts,
  drift: measureDrifts,
  growth: async ({ subject, items }) => {
    await using growing = subject.sibling()
    return { growth: await measureGrowth(growing, items) }
  },
}

export async function run(
  options: IndexBenchOptions,
  progress: Progress,
): Promise<IndexBenchResult> {
  progress('points')
  const { count, dim, seed } = options
  const items =
    options.vectors === undefined ? mixture(count, dim, itemStream) : readNpy(options.vectors)
  const queries =
    options.queries === undefined
      ? mixture(queryCount, items.dim, queryStream)
      : readNpy(options.queries)
  await using subject = new Subject(items, queries, settingsOf(options))
  let result: IndexBenchResult = {
    config: { count: items.n, dim: items.dim, seed, queries: queries.n, k },
  }
  if (options.parts?.join() !== 'growth') {
    result = { ...result, ...(await build(subject, items, progress)) }
  }
  let moved: Points | undefined
  const bench: Bench = {
    subject,
    items,
    queries,
    seed,
    progress,
    moved: () => (moved ??= drifted(items, driftStream, driftBy)),
  }
  for (const [name, part] of Object.entries(parts)) {
    if (options.parts?.includes(name) === false) continue
    progress(name)
    result = { ...result, ...(await part(bench)) }
  }
  return { ...result, sink: subject.sink }
}

async function build(subject: Subject, items: Points, progress: Progress): Promise<object> {
  progress('building')
  const buildSeconds = rounded(await subject.build(items))
  const { tree, kind, bytes } = subject.stats
  return {
    kind,
    leaves: tree?.leaves ?? 0,
    buildSeconds,
    bytesPerItem: rounded(bytes / items.n - items.dim * 4),
    rowBytesPerItem: items.dim * 4,
  }
}

function measureCurve({ subject, progress }: Bench): object {
  progress('exact answers')
  const truth = subject.answers({ exact: true })
  const curve = efforts.map((effort) => {
    progress(`effort ${effort}`)
    return Object.assign({ effort }, subject.measure(truth, { effort }))
  })
  const chosen = { effort: subject.stats.tree?.effort ?? 1, ...subject.measure(truth, {}) }
  progress('exact')
  return { curve, chosen, exact: subject.measure(truth, { exact: true }) }
}

function measureFilters({ subject, items, seed, progress }: Bench): object {
  const filtered = selectivities.map((selectivity) => {
    progress(`one item in ${Math.round(1 / selectivity)}`)
    const allow = randomBitmap(items.n, selectivity, seed)
    const answers = subject.answers({ exact: true, allow })
    const complete = subject.complete(answers, { allow })
    return Object.assign({ selectivity, complete }, subject.measure(answers, { allow }))
  })
  return { filtered }
}

async function measureUpserts({ subject, items, moved, seed, progress }: Bench): Promise<object> {
  const churn = new Churn(subject, items, seed)
  progress('replacing vectors')
  const rates = { upsertsPerSecond: churn.rate(256), singleUpsertsPerSecond: churn.rate(1) }
  progress('searches meanwhile')
  return { ...rates, whileUpserting: await churn.meanwhile(moved()) }
}

async function measureDrifts({ subject, queries, moved, progress }: Bench): Promise<object> {
  progress('drift')
  const drift = await measureDrift(subject, moved(), queries)
  progress('clusters dissolve')
  const [others, otherQueries] = [moved(), queries].map((all) => dissolved(all, dissolveStream))
  const dissolving = await measureDrift(subject, others, otherQueries)
  const [recallAfterDrift, recallFreshBuild] = [drift.after, drift.fresh]
  return { recallAfterDrift, recallFreshBuild, drift, dissolving, pauses: subject.pauses() }
}

const settingsOf = ({ flatBelow, exactDims }: SubjectSettings): SubjectSettings => ({
  ...(flatBelow !== undefined && { flatBelow }),
  ...(exactDims !== undefined && { exactDims }),
})

function randomBitmap(n: number, selectivity: number, seed: number): Uint32Array {
  const random = seededRandom(seed, 2)
  const bitmap = new Uint32Array(Math.ceil(n / 32))
  for (let i = 0; i < n; i += 1) {
    if (random.next() < selectivity) setBit(bitmap, i, true)
  }
  return bitmap
}
