/**
 * Counts that halve every `halfLifeMs`, one per handle, by forward decay (Cormode et al. 2009): an
 * interaction at time t adds 2^((t - landmark) / halfLife), and the count at a time is the sum
 * times 2^-((time - landmark) / halfLife). So nothing is touched while time passes. The landmark is
 * a whole number of half-lives and moves by whole numbers: the factor is a power of two and loses
 * no bit.
 */
import type { ByteReader, ByteWriter } from '../../base/bytes.ts'
import { exp2, ln, powerOfTwo } from '../../base/math.ts'
import { doubles, grown, integers } from '../columns.ts'

/**
 * The landmark moves when an addend would pass 2^512: far from overflow with 2^32 of them summed.
 */
const maxExponent = 512

/** A moment, and what is added to every count before the logarithm. */
export interface PopularityAt {
  /** Epoch ms; before the newest interaction it is taken as that. */
  readonly time: number
  readonly smoothing: number
  /**
   * Leave out what came since the last `release` of the facts: a batch that is trained on must not
   * be explained by its own events.
   */
  readonly settled?: boolean
}

export class DecayedCounts {
  readonly halfLifeMs: number
  #sums = new Float64Array(64)
  #total = 0
  /** In half-lives since the epoch. */
  #landmark = -Infinity
  /** Newest time added, epoch ms. */
  #newest = -Infinity
  /** Sums as they were at the last `settle`, of handles added to since. */
  readonly #settled = new Map<number, number>()

  constructor(halfLifeMs: number) {
    this.halfLifeMs = halfLifeMs
  }

  add(handle: number, time: number, weight = 1): void {
    const at = time / this.halfLifeMs
    if (at - this.#landmark > maxExponent) this.#moveLandmark(Math.floor(at))
    if (handle >= this.#sums.length) this.#sums = grown(this.#sums, handle + 1)
    if (time > this.#newest) this.#newest = time
    if (!this.#settled.has(handle)) this.#settled.set(handle, this.#sums[handle])
    const added = weight * exp2(at - this.#landmark)
    this.#sums[handle] += added
    this.#total += added
  }

  /** From here on, settled counts are those of now. */
  settle(): void {
    this.#settled.clear()
  }

  clear(handle: number): void {
    if (handle >= this.#sums.length) return
    this.#settled.delete(handle)
    this.#total -= this.#sums[handle]
    this.#sums[handle] = 0
  }

  /** The count at `time`; a time before the newest addition is taken as that. */
  count(handle: number, time: number): number {
    return handle < this.#sums.length ? this.#sums[handle] * this.#factor(time) : 0
  }

  total(time: number): number {
    return this.#total * this.#factor(time)
  }

  /** Counts of many handles, into `out`. */
  counts(handles: Int32Array, time: number, out: Float32Array): void {
    const factor = this.#factor(time)
    const sums = this.#sums
    for (let i = 0; i < handles.length; i += 1) {
      out[i] = handles[i] < sums.length ? sums[handles[i]] * factor : 0
    }
  }

  /** ln(count + smoothing) of many handles, into `out`. */
  logCounts(handles: Int32Array, at: PopularityAt, out: Float32Array): void {
    const factor = this.#factor(at.time)
    const sums = this.#sums
    const settled = at.settled === true
    for (let i = 0; i < handles.length; i += 1) {
      const handle = handles[i]
      const now = handle < sums.length ? sums[handle] : 0
      const sum = settled ? (this.#settled.get(handle) ?? now) : now
      out[i] = ln(sum * factor + at.smoothing)
    }
  }

  /** Writes the counts of handles below `limit`; all others must have been cleared. */
  write(writer: ByteWriter, limit: number): void {
    writer.float64(this.#landmark).float64(this.#newest).float64(this.#total)
    writer.array(grown(this.#sums, limit).subarray(0, limit))
    writer.array(Int32Array.from(this.#settled.keys()))
    writer.array(Float64Array.from(this.#settled.values()))
  }

  read(reader: ByteReader): void {
    this.#landmark = reader.float64()
    this.#newest = reader.float64()
    this.#total = reader.float64()
    this.#sums = doubles(reader)
    const handles = integers(reader)
    for (const [i, sum] of doubles(reader).entries()) this.#settled.set(handles[i], sum)
  }

  #factor(time: number): number {
    if (this.#landmark === -Infinity) return 0
    return exp2(this.#landmark - Math.max(time, this.#newest) / this.halfLifeMs)
  }

  #moveLandmark(landmark: number): void {
    const factor = this.#landmark === -Infinity ? 0 : powerOfTwo(this.#landmark - landmark)
    for (let i = 0; i < this.#sums.length; i += 1) this.#sums[i] *= factor
    for (const [handle, sum] of this.#settled) this.#settled.set(handle, sum * factor)
    this.#total *= factor
    this.#landmark = landmark
  }
}
