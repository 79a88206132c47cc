/**
 * One feature of one side for a batch: which entries each example has (compressed sparse rows),
 * what each counts, and where its pooled vector goes.
 */
import { unreachable } from '../base/assert.ts'
import { fnvPrime } from '../base/fnv.ts'
import { exp, ln } from '../base/math.ts'
import type { Block } from '../kernels/arena.ts'
import { absent } from '../kernels/operands.ts'
import type { Address } from '../kernels/operands.ts'
import type { Allocator } from './dense-parameters.ts'
import type { FeaturePlan } from './plan.ts'
import type { TableLookup } from './table-lookup.ts'

/** How the rows of one example become one vector. */
export type Pooling = 'sum' | 'mean' | 'sqrtn' | 'max' | 'learned' | 'attention'

const bytesPerFloat = 4
const { sqrt } = Math

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
  /** With learned weights: which of the model's an entry has (of attention, that of its place). */
  readonly weightIndices: Int32Array
  readonly firstWeight: number
  /** What each entry's weight is multiplied by; empty where that is always 1. */
  readonly #factors: Float64Array
  #start = 0
  #bags = 0

  constructor(allocator: Allocator, feature: FeatureOfSide, maxExamples: number) {
    this.plan = feature.plan
    this.lookup = feature.lookup
    this.firstWeight = feature.firstWeight
    this.pooling = poolingOf(feature.plan)
    const entries = maxExamples * feature.plan.maxKeys
    const isPlain = this.pooling === 'sum' || this.pooling === 'max'
    const weighted = isPlain && !hasFactors(feature.plan) ? 0 : entries
    const isLearned = this.pooling === 'learned' || this.pooling === 'attention'
    const learned = isLearned ? entries : 0
    this.#factors = new Float64Array(hasFactors(feature.plan) ? entries : 0)
    this.offsets = allocator.ints(maxExamples + 1)
    this.weights = allocator.floats(weighted)
    this.weightGradients = allocator.floats(learned)
    this.weightIndices = new Int32Array(learned)
  }

  /** Whether `setFactor` is to be called for each entry before its bag is closed. */
  get isWeighted(): boolean {
    return this.#factors.length > 0
  }

  get bags(): number {
    return this.#bags
  }

  get entries(): number {
    return this.offsets.view[this.#bags]
  }

  /** The entry that is staged next. */
  get nextEntry(): number {
    return this.lookup.entries - this.#start
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
    if (this.weightGradients.view.length > 0 || this.weights.view.length === 0) return
    if (this.#factors.length > 0) {
      this.#closeWeighted(first, first + entries)
      return
    }
    const weight = this.pooling === 'mean' ? 1 / entries : 1 / sqrt(entries)
    const { view } = this.weights
    // Some handful each: a loop is quicker than `fill`.
    for (let e = first; e < first + entries; e += 1) view[e] = weight
  }

  /** What the weight of the entry is multiplied by, before its bag is closed. */
  setFactor(entry: number, factor: number): void {
    this.#factors[entry] = factor
  }

  /** Means are of what has a factor above 0. */
  #closeWeighted(from: number, to: number): void {
    const { view } = this.weights
    const total = this.#total(from, to)
    for (let e = from; e < to; e += 1) view[e] = total > 0 ? this.#factors[e] / total : 0
  }

  /** What factors are divided by: 1, their sum, or the root of the sum of their squares. */
  #total(from: number, to: number): number {
    if (this.pooling === 'sum') return 1
    const isRoot = this.pooling === 'sqrtn'
    let total = 0
    for (let e = from; e < to; e += 1) total += this.#factors[e] * (isRoot ? this.#factors[e] : 1)
    return isRoot ? sqrt(total) : total
  }

  /** Of the rows in bag b, mixed into `h`; once the lookup's keys are distinct. */
  hash(b: number, h: number): number {
    const offsets = this.offsets.view
    const to = offsets[b + 1]
    let mixed = h
    for (let e = offsets[b]; e < to; e += 1) mixed = Math.imul(mixed ^ this.#row(e), fnvPrime)
    return Math.imul(mixed ^ (to - offsets[b]), fnvPrime)
  }

  /** Whether two bags hold the same rows in the same order; nothing is said of their weights. */
  isSame(a: number, b: number): boolean {
    const offsets = this.offsets.view
    const [first, second] = [offsets[a], offsets[b]]
    const entries = offsets[a + 1] - first
    if (entries !== offsets[b + 1] - second) return false
    for (let e = 0; e < entries; e += 1) {
      if (this.#row(first + e) !== this.#row(second + e)) return false
    }
    return true
  }

  /** Fetches the learned weights as they are now. */
  takeWeights(learned: Float32Array): void {
    const { view } = this.weights
    const { weightIndices, entries } = this
    const factors = this.#factors
    for (let e = 0; e < entries; e += 1) view[e] = learned[weightIndices[e]]
    if (factors.length === 0) return
    for (let e = 0; e < entries; e += 1) view[e] *= factors[e]
  }

  /** Adds the gradients of the entries' weights to those of the learned weights, in their order. */
  giveWeightGradients(gradients: Float32Array): void {
    const { view } = this.weightGradients
    const { weightIndices, entries } = this
    const factors = this.#factors
    for (let e = 0; e < entries; e += 1) {
      gradients[weightIndices[e]] += factors.length === 0 ? view[e] : view[e] * factors[e]
    }
  }

  /**
   * Weights by attention: a softmax over the entries of a bag, of the dot product of an entry's row
   * with the learned vector u, plus the learned number of its place, plus the log of its factor.
   */
  attend(learned: Float32Array): void {
    const { view } = this.weights
    const offsets = this.offsets.view
    for (let b = 0; b < this.#bags; b += 1) {
      const [from, to] = [offsets[b], offsets[b + 1]]
      let most = -Infinity
      for (let e = from; e < to; e += 1) {
        view[e] = this.#attention(learned, e)
        most = Math.max(most, view[e])
      }
      let total = 0
      for (let e = from; e < to; e += 1) {
        view[e] = most === -Infinity ? 0 : exp(view[e] - most)
        total += view[e]
      }
      const share = total > 0 ? 1 / total : 0
      for (let e = from; e < to; e += 1) view[e] *= share
    }
  }

  /**
   * Given the gradients by the weights, those of the softmax's arguments; by way of these adds to
   * the gradients of places, vector and rows. Of the rows by way of the weighted sum others take
   * care.
   */
  giveAttentionGradients(gradients: Float32Array, learned: Float32Array): void {
    const { lookup, weightIndices } = this
    const vector = this.#vector
    const { dim } = lookup.spec
    const [rows, rowGradients] = [lookup.rows.view, lookup.gradients.view]
    const offsets = this.offsets.view
    for (let b = 0; b < this.#bags; b += 1) {
      const mean = this.#weightedMean(offsets[b], offsets[b + 1])
      for (let e = offsets[b]; e < offsets[b + 1]; e += 1) {
        const slope = this.weights.view[e] * (this.weightGradients.view[e] - mean)
        const row = this.#row(e) * dim
        gradients[weightIndices[e]] += slope
        for (let d = 0; d < dim; d += 1) {
          gradients[vector + d] += slope * rows[row + d]
          rowGradients[row + d] += slope * learned[vector + d]
        }
      }
    }
  }

  /** Of the gradients by the weights of a bag. */
  #weightedMean(from: number, to: number): number {
    let mean = 0
    for (let e = from; e < to; e += 1) mean += this.weights.view[e] * this.weightGradients.view[e]
    return mean
  }

  #attention(learned: Float32Array, entry: number): number {
    const { lookup, weightIndices } = this
    const { dim } = lookup.spec
    const vector = this.#vector
    const row = this.#row(entry) * dim
    let sum = learned[weightIndices[entry]]
    for (let d = 0; d < dim; d += 1) sum += lookup.rows.view[row + d] * learned[vector + d]
    return this.#factors.length === 0 ? sum : sum + ln(this.#factors[entry])
  }

  #row(entry: number): number {
    return this.lookup.inverse.view[this.#start + entry]
  }

  /** Of attention: its vector stands behind a weight for each place in the sequence. */
  get #vector(): number {
    const { spec } = this.plan
    return this.firstWeight + (spec.kind === 'sequence' ? spec.length : 0)
  }
}

function hasFactors({ spec }: FeaturePlan): boolean {
  if (spec.kind === 'categories') return spec.weights !== undefined
  if (spec.kind !== 'sequence') return false
  const { typeWeights, ageHalfLifeMs, of } = spec
  return typeWeights !== undefined || ageHalfLifeMs !== undefined || of !== undefined
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
    case 'dense':
    case 'time':
      return 'sum'
    default:
      return unreachable(spec)
  }
}
