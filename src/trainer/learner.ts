/**
 * Everything that the trainer knows and learns, and the one way in which it changes: events are
 * folded one by one, and between two of them the examples since the last batch are trained on.
 * Without clock or I/O but that of tables whose rows lie elsewhere, which are waited for: the same
 * events with the same batch boundaries give the same bits, in a replay, in the live loop, and
 * again after a restart from saved state.
 */
import { assert, present } from '../base/assert.ts'
import { ByteReader, ByteWriter } from '../base/bytes.ts'
import { ServiceError } from '../base/errors.ts'
import { keyCount } from '../base/keys.ts'
import { AdmittedTable } from '../embedding/admission/admitted-table.ts'
import type { DurableTable } from '../embedding/durable-table.ts'
import type { TableStats } from '../embedding/embedding-table.ts'
import { restrictWhenFull } from '../embedding/restrict/restrict.ts'
import { type TableKeys, TwoTower } from '../model/two-tower.ts'
import type { Event } from '../stream/event.ts'
import type { Example, Item } from '../stream/example.ts'
import { type Eviction, Facts, type Outcome } from '../stream/facts/facts.ts'
import { type BatchReport, emptyReport } from './batch-report.ts'
import type { Mirror } from './catalogue-mirror.ts'
import { type CheckpointPart, tablePart } from './checkpoint/checkpoint.ts'
import { type SavedState, saveTables, type TableVersions } from './checkpoint/saved-tables.ts'
import { type EvaluationReport, Evaluator } from './evaluation/evaluator.ts'
import type { HourReport } from './evaluation/hourly-metrics.ts'
import { directoryPart, type FarRows } from './far-rows.ts'
import { Guard } from './guard.ts'
import { type LearnerOptions, makeMirror, makeTables } from './learner-parts.ts'
import { ColumnBuilder, positives } from './negatives.ts'
import { Reservoir, reservoirPart } from './reservoir.ts'
import { requestOf, type RestrictLimits, stepRequest } from './restrict-requests.ts'
import { rollBackTable } from './roll-back-table.ts'
import type { Tables } from './rows.ts'
import { cellsFor, SamplingBias } from './sampling-bias.ts'
import { stateDigest } from './state-digest.ts'
import { type TrainResult, trainStep } from './train-step.ts'
import type { TrainerModel } from './trainer-config.ts'
import { upcomingKeys } from './upcoming.ts'

interface Parts {
  readonly model: TwoTower
  readonly tables: Tables
  readonly columns: ColumnBuilder
  readonly mirror: Mirror | undefined
  readonly farRows: FarRows | undefined
}

/** The parts of a smaller step are over before another thread is awake. */
const examplesWorthThreads = 256

/**
 * Invariants: between batches no handle of an item that is gone is in use anywhere but in
 * histories, and `step` is the version of the model.
 */
export class Learner {
  readonly options: TrainerModel
  readonly #parts: Parts
  readonly #bias: SamplingBias
  readonly #guard: Guard
  readonly #evaluator: Evaluator
  readonly #reservoir: Reservoir | undefined
  #facts: Facts
  #step = 0
  #trained = 0
  #acceptedAt = 0
  /** Since the last batch. */
  #examples: Example[] = []
  /** Trained on beside them. */
  #replayed: readonly Example[] = []
  readonly #touched = new Set<number>()
  #changed: Item[] = []
  #removed: Eviction[] = []

  /** Throws `CONFIG_INVALID`, `MEMORY_EXHAUSTED`, `KERNELS_UNAVAILABLE`. */
  static async create(options: TrainerModel, settings: LearnerOptions = {}): Promise<Learner> {
    const { threads = 1, kernels: implementation = 'wasm', farRows } = settings
    const { spec, batch, facts, replay } = options
    const maxQueries = batch.maxExamples + (replay?.examples ?? 0)
    const maxItems = maxQueries + spec.loss.extraNegatives
    const model = await TwoTower.create(spec, {
      maxQueries,
      maxItems,
      threads: maxQueries < examplesWorthThreads ? 1 : threads,
      implementation,
    })
    const tables = makeTables({ options, model, settings })
    const { handleCapacity } = new Facts({ ...facts, maxUsers: 1 }).catalogue
    const { loss, seed } = spec
    const columns = new ColumnBuilder({ loss, seed, maxExamples: maxQueries, handleCapacity })
    const mirror =
      options.evaluation.everyNth === 0
        ? undefined
        : await makeMirror({ options, model, settings }, tables, handleCapacity)
    return new Learner(options, { model, tables, columns, mirror, farRows })
  }

  private constructor(options: TrainerModel, parts: Parts) {
    this.options = options
    this.#parts = parts
    this.#bias = new SamplingBias({ cells: cellsFor(options.facts.maxItems) })
    this.#guard = new Guard(options.guard)
    this.#evaluator = new Evaluator(options.evaluation)
    this.#reservoir = options.replay && new Reservoir(options.replay, options.spec)
    this.#facts = new Facts(options.facts)
  }

  get facts(): Facts {
    return this.#facts
  }

  get model(): TwoTower {
    return this.#parts.model
  }

  get tables(): Tables {
    return this.#parts.tables
  }

  /** Batches trained on: the model's version. */
  get step(): number {
    return this.#step
  }

  /** Examples trained on. */
  get trained(): number {
    return this.#trained
  }

  /** When the newest example trained on was accepted, epoch ms; 0 before the first. */
  get acceptedAt(): number {
    return this.#acceptedAt
  }

  /** Examples waiting for the batch to be cut. */
  get pending(): number {
    return this.#examples.length
  }

  get isFull(): boolean {
    return this.pending >= this.options.batch.maxExamples
  }

  get guard(): Guard {
    return this.#guard
  }

  evaluation(): EvaluationReport {
    return this.#evaluator.report()
  }

  evaluationHours(): readonly HourReport[] {
    return this.#evaluator.hours()
  }

  tableStats(): readonly (TableStats & { readonly name: string })[] {
    return [...this.tables].map(([name, table]) => Object.assign({ name }, table.stats()))
  }

  /** Folds one event. When `isFull` is true then, `trainBatch` must come before the next. */
  apply(event: Event): Outcome {
    assert(!this.isFull, 'a full batch is trained before the next event')
    const outcome = this.#facts.apply(event)
    if (outcome.evicted.length > 0) this.#removed.push(...outcome.evicted)
    switch (outcome.kind) {
      case 'example':
        this.#examples.push(outcome.example)
        this.#touched.add(outcome.example.item.handle)
        break
      case 'interaction':
        this.#touched.add(outcome.item.handle)
        break
      case 'item':
        this.#changed.push(outcome.item)
        break
      case 'itemRemoved':
        this.#removed.push({ of: 'item', handle: outcome.handle, id: outcome.id })
        break
      case 'userRemoved':
        this.#removed.push({ of: 'user', handle: outcome.handle, id: outcome.id })
        break
      case 'user':
      case 'duplicate':
      case 'none':
    }
    return outcome
  }

  /**
   * Ends the batch: evaluates, trains, lets go of what was deleted. A batch may be empty. What the
   * `upcoming` events need is sent for meanwhile.
   */
  async trainBatch(upcoming: readonly Event[] = []): Promise<BatchReport> {
    const examples = this.#examples
    const { restarts } = this.#guard
    const prefetch = this.#prepareNext(upcoming)
    const ranked = positives(examples, this.model.spec)
    const finishEvaluation = await this.#beginEvaluation(ranked)
    const result = examples.length === 0 ? undefined : await this.#train(examples, prefetch)
    finishEvaluation()
    this.#evaluator.observe(ranked)
    if (result !== undefined && result.trip === undefined) {
      this.#evaluator.learned(this.#facts.time, result)
    }
    this.#reservoir?.follow(result?.trip === undefined ? examples : [], this.#removed)
    await this.#eraseRemoved()
    const evicted = await this.#restrictTables()
    for (const table of this.tables.values()) table.compactSome()
    await this.#follow(result, evicted)
    this.#beginBatch()
    const rows = sum(evicted.values())
    if (result === undefined) return { ...emptyReport, evicted: rows }
    const restarted = this.#guard.restarts > restarts
    return { ...result, examples, restarted, evicted: rows }
  }

  table(name: string): DurableTable {
    return present(this.tables.get(name), name)
  }

  /**
   * Begins a restrict in steps, of rows past their time to live or by score; between batches, each
   * of which then takes one.
   */
  startRestrict(name: string, limits: RestrictLimits, expired = false): void {
    assert(this.pending === 0, 'commands run between batches')
    const table = this.table(name)
    const request = present(requestOf(table, limits), 'a policy')
    if (expired) table.startExpiry(request)
    else table.startRestrict(request)
  }

  /** One more step of the restrict under way, if one is; returns the rows that left. */
  async stepRestrict(name: string): Promise<number> {
    assert(this.pending === 0, 'commands run between batches')
    const table = this.table(name)
    if (!table.isRestricting) return 0
    const removed = keyCount(await table.restrictSome(stepRequest))
    await this.#follow(undefined, new Map([[name, removed]]))
    return removed
  }

  /** Evicts rows of one table by its own policy, or of every table; between batches only. */
  async restrict(table?: string, limits: RestrictLimits = {}): Promise<number> {
    assert(this.pending === 0, 'commands run between batches')
    const evicted = new Map<string, number>()
    for (const [name, one] of this.tables) {
      const request = requestOf(one, limits)
      if (request === undefined || (table !== undefined && name !== table)) continue
      evicted.set(name, keyCount(await one.restrict(request)))
    }
    await this.#follow(undefined, evicted)
    return sum(evicted.values())
  }

  /**
   * The whole state between two batches, as parts of a checkpoint; `since`: of tables in memory
   * what has changed since another one, where that is known. Rows are given out as they are read,
   * while batches go on, but as they are now: the parts can be read once, and until the next call.
   */
  serialize(since?: TableVersions): SavedState {
    assert(this.pending === 0, 'a checkpoint stands between two batches')
    const writer = new ByteWriter(1 << 20)
    writer.float64(this.#step).float64(this.#trained).float64(this.#acceptedAt)
    this.#bias.serialize(writer)
    this.#evaluator.serialize(writer)
    writer.uint8(this.#parts.mirror === undefined ? 0 : 1)
    this.#parts.mirror?.serialize(writer)
    const weights = this.model.weights({ optimizerState: true })
    const guard = new ByteWriter()
    this.#guard.serialize(guard)
    const { farRows } = this.#parts
    const near = [...this.tables].filter(([name]) => farRows?.table(name) === undefined)
    const saved = saveTables(near, since)
    const parts: readonly CheckpointPart[] = [
      { name: 'learner', chunks: [writer.finish()] },
      { name: guardPart, chunks: [guard.finish()] },
      { name: 'facts', chunks: this.#facts.save() },
      ...(this.#reservoir?.parts() ?? []),
      { name: 'weights', chunks: [new Uint8Array(weights.buffer)] },
      ...saved.parts,
      ...[...(farRows?.names ?? [])].flatMap((name) => farRows?.parts(name) ?? []),
      ...this.#admitted().map(([name, table]) => ({
        name: admissionPart(name),
        chunks: [table.serializeAdmission()],
      })),
    ]
    return { ...saved, parts }
  }

  /**
   * Takes what `serialize` gave, by the name of the part. Throws `RangeError` and the parts'
   * errors.
   */
  load(chunks: (part: string) => Iterable<Uint8Array>): void {
    const whole = (part: string): Uint8Array => present([...chunks(part)].at(0), part)
    this.#facts = Facts.load(whole('facts'), this.options.facts)
    this.model.load(new Float32Array(whole('weights').slice().buffer))
    for (const [name, table] of this.tables) {
      const isFar = this.#parts.farRows?.table(name) !== undefined
      const part = isFar ? directoryPart(name) : tablePart(name)
      const other = isFar ? tablePart(name) : directoryPart(name)
      if (isThere(chunks(other))) {
        throw new ServiceError('ROWS_ELSEWHERE', { table: name, part: other })
      }
      table.load(chunks(part))
    }
    for (const [name, table] of this.#admitted()) table.loadAdmission(whole(admissionPart(name)))
    const reader = new ByteReader(whole('learner'))
    this.#step = reader.float64()
    this.#trained = reader.float64()
    this.#acceptedAt = reader.float64()
    this.#bias.load(reader)
    this.#guard.load(new ByteReader(whole(guardPart)))
    this.#evaluator.load(reader)
    for (const bytes of chunks(reservoirPart)) this.#reservoir?.load(bytes)
    const { mirror } = this.#parts
    if (reader.uint8() === 1) mirror?.load(reader)
    else mirror?.rebuild(this.#facts.catalogue, this.#facts.time)
  }

  /**
   * Rows, weights and the guard's band are again those of a checkpoint, given as for `load`; facts
   * and the number of the step are not. What is broken there, and rows that have left since, stay
   * away. Of rows in memory only. Throws the parts' errors.
   */
  async rollBack(chunks: (part: string) => Iterable<Uint8Array>): Promise<void> {
    assert(this.pending === 0, 'commands run between batches')
    const whole = (part: string): Uint8Array => present([...chunks(part)].at(0), part)
    this.model.load(new Float32Array(whole('weights').slice().buffer))
    this.#guard.rolledBack(new ByteReader(whole(guardPart)))
    for (const [index, { name }] of this.model.spec.tables.entries()) {
      await rollBackTable(this.table(name), chunks(tablePart(name)), this.#guard.rowLimit(index))
    }
    for (const [name, table] of this.#admitted()) table.loadAdmission(whole(admissionPart(name)))
    this.#reservoir?.clear()
    this.#parts.mirror?.invalidate()
  }

  /** The checkpoint made last is durable: what it holds of far rows goes to their stores. */
  async flush(sequence: number): Promise<void> {
    await this.#parts.farRows?.flush(sequence)
  }

  /** It could not be written. */
  takeBack(): void {
    this.#parts.farRows?.takeBack()
  }

  /** Equal for equal rows, weights and facts; see state-digest.ts. */
  async digest(): Promise<string> {
    const tables = new Map<string, bigint>()
    for (const [name, table] of this.tables) tables.set(name, await table.digest())
    return stateDigest({
      tables,
      weights: this.model.weights({ optimizerState: true }),
      facts: this.#facts.digest(),
      step: this.#step,
    })
  }

  async close(): Promise<void> {
    await this.model.close()
    await this.#parts.mirror?.close()
  }

  /** The tables in which a key must earn its row. */
  #admitted(): readonly (readonly [string, AdmittedTable])[] {
    return [...this.tables].flatMap(([name, table]) =>
      table instanceof AdmittedTable ? [[name, table] as const] : [],
    )
  }

  /** Of the next batch; what is returned sends for its rows. */
  #prepareNext(upcoming: readonly Event[]): () => void {
    const { model, columns, farRows } = this.#parts
    if (farRows === undefined || upcoming.length === 0) return () => {}
    const parts = { model, columns, facts: this.#facts, step: this.#step + 2 }
    const wanted = upcomingKeys(parts, upcoming)
    return () => {
      for (const { table, keys } of wanted) farRows.table(table)?.prefetch(keys)
    }
  }

  /** With the model as it is before the batch, though other threads may rank while it trains. */
  async #beginEvaluation(ranked: readonly Example[]): Promise<() => void> {
    const { mirror } = this.#parts
    const due = this.#evaluator.dueOf(ranked, this.#facts.catalogue.size)
    if (mirror === undefined || due.length === 0) return () => {}
    await mirror.prepare(this.#facts, this.#removed)
    return await this.#evaluator.begin(due, mirror.ranker)
  }

  #train(examples: readonly Example[], onRows: () => void): Promise<TrainResult> {
    const { model, tables, columns } = this.#parts
    const learning = { model, tables, columns, bias: this.#bias, guard: this.#guard }
    const { catalogue, time } = this.#facts
    this.#step += 1
    this.#trained += examples.length
    this.#acceptedAt = examples.at(-1)?.acceptedAt ?? this.#acceptedAt
    const stamp = { time, version: this.#step }
    this.#replayed = this.#reservoir?.draw(this.#facts, this.#step) ?? []
    return trainStep(learning, this.#taught, { catalogue, step: this.#step, stamp, onRows })
  }

  get #taught(): readonly Example[] {
    return this.#replayed.length === 0 ? this.#examples : [...this.#examples, ...this.#replayed]
  }

  /** The rows of deleted and evicted users and items go with them. */
  async #eraseRemoved(): Promise<void> {
    for (const { of, id, handle } of this.#removed) {
      const rows = of === 'item' ? this.model.itemRows(id) : this.model.userRows(id)
      await this.#erase(rows)
      if (of === 'item' && handle >= 0) this.#evaluator.forget(handle)
    }
  }

  async #erase(rows: readonly TableKeys[]): Promise<void> {
    for (const { table, keys } of rows) await present(this.tables.get(table), table).erase(keys)
  }

  /**
   * Each table by its own policy; what left, by table. A large one has more to do next time; and
   * what a command began goes on, also where nobody waits for it any more.
   */
  async #restrictTables(): Promise<ReadonlyMap<string, number>> {
    const evicted = new Map<string, number>()
    for (const [name, table] of this.tables) {
      const step = table.isRestricting ? table.restrictSome(stepRequest) : restrictWhenFull(table)
      const removed = keyCount(await step)
      if (removed > 0) evicted.set(name, removed)
    }
    return evicted
  }

  async #follow(
    result: TrainResult | undefined,
    evicted: ReadonlyMap<string, number>,
  ): Promise<void> {
    const { mirror } = this.#parts
    const { catalogue, time, interactions } = this.#facts
    const { maxExamples } = this.options.batch
    const evaluates = interactions + maxExamples >= this.options.evaluation.warmupEvents
    const effects = {
      examples: this.#taught,
      columns: result?.columns.items ?? [],
      touched: [...this.#touched],
      changed: this.#changed,
      removed: this.#removed.flatMap(({ of, handle }) =>
        of === 'item' && handle >= 0 ? handle : [],
      ),
      shrunk: [...evicted.keys()],
      time,
    }
    await mirror?.follow(catalogue, effects, evaluates)
  }

  #beginBatch(): void {
    this.#facts.release()
    this.#touched.clear()
    this.#examples = []
    this.#replayed = []
    this.#changed = []
    this.#removed = []
  }
}

const sum = (values: Iterable<number>): number => {
  let total = 0
  for (const value of values) total += value
  return total
}

function isThere(chunks: Iterable<Uint8Array>): boolean {
  const all = chunks[Symbol.iterator]()
  const isEmpty = all.next().done
  all.return?.()
  return isEmpty !== true
}

export const guardPart = 'guard'
const admissionPart = (name: string): string => `admission-${name}`
