/**
 * `freshet bench train`: the whole training step on synthetic interactions of the size of
 * MovieLens-1M (6,040 users, 3,706 items, popularity by a power law, planted tastes): two towers on
 * ids, in-batch softmax with logQ, accidental hits masked by making columns distinct, Adagrad
 * everywhere. Everything is in it: hashing, distinct keys, gather from the tables, the step, the
 * tables' update. The digest is of tables and weights after the first batches: the same for any
 * number of threads.
 */
import { join } from 'node:path'
import { env } from 'node:process'

import { peakRssBytes } from '../src/app/machine.ts'
import { digestBytes } from '../src/base/digest.ts'
import type { Stamp } from '../src/embedding/embedding-table.ts'
import { MemoryTable } from '../src/embedding/memory/memory-table.ts'
import type { EngineName, ModelSpec, TowerSpec } from '../src/model/spec.ts'
import type { Lookup } from '../src/model/table-lookup.ts'
import type { TensorflowPlace, TfjsBackend } from '../src/model/tfjs/load-tensorflow.ts'
import { TwoTower, type StepStage } from '../src/model/two-tower.ts'
import { tensorflowPackages } from '../test/support/fetch-tensorflow.ts'
import { collectGarbage } from './collect-garbage.ts'
import { type EngineCrossover, engineCrossover } from './engine-crossover.ts'
import { type TrainCurve, trainCurve } from './train-curve.ts'
import { BatchMaker, items, users } from './train-data.ts'

export interface TrainBenchOptions {
  readonly dim: number
  readonly layers: readonly number[]
  readonly batch: number
  readonly threads: number
  readonly seed: number
  readonly engine: EngineName
  /** Of the engine `tfjs`; absent: the best there is. */
  readonly backend?: TfjsBackend
  /** Seconds of each measured repeat, and how many there are. */
  readonly seconds: number
  readonly repeats: number
  /** Instead: many batches, dims and threads, each in a process of its own. */
  readonly curve?: boolean
  /** Instead: both engines over batches and widths of the towers, likewise. */
  readonly crossover?: boolean
}

/** Distinct batches, used round and round: so many examples, but neither few batches nor very many. */
const batchesOf = (batch: number): number => Math.min(64, Math.max(4, Math.floor(32_768 / batch)))
/** Trained on before the digest, and before anything is measured. */
const digestedBatches = 16
const warmUpSeconds = 1
/** Batches whose mean loss is reported. */
const lossBatches = 4

const optimizer = {
  kind: 'adagrad',
  rate: 0.1,
  initialAccumulator: 0.1,
  epsilon: 1e-7,
} as const

function specOf({ dim, layers, seed, engine }: TrainBenchOptions): ModelSpec {
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
    engine,
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

/**
 * The packages that tests build, which are those of `npm install` but for where they come from.
 * TensorFlow reads the number of its threads when it is loaded.
 */
function tensorflowPlace(options: TrainBenchOptions): TensorflowPlace | undefined {
  const { engine, backend, threads } = options
  if (engine !== 'tfjs') return undefined
  env['TF_NUM_INTRAOP_THREADS'] ??= String(threads)
  env['TF_NUM_INTEROP_THREADS'] ??= '1'
  const from = join(tensorflowPackages(), 'any.js')
  return backend === undefined ? { from } : { from, backends: [backend] }
}

class Trainer {
  readonly clock = new StageClock()
  readonly #model: TwoTower
  readonly #tables: ReadonlyMap<string, MemoryTable>
  readonly #batches: number
  readonly #maker: BatchMaker
  #version = 0
  columns = 0

  private constructor(model: TwoTower, options: TrainBenchOptions, clock: StageClock) {
    const { dim, batch, seed } = options
    this.#model = model
    this.clock = clock
    this.#batches = batchesOf(batch)
    this.#maker = new BatchMaker({ batches: this.#batches, batch, seed })
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
    const place = tensorflowPlace(options)
    const parts = { ...limits, ...(place && { tensorflow: place }), onStage: clock.stage }
    const model = await TwoTower.create(specOf(options), parts)
    return new Trainer(model, options, clock)
  }

  /** Which one, and for `tfjs` on what. */
  get engine(): string {
    return this.#model.engine
  }

  close(): Promise<void> {
    return this.#model.close()
  }

  /** 16 hexadecimal digits: rows, their optimizer's state, and dense weights with theirs. */
  digest(): string {
    const { buffer } = this.#model.weights({ optimizerState: true })
    let digest = digestBytes(new Uint8Array(buffer))
    for (const table of this.#tables.values()) digest += table.digest()
    return BigInt.asUintN(64, digest).toString(16).padStart(16, '0')
  }

  /** One batch, from examples to updated rows; its loss. */
  step(): number {
    const { clock } = this
    const version = this.#version + 1
    this.#version = version
    const stamp = { time: version, version }
    const { queries, columns, batch } = this.#maker.make(version % this.#batches)
    this.columns = columns.length
    const ofQueries = this.#model.prepareStepQueries(queries)
    this.#gather(ofQueries, stamp)
    this.#model.beginQueries()
    const ofCandidates = this.#model.prepareStepCandidates(columns)
    this.#gather(ofCandidates, stamp)
    const lookups = [...ofQueries, ...ofCandidates]
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

  #gather(lookups: readonly Lookup[], stamp: Stamp): void {
    this.clock.enter('gather')
    for (const { table, keys, rows } of lookups) {
      this.#tables.get(table)?.findOrInsert(keys, rows, stamp)
    }
  }
}

/** Mean loss of so many steps. */
function meanLoss(trainer: Trainer, steps: number): number {
  let sum = 0
  for (let i = 0; i < steps; i += 1) sum += trainer.step()
  return sum / steps
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

type Result = Record<string, number | string | Record<string, number>>

async function measure(
  options: TrainBenchOptions,
  progress: (line: string) => void,
): Promise<Result> {
  // Peak memory is of training, without what reading the sources has left.
  collectGarbage()
  const trainer = await Trainer.create(options)
  try {
    const firstLoss = meanLoss(trainer, lossBatches)
    meanLoss(trainer, digestedBatches - lossBatches)
    const digest = trainer.digest()
    stepsFor(trainer, warmUpSeconds)
    trainer.clock.seconds.clear()
    const rates: number[] = []
    for (let i = 0; i < options.repeats; i += 1) {
      rates.push(stepsFor(trainer, options.seconds) * options.batch)
      progress(`${Math.round(rates.at(-1) ?? 0)} examples/s`)
    }
    const spent = [...trainer.clock.seconds]
    const total = spent.reduce((sum, [, s]) => sum + s, 0)
    const lastLoss = meanLoss(trainer, lossBatches)
    const examplesPerSecond = median(rates)
    const flops = flopsPerExample(options, trainer.columns)
    return {
      engine: trainer.engine,
      examplesPerSecond: Math.round(examplesPerSecond),
      slowest: Math.round(Math.min(...rates)),
      fastest: Math.round(Math.max(...rates)),
      gflops: Number(((examplesPerSecond * flops) / 1e9).toFixed(2)),
      columns: trainer.columns,
      firstLoss: Number(firstLoss.toFixed(4)),
      lastLoss: Number(lastLoss.toFixed(4)),
      digest,
      peakRssBytes: peakRssBytes(),
      shares: Object.fromEntries(
        spent.map(([share, s]) => [share, Number((s / total).toFixed(4))]),
      ),
    }
  } finally {
    await trainer.close()
  }
}

/** Prints nothing but progress; the figures are its result. */
export async function run(
  given: Readonly<Record<string, unknown>>,
  progress: (line: string) => void,
): Promise<Result | TrainCurve | EngineCrossover> {
  const options = given as unknown as TrainBenchOptions
  if (options.crossover === true) return engineCrossover(options, progress)
  return options.curve === true ? trainCurve(options, progress) : measure(options, progress)
}
