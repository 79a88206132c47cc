/**
 * One feature of one side for a batch: which entries each example has (compressed sparse rows),
 * what each counts, and where its pooled vector goes.
 */
import { unreachable } from '../base/assert.ts'
import type { Block } from '../kernels/arena.ts'
import { absent } from '../kernels/operands.ts'
import type { Address } from '../kernels/operands.ts'
import type { Allocator } from './dense-parameters.ts'
import type { FeaturePlan } from './plan.ts'
import type { TableLookup } from './table-lookup.ts'

/** How the rows of one example become one vector. */
export type Pooling = 'sum' | 'mean' | 'sqrtn' | 'max' | 'learned'

const bytesPerFloat = 4
const { fround, sqrt } = Math

export interface FeatureOfSide {
  readonly plan: FeaturePlan
  readonly lookup: TableLookup
  /** Where its learned weights start among the pooling weights, if it has any. */
  readonly firstWeight: number
}

/**
 * Invariants: bag b holds the entries `offsets[b]` to `offsets[b + 1]`, counted from `start`, the
 * first entry of this feature in its table's lookup. `weights` of them are set unless all are 1.
 */
export class FeatureBags {
  readonly plan: FeaturePlan
  readonly lookup: TableLookup
  readonly pooling: Pooling
  readonly offsets: Block<Int32Array>
  /** A weight per entry, and in a step its gradient; empty where every weight is 1. */
  readonly weights: Block<Float32Array>
  readonly weightGradients: Block<Float32Array>
  /** With learned weights: which of the model's an entry has, and the first of this feature's. */
  readonly weightIndices: Int32Array
  readonly firstWeight: number
  #start = 0
  #bags = 0

  constructor(allocator: Allocator, feature: FeatureOfSide, maxExamples: number) {
    this.plan = feature.plan
    this.lookup = feature.lookup
    this.firstWeight = feature.firstWeight
    this.pooling = poolingOf(feature.plan)
    const entries = maxExamples * feature.plan.maxKeys
    const weighted = this.pooling !== 'sum' && this.pooling !== 'max' ? entries : 0
    const learned = this.pooling === 'learned' ? entries : 0
    this.offsets = allocator.ints(maxExamples + 1)
    this.weights = allocator.floats(weighted)
    this.weightGradients = allocator.floats(learned)
    this.weightIndices = new Int32Array(learned)
  }

  get bags(): number {
    return this.#bags
  }

  get entries(): number {
    return this.offsets.view[this.#bags]
  }

  /** Where the rows' indices of its first entry lie. */
  get indices(): Address {
    return this.lookup.inverse.address + bytesPerFloat * this.#start
  }

  get weightsOrNone(): Address {
    return this.weights.view.length > 0 ? this.weights.address : absent
  }

  begin(): void {
    this.#start = this.lookup.entries
    this.#bags = 0
    this.offsets.view[0] = 0
  }

  /** Ends an example's bag of `entries` entries. */
  close(entries: number): void {
    const first = this.offsets.view[this.#bags]
    this.#bags += 1
    this.offsets.view[this.#bags] = first + entries
    if (this.weights.view.length === 0 || this.pooling === 'learned') return
    const weight = this.pooling === 'mean' ? 1 / entries : 1 / sqrt(entries)
    this.weights.view.fill(fround(weight), first, first + entries)
  }

  /** Fetches the learned weights as they are now. */
  takeWeights(learned: Float32Array): void {
    const { view } = this.weights
    const { weightIndices, entries } = this
    for (let e = 0; e < entries; e += 1) view[e] = learned[weightIndices[e]]
  }

  /** Adds the gradients of the entries' weights to those of the learned weights, in their order. */
  giveWeightGradients(gradients: Float32Array): void {
    const { view } = this.weightGradients
    const { weightIndices, entries } = this
    for (let e = 0; e < entries; e += 1) gradients[weightIndices[e]] += view[e]
  }
}

function poolingOf({ spec }: FeaturePlan): Pooling {
  switch (spec.kind) {
    case 'categories':
      return spec.combine
    case 'text':
      return 'mean'
    case 'sequence':
      return spec.weights
    case 'id':
    case 'numeric':
    case 'context':
    case 'gap':
      return 'sum'
    default:
      return unreachable(spec)
  }
}
