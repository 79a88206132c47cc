/**
 * `freshet bench table`: the verbs of a memory table at its full load, in batches of 4,096 random
 * keys on one core, with the TypeScript twins of the kernels beside. Memory is touched before
 * anything is measured, as in a service that has run for a while; what the first touch costs is
 * `findOrInsertUntouched`.
 */
import { assert } from '../src/base/assert.ts'
import type { Keys } from '../src/base/keys.ts'
import { seededRandom } from '../src/base/random.ts'
import { MemoryTable } from '../src/embedding/memory-table.ts'
import type { KernelImplementation } from '../src/kernels/kernels.ts'

export interface TableBenchOptions {
  readonly rows: number
  readonly dim: number
  readonly seed: number
  /** Measurements of each verb; the median is reported. */
  readonly repeats?: number
}

const batchKeys = 4096
const keptShare = 0.8

const verbs = ['find', 'findOrInsert', 'assign', 'applyGradients', 'erase'] as const
type Verb = (typeof verbs)[number]

export interface Rate {
  /** Median over the repeats, and their extremes. */
  readonly rowsPerSecond: number
  readonly least: number
  readonly greatest: number
}

export interface TableBenchResult {
  readonly [figure: string]: Figure
}
type Figure = number | string | { readonly [name: string]: Figure }

/** One batch of keys, and what the verbs take with it. */
interface Batch {
  readonly keys: Keys
  readonly vectors: Float32Array
  readonly occurrences: Uint32Array
}

export function run(
  options: TableBenchOptions,
  progress: (line: string) => void,
): Promise<TableBenchResult> {
  const { rows, dim, seed, repeats = 5 } = options
  const workload = makeWorkload(options)
  progress(`filling ${rows} rows of ${dim} floats`)
  const subject = new Subject('wasm', rows, dim)
  const untouched = subject.measure('findOrInsert', workload)
  const samples = new Map<Verb, number[]>(verbs.map((verb) => [verb, []]))
  const restricts: { ms: number; removed: number }[] = []
  const pauses: number[] = []
  for (let repeat = 0; repeat < repeats; repeat += 1) {
    progress(`repeat ${repeat + 1} of ${repeats}`)
    for (const verb of ['erase', 'findOrInsert', 'find', 'assign', 'applyGradients'] as const) {
      samples.get(verb)?.push(subject.measure(verb, workload))
    }
    restricts.push(subject.measureRestrict(workload, seed + repeat))
    pauses.push(subject.measurePauses(workload, seed + repeat))
  }
  progress('the same with the reference twins')
  const reference = measureReference(workload, options)
  return Promise.resolve({
    config: { rows, dim, seed, batchKeys, repeats, backend: 'memory', optimizer: 'adagrad' },
    ...Object.fromEntries(
      verbs.map((verb) => [verb, figures(samples.get(verb) ?? [], reference.get(verb) ?? 0)]),
    ),
    findOrInsertUntouched: { rowsPerSecond: Math.round(untouched) },
    restrict: {
      totalMs: rounded(median(restricts.map(({ ms }) => ms))),
      removed: restricts[0]?.removed ?? 0,
    },
    maxRestrictPauseMs: rounded(median(pauses)),
    bytesPerRow: rounded(subject.table.stats().bytes / rows),
    payloadBytesPerRow: 8 + dim * 8,
    loadFactor: rounded(subject.loadFactor),
    sink: subject.sink,
  })
}

function figures(samples: readonly number[], reference: number): { [name: string]: Figure } {
  const rate = median(samples)
  return {
    rowsPerSecond: Math.round(rate),
    least: Math.round(Math.min(...samples)),
    greatest: Math.round(Math.max(...samples)),
    ratioToReference: rounded(rate / reference),
  }
}

/** A table and the clock around its verbs. */
class Subject {
  readonly table: MemoryTable
  loadFactor = 0
  /** Part of the results, so that nothing measured could be left out. */
  sink = 0
  readonly #found: Float32Array
  #version = 1

  constructor(implementation: KernelImplementation, rows: number, dim: number) {
    const spec = {
      name: 'bench',
      dim,
      capacityRows: rows,
      initializer: { kind: 'normal', mean: 0, std: 0.1 },
      optimizer: {
        kind: 'adagrad',
        rate: 0.1,
        initialAccumulator: 0.1,
        epsilon: 1e-7,
        gradients: 'sum',
      },
    } as const
    this.table = new MemoryTable(spec, { implementation })
    this.#found = new Float32Array(batchKeys * dim)
  }

  /** Rows per second of one pass over all batches. */
  measure(verb: Verb, { arriving, mixed }: Workload): number {
    const batches = verb === 'findOrInsert' ? arriving : mixed
    this.#version += 1
    const started = performance.now()
    let rows = 0
    for (const batch of batches) {
      this.#act(verb, batch)
      rows += batch.keys.length / 2
    }
    const seconds = (performance.now() - started) / 1000
    this.sink += this.#found[0]
    const { loadFactor } = this.table.stats()
    this.loadFactor = Math.max(this.loadFactor, loadFactor)
    return rows / seconds
  }

  /** Spreads counts and times, restricts to four fifths, and puts back what left. */
  measureRestrict({ mixed }: Workload, seed: number): { ms: number; removed: number } {
    this.#spreadScores(mixed, seed)
    const numReserved = Math.floor(this.table.size * keptShare)
    const started = performance.now()
    const removed = this.table.restrict({ numReserved, trigger: numReserved, policy: 'frequency' })
    const ms = performance.now() - started
    assert(this.table.size === numReserved, 'restrict leaves what it was asked for')
    for (const batch of mixed) this.#act('findOrInsert', batch)
    return { ms, removed: removed.length / 2 }
  }

  /** The same between batches: the longest of the pauses. */
  measurePauses({ mixed }: Workload, seed: number): number {
    this.#spreadScores(mixed, seed)
    const numReserved = Math.floor(this.table.size * keptShare)
    const request = { numReserved, trigger: numReserved, policy: 'frequency' } as const
    let longest = 0
    while (this.table.size > numReserved) {
      const started = performance.now()
      this.table.restrictSome(request)
      longest = Math.max(longest, performance.now() - started)
    }
    for (const batch of mixed) this.#act('findOrInsert', batch)
    return longest
  }

  /** Most keys are rare and a few are frequent; half of the batches are seen again later. */
  #spreadScores(batches: readonly Batch[], seed: number): void {
    const random = seededRandom(seed)
    for (const { keys, vectors, occurrences } of batches) {
      if (random.next() < 0.5) continue
      this.#version += 1
      const spread = occurrences.map(() => Math.floor(1 / (random.next() + 1e-5)))
      const stamp = { time: this.#version * 1000, version: this.#version }
      this.table.applyGradients(keys, vectors, spread, stamp)
    }
  }

  #act(verb: Verb, { keys, vectors, occurrences }: Batch): void {
    const stamp = { time: this.#version * 1000, version: this.#version }
    if (verb === 'find') this.table.find(keys, this.#found)
    else if (verb === 'findOrInsert') this.table.findOrInsert(keys, this.#found, stamp)
    else if (verb === 'assign') this.table.assign(keys, vectors, stamp)
    else if (verb === 'applyGradients') {
      this.table.applyGradients(keys, vectors, occurrences, stamp)
    } else this.table.erase(keys)
  }
}

/** The twins on a table of the same size, measured on a tenth of the batches after it is full. */
function measureReference(
  { arriving, mixed }: Workload,
  { rows, dim }: TableBenchOptions,
): Map<Verb, number> {
  const twin = new Subject('reference', rows, dim)
  twin.measure('findOrInsert', { arriving, mixed })
  const share = Math.max(2, Math.ceil(mixed.length / 10))
  // What is erased is what is inserted again.
  const some = { arriving: mixed.slice(0, share), mixed: mixed.slice(0, share) }
  const rates = new Map<Verb, number>()
  for (const verb of ['erase', 'findOrInsert', 'find', 'assign', 'applyGradients'] as const) {
    rates.set(verb, twin.measure(verb, some))
  }
  return rates
}

/** What the verbs are measured with. */
interface Workload {
  /** The keys as they come. */
  readonly arriving: readonly Batch[]
  /** The same keys in another order, so that a batch's rows lie anywhere. */
  readonly mixed: readonly Batch[]
}

function makeWorkload({ rows, dim, seed }: TableBenchOptions): Workload {
  const random = seededRandom(seed)
  const keys = new BigUint64Array(rows)
  const words = new Uint32Array(keys.buffer).map(() => random.integer(2 ** 32))
  keys.set(new BigUint64Array(words.buffer))
  const vectors = new Float32Array(batchKeys * dim).map(() => random.next() - 0.5)
  const cut = (): readonly Batch[] =>
    Array.from({ length: Math.ceil(rows / batchKeys) }, (_, i) => {
      const some = keys.slice(i * batchKeys, (i + 1) * batchKeys)
      const occurrences = new Uint32Array(some.length).fill(1)
      return { keys: new Uint32Array(some.buffer), vectors, occurrences }
    })
  const arriving = cut()
  for (let i = rows - 1; i > 0; i -= 1) {
    const j = random.integer(i + 1)
    const key = keys[i]
    keys[i] = keys[j]
    keys[j] = key
  }
  return { arriving, mixed: cut() }
}

function median(samples: readonly number[]): number {
  const sorted = samples.toSorted((a, b) => a - b)
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2
}

const rounded = (value: number): number => Math.round(value * 1000) / 1000
