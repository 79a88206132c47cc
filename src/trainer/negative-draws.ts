/**
 * Draws of active items, the negatives of a batch beside its targets: uniform, or by a power of how
 * often an item was interacted with. Seeded by (seed, step), so that a restart at any step draws
 * the same; by a power they take one pass over the active catalogue for each batch.
 */
import { exp2, ln } from '../base/math.ts'
import { seededRandom } from '../base/random.ts'
import type { Catalogue } from '../stream/facts/catalogue.ts'

export interface DrawOptions {
  /** Of one batch. */
  readonly count: number
  /** 0: uniform. */
  readonly alpha: number
  readonly seed: number
  readonly handleCapacity: number
}

type Drawable = Pick<Catalogue, 'activeSize' | 'active' | 'interactions'>

export class NegativeDraws {
  readonly #options: DrawOptions
  /** Of the active items in their order: the sum of the weights up to each. */
  #sums = new Float64Array(0)
  /** By handle: the interactions that its weight is of, plus one, and the weight. */
  readonly #counted: Uint32Array
  readonly #weights: Float64Array
  #total = 0
  /** Asked last, and its answer: most items are as likely as the one before. */
  #perDraw = 0
  #inclusion = 0

  constructor(options: DrawOptions) {
    const handles = options.alpha === 0 ? 0 : options.handleCapacity
    this.#options = options
    this.#counted = new Uint32Array(handles)
    this.#weights = new Float64Array(handles)
  }

  /** The handles drawn in the batch of this step, in their order; some may come again. */
  *handles(catalogue: Drawable, step: number): Generator<number> {
    const { activeSize } = catalogue
    const { seed, count, alpha } = this.#options
    this.#total = activeSize
    if (activeSize === 0) return
    if (alpha > 0) this.#sum(catalogue)
    const random = seededRandom(seed, step)
    for (let i = 0; i < count; i += 1) {
      const at = alpha > 0 ? this.#find(random.next(), activeSize) : random.integer(activeSize)
      yield catalogue.active(at)
    }
  }

  /** How likely each draw of the `handles` asked for last was to be this item. */
  probability(catalogue: Drawable, handle: number): number {
    if (this.#total === 0) return 0
    // An item that is not active may weigh more than all that are.
    const weight = this.#options.alpha > 0 ? this.#weight(catalogue, handle) : 1
    return Math.min(1, weight / this.#total)
  }

  /** How likely it was to be in any of them: 1 - (1 - p)^n. */
  inclusion(catalogue: Drawable, handle: number): number {
    const perDraw = this.probability(catalogue, handle)
    if (perDraw !== this.#perDraw) {
      const none = exp2((this.#options.count * ln(1 - perDraw)) / Math.LN2)
      this.#perDraw = perDraw
      this.#inclusion = 1 - none
    }
    return this.#inclusion
  }

  #sum(catalogue: Drawable): void {
    const { activeSize } = catalogue
    if (activeSize > this.#sums.length) this.#sums = new Float64Array(2 * activeSize)
    let total = 0
    for (let i = 0; i < activeSize; i += 1) {
      total += this.#weight(catalogue, catalogue.active(i))
      this.#sums[i] = total
    }
    this.#total = total
  }

  /** Computed again only where the item's count has changed. */
  #weight(catalogue: Drawable, handle: number): number {
    const count = catalogue.interactions(handle) + 1
    if (this.#counted[handle] !== count) {
      this.#counted[handle] = count
      this.#weights[handle] = exp2((this.#options.alpha * ln(count)) / Math.LN2)
    }
    return this.#weights[handle]
  }

  /** The first item whose sum is above the share of all. */
  #find(share: number, size: number): number {
    const wanted = share * this.#total
    let [low, high] = [0, size - 1]
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#sums[middle] > wanted) high = middle
      else low = middle + 1
    }
    return low
  }
}
