/**
 * Decides whether a step may change the model. A batch is refused when its loss or a gradient is
 * not a finite number, or when the loss lies above a running band: mean + `deviations` standard
 * deviations + `margin`, both moving averages over the batches so far. What is refused is
 * quarantined by the caller; the model stays as it was.
 *
 * A refused loss still moves the average, cut off at the band's edge: when the stream has really
 * changed, the band follows and learning goes on after a few batches.
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
  /** Batches before the band is used. Default 100. */
  readonly warmupBatches: number
  /** This many refusals without an accepted batch between them are reported. Default 5. */
  readonly repeats: number
}

const defaultGuard: GuardOptions = {
  rate: 0.01,
  deviations: 8,
  margin: 1,
  warmupBatches: 100,
  repeats: 5,
}

/** What a step left behind; see `StepResult` of the model. */
export interface GuardedStep {
  readonly loss: number
  /** Sum of the weights behind the loss; 0: nothing was trained on and the loss means nothing. */
  readonly weight: number
  readonly gradientNorm: number
  readonly rowGradientNorm: number
}

type GuardReason = 'lossNotFinite' | 'gradientNotFinite' | 'lossAboveBand'

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

export class Guard {
  readonly options: GuardOptions
  #batches = 0
  #mean = 0
  #variance = 0
  #inRow = 0
  #trips = 0

  constructor(options: Partial<GuardOptions> = {}) {
    this.options = { ...defaultGuard, ...options }
  }

  /** Refusals since the beginning of the stream. */
  get trips(): number {
    return this.#trips
  }

  /** The highest loss that is accepted now. */
  get limit(): number {
    const { deviations, margin, warmupBatches } = this.options
    if (this.#batches < warmupBatches) return Infinity
    return this.#mean + deviations * Math.sqrt(this.#variance) + margin
  }

  /** The average loss of late. */
  get mean(): number {
    return this.#mean
  }

  /** Undefined: the step may be applied. Otherwise why not. */
  check(step: GuardedStep): GuardTrip | undefined {
    const { limit } = this
    const reason = reasonAgainst(step, limit)
    if (step.weight > 0 && Number.isFinite(step.loss)) this.#observe(Math.min(step.loss, limit))
    if (reason === undefined) {
      this.#inRow = 0
      return undefined
    }
    this.#trips += 1
    this.#inRow += 1
    const repeated = this.#inRow % this.options.repeats === 0
    return { reason, loss: step.loss, limit, inRow: this.#inRow, repeated }
  }

  serialize(writer: ByteWriter): void {
    writer.float64(this.#batches).float64(this.#mean).float64(this.#variance)
    writer.float64(this.#inRow).float64(this.#trips)
  }

  load(reader: ByteReader): void {
    this.#batches = reader.float64()
    this.#mean = reader.float64()
    this.#variance = reader.float64()
    this.#inRow = reader.float64()
    this.#trips = reader.float64()
  }

  /** Exponential moving mean and variance (West 1979), plain averages while there are few. */
  #observe(loss: number): void {
    this.#batches += 1
    const rate = Math.max(this.options.rate, 1 / this.#batches)
    const difference = loss - this.#mean
    this.#mean += rate * difference
    this.#variance = (1 - rate) * (this.#variance + rate * difference * difference)
  }
}

function reasonAgainst(step: GuardedStep, limit: number): GuardReason | undefined {
  if (!Number.isFinite(step.loss)) return 'lossNotFinite'
  if (!Number.isFinite(step.gradientNorm) || !Number.isFinite(step.rowGradientNorm)) {
    return 'gradientNotFinite'
  }
  return step.weight > 0 && step.loss > limit ? 'lossAboveBand' : undefined
}
