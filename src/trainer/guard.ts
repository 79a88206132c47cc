/**
 * Decides whether a step may change the model. A batch is refused when its loss, a gradient or a
 * row is not a finite number; when the loss lies above a running band: mean + `deviations` standard
 * deviations + `margin`, both moving averages over the accepted batches; or when a row is many
 * times as long as the longest ones use to be. What is refused is quarantined by the caller; the
 * model stays as it was.
 *
 * Refusals in a row, and rows that are broken, ask for a rollback: the trainer's, to the last
 * checkpoint that was good (`rollback.ts`). If the batches after it are refused, too, it is the
 * stream that is amiss: they are held off, without another rollback. When that has lasted for
 * `holdMs` of the stream's time, or `holdBatches`, the stream is taken to have really changed: the
 * band begins anew, and learning goes on.
 */
import type { ByteReader, ByteWriter } from '../base/bytes.ts'

export interface GuardOptions {
  /** Weight of the newest batch in the averages. Default .01. */
  readonly rate: number
  /** Standard deviations above the mean that are still accepted. Default 8. */
  readonly deviations: number
  /**
   * And this much more, in nats: keeps a quiet stretch from making the band too tight. Default 1.
   */
  readonly margin: number
  /** Batches before the band is used, and before rows are measured. Default 100. */
  readonly warmupBatches: number
  /** So many refusals in a row, or batches with broken rows, ask for a rollback. Default 5. */
  readonly repeats: number
  /** A row this many times as long as the longest of late, and as 1, is broken. Default 16. */
  readonly rowNormFactor: number
  /** Losses above the band are held off for so long, in event time. Default 2 hours. */
  readonly holdMs: number
  /** Or for so many batches. Default 10,000. */
  readonly holdBatches: number
}

const defaultGuard: GuardOptions = {
  rate: 0.01,
  deviations: 8,
  margin: 1,
  warmupBatches: 100,
  repeats: 5,
  rowNormFactor: 16,
  holdMs: 7_200_000,
  holdBatches: 10_000,
}

/** What a step left behind; see `StepResult` of the model. */
export interface GuardedStep {
  readonly loss: number
  /** Sum of the weights behind the loss; 0: nothing was trained on and the loss means nothing. */
  readonly weight: number
  readonly gradientNorm: number
  readonly rowGradientNorm: number
  /** L2 norm of the longest row of each table that the step read. */
  readonly rowNorms: ArrayLike<number>
}

type GuardReason =
  | 'rowNotFinite'
  | 'rowsExploded'
  | 'lossNotFinite'
  | 'gradientNotFinite'
  | 'lossAboveBand'

export interface GuardTrip {
  readonly reason: GuardReason
  readonly loss: number
  /** The highest loss that would have been accepted. */
  readonly limit: number
  /** Refusals in a row, this one included. */
  readonly inRow: number
  /** Every `repeats` refusals in a row: worth waking somebody. */
  readonly repeated: boolean
}

/** Invariant: averages and longest rows are of accepted batches only. */
export class Guard {
  readonly options: GuardOptions
  #batches = 0
  #mean = 0
  #variance = 0
  #inRow = 0
  #trips = 0
  /** Event time of the first of the refusals in a row. */
  #refusedSince = 0
  /** Batches with broken rows since the last rollback. */
  #broken = 0
  #wantsRollback = false
  /** There has been a rollback, and no batch was accepted since. */
  #isHolding = false
  #rollbacks = 0
  #restarts = 0
  /** By table: moving average of the longest row that a batch reads. */
  #rowNorms: number[] = []

  constructor(options: Partial<GuardOptions> = {}) {
    this.options = { ...defaultGuard, ...options }
  }

  /** Refusals since the beginning of the stream. */
  get trips(): number {
    return this.#trips
  }

  /** Refusals since the last accepted batch. */
  get inRow(): number {
    return this.#inRow
  }

  /** Rollbacks since the beginning of the stream. */
  get rollbacks(): number {
    return this.#rollbacks
  }

  /** How often the stream was taken to have changed. */
  get restarts(): number {
    return this.#restarts
  }

  /** Until `rolledBack` or `cannotRollBack`. */
  get wantsRollback(): boolean {
    return this.#wantsRollback
  }

  /** The highest loss that is accepted now. */
  get limit(): number {
    const { deviations, margin, warmupBatches } = this.options
    if (this.#batches < warmupBatches) return Infinity
    return this.#mean + deviations * Math.sqrt(this.#variance) + margin
  }

  /** The longest row of a table that is accepted now, by its place in the model. */
  rowLimit(table: number): number {
    const { rowNormFactor, warmupBatches } = this.options
    if (this.#batches < warmupBatches) return Infinity
    return rowNormFactor * Math.max(1, this.#rowNorms[table] ?? 0)
  }

  /** The average loss of late. */
  get mean(): number {
    return this.#mean
  }

  /** Undefined: the step may be applied. Otherwise why not. `time`: of the stream, epoch ms. */
  check(step: GuardedStep, time = 0): GuardTrip | undefined {
    const reason = this.#reasonAgainst(step)
    const isOver = reason === 'lossAboveBand' && this.#hasHeldEnough(time)
    if (isOver) this.#restart()
    if (reason !== undefined && !isOver) return this.#refuse(reason, step, time)
    this.#accept(step)
    return undefined
  }

  /** The model is that of a good checkpoint again; `band`: what `serialize` wrote into that. */
  rolledBack(band: ByteReader): void {
    this.#loadBand(band)
    this.#rollbacks += 1
    this.#hold()
  }

  /** There is no way back: nothing is asked for until a batch was accepted. */
  cannotRollBack(): void {
    this.#hold()
  }

  serialize(writer: ByteWriter): void {
    writer.float64(this.#batches).float64(this.#mean).float64(this.#variance)
    writer.array(Float64Array.from(this.#rowNorms))
    writer.float64(this.#inRow).float64(this.#trips).float64(this.#refusedSince)
    writer.float64(this.#broken).float64(this.#rollbacks).float64(this.#restarts)
    writer.uint8(this.#wantsRollback ? 1 : 0).uint8(this.#isHolding ? 1 : 0)
  }

  load(reader: ByteReader): void {
    this.#loadBand(reader)
    this.#inRow = reader.float64()
    this.#trips = reader.float64()
    this.#refusedSince = reader.float64()
    this.#broken = reader.float64()
    this.#rollbacks = reader.float64()
    this.#restarts = reader.float64()
    this.#wantsRollback = reader.uint8() === 1
    this.#isHolding = reader.uint8() === 1
  }

  #loadBand(reader: ByteReader): void {
    this.#batches = reader.float64()
    this.#mean = reader.float64()
    this.#variance = reader.float64()
    this.#rowNorms = [...new Float64Array(reader.array())]
  }

  #hold(): void {
    this.#wantsRollback = false
    this.#isHolding = true
    this.#broken = 0
  }

  #accept({ loss, weight, rowNorms }: GuardedStep): void {
    this.#inRow = 0
    this.#isHolding = false
    if (weight === 0) return
    this.#observe(loss)
    const rate = this.#rate
    for (let table = 0; table < rowNorms.length; table += 1) {
      const before = this.#rowNorms[table] ?? 0
      // A table that the batch did not read says nothing.
      const longest = rowNorms[table] === 0 ? before : rowNorms[table]
      this.#rowNorms[table] = before + rate * (longest - before)
    }
  }

  #refuse(reason: GuardReason, step: GuardedStep, time: number): GuardTrip {
    const { repeats } = this.options
    if (this.#inRow === 0) this.#refusedSince = time
    this.#trips += 1
    this.#inRow += 1
    const isBroken = reason === 'rowNotFinite' || reason === 'rowsExploded'
    if (isBroken) this.#broken += 1
    const repeated = this.#inRow % repeats === 0
    if ((repeated || this.#broken >= repeats) && !this.#isHolding) this.#wantsRollback = true
    return { reason, loss: step.loss, limit: this.limit, inRow: this.#inRow, repeated }
  }

  #hasHeldEnough(time: number): boolean {
    if (this.#inRow === 0) return false
    const { holdMs, holdBatches } = this.options
    return time - this.#refusedSince >= holdMs || this.#inRow >= holdBatches
  }

  /** The stream has changed: what its losses are is found out anew. */
  #restart(): void {
    this.#restarts += 1
    this.#batches = 0
    this.#mean = 0
    this.#variance = 0
  }

  #reasonAgainst(step: GuardedStep): GuardReason | undefined {
    const { rowNorms, loss, gradientNorm, rowGradientNorm, weight } = step
    for (let table = 0; table < rowNorms.length; table += 1) {
      if (!Number.isFinite(rowNorms[table])) return 'rowNotFinite'
      if (rowNorms[table] > this.rowLimit(table)) return 'rowsExploded'
    }
    if (!Number.isFinite(loss)) return 'lossNotFinite'
    if (!Number.isFinite(gradientNorm) || !Number.isFinite(rowGradientNorm)) {
      return 'gradientNotFinite'
    }
    return weight > 0 && loss > this.limit ? 'lossAboveBand' : undefined
  }

  /** Plain averages while there are few batches. */
  get #rate(): number {
    return Math.max(this.options.rate, 1 / this.#batches)
  }

  /** Exponential moving mean and variance (West 1979). */
  #observe(loss: number): void {
    this.#batches += 1
    const rate = this.#rate
    const difference = loss - this.#mean
    this.#mean += rate * difference
    this.#variance = (1 - rate) * (this.#variance + rate * difference * difference)
  }
}
