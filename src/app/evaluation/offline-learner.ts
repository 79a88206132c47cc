/**
 * The same model and the same step as in the service, over a file that is read several times:
 * facts are folded once, then the examples are trained on in epochs, each in a seeded order of its
 * own.
 */
import { withAdmission } from '../../embedding/admission/admitted-table.ts'
import type { DurableTable } from '../../embedding/durable-table.ts'
import { MemoryTable } from '../../embedding/memory/memory-table.ts'
import type { KernelImplementation } from '../../kernels/kernels.ts'
import type { ItemInput, QueryInput } from '../../model/inputs.ts'
import { TwoTower } from '../../model/two-tower.ts'
import type { Event } from '../../stream/event.ts'
import type { Example } from '../../stream/example.ts'
import { Facts } from '../../stream/facts/facts.ts'
import type { FarRows } from '../../trainer/far-rows.ts'
import { Guard } from '../../trainer/guard.ts'
import { ColumnBuilder } from '../../trainer/negatives.ts'
import { findRows, type Tables } from '../../trainer/rows.ts'
import { SamplingBias } from '../../trainer/sampling-bias.ts'
import { type Learning, trainStep } from '../../trainer/train-step.ts'
import type { TrainerModel } from '../../trainer/trainer-config.ts'
import { permutation } from './split.ts'

export interface OfflineSettings {
  readonly threads: number
  readonly kernels: KernelImplementation
  /** Tables whose rows do not all fit in memory, started; closed with the learner. */
  readonly farRows?: FarRows | undefined
}

/** Which pass over the examples, from 1, and of how many. */
export interface Pass {
  readonly number: number
  readonly of: number
  /** Share of the learning rates that is left at the end of the last. */
  readonly finalRate: number
}

interface Parts {
  readonly model: TwoTower
  readonly tables: readonly DurableTable[]
  readonly farRows: FarRows | undefined
}

export class OfflineLearner {
  readonly facts: Facts
  readonly #options: TrainerModel
  readonly #farRows: FarRows | undefined
  readonly #learning: Learning
  readonly #tables: Tables
  readonly #maxItems: number
  readonly #examples: Example[] = []
  #step = 0

  /** Throws `CONFIG_INVALID`, `MEMORY_EXHAUSTED`, `KERNELS_UNAVAILABLE`. */
  static async create(options: TrainerModel, settings: OfflineSettings): Promise<OfflineLearner> {
    const { spec, batch } = options
    const { threads, kernels: implementation, farRows } = settings
    const maxItems = batch.maxExamples + spec.loss.extraNegatives
    const maxQueries = batch.maxExamples
    const model = await TwoTower.create(spec, { maxQueries, maxItems, threads, implementation })
    for (const [name, keys] of model.mostKeys) farRows?.reserve(name, keys)
    const tables = options.tables.map((table) => {
      const rows = farRows?.table(table.name) ?? new MemoryTable(table, { implementation })
      return withAdmission(rows, { implementation })
    })
    return new OfflineLearner(options, { model, tables, farRows })
  }

  private constructor(options: TrainerModel, { model, tables, farRows }: Parts) {
    const { spec, batch } = options
    this.#options = options
    this.#farRows = farRows
    this.#maxItems = batch.maxExamples + spec.loss.extraNegatives
    this.facts = new Facts(options.facts)
    this.#tables = new Map(tables.map((table) => [table.spec.name, table]))
    this.#learning = {
      model,
      tables: this.#tables,
      bias: new SamplingBias(),
      guard: new Guard(),
      columns: new ColumnBuilder({
        loss: spec.loss,
        seed: spec.seed,
        maxExamples: batch.maxExamples,
        handleCapacity: this.facts.catalogue.handleCapacity,
      }),
    }
  }

  get examples(): number {
    return this.#examples.length
  }

  /** Floats per vector. */
  get outputDim(): number {
    return this.#learning.model.outputDim
  }

  /** Vectors of a query. */
  get queryHeads(): number {
    return this.#learning.model.queryHeads
  }

  /** Folds an event and keeps its example, if it is one. */
  fold(event: Event): void {
    const outcome = this.facts.apply(event)
    if (outcome.kind === 'example') this.#examples.push(outcome.example)
  }

  /** One pass over all examples. Returns the mean loss of its batches. */
  async epoch(pass: Pass): Promise<number> {
    const { spec, batch } = this.#options
    const order = permutation(this.#examples.length, spec.seed, pass.number)
    let [total, batches] = [0, 0]
    for (let from = 0; from < order.length; from += batch.maxExamples) {
      const picked = Array.from(
        order.subarray(from, from + batch.maxExamples),
        (i) => this.#examples[i],
      )
      total += await this.#train(picked, rateScale(pass, from / order.length))
      batches += 1
    }
    return total / Math.max(1, batches)
  }

  /** n x outputDim; the model's memory is reused, so this is a copy. */
  itemVectors(items: readonly ItemInput[]): Promise<Float32Array> {
    const { model } = this.#learning
    const popularity = this.#logPopularity(Int32Array.from(items, ({ handle }) => handle))
    const pieces = { size: this.#maxItems, floats: this.outputDim }
    return this.#inPieces(items, pieces, async (piece, from) => {
      await findRows(model.prepareItems(piece), this.#tables)
      return model.embedItems(popularity.subarray(from, from + piece.length))
    })
  }

  /** n x queryHeads x outputDim. */
  queryVectors(queries: readonly QueryInput[]): Promise<Float32Array> {
    const { model } = this.#learning
    const { maxExamples: size } = this.#options.batch
    const pieces = { size, floats: this.queryHeads * this.outputDim }
    return this.#inPieces(queries, pieces, async (piece) => {
      await findRows(model.prepareQueries(piece), this.#tables)
      return model.embedQueries()
    })
  }

  async close(): Promise<void> {
    await this.#learning.model.close()
    await this.#farRows?.close()
  }

  async #train(examples: readonly Example[], scale: number): Promise<number> {
    const { catalogue, time } = this.facts
    this.#step += 1
    const { loss } = await trainStep(this.#learning, examples, {
      catalogue,
      step: this.#step,
      stamp: { time, version: this.#step, rateScale: scale },
    })
    return loss
  }

  /** As it stands at the end of the training part. */
  #logPopularity(handles: Int32Array): Float32Array {
    const logs = new Float32Array(handles.length)
    const { catalogue, time } = this.facts
    const smoothing = this.#options.spec.score.popularity?.smoothing ?? 1
    catalogue.logPopularity(handles, { time, smoothing }, logs)
    return logs
  }

  async #inPieces<Member>(
    members: readonly Member[],
    { size, floats }: { readonly size: number; readonly floats: number },
    embed: (piece: readonly Member[], from: number) => Promise<Float32Array>,
  ): Promise<Float32Array> {
    const vectors = new Float32Array(members.length * floats)
    for (let from = 0; from < members.length; from += size) {
      vectors.set(await embed(members.slice(from, from + size), from), from * floats)
    }
    return vectors
  }
}

/** From 1 in a line to `finalRate` at the end of the last pass. */
const rateScale = ({ number, of, finalRate }: Pass, done: number): number =>
  1 - (1 - finalRate) * ((number - 1 + done) / of)
