/**
 * Remembers event ids for a window of time and number, so that a retried event counts once. An id
 * is kept as a 128-bit fingerprint, not as text: with a million remembered, a new id is mistaken
 * for an old one with probability 3e-33. A ring of fingerprints in order of arrival, and an
 * open-addressing table of places in the ring (linear probing, deletion by shifting back: no
 * tombstones).
 *
 * Invariants: `#table` has at least twice as many places as the ring; times in the ring never
 * decrease.
 */
import type { ByteReader, ByteWriter } from '../../base/bytes.ts'
import { doubles, unsigned } from '../columns.ts'

export interface DedupeOptions {
  /** How long an id is remembered, by the times handed in. */
  readonly windowMs: number
  /** How many are remembered at most; the oldest is forgotten first. */
  readonly maxIds: number
}

const lanes = 4

export class DedupeWindow {
  readonly #options: DedupeOptions
  /** `lanes` words per id; the id number n (counted from the start) stands at n mod size. */
  #ring = new Uint32Array(lanes * 64)
  #times = new Float64Array(64)
  /** Place in the ring + 1; 0 is empty. */
  #table = new Int32Array(128)
  #first = 0
  #size = 0
  #clock = -Infinity
  readonly #print = new Uint32Array(lanes)

  constructor(options: DedupeOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#size
  }

  /** True, and the id is remembered, if it was not among those of the window. */
  admit(id: string, time: number): boolean {
    if (time > this.#clock) this.#clock = time
    this.#forgetOld()
    fingerprint(id, this.#print)
    if (this.#find() >= 0) return false
    if (this.#size === this.#options.maxIds) this.#forgetFirst()
    this.#remember(this.#clock)
    return true
  }

  /** Fingerprints and times in order of arrival. */
  write(writer: ByteWriter): void {
    const prints = new Uint32Array(this.#size * lanes)
    const times = new Float64Array(this.#size)
    const end = this.#first + this.#size
    const around = Math.max(0, end - this.#times.length)
    prints.set(this.#ring.subarray(this.#first * lanes, (end - around) * lanes))
    prints.set(this.#ring.subarray(0, around * lanes), (this.#size - around) * lanes)
    times.set(this.#times.subarray(this.#first, end - around))
    times.set(this.#times.subarray(0, around), this.#size - around)
    writer.float64(this.#clock).array(prints).array(times)
  }

  read(reader: ByteReader): void {
    this.#clock = reader.float64()
    const prints = unsigned(reader)
    const times = doubles(reader)
    if (prints.length !== times.length * lanes) throw new RangeError('fingerprints do not match')
    for (let i = Math.max(0, times.length - this.#options.maxIds); i < times.length; i += 1) {
      this.#print.set(prints.subarray(i * lanes, (i + 1) * lanes))
      this.#remember(times[i])
    }
  }

  #forgetOld(): void {
    const oldest = this.#clock - this.#options.windowMs
    while (this.#size > 0 && this.#times[this.#first] < oldest) this.#forgetFirst()
  }

  #remember(time: number): void {
    if (this.#size === this.#times.length) this.#grow()
    const place = (this.#first + this.#size) % this.#times.length
    this.#ring.set(this.#print, place * lanes)
    this.#times[place] = time
    this.#size += 1
    this.#enter(place)
  }

  /** The place of the current fingerprint in the table, or -1. */
  #find(): number {
    const mask = this.#table.length - 1
    const print = this.#print
    for (let at = print[0] & mask; this.#table[at] !== 0; at = (at + 1) & mask) {
      const word = (this.#table[at] - 1) * lanes
      let same = 0
      while (same < lanes && this.#ring[word + same] === print[same]) same += 1
      if (same === lanes) return at
    }
    return -1
  }

  #enter(place: number): void {
    const mask = this.#table.length - 1
    let at = this.#ring[place * lanes] & mask
    while (this.#table[at] !== 0) at = (at + 1) & mask
    this.#table[at] = place + 1
  }

  #forgetFirst(): void {
    const mask = this.#table.length - 1
    const place = this.#first
    let hole = this.#ring[place * lanes] & mask
    while (this.#table[hole] !== place + 1) hole = (hole + 1) & mask
    // Whatever follows in the run and may stand in the hole moves into it (Knuth 6.4, algorithm R).
    for (let at = (hole + 1) & mask; this.#table[at] !== 0; at = (at + 1) & mask) {
      const home = this.#ring[(this.#table[at] - 1) * lanes] & mask
      if (((at - home) & mask) < ((at - hole) & mask)) continue
      this.#table[hole] = this.#table[at]
      hole = at
    }
    this.#table[hole] = 0
    this.#first = (this.#first + 1) % this.#times.length
    this.#size -= 1
  }

  #grow(): void {
    const size = this.#times.length
    const ring = new Uint32Array(size * 2 * lanes)
    const times = new Float64Array(size * 2)
    for (let i = 0; i < this.#size; i += 1) {
      const place = (this.#first + i) % size
      ring.set(this.#ring.subarray(place * lanes, (place + 1) * lanes), i * lanes)
      times[i] = this.#times[place]
    }
    this.#ring = ring
    this.#times = times
    this.#first = 0
    this.#table = new Int32Array(size * 4)
    for (let place = 0; place < this.#size; place += 1) this.#enter(place)
  }
}

/** Four interleaved multiplicative hashes of the UTF-16 units, cross-mixed at the end (cyrb128). */
function fingerprint(id: string, out: Uint32Array): void {
  let [a, b, c, d] = [1779033703, 3144134277, 1013904242, 2773480762]
  for (let i = 0; i < id.length; i += 1) {
    const unit = id.charCodeAt(i)
    a = b ^ Math.imul(a ^ unit, 597399067)
    b = c ^ Math.imul(b ^ unit, 2869860233)
    c = d ^ Math.imul(c ^ unit, 951274213)
    d = a ^ Math.imul(d ^ unit, 2716044179)
  }
  a = Math.imul(c ^ (a >>> 18), 597399067)
  b = Math.imul(d ^ (b >>> 22), 2869860233)
  c = Math.imul(a ^ (c >>> 17), 951274213)
  d = Math.imul(b ^ (d >>> 19), 2716044179)
  out[0] = a ^ b ^ c ^ d
  out[1] = b ^ a
  out[2] = c ^ a
  out[3] = d ^ a
}
