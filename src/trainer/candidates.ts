/**
 * The live catalogue as the ranking kernels want it: packed without gaps, a slot per item, their
 * codes in panels of eight, log popularities aside (`src/kernels/rank-kernels.ts`). Items come and
 * go by handle; the last slot moves into a gap. Which slot an item has changes no result.
 *
 * Popularity is a decayed count, kept in the unit of a landmark in time so that nothing is touched
 * while time passes: count at time t = counts[slot] 2^-((t - landmark) / halfLife).
 */
import { assert } from '../base/assert.ts'
import type { ByteReader, ByteWriter } from '../base/bytes.ts'
import { exp2, powerOfTwo } from '../base/math.ts'
import type { Arena, Block } from '../kernels/arena.ts'
import { type Address, absent } from '../kernels/operands.ts'

export interface CandidatesOptions {
  readonly arena: Arena
  /** Handles and slots are below this. */
  readonly capacity: number
  /** Floats per vector, popularity not among them. */
  readonly dims: number
  readonly hasPopularity: boolean
  readonly halfLifeMs: number
}

/**
 * Half-lives between two landmarks: counts up to 2^60 times larger than they are, far below 2^127.
 */
const landmarkStep = 60
/** Words that the ranking kernels keep of a vector: its code's, and some beside it. */
export const codeWords = (dims: number): number => Math.ceil(dims / 2)
const numbersEach = 3

/** Of a candidate, all in all: its vector's, count and popularity too. */
export const candidateWords = (dims: number): number => dims + codeWords(dims) + numbersEach + 2

/**
 * Invariant: `#slots[#handles[slot]] === slot` for every slot below `size`, -1 for all other
 * handles.
 */
export class Candidates {
  readonly #options: CandidatesOptions
  readonly #slots: Int32Array
  readonly #handles: Int32Array
  readonly #vectors: Block<Float32Array>
  readonly #codes: Block<Int32Array>
  readonly #numbers: Block<Int32Array>
  readonly #counts: Block<Float32Array>
  readonly #popularity: Block<Float32Array>
  readonly #descriptor: Block<Uint32Array>
  #size = 0
  /** In half-lives since the epoch; a multiple of `landmarkStep`. */
  #landmark = 0

  constructor(options: CandidatesOptions) {
    const { arena, capacity, dims, hasPopularity } = options
    const slots = Math.ceil(capacity / 8) * 8
    this.#options = options
    this.#slots = new Int32Array(capacity).fill(-1)
    this.#handles = new Int32Array(capacity)
    this.#vectors = arena.floats(slots * dims)
    this.#codes = arena.ints(slots * codeWords(dims))
    this.#numbers = arena.ints(slots * numbersEach)
    this.#counts = arena.floats(slots)
    this.#popularity = arena.floats(slots)
    this.#descriptor = arena.words(6)
    const popularity = hasPopularity ? this.#popularity.address : absent
    const blocks = [this.#vectors, this.#codes, this.#numbers].map(({ address }) => address)
    this.#descriptor.view.set([...blocks, popularity, dims, 0])
  }

  get capacity(): number {
    return this.#options.capacity
  }

  get size(): number {
    return this.#size
  }

  /** Of the six words that the ranking kernels take. */
  get address(): Address {
    return this.#descriptor.address
  }

  /** Counts in the landmark's unit, by slot: their order is that of the counts at any time. */
  get counts(): Block<Float32Array> {
    return this.#counts
  }

  /** Where `decayTo` leaves counts for the logarithm, by slot. */
  get popularity(): Block<Float32Array> {
    return this.#popularity
  }

  /** -1 if the item is not a candidate. */
  slot(handle: number): number {
    return this.#slots[handle]
  }

  handle(slot: number): number {
    return this.#handles[slot]
  }

  /** The item's slot, the next free one if it has none; its vector is for the caller to pack. */
  add(handle: number): number {
    if (this.#slots[handle] >= 0) return this.#slots[handle]
    assert(this.#size < this.#handles.length, 'no more candidates than handles')
    const slot = this.#size
    this.#resize(slot + 1)
    this.#slots[handle] = slot
    this.#handles[slot] = handle
    this.#counts.view[slot] = 0
    return slot
  }

  remove(handle: number): void {
    const slot = this.#slots[handle]
    if (slot < 0) return
    const last = this.#size - 1
    if (slot !== last) this.#move(last, slot)
    this.#slots[handle] = -1
    this.#resize(last)
  }

  /** The item's count as it is at `time` (epoch ms). */
  setCount(handle: number, count: number, time: number): void {
    const slot = this.#slots[handle]
    if (slot >= 0) this.#counts.view[slot] = count * exp2(this.#exponent(time))
  }

  /** Leaves the count of each slot at `time`, plus `smoothing`, in `popularity`. */
  decayTo(time: number, smoothing: number): void {
    const factor = exp2(-this.#exponent(time))
    const { view: counts } = this.#counts
    const { view: popularity } = this.#popularity
    for (let slot = 0; slot < this.#size; slot += 1) {
      popularity[slot] = counts[slot] * factor + smoothing
    }
  }

  /** Most popular first, so that the ranking kernels can skip the unpopular panel by panel. */
  reorder(): void {
    const { dims } = this.#options
    const { view: counts } = this.#counts
    const order = Int32Array.from({ length: this.#size }, (_, slot) => slot)
    order.sort((a, b) => counts[b] - counts[a] || a - b)
    const handles = this.#handles.slice(0, this.#size)
    const oldCounts = counts.slice(0, this.#size)
    const slots = Math.ceil(this.#size / 8) * 8
    const vectors = this.#vectors.view.slice(0, slots * dims)
    const codes = this.#codes.view.slice(0, slots * codeWords(dims))
    const numbers = this.#numbers.view.slice(0, slots * numbersEach)
    for (let slot = 0; slot < this.#size; slot += 1) {
      const from = order[slot]
      this.#slots[handles[from]] = slot
      this.#handles[slot] = handles[from]
      counts[slot] = oldCounts[from]
      this.#vectors.view.set(vectors.subarray(from * dims, (from + 1) * dims), slot * dims)
      copyWords(codes, from, this.#codes.view, slot, codeWords(dims))
      copyWords(numbers, from, this.#numbers.view, slot, numbersEach)
    }
  }

  /** Counts alone: vectors follow from the tables. */
  serialize(writer: ByteWriter): void {
    writer.float64(this.#landmark)
    writer.array(this.#handles.slice(0, this.#size))
    writer.array(this.#counts.view.slice(0, this.#size))
  }

  /** Into an empty set; every vector is for the caller to pack. */
  load(reader: ByteReader): void {
    this.#landmark = reader.float64()
    const handles = new Int32Array(reader.array())
    const counts = new Float32Array(reader.array())
    for (let i = 0; i < handles.length; i += 1) {
      this.#counts.view[this.add(handles[i])] = counts[i]
    }
  }

  #exponent(time: number): number {
    const at = time / this.#options.halfLifeMs
    const landmark = Math.floor(at / landmarkStep) * landmarkStep
    if (landmark > this.#landmark) this.#moveLandmark(landmark)
    return at - this.#landmark
  }

  /** By a power of two: no bit is lost but of what has decayed to nothing. */
  #moveLandmark(landmark: number): void {
    const factor = powerOfTwo(this.#landmark - landmark)
    const { view } = this.#counts
    for (let slot = 0; slot < this.#size; slot += 1) view[slot] *= factor
    this.#landmark = landmark
  }

  #move(from: number, to: number): void {
    const { dims } = this.#options
    this.#handles[to] = this.#handles[from]
    this.#slots[this.#handles[to]] = to
    this.#counts.view[to] = this.#counts.view[from]
    this.#vectors.view.copyWithin(to * dims, from * dims, (from + 1) * dims)
    copyWords(this.#codes.view, from, this.#codes.view, to, codeWords(dims))
    copyWords(this.#numbers.view, from, this.#numbers.view, to, numbersEach)
  }

  #resize(size: number): void {
    this.#size = size
    this.#descriptor.view[5] = size
  }
}

// oxlint-disable-next-line max-params -- two places in panels, and what is copied between
function copyWords(source: Int32Array, from: number, to: Int32Array, at: number, n: number): void {
  const a = (from >>> 3) * n * 8 + (from & 7)
  const b = (at >>> 3) * n * 8 + (at & 7)
  for (let k = 0; k < n * 8; k += 8) to[b + k] = source[a + k]
}
