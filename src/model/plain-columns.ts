/**
 * The columns of a side's input that no table gives: numbers, vectors and times as they come or by
 * what the stream has shown of them. What is measured of the stream lies among the weights, where
 * it is saved and sent like them; no gradient moves it, `measure` does, after a batch was accepted.
 */
import type { FeatureValue } from '../base/features.ts'
import { cosTurns, sinTurns } from '../base/math.ts'
import { numberOf, transformed } from './feature-keys.ts'
import { bucketsOf, type FeaturePlan, type Numeric, type SidePlan } from './plan.ts'
import type { FeatureSpec } from './spec.ts'
import {
  bucketIn,
  measureValues,
  statisticsOf,
  statisticsSize,
  type Statistics,
} from './streaming-statistics.ts'

/** How a side's examples are read. */
export interface ExampleReader<Example> {
  readonly field: (example: Example, name: string) => FeatureValue | undefined
  /** Epoch ms; absent: examples have none. */
  readonly time?: (example: Example) => number
}

/** Floats among the weights that hold what is measured of a feature. */
export function measuredFloats({ spec, table }: FeaturePlan): number {
  if (spec.kind !== 'numeric' || table >= 0) return 0
  if (spec.transform === 'zscore') return statisticsSize(1)
  return spec.transform === 'quantile' ? statisticsSize(bucketsOf(spec)) : 0
}

/** A feature without a table, and where it goes. */
interface PlainFeature {
  readonly spec: FeatureSpec
  readonly column: number
  readonly width: number
  /** Where its statistics begin among the weights; -1: it has none. */
  readonly firstStatistic: number
  /** The numbers of the batch, without the missing ones. */
  readonly values: Float64Array
}

export class PlainColumns {
  readonly #features: readonly PlainFeature[]
  readonly #inputs: Float32Array
  readonly #stride: number
  readonly #weights: Float32Array
  /** Of each feature: how many numbers the batch has. */
  readonly #counts: Int32Array

  /** `firstWeights`: of each feature of the plan, where its pooling weights begin in `weights`. */
  constructor(
    plan: SidePlan,
    { inputs, weights }: { readonly inputs: Float32Array; readonly weights: Float32Array },
    firstWeights: readonly number[],
    maxExamples: number,
  ) {
    this.#inputs = inputs
    this.#stride = plan.width
    this.#weights = weights
    this.#features = plan.features.flatMap((feature, i) => {
      const { spec, table, column, width } = feature
      if (table >= 0) return []
      const isMeasured = measuredFloats(feature) > 0
      const firstStatistic = isMeasured ? firstWeights[i] : -1
      const values = new Float64Array(isMeasured ? maxExamples : 0)
      return [{ spec, column, width, firstStatistic, values }]
    })
    this.#counts = new Int32Array(this.#features.length)
  }

  /** Whether anything is measured. */
  get measures(): boolean {
    return this.#features.some(({ firstStatistic }) => firstStatistic >= 0)
  }

  write<Example>(examples: readonly Example[], reader: ExampleReader<Example>): void {
    this.#counts.fill(0)
    for (const [f, feature] of this.#features.entries()) {
      for (let i = 0; i < examples.length; i += 1) {
        const at = i * this.#stride + feature.column
        this.#inputs.fill(0, at, at + feature.width)
        this.#writeOne(f, at, examples[i], reader)
      }
    }
  }

  /** Takes in the numbers that were written last, once. */
  measure(): void {
    for (const [f, feature] of this.#features.entries()) {
      const count = this.#counts[f]
      if (count > 0) measureValues(this.#statistics(feature), feature.values.subarray(0, count))
    }
    this.#counts.fill(0)
  }

  #writeOne<Example>(
    f: number,
    at: number,
    example: Example,
    reader: ExampleReader<Example>,
  ): void {
    const { spec } = this.#features[f]
    if (spec.kind === 'numeric') {
      this.#writeNumber(f, spec, { at, value: numberOf(reader.field(example, spec.field)) })
    } else if (spec.kind === 'dense') {
      this.#writeVector(spec.dim, at, reader.field(example, spec.field))
    } else if (spec.kind === 'time') {
      const { field } = spec
      const time =
        field === undefined ? reader.time?.(example) : numberOf(reader.field(example, field))
      this.#writeTime(spec, at, time)
    }
  }

  #writeNumber(
    f: number,
    spec: Numeric,
    { at, value }: { readonly at: number; readonly value: number | undefined },
  ): void {
    const inputs = this.#inputs
    const feature = this.#features[f]
    if (value === undefined) {
      inputs[at + feature.width - 1] = 1
      return
    }
    if (feature.firstStatistic < 0) {
      inputs[at] = transformed(value, spec)
      return
    }
    feature.values[this.#counts[f]] = value
    this.#counts[f] += 1
    const statistics = this.#statistics(feature)
    if (spec.transform === 'quantile') inputs[at + bucketIn(statistics, value)] = 1
    else inputs[at] = (standing(statistics, value) - spec.offset) * spec.scale
  }

  /** As long as it is declared; anything else is none. */
  #writeVector(dim: number, at: number, value: FeatureValue | undefined): void {
    const inputs = this.#inputs
    const isVector = Array.isArray(value) && value.length === dim
    if (!isVector || !value.every((number) => Number.isFinite(number))) {
      inputs[at + dim] = 1
      return
    }
    for (let j = 0; j < dim; j += 1) inputs[at + j] = Number(value[j])
  }

  #writeTime(
    { periodsMs, harmonics }: Extract<FeatureSpec, { kind: 'time' }>,
    at: number,
    time: number | undefined,
  ): void {
    const inputs = this.#inputs
    let next = at
    if (time === undefined) {
      inputs[at + 2 * periodsMs.length * harmonics] = 1
      return
    }
    for (const period of periodsMs) {
      for (let k = 1; k <= harmonics; k += 1) {
        const turns = (k * (time % period)) / period
        inputs[next] = sinTurns(turns)
        inputs[next + 1] = cosTurns(turns)
        next += 2
      }
    }
  }

  #statistics({ spec, firstStatistic }: PlainFeature): Statistics {
    const buckets = spec.kind === 'numeric' && spec.transform === 'quantile' ? bucketsOf(spec) : 1
    return statisticsOf(this.#weights, firstStatistic, buckets)
  }
}

/** Deviations from the mean beyond which a number says nothing more. */
const mostDeviations = 10

function standing({ count, mean, variance }: Statistics, value: number): number {
  if (count[0] < 2 || variance[0] <= 0) return 0
  const score = (value - mean[0]) / Math.sqrt(variance[0])
  return Math.min(mostDeviations, Math.max(-mostDeviations, score))
}
