/**
 * `freshet bench train`: the whole training step on synthetic interactions of the size of
 * MovieLens-1M (6,040 users, 3,706 items, popularity by a power law, planted tastes): two towers on
 * ids, in-batch softmax with logQ, accidental hits masked by making columns distinct, Adagrad
 * everywhere. Everything is in it: hashing, distinct keys, gather from the tables, the step, the
 * tables' update.
 */
import { seededRandom, type Random } from '../src/base/random.ts'
import { MemoryTable } from '../src/embedding/memory/memory-table.ts'
import type { ItemInput, QueryInput } from '../src/model/inputs.ts'
import type { ModelSpec, TowerSpec } from '../src/model/spec.ts'
import { TwoTower, type StepBatch, type StepStage } from '../src/model/two-tower.ts'

export interface TrainBenchOptions {
  readonly dim: number
  readonly layers: readonly number[]
  readonly batch: number
  readonly threads: number
  readonly seed: number
  /** Seconds of each measured repeat, and how many there are. */
  readonly seconds?: number
  readonly repeats?: number
}

const users = 6040
const items = 3706
/** Distinct batches, used round and round. */
const batches = 64
const warmUpSeconds = 1

const optimizer = {
  kind: 'adagrad',
  rate: 0.1,
  initialAccumulator: 0.1,
  epsilon: 1e-7,
} as const

function specOf({ dim, layers, seed }: TrainBenchOptions): ModelSpec {
  const tower = (table: string): TowerSpec => ({
    features: [{ kind: 'id', name: 'id', table }],
    combine: 'concat',
    layers: layers.map((units, i) => ({
      kind: 'dense',
      units,
      activation: i < layers.length - 1 ? 'relu' : 'linear',
    })),
    normalize: false,
  })
  return {
    seed,
    dim: layers.at(-1) ?? dim,
    tables: ['user', 'item'].map((name) => ({ name, dim, optimizer: { gradients: 'sum' } })),
    query: tower('user'),
    candidate: tower('item'),
    score: { temperature: 1 },
    loss: {
      correction: 'logq',
      inBatch: true,
      extraNegatives: 0,
      activeWindowMs: 0,
      maskSeen: false,
      newItemPull: 0,
      l2: 0,
      typeWeights: { other: 1 },
    },
    denseOptimizer: optimizer,
  }
}

interface Example {
  readonly query: QueryInput
  readonly item: ItemInput
}

/** A power law over n things: the k-th has a weight of 1 / (k + 60), so 730 differ in 1,024. */
function powerLaw(n: number, random: Random): () => number {
  const cumulated = new Float64Array(n)
  let sum = 0
  for (let k = 0; k < n; k += 1) {
    sum += 1 / (k + 60)
    cumulated[k] = sum
  }
  return () => {
    const at = random.next() * sum
    let [low, high] = [0, n - 1]
    while (low < high) {
      const middle = (low + high) >> 1
      if (cumulated[middle] < at) low = middle + 1
      else high = middle
    }
    return low
  }
}

/** Users prefer items of their own taste (of 20) three times in four. */
function someExamples(count: number, seed: number): readonly Example[] {
  const random = seededRandom(seed)
  const anyItem = powerLaw(items, random)
  const catalogue = Array.from({ length: items }, (_, handle): ItemInput => {
    return { handle, id: `item-${handle}`, revision: 1, features: {} }
  })
  return Array.from({ length: count }, () => {
    const user = random.integer(users)
    let handle = anyItem()
    for (let k = 0; k < 20 && random.next() < 0.75 && handle % 20 !== user % 20; k += 1) {
      handle = anyItem()
    }
    return { query: queryOf(user), item: catalogue[handle] }
  })
}

const queryOf = (user: number): QueryInput => ({
  userId: `user-${user}`,
  userFeatures: {},
  history: [],
  context: {},
  timestamp: 0,
})

/** Columns and corrections of a batch: what the trainer's sampling does. */
class BatchMaker {
  readonly #logQ: Float32Array
  readonly #columnOf = new Int32Array(items).fill(-1)
  readonly #multiplicity = new Int32Array(items)
  readonly #batch: StepBatch

  constructor(examples: readonly Example[], batch: number) {
    const counts = new Float64Array(items)
    for (const { item } of examples) counts[item.handle] += 1
    this.#logQ = Float32Array.from(counts, (n) => Math.log(Math.max(n, 0.1) / examples.length))
    this.#batch = {
      targets: new Int32Array(batch),
      weights: new Float32Array(batch).fill(1),
      corrections: new Float32Array(batch),
      targetCorrections: new Float32Array(batch),
      popularity: new Float32Array(0),
      masked: new Int32Array(0),
      pulls: new Int32Array(0),
    }
  }

  make(examples: readonly Example[]): { readonly columns: ItemInput[]; readonly batch: StepBatch } {
    const { targets, corrections, targetCorrections } = this.#batch
    const columns: ItemInput[] = []
    for (const [b, { item }] of examples.entries()) {
      let column = this.#columnOf[item.handle]
      if (column < 0) {
        column = columns.length
        this.#columnOf[item.handle] = column
        columns.push(item)
        this.#multiplicity[column] = 0
      }
      this.#multiplicity[column] += 1
      targets[b] = column
      targetCorrections[b] = -this.#logQ[item.handle]
    }
    for (const [column, { handle }] of columns.entries()) {
      corrections[column] = Math.log(this.#multiplicity[column]) - this.#logQ[handle]
      this.#columnOf[handle] = -1
    }
    return { columns, batch: this.#batch }
  }
}

type Share = 'keys' | 'gather' | 'forward' | 'loss' | 'backward' | 'scatter' | 'other'

/** Time by what it went to. */
class StageClock {
  readonly seconds = new Map<Share, number>()
  #share: Share = 'other'
  #since = performance.now()

  enter(share: Share): void {
    const now = performance.now()
    this.seconds.set(this.#share, (this.seconds.get(this.#share) ?? 0) + (now - this.#since) / 1000)
    this.#share = share
    this.#since = now
  }

  readonly stage = (stage: StepStage): void => {
    this.enter(stage === 'idle' ? 'other' : stage)
  }
}

/** Multiplications and additions of one example: towers and scores, forward and twice backward. */
function flopsPerExample({ dim, layers, batch }: TrainBenchOptions, columns: number): number {
  const tower = layers.reduce((sum, units, i) => sum + units * (layers[i - 1] ?? dim), 0)
  const scores = columns * (layers.at(-1) ?? dim)
  return 2 * 3 * (tower * (1 + columns / batch) + scores)
}

class Trainer {
  readonly clock = new StageClock()
  readonly #model: TwoTower
  readonly #tables: ReadonlyMap<string, MemoryTable>
  readonly #examples: readonly Example[]
  readonly #batchSize: number
  readonly #maker: BatchMaker
  #version = 0
  columns = 0

  private constructor(model: TwoTower, options: TrainBenchOptions, clock: StageClock) {
    const { dim, batch, seed } = options
    this.#model = model
    this.clock = clock
    this.#batchSize = batch
    this.#examples = someExamples(batches * batch, seed)
    this.#maker = new BatchMaker(this.#examples, batch)
    const table = (name: string, capacityRows: number): [string, MemoryTable] => [
      name,
      new MemoryTable({
        name,
        dim,
        capacityRows,
        initializer: { kind: 'uniform', min: -0.05, max: 0.05 },
        optimizer: { ...optimizer, gradients: 'sum' },
      }),
    ]
    this.#tables = new Map([table('user', 2 * users), table('item', 2 * items)])
  }

  static async create(options: TrainBenchOptions): Promise<Trainer> {
    const { batch, threads } = options
    const clock = new StageClock()
    const limits = { maxQueries: batch, maxItems: Math.min(batch, items), threads }
    const model = await TwoTower.create(specOf(options), { ...limits, onStage: clock.stage })
    return new Trainer(model, options, clock)
  }

  close(): Promise<void> {
    return this.#model.close()
  }

  /** One batch, from examples to updated rows; its loss. */
  step(): number {
    const { clock } = this
    const version = this.#version + 1
    this.#version = version
    const stamp = { time: version, version }
    const first = (version % batches) * this.#batchSize
    const examples = this.#examples.slice(first, first + this.#batchSize)
    const { columns, batch } = this.#maker.make(examples)
    this.columns = columns.length
    const queries = examples.map(({ query }) => query)
    const lookups = this.#model.prepareStep(queries, columns)
    clock.enter('gather')
    for (const { table, keys, rows } of lookups) {
      this.#tables.get(table)?.findOrInsert(keys, rows, stamp)
    }
    const { loss } = this.#model.step(batch)
    clock.enter('scatter')
    for (const { table, keys, gradients, occurrences } of lookups) {
      this.#tables.get(table)?.applyGradients(keys, gradients, occurrences, stamp)
    }
    clock.enter('backward')
    this.#model.update()
    clock.enter('other')
    return loss
  }
}

function stepsFor(trainer: Trainer, seconds: number): number {
  const start = performance.now()
  let steps = 0
  while (performance.now() - start < seconds * 1000) {
    trainer.step()
    steps += 1
  }
  return steps / ((performance.now() - start) / 1000)
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1] ?? NaN

/** Prints nothing but progress; the figures are its result. */
export async function run(
  given: Readonly<Record<string, unknown>>,
  progress: (line: string) => void,
): Promise<Record<string, number | Record<string, number>>> {
  const { seconds = 2, repeats = 5, ...options } = given as unknown as TrainBenchOptions
  const trainer = await Trainer.create(options)
  try {
    const losses: number[] = []
    for (let i = 0; i < batches; i += 1) losses.push(trainer.step())
    const mean = (from: number, to: number): number =>
      losses.slice(from, to).reduce((sum, loss) => sum + loss, 0) / (to - from)
    const firstLoss = mean(0, 4)
    stepsFor(trainer, warmUpSeconds)
    trainer.clock.seconds.clear()
    const rates: number[] = []
    for (let i = 0; i < repeats; i += 1) {
      rates.push(stepsFor(trainer, seconds) * options.batch)
      progress(`${Math.round(rates.at(-1) ?? 0)} examples/s`)
    }
    const spent = [...trainer.clock.seconds]
    const total = spent.reduce((sum, [, s]) => sum + s, 0)
    for (let i = 0; i < batches; i += 1) losses.push(trainer.step())
    const examplesPerSecond = median(rates)
    const flops = flopsPerExample(options, trainer.columns)
    return {
      examplesPerSecond: Math.round(examplesPerSecond),
      slowest: Math.round(Math.min(...rates)),
      fastest: Math.round(Math.max(...rates)),
      gflops: Number(((examplesPerSecond * flops) / 1e9).toFixed(2)),
      columns: trainer.columns,
      firstLoss: Number(firstLoss.toFixed(4)),
      lastLoss: Number(mean(losses.length - 4, losses.length).toFixed(4)),
      shares: Object.fromEntries(
        spent.map(([share, s]) => [share, Number((s / total).toFixed(4))]),
      ),
    }
  } finally {
    await trainer.close()
  }
}
