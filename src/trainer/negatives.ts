/**
 * The columns of a batch's scores: the distinct items that its examples are about, then distinct
 * items drawn from the active catalogue; and everything that follows from the choice: which column
 * is whose positive, what each column's score is corrected by, which pairs are no negatives.
 *
 * Corrections make a softmax over a sample stand for one over the catalogue: minus the log of how
 * likely a column was to be here. `inclusion`: the probability to be drawn at least once; 1 for
 * the targets of the batch. `logq` (Yi et al. 2019; Bengio and Senecal 2008): the probability per
 * draw, of the mixture that columns come from, B examples distributed as the stream (estimated)
 * and N draws; a column that came m times counts m times, so log m is added, but not for
 * its own queries.
 */
import { assert, unreachable } from '../base/assert.ts'
import { ln } from '../base/math.ts'
import type { LossSpec } from '../model/spec.ts'
import type { Example, Item } from '../stream/example.ts'
import type { Catalogue } from '../stream/facts/catalogue.ts'
import { NegativeDraws } from './negative-draws.ts'
import type { SamplingBias } from './sampling-bias.ts'

/** What the sampler needs of the catalogue. */
export type ActiveItems = Pick<Catalogue, 'activeSize' | 'active' | 'byHandle' | 'interactions'>

/** Of B examples; C columns. Arrays are views, valid until the next batch. */
export interface Columns {
  readonly items: readonly Item[]
  /** Handles of the same (C). */
  readonly handles: Int32Array
  /** How many of the columns, the first, are items of the examples. */
  readonly exampleItems: number
  readonly targets: Int32Array
  readonly weights: Float32Array
  readonly corrections: Float32Array
  readonly targetCorrections: Float32Array
  readonly masked: Int32Array
  readonly pulls: Int32Array
  /** Of examples that speak against their item; absent where the model knows none. */
  readonly pushes?: { readonly pairs: Int32Array; readonly weights: Float32Array }
}

export interface ColumnOptions {
  readonly loss: LossSpec
  readonly seed: number
  readonly maxExamples: number
  readonly handleCapacity: number
}

/** How this batch's columns were chosen: B examples and N draws. */
interface Sampling {
  readonly catalogue: ActiveItems
  readonly bias: SamplingBias
  readonly streamed: number
  readonly draws: number
}

const leastInclusion = 1e-4
const leastProbability = 1e-6

/**
 * Everything is reserved at start but the list of masked pairs, which grows to what batches need.
 * Invariant between batches: `#columnOf` is 0 everywhere (it holds column + 1).
 */
export class ColumnBuilder {
  readonly #options: ColumnOptions
  readonly #columnOf: Int32Array
  readonly #handles: Int32Array
  /** How often each column came: with an example, and drawn. */
  readonly #targetCount: Int32Array
  readonly #drawCount: Int32Array
  /** 1: the batch saw the item's first interaction; it is pulled and is nobody's negative. */
  readonly #isPulled: Uint8Array
  readonly #targets: Int32Array
  readonly #weights: Float32Array
  readonly #corrections: Float32Array
  readonly #targetCorrections: Float32Array
  /** Of each column, where it is the query's own positive. */
  readonly #ownCorrections: Float64Array
  readonly #pulls: Int32Array
  readonly #pushes: Int32Array
  readonly #pushWeights: Float32Array
  readonly #draws: NegativeDraws
  #pushed = 0
  #masked = new Int32Array(1024)
  #items: Item[] = []

  constructor(options: ColumnOptions) {
    const { maxExamples, handleCapacity, loss, seed } = options
    const columns = maxExamples + loss.extraNegatives
    this.#options = options
    this.#columnOf = new Int32Array(handleCapacity)
    this.#handles = new Int32Array(columns)
    this.#targetCount = new Int32Array(columns)
    this.#drawCount = new Int32Array(columns)
    this.#isPulled = new Uint8Array(columns)
    this.#corrections = new Float32Array(columns)
    this.#ownCorrections = new Float64Array(columns)
    this.#targets = new Int32Array(maxExamples)
    this.#weights = new Float32Array(maxExamples)
    this.#targetCorrections = new Float32Array(maxExamples)
    this.#pulls = new Int32Array(2 * maxExamples)
    const mostPushes = loss.negativeTypes === undefined ? 0 : maxExamples
    this.#pushes = new Int32Array(2 * mostPushes)
    this.#pushWeights = new Float32Array(mostPushes)
    const { extraNegatives: count, negativesAlpha: alpha = 0 } = loss
    this.#draws = new NegativeDraws({ count, alpha, seed, handleCapacity })
  }

  /** Observes the targets in the estimator, then chooses and corrects. `step` counts batches. */
  build(
    examples: readonly Example[],
    catalogue: ActiveItems,
    bias: SamplingBias,
    step: number,
  ): Columns {
    assert(examples.length <= this.#options.maxExamples, 'no more examples than were reserved')
    this.#items = []
    const pulls = this.#takeTargets(examples, catalogue, bias)
    const exampleItems = this.#items.length
    this.#draw(catalogue, step)
    const count = this.#items.length
    const batch = examples.length
    this.#correct(batch, this.#sampling(batch, catalogue, bias))
    const masked = this.#options.loss.maskSeen ? this.#maskSeen(examples) : 0
    for (let c = 0; c < count; c += 1) this.#columnOf[this.#handles[c]] = 0
    return {
      items: this.#items,
      handles: this.#handles.subarray(0, count),
      exampleItems,
      targets: this.#targets.subarray(0, batch),
      weights: this.#weights.subarray(0, batch),
      corrections: this.#corrections.subarray(0, count),
      targetCorrections: this.#targetCorrections.subarray(0, batch),
      masked: this.#masked.subarray(0, masked),
      pulls: this.#pulls.subarray(0, pulls),
      ...(this.#pushed > 0 && { pushes: this.#pushesOf() }),
    }
  }

  #pushesOf(): NonNullable<Columns['pushes']> {
    const pairs = this.#pushes.subarray(0, 2 * this.#pushed)
    return { pairs, weights: this.#pushWeights.subarray(0, this.#pushed) }
  }

  /** The example speaks against its item, with this weight. */
  #push(example: number, column: number, weight: number): void {
    this.#targets[example] = -1
    this.#weights[example] = 0
    if (weight === 0) return
    this.#pushes.set([example, column], 2 * this.#pushed)
    this.#pushWeights[this.#pushed] = weight
    this.#pushed += 1
  }

  /** A column for each example's item, its weight and role; returns the length of the pulls. */
  #takeTargets(examples: readonly Example[], catalogue: ActiveItems, bias: SamplingBias): number {
    const { loss } = this.#options
    let pulls = 0
    this.#pushed = 0
    for (let b = 0; b < examples.length; b += 1) {
      const { item, isRepeat, itemInteractions } = examples[b]
      const column = this.#column(catalogue.byHandle(item.handle) ?? item)
      const against = weightAgainst(examples[b], loss)
      if (against !== undefined) {
        this.#push(b, column, against)
        continue
      }
      if (itemInteractions === 0 && loss.newItemPull > 0) this.#isPulled[column] = 1
      const weight = weightOf(examples[b], loss)
      const isPulled = this.#isPulled[column] === 1
      const isKnown = loss.maskSeen && isRepeat
      const isTrained = canTeach(weight, isPulled) && !isKnown
      this.#targets[b] = isTrained ? column : -1
      this.#weights[b] = isTrained ? weight : 0
      if (weight > 0 && isPulled && !isRepeat) {
        this.#pulls[pulls] = b
        this.#pulls[pulls + 1] = column
        pulls += 2
      }
      if (canTeach(weight, isPulled)) {
        this.#targetCount[column] += 1
        bias.observe(item.handle)
      }
    }
    return pulls
  }

  /** The items that the batch of this step would draw from the catalogue as it is. */
  *drawn(catalogue: ActiveItems, step: number): Generator<Item | undefined> {
    for (const handle of this.#draws.handles(catalogue, step)) yield catalogue.byHandle(handle)
  }

  #draw(catalogue: ActiveItems, step: number): void {
    for (const handle of this.#draws.handles(catalogue, step)) {
      const known = this.#columnOf[handle] - 1
      const column = known < 0 ? this.#append(catalogue.byHandle(handle)) : known
      if (this.#isPulled[column] === 0) this.#drawCount[column] += 1
    }
  }

  /** The item's column, a new one if it has none yet. */
  #column(item: Item): number {
    const known = this.#columnOf[item.handle] - 1
    return known < 0 ? this.#append(item) : known
  }

  #append(item: Item | undefined): number {
    assert(item !== undefined, 'an active item is in the catalogue')
    const { handle } = item
    const column = this.#items.length
    this.#items.push(item)
    this.#handles[column] = handle
    this.#targetCount[column] = 0
    this.#drawCount[column] = 0
    this.#isPulled[column] = 0
    this.#columnOf[handle] = column + 1
    return column
  }

  #correct(batch: number, sampling: Sampling): void {
    const { correction, inBatch } = this.#options.loss
    // Most columns have the probability of the one before.
    let last = 1
    let lastLog = 0
    for (let c = 0; c < this.#items.length; c += 1) {
      const fromBatch = inBatch ? this.#targetCount[c] : 0
      const came = fromBatch + this.#drawCount[c]
      const probability = this.#probability(c, sampling)
      if (probability !== last) lastLog = ln(probability)
      last = probability
      this.#ownCorrections[c] = correction === 'inclusion' ? 0 : -lastLog
      const multiplicity = correction === 'inclusion' ? 1 : came
      // What did not come as a negative is none: it is here for its own query or to be pulled.
      this.#corrections[c] = multiplicity === 1 ? -lastLog : ln(multiplicity) - lastLog
      if (came === 0) this.#corrections[c] = -Infinity
    }
    for (let b = 0; b < batch; b += 1) {
      const target = this.#targets[b]
      this.#targetCorrections[b] = target < 0 ? 0 : this.#ownCorrections[target]
    }
  }

  #sampling(batch: number, catalogue: ActiveItems, bias: SamplingBias): Sampling {
    const { extraNegatives, inBatch } = this.#options.loss
    const draws = catalogue.activeSize === 0 ? 0 : extraNegatives
    return { catalogue, bias, streamed: inBatch ? batch : 0, draws }
  }

  /** How likely it was that the column is here, as the kind of correction has it. */
  #probability(column: number, sampling: Sampling): number {
    const { correction, inBatch } = this.#options.loss
    const { catalogue, bias, streamed, draws } = sampling
    const handle = this.#handles[column]
    switch (correction) {
      case 'none':
        return 1
      case 'inclusion':
        if (inBatch && this.#targetCount[column] > 0) return 1
        return clip(this.#draws.inclusion(catalogue, handle), leastInclusion)
      case 'logq': {
        const perDraw = this.#draws.probability(catalogue, handle)
        const expected = streamed * bias.probability(handle) + draws * perDraw
        return clip(expected / Math.max(1, streamed + draws), leastProbability)
      }
      default:
        return unreachable(correction)
    }
  }

  /** Pairs of a trained query and a column that its user has seen; returns the list's length. */
  #maskSeen(examples: readonly Example[]): number {
    let length = 0
    for (let b = 0; b < examples.length; b += 1) {
      const target = this.#targets[b]
      if (target < 0) continue
      const { seen } = examples[b]
      if (length + 2 * seen.length > this.#masked.length) this.#growMasked(2 * seen.length)
      for (let s = 0; s < seen.length; s += 1) {
        const column = this.#columnOf[seen[s]] - 1
        if (column < 0 || column === target) continue
        this.#masked[length] = b
        this.#masked[length + 1] = column
        length += 2
      }
    }
    return length
  }

  #growMasked(by: number): void {
    const grown = new Int32Array(2 * this.#masked.length + by)
    grown.set(this.#masked)
    this.#masked = grown
  }
}

/** By type, times the event's own weight. A type may be named like anything, `toString` too. */
function weightOf({ weight, type }: Example, { typeWeights }: LossSpec): number {
  const name = Object.hasOwn(typeWeights, type) ? type : 'other'
  return weight * (typeWeights[name] ?? 1)
}

/** Of an example whose type speaks against its item, times the event's own; else undefined. */
function weightAgainst({ weight, type }: Example, loss: LossSpec): number | undefined {
  const { negativeTypes } = loss
  if (negativeTypes === undefined || !Object.hasOwn(negativeTypes, type)) return undefined
  return weight * negativeTypes[type]
}

/** Those that do not speak against their item. */
export function positives(
  examples: readonly Example[],
  { loss }: { readonly loss: LossSpec },
): readonly Example[] {
  const { negativeTypes } = loss
  if (negativeTypes === undefined) return examples
  return examples.filter(({ type }) => !Object.hasOwn(negativeTypes, type))
}

const canTeach = (weight: number, isPulled: boolean): boolean => weight > 0 && !isPulled

const clip = (probability: number, least: number): number =>
  Math.min(1, Math.max(least, probability))
