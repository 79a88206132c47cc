/**
 * `freshet bench table`: the verbs of a memory table at its full load, in batches of 4,096 random
 * keys on one core, with the TypeScript twins of the kernels beside, and what TensorFlow
 * Recommenders Addons does. Memory is touched before anything is measured, as in a service that has
 * run for a while; what the first touch costs is `findOrInsertUntouched`.
 */

import { collectGarbage } from './collect-garbage.ts'
import { type Steps, Subject, timeSteps, type Verb, verbs } from './table-subject.ts'
import { batchKeys, makeWorkload, type Workload, type WorkloadOptions } from './table-workload.ts'

export interface TableBenchOptions extends WorkloadOptions {
  /** Measurements of each verb; the median is reported. */
  readonly repeats?: number
}

export interface TableBenchResult {
  readonly [figure: string]: Figure
}
type Figure = number | string | { readonly [name: string]: Figure }

/**
 * TensorFlow Recommenders Addons 0.8.1 on TensorFlow 2.16.2: its cuckoo table on two threads, 1 M
 * rows of 32 floats, medians of three on another machine of two cores (Zen 5) with other work
 * beside; the better of a table that grew and one made large enough. Its rows have no optimizer
 * state and no counts: those are further tables, each looked up again.
 */
const addons = {
  rowsPerSecond: { find: 2.53e6, findOrInsert: 2.87e6, assign: 2.91e6 },
  restrictMs: 118,
  /** 180 bytes for a payload of 136. */
  bytesPerPayload: 180 / 136,
} as const

/** Twins are slow: a table of this size tells their rates. */
const referenceRows = 1_000_000
/** What is left of the table before its memory is given back. */
const sparseShare = 0.3
const order = ['erase', 'findOrInsert', 'find', 'assign', 'applyGradients'] as const

export function run(
  options: TableBenchOptions,
  progress: (line: string) => void,
): Promise<TableBenchResult> {
  const { rows, dim, seed, repeats = 5 } = options
  progress('the reference twins')
  const reference = measureReference(options)
  const workload = makeWorkload(options)
  progress(`filling ${rows} rows of ${dim} floats`)
  const subject = new Subject('wasm', rows, dim)
  const untouched = subject.measure('findOrInsert', workload)
  const measured = measureVerbs(subject, workload, { options, progress })
  progress('snapshot, compaction')
  const payload = 8 + dim * 8
  const bytesPerRow = subject.table.stats().bytes / rows
  return Promise.resolve({
    config: { rows, dim, seed, batchKeys, repeats, backend: 'memory', optimizer: 'adagrad' },
    ...Object.fromEntries(
      verbs.map((verb) => [verb, figures(verb, measured.rates, reference.get(verb) ?? 0)]),
    ),
    findOrInsertUntouched: { rowsPerSecond: Math.round(untouched) },
    restrict: restrictFigures(measured, rows),
    restrictInSteps: {
      totalMs: rounded(median(measured.steps.map(({ total }) => total))),
      ...longestOf(measured.steps),
    },
    bytesPerRow: rounded(bytesPerRow),
    payloadBytesPerRow: payload,
    bytesPerPayload: rounded(bytesPerRow / payload),
    bytesPerPayloadOfAddons: rounded(addons.bytesPerPayload),
    loadFactor: rounded(subject.loadFactor),
    snapshot: measureSnapshot(subject),
    compaction: measureCompaction(subject),
    sink: subject.sink,
  })
}

interface Measured {
  readonly rates: ReadonlyMap<Verb, number[]>
  readonly restricts: readonly { readonly ms: number; readonly removed: number }[]
  /** The same between batches. */
  readonly steps: readonly Steps[]
}

function measureVerbs(
  subject: Subject,
  workload: Workload,
  { options, progress }: { readonly options: TableBenchOptions; progress: (line: string) => void },
): Measured {
  const { seed, repeats = 5 } = options
  const rates = new Map<Verb, number[]>(verbs.map((verb) => [verb, []]))
  const restricts: { ms: number; removed: number }[] = []
  const steps: Steps[] = []
  for (let repeat = 0; repeat < repeats; repeat += 1) {
    progress(`repeat ${repeat + 1} of ${repeats}`)
    for (const verb of order) rates.get(verb)?.push(subject.measure(verb, workload))
    restricts.push(subject.measureRestrict(workload, seed + repeat))
    steps.push(subject.measurePauses(workload, seed + repeat))
  }
  return { rates, restricts, steps }
}

function figures(
  verb: Verb,
  rates: ReadonlyMap<Verb, number[]>,
  reference: number,
): { [name: string]: Figure } {
  const samples = rates.get(verb) ?? []
  const rate = median(samples)
  const rivals: Partial<Record<Verb, number>> = addons.rowsPerSecond
  const rival = rivals[verb]
  return {
    rowsPerSecond: Math.round(rate),
    least: Math.round(Math.min(...samples)),
    greatest: Math.round(Math.max(...samples)),
    ratioToReference: rounded(rate / reference),
    ...(rival === undefined ? {} : { addons: rival, ratioToAddons: rounded(rate / rival) }),
  }
}

function restrictFigures({ restricts }: Measured, rows: number): Figure {
  const totalMs = rounded(median(restricts.map(({ ms }) => ms)))
  const removed = restricts[0]?.removed ?? 0
  if (rows !== 1_000_000) return { totalMs, removed }
  const { restrictMs } = addons
  return { totalMs, removed, addons: restrictMs, ratioToAddons: rounded(restrictMs / totalMs) }
}

/** A snapshot read to its end with nothing in between: its beginning and its pieces are pauses. */
function measureSnapshot({ table }: Subject): Figure {
  let snapshot = table.snapshot()
  const begin = timeSteps(() => {
    snapshot = table.snapshot()
    return false
  })
  let bytes = 0
  const pieces = timeSteps(() => {
    const { value, done } = snapshot.next()
    bytes += value?.length ?? 0
    return done !== true
  })
  return {
    begin: longestOf([begin]),
    pieces: longestOf([pieces]),
    totalMs: rounded(pieces.total),
    megabytesPerSecond: Math.round(bytes / 1000 / pieces.total),
  }
}

/** Most rows leave; then what resident memory is before and after the rest has moved together. */
function measureCompaction(subject: Subject): Figure {
  const restrict = subject.restrictInSteps(sparseShare)
  const before = residentMegabytes()
  const steps = timeSteps(() => subject.table.compactSome())
  const after = residentMegabytes()
  return {
    rows: subject.table.size,
    restrictMs: rounded(restrict.total),
    totalMs: rounded(steps.total),
    ...longestOf([steps]),
    residentMegabytesBefore: before,
    residentMegabytesAfter: after,
  }
}

const longestOf = (all: readonly Steps[]): { readonly [name: string]: number } => ({
  longestPauseMs: rounded(Math.max(...all.map(({ longest }) => longest))),
  longestPauseCpuMs: rounded(Math.max(...all.map(({ longestCpu }) => longestCpu))),
})

/** After the collector has run: in a service it comes round by itself. */
function residentMegabytes(): number {
  collectGarbage()
  return Math.round(process.memoryUsage.rss() / 1e6)
}

/** The twins, measured on a tenth of the batches when their table is full. */
function measureReference(options: TableBenchOptions): ReadonlyMap<Verb, number> {
  const rows = Math.min(options.rows, referenceRows)
  const workload = makeWorkload({ ...options, rows })
  const twin = new Subject('reference', rows, options.dim)
  twin.measure('findOrInsert', workload)
  const share = Math.max(2, Math.ceil(workload.mixed.length / 10))
  // What is erased is what is inserted again.
  const mixed = workload.mixed.slice(0, share)
  return new Map(order.map((verb) => [verb, twin.measure(verb, { arriving: mixed, mixed })]))
}

function median(samples: readonly number[]): number {
  const sorted = samples.toSorted((a, b) => a - b)
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2
}

const rounded = (value: number): number => Math.round(value * 1000) / 1000
