/**
 * One side's features as rows of numbers: the rows of each feature's keys pooled into its columns,
 * and the way back, from the gradients of these numbers to those of the rows and of the pooling's
 * own weights. Those are a learned bias where features are summed (for the popularity weight: what
 * it is before any offset), the weights of sequences, and what is measured of numbers.
 */
import { unreachable } from '../base/assert.ts'
import { ln } from '../base/math.ts'
import type { Random } from '../base/random.ts'
import { activationCode } from '../kernels/dense-kernels.ts'
import type { Address, Flag } from '../kernels/operands.ts'
import type { ThreadPool } from '../kernels/thread-pool.ts'
import type { Allocator, DenseParameters } from './dense-parameters.ts'
import type { SideInputs } from './encoder.ts'
import { FeatureBags } from './feature-bags.ts'
import { measuredFloats, PlainColumns } from './plain-columns.ts'
import type { FeaturePlan, SidePlan } from './plan.ts'
import type { TableLookup } from './table-lookup.ts'

const bytesPerFloat = 4
/** Bags of a feature below which one thread is quicker. */
const fewBags = 256
/** Of the learned bias of summed features at the start. */
const biasStd = 0.1

/**
 * Weights of a feature's entries: learned, one for each gap bucket and position; of attention, one
 * for each position and a vector; or what is measured of a number.
 */
function poolingWeights(feature: FeaturePlan): number {
  const { spec, width } = feature
  if (spec.kind !== 'sequence') return measuredFloats(feature)
  const { weights, length, gapBoundariesMs } = spec
  switch (weights) {
    case 'mean':
      return 0
    case 'learned':
      return (gapBoundariesMs.length + 1) * length
    case 'attention':
      return length + width
    default:
      return unreachable(weights)
  }
}

/** Nearer items count more from the start: 1 / position, of attention its logarithm. */
function initialWeight({ spec }: FeaturePlan, k: number): number {
  if (spec.kind !== 'sequence') return 0
  if (spec.weights === 'learned') return 1 / ((k % spec.length) + 1)
  return k < spec.length ? -ln(k + 1) : 0
}

/** Where a side's weights start among the pooling weights of the model. */
export interface PoolingLayout {
  readonly bias: number
  readonly features: readonly number[]
  readonly end: number
}

export function poolingLayout(plan: SidePlan, start: number): PoolingLayout {
  let at = start + (plan.combine === 'sum' ? plan.width : 0)
  const features: number[] = []
  for (const feature of plan.features) {
    features.push(at)
    at += poolingWeights(feature)
  }
  return { bias: start, features, end: at }
}

export interface PooledSideOptions {
  readonly plan: SidePlan
  readonly layout: PoolingLayout
  readonly lookups: readonly TableLookup[]
  readonly inputs: { readonly address: Address; readonly view: Float32Array }
  readonly maxExamples: number
}

export class PooledSide implements SideInputs {
  readonly plan: SidePlan
  readonly bags: readonly FeatureBags[]
  readonly plain: PlainColumns
  readonly inputs: Float32Array
  readonly #layout: PoolingLayout
  readonly #parameters: DenseParameters
  readonly #inputs: Address

  constructor(allocator: Allocator, parameters: DenseParameters, options: PooledSideOptions) {
    const { plan, layout, lookups, inputs, maxExamples } = options
    this.plan = plan
    this.inputs = inputs.view
    this.#layout = layout
    this.#parameters = parameters
    this.#inputs = inputs.address
    const memory = { inputs: inputs.view, weights: parameters.values.view }
    this.plain = new PlainColumns(plan, memory, layout.features, maxExamples)
    this.bags = plan.features.flatMap((feature, i) => {
      const lookup = lookups[feature.table]
      if (feature.table < 0 || lookup === undefined) return []
      const firstWeight = layout.features[i] ?? 0
      return [new FeatureBags(allocator, { plan: feature, lookup, firstWeight }, maxExamples)]
    })
  }

  /** Floats of rows that the batch pools. */
  get pooledFloats(): number {
    let floats = 0
    for (const { entries, plan } of this.bags) floats += entries * plan.width
    return floats
  }

  /** `bias`: the learned bias' start; by default small random numbers. */
  initialize(random: Random, bias?: number): void {
    const values = this.#parameters.values.view
    const { plan } = this
    for (let j = 0; plan.combine === 'sum' && j < plan.width; j += 1) {
      values[this.#layout.bias + j] = bias ?? biasStd * random.normal()
    }
    for (const [i, feature] of plan.features.entries()) {
      const first = this.#layout.features[i] ?? 0
      for (let k = 0; k < poolingWeights(feature); k += 1) {
        values[first + k] = initialWeight(feature, k)
      }
    }
  }

  /** Fills the columns of n examples from the rows now in the lookups. */
  forward(pool: ThreadPool, n: number): void {
    const { plan } = this
    const summed = plan.combine === 'sum'
    if (summed && this.bags.length === 0) this.inputs.fill(0, 0, n * plan.width)
    for (const [i, bag] of this.bags.entries()) {
      if (bag.pooling === 'learned') bag.takeWeights(this.#parameters.values.view)
      if (bag.pooling === 'attention') bag.attend(this.#parameters.values.view)
      this.#pool(pool, bag, summed && i > 0 ? 1 : 0)
    }
    if (!summed) return
    const [x, bias] = [this.#inputs, this.#at('values')]
    pool.kernels.biasActivation(x, x, bias, plan.width, activationCode.linear, 0, n)
  }

  /** Adds to the rows' gradients; sets those of this side's pooling weights. */
  backward(pool: ThreadPool, gradients: Address, n: number): void {
    const { plan } = this
    for (const bag of this.bags) this.#unpool(pool, bag, gradients)
    if (plan.combine !== 'sum') return
    const bias = this.#at('gradients')
    pool.kernels.sumColumns(bias, gradients, n, plan.width, 0, 0, plan.width)
  }

  #at(which: 'values' | 'gradients'): Address {
    return this.#parameters[which].address + this.#layout.bias * bytesPerFloat
  }

  #pool(pool: ThreadPool, bag: FeatureBags, accumulate: Flag): void {
    const { plan, lookup, offsets, indices, bags } = bag
    const out = this.#inputs + plan.column * bytesPerFloat
    const stride = this.plan.width
    const rows = lookup.rows.address
    const grain = fewBags
    const { width } = plan
    const { address } = offsets
    if (bag.pooling === 'max') {
      pool.run('maxBags', [out, stride, rows, width, address, indices, accumulate], bags, grain)
    } else {
      const how = [bag.weightsOrNone, accumulate] as const
      pool.run('poolBags', [out, stride, rows, width, address, indices, ...how], bags, grain)
    }
  }

  #unpool(pool: ThreadPool, bag: FeatureBags, gradients: Address): void {
    const { plan, lookup, offsets, indices, bags } = bag
    const from = gradients + plan.column * bytesPerFloat
    const stride = this.plan.width
    const { width } = plan
    // Split by columns: worth it where there are many bags, whatever the width.
    const grain = bags < fewBags ? width : 16
    const into = lookup.gradients.address
    const rows = lookup.rows.address
    const list = [stride, width, offsets.address, indices] as const
    if (bag.pooling === 'max') {
      pool.run('maxBagsBackward', [into, rows, from, ...list, bags], width, grain)
      return
    }
    pool.run('poolBagsBackward', [into, from, ...list, bag.weightsOrNone, bags], width, grain)
    if (bag.pooling !== 'learned' && bag.pooling !== 'attention') return
    const weights = bag.weightGradients.address
    pool.run('bagWeightGradients', [weights, rows, from, ...list], bags, fewBags)
    const { gradients: learned, values } = this.#parameters
    if (bag.pooling === 'learned') bag.giveWeightGradients(learned.view)
    else bag.giveAttentionGradients(learned.view, values.view)
  }
}
