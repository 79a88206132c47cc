/**
 * Popularity as it was before the batch at hand. A click counts at once, so after the fold an item's
 * count already holds the very click that the model is to predict: trained on that, the model would
 * learn to trust a number that gives the answer away. The count of each item that a batch touches is
 * therefore kept from before its first interaction.
 */
import { exp2, ln } from '../base/math.ts'
import type { Catalogue } from '../stream/catalogue.ts'

type Counts = Pick<Catalogue, 'decayedCounts' | 'logPopularity'>

export class BatchPopularity {
  readonly #halfLifeMs: number
  /** By handle: the batch that touched it last, its count before, and when that was taken. */
  readonly #touchedIn: Float64Array
  readonly #counts: Float32Array
  readonly #times: Float64Array
  readonly #one = new Int32Array(1)
  readonly #count = new Float32Array(1)
  #touched: number[] = []
  #batch = 1

  constructor(handleCapacity: number, halfLifeMs: number) {
    this.#halfLifeMs = halfLifeMs
    this.#touchedIn = new Float64Array(handleCapacity)
    this.#counts = new Float32Array(handleCapacity)
    this.#times = new Float64Array(handleCapacity)
  }

  /** Handles of the items that the batch has touched so far, in order of first touch. */
  get touched(): readonly number[] {
    return this.#touched
  }

  /** An item that is known is about to be interacted with, at stream time `time`. */
  keep(handle: number, catalogue: Counts, time: number): void {
    if (this.#isTouched(handle)) return
    this.#one[0] = handle
    catalogue.decayedCounts(this.#one, time, this.#count)
    this.#touch(handle, this.#count[0], time)
  }

  /** An item came to be known by this interaction. */
  keepNew(handle: number, time: number): void {
    if (!this.#isTouched(handle)) this.#touch(handle, 0, time)
  }

  /** Logs of smoothed counts at `time` into `out`, without what the batch has added. */
  logs(
    handles: Int32Array,
    catalogue: Counts,
    at: { readonly time: number; readonly smoothing: number },
    out: Float32Array,
  ): void {
    catalogue.logPopularity(handles, at, out)
    for (let i = 0; i < handles.length; i += 1) {
      const handle = handles[i]
      if (!this.#isTouched(handle)) continue
      const decay = exp2((this.#times[handle] - at.time) / this.#halfLifeMs)
      out[i] = ln(this.#counts[handle] * decay + at.smoothing)
    }
  }

  nextBatch(): void {
    this.#batch += 1
    this.#touched = []
  }

  #isTouched(handle: number): boolean {
    return this.#touchedIn[handle] === this.#batch
  }

  #touch(handle: number, count: number, time: number): void {
    this.#touchedIn[handle] = this.#batch
    this.#counts[handle] = count
    this.#times[handle] = time
    this.#touched.push(handle)
  }
}
