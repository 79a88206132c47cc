/**
 * Admission at about the n-th occurrence, counted in a counting Bloom filter (Fan et al. 2000):
 * a few cells of 2, 4 or 8 bits for each key, at the price that a few keys are admitted early. Only
 * the lowest of a key's cells grow (conservative update; Estan, Varghese 2002), which keeps counts
 * closer to the truth.
 *
 * A filter that is never emptied fills up and then admits everything; so there are two, as in
 * `min-count-admission.ts`: after `capacityKeys` different keys the older one is emptied and takes
 * the place of the younger. A key's count is the sum of both.
 */
import { assert } from '../../base/assert.ts'
import { ByteReader, ByteWriter } from '../../base/bytes.ts'
import { ln } from '../../base/math.ts'
import type { AdmissionSpec } from '../table-spec.ts'
import type { Admission, AdmissionStats, Newcomers } from './admission.ts'
import { mixKey } from './key-mix.ts'

type Spec = Extract<AdmissionSpec, { kind: 'countingBloom' }>

/** The widest cells, of one byte, stop here. */
const greatestCount = 255
const maxHashes = 16

interface Shape {
  readonly cells: number
  readonly hashes: number
  /** Of a cell: 2, 4 or 8, so many that it can hold the count at which a key is admitted. */
  readonly bits: number
  /** Cells from this value on are counted as high. */
  readonly mark: number
}

/**
 * Invariant: `#met` keys were counted since it was emptied; `#high` cells are at the mark or above.
 */
class Filter {
  readonly bytes: Uint8Array
  readonly #shape: Shape
  /** A cell's byte and its place in it. */
  readonly #shift: number
  readonly #greatest: number
  readonly #places: Uint32Array
  #met = 0
  #high = 0

  constructor(shape: Shape) {
    this.#shape = shape
    this.#shift = { 2: 2, 4: 1 }[shape.bits] ?? 0
    this.#greatest = 2 ** shape.bits - 1
    this.bytes = new Uint8Array(Math.ceil((shape.cells * shape.bits) / 8))
    this.#places = new Uint32Array(shape.hashes)
  }

  get met(): number {
    return this.#met
  }

  /** The chance that all cells of a key that was never counted are at the mark. */
  get falsePositiveRate(): number {
    let chance = 1
    for (let i = 0; i < this.#places.length; i += 1) chance *= this.#high / this.#shape.cells
    return chance
  }

  /**
   * The lowest cell of a key, given two hashes of it (Kirsch, Mitzenmacher 2006). Its cells are
   * those that `add` changes next.
   */
  look(first: number, step: number): number {
    const { cells } = this.#shape
    let place = first
    let least = this.#greatest
    for (let i = 0; i < this.#places.length; i += 1) {
      // The upper end of a product instead of a remainder, which takes far longer.
      const cell = Math.floor((place * cells) / 2 ** 32)
      this.#places[i] = cell
      least = Math.min(least, this.#read(cell))
      place = (place + step) >>> 0
    }
    return least
  }

  /** The same where nothing is added: most keys are not there, and one empty cell tells. */
  count(first: number, step: number): number {
    const { cells, hashes } = this.#shape
    let place = first
    let least = this.#greatest
    for (let i = 0; i < hashes && least > 0; i += 1) {
      least = Math.min(least, this.#read(Math.floor((place * cells) / 2 ** 32)))
      place = (place + step) >>> 0
    }
    return least
  }

  /** Raises the cells found by the last `look` to a count. */
  add(least: number, more: number): void {
    const { mark } = this.#shape
    const count = Math.min(this.#greatest, least + more)
    if (least === 0) this.#met += 1
    for (const cell of this.#places) {
      const before = this.#read(cell)
      if (before >= count) continue
      // Bits are only added: what was there is below.
      const at = cell >>> this.#shift
      this.bytes[at] += (count - before) << this.#offset(cell)
      if (before < mark && count >= mark) this.#high += 1
    }
  }

  clear(): void {
    this.bytes.fill(0)
    this.#met = 0
    this.#high = 0
  }

  serialize(writer: ByteWriter): void {
    writer.varint(this.#met).array(this.bytes)
  }

  load(reader: ByteReader): void {
    this.clear()
    this.#met = reader.varint()
    const bytes = new Uint8Array(reader.array())
    if (bytes.length !== this.bytes.length) {
      throw new RangeError(`a filter of ${bytes.length} bytes instead of ${this.bytes.length}`)
    }
    this.bytes.set(bytes)
    for (let cell = 0; cell < this.#shape.cells; cell += 1) {
      if (this.#read(cell) >= this.#shape.mark) this.#high += 1
    }
  }

  #read(cell: number): number {
    return (this.bytes[cell >>> this.#shift] >>> this.#offset(cell)) & this.#greatest
  }

  #offset(cell: number): number {
    return (cell & ((1 << this.#shift) - 1)) * this.#shape.bits
  }
}

export class CountingBloomAdmission implements Admission {
  readonly #spec: Spec
  #young: Filter
  #old: Filter
  #admitted = 0
  #refused = 0

  constructor(spec: Spec) {
    const { count, falsePositiveRate, capacityKeys } = spec
    assert(
      Number.isInteger(count) && count >= 1 && count <= greatestCount,
      'a key is admitted at a count from 1 to 255',
    )
    // Half of the false positives are allowed to each of the two filters.
    const size = bloomSize(capacityKeys, falsePositiveRate / 2)
    const shape = { ...size, bits: cellBits(count), mark: Math.max(1, count - 1) }
    this.#spec = spec
    this.#young = new Filter(shape)
    this.#old = new Filter(shape)
  }

  admit({ keys, occurrences }: Newcomers, admitted: Uint8Array): void {
    for (let i = 0; i < occurrences.length; i += 1) {
      admitted[i] = this.#isIn(keys[2 * i], keys[2 * i + 1], occurrences[i]) ? 1 : 0
      if (admitted[i] === 1) this.#admitted += 1
      else this.#refused += 1
    }
  }

  stats(): AdmissionStats {
    const rate = this.#young.falsePositiveRate + this.#old.falsePositiveRate
    return {
      admitted: this.#admitted,
      refused: this.#refused,
      tracked: this.#young.met + this.#old.met,
      falsePositiveRate: Math.min(1, rate),
    }
  }

  serialize(): Uint8Array {
    const writer = new ByteWriter(2 * this.#young.bytes.length + 64)
    this.#young.serialize(writer)
    this.#old.serialize(writer)
    return writer.finish()
  }

  load(bytes: Uint8Array): void {
    const reader = new ByteReader(bytes)
    this.#young.load(reader)
    this.#old.load(reader)
  }

  /** Counts the key, also when it is admitted: a Bloom filter cannot take a key out again. */
  #isIn(low: number, high: number, occurrences: number): boolean {
    if (this.#young.met >= this.#spec.capacityKeys) this.#turn()
    const first = mixKey(low, high, 0)
    const step = mixKey(low, high, 0x9e3779b9) | 1
    const before = this.#old.count(first, step)
    const least = this.#young.look(first, step)
    this.#young.add(least, occurrences)
    return before + least + occurrences >= this.#spec.count
  }

  #turn(): void {
    const emptied = this.#old
    this.#old = this.#young
    this.#young = emptied
    emptied.clear()
  }
}

/** Counts beyond that at which a key is admitted need not be told apart. */
const cellBits = (count: number): number => {
  if (count <= 3) return 2
  return count <= 15 ? 4 : 8
}

/** Bloom's optimum: m = -n ln p / (ln 2)^2 cells, k = (m / n) ln 2 hashes. */
export function bloomSize(
  capacityKeys: number,
  falsePositiveRate: number,
): { readonly cells: number; readonly hashes: number } {
  assert(falsePositiveRate > 0 && falsePositiveRate < 1, 'a rate is above 0 and below 1')
  const perKey = -ln(falsePositiveRate) / (Math.LN2 * Math.LN2)
  const hashes = Math.min(maxHashes, Math.max(1, Math.round(perKey * Math.LN2)))
  return { cells: Math.max(64, Math.ceil(perKey * capacityKeys)), hashes }
}
