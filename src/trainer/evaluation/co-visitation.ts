/**
 * Item-to-item co-visitation, the baseline that needs no learning: what users went to from an
 * item, counted with decay. The score of an item for a user is how often it is clicked now (as a
 * share of all clicks) plus, for each of the user's newest items, the share of its transitions
 * that lead there:
 *
 *     score(i) = count(i) / total + blend  sum_j places[j] T(h_j, i) / (T(h_j) + shrinkage)
 *
 * Bounded: each item keeps the transitions to its strongest successors only. Transitions decay
 * forward, as the catalogue's counts do: a transition at time t weighs 2^((t - landmark) /
 * halfLife).
 */
import type { ByteReader, ByteWriter } from '../../base/bytes.ts'
import { exp2, powerOfTwo } from '../../base/math.ts'

const halfLifeMs = 6 * 3_600_000
/** Weight of the newest item of the history, the one before, the third. */
const places: readonly number[] = [1, 0.6, 0.4]
/** Transitions that an item is credited with that led nowhere: few observations weigh less. */
const shrinkage = 5
const blend = 0.35
const successorLimit = 64
/** The landmark moves when a weight would pass 2^60, long before f32 overflows. */
const maxExponent = 60

interface Successors {
  handles: Int32Array<ArrayBuffer>
  /** Of the successor when it was recorded: another one means that its handle was given away. */
  generations: Uint32Array<ArrayBuffer>
  weights: Float32Array<ArrayBuffer>
  size: number
  /** Of all transitions from here, those of successors that were dropped included. */
  total: number
}

/** What `boosts` found, valid until its next call: `handles[k]` is boosted by `values[k]`. */
export interface Boosts {
  readonly handles: Int32Array
  readonly values: Float64Array
  readonly size: number
}

export class CoVisitation {
  readonly #from = new Map<number, Successors>()
  #generation = new Uint32Array(256)
  #landmark = 0
  /** By handle, zero between calls. */
  #sum = new Float64Array(256)
  readonly #handles = new Int32Array(places.length * successorLimit)
  readonly #values = new Float64Array(places.length * successorLimit)

  /** A user went from one item to another at `time` (epoch ms). */
  observe(from: number, to: number, time: number): void {
    this.#reserve(Math.max(from, to) + 1)
    const weight = exp2(this.#exponent(time))
    const successors = this.#from.get(from) ?? emptySuccessors()
    if (successors.size === 0) this.#from.set(from, successors)
    successors.total += weight
    const place = this.#place(successors, to)
    const known = place < successors.size && this.#isCurrent(successors, place, to)
    successors.handles[place] = to
    successors.generations[place] = this.#generation[to]
    successors.weights[place] = weight + (known ? successors.weights[place] : 0)
    successors.size = Math.max(successors.size, place + 1)
  }

  /** The handle will be given to another item. */
  forget(handle: number): void {
    this.#reserve(handle + 1)
    this.#generation[handle] += 1
    this.#from.delete(handle)
  }

  /** What a history (handles, newest first) adds to the score of other items. */
  boosts(history: readonly number[], time: number): Boosts {
    const unit = exp2(this.#exponent(time))
    let size = 0
    for (let j = 0; j < Math.min(places.length, history.length); j += 1) {
      const successors = this.#from.get(history[j])
      if (successors === undefined) continue
      const factor = (blend * places[j]) / (successors.total + shrinkage * unit)
      for (let k = 0; k < successors.size; k += 1) {
        const handle = successors.handles[k]
        if (successors.weights[k] === 0 || !this.#isCurrent(successors, k, handle)) continue
        if (this.#sum[handle] === 0) {
          this.#handles[size] = handle
          size += 1
        }
        this.#sum[handle] += factor * successors.weights[k]
      }
    }
    for (let k = 0; k < size; k += 1) {
      this.#values[k] = this.#sum[this.#handles[k]]
      this.#sum[this.#handles[k]] = 0
    }
    return { handles: this.#handles, values: this.#values, size }
  }

  serialize(writer: ByteWriter): void {
    writer.float64(this.#landmark).array(this.#generation).varint(this.#from.size)
    for (const [handle, { handles, generations, weights, size, total }] of this.#from) {
      writer.varint(handle).float64(total)
      writer.words(handles, size).words(generations, size).words(weights, size)
    }
  }

  load(reader: ByteReader): void {
    this.#landmark = reader.float64()
    this.#generation = new Uint32Array(reader.array())
    this.#sum = new Float64Array(this.#generation.length)
    this.#from.clear()
    const count = reader.varint()
    for (let i = 0; i < count; i += 1) {
      const handle = reader.varint()
      const total = reader.float64()
      const handles = new Int32Array(reader.array())
      const generations = new Uint32Array(reader.array())
      const weights = new Float32Array(reader.array())
      this.#from.set(handle, { handles, generations, weights, size: handles.length, total })
    }
  }

  /** Where `to` stands, or is to be put: behind the last, or over the weakest when full. */
  #place(successors: Successors, to: number): number {
    const { handles, weights, size } = successors
    let weakest = 0
    for (let k = 0; k < size; k += 1) {
      if (handles[k] === to) return k
      if (weights[k] < weights[weakest]) weakest = k
    }
    if (size === successorLimit) return weakest
    if (size === handles.length) grow(successors)
    return size
  }

  #isCurrent(successors: Successors, place: number, handle: number): boolean {
    return (
      successors.handles[place] === handle &&
      successors.generations[place] === this.#generation[handle]
    )
  }

  #exponent(time: number): number {
    const at = time / halfLifeMs
    if (at - this.#landmark > maxExponent) this.#moveLandmark(Math.floor(at))
    return at - this.#landmark
  }

  /** By a power of two: no bit is lost but of what has decayed to nothing. */
  #moveLandmark(landmark: number): void {
    const factor = powerOfTwo(this.#landmark - landmark)
    for (const successors of this.#from.values()) {
      successors.total *= factor
      for (let k = 0; k < successors.size; k += 1) successors.weights[k] *= factor
    }
    this.#landmark = landmark
  }

  #reserve(handles: number): void {
    if (handles <= this.#generation.length) return
    const length = Math.max(handles, 2 * this.#generation.length)
    const generation = new Uint32Array(length)
    generation.set(this.#generation)
    this.#generation = generation
    this.#sum = new Float64Array(length)
  }
}

function emptySuccessors(): Successors {
  return {
    handles: new Int32Array(4),
    generations: new Uint32Array(4),
    weights: new Float32Array(4),
    size: 0,
    total: 0,
  }
}

function grow(successors: Successors): void {
  const length = 2 * Math.max(2, successors.handles.length)
  const { handles, generations, weights } = successors
  successors.handles = new Int32Array(length)
  successors.generations = new Uint32Array(length)
  successors.weights = new Float32Array(length)
  successors.handles.set(handles)
  successors.generations.set(generations)
  successors.weights.set(weights)
}
