/**
 * Admission at the n-th occurrence, counted exactly and in bounded memory. Counts live in two
 * generations: a new key is counted in the young one; when that has met half of `capacityKeys`
 * different keys, the old one is forgotten, the young one becomes old, and an empty one begins. A
 * key that comes again is carried over to the young one with its count. So a key is forgotten only
 * after at least half of the capacity of other keys has come since (the clock of a cache, in two
 * hands), and what is forgotten depends on the order of keys alone.
 */
import { assert } from '../../base/assert.ts'
import { ByteReader, ByteWriter } from '../../base/bytes.ts'
import type { Keys } from '../../base/keys.ts'
import { keyCount } from '../../base/keys.ts'
import type { KernelOptions } from '../../kernels/kernels.ts'
import { absentPayload } from '../../kernels/table-kernels.ts'
import { KeyIndex } from '../memory/key-index.ts'
import { copyKey } from '../memory/key-list.ts'
import type { AdmissionSpec } from '../table-spec.ts'
import type { Admission, AdmissionStats, Newcomers } from './admission.ts'

type Spec = Extract<AdmissionSpec, { kind: 'minCount' }>

/** Keys counted at a time; a generation holds at least as many. */
const chunk = 1024

/**
 * Counts of the keys of one generation. Invariant: `keys` and `counts` hold the places 0 .. `used`
 * in order of arrival, and the index leads from a key to its place; a place whose count is 0 was
 * admitted since and is in no index.
 */
class Generation {
  readonly capacity: number
  readonly #index: KeyIndex
  readonly #keys: Uint32Array
  readonly #counts: Uint32Array
  #used = 0

  constructor(capacity: number, options: KernelOptions) {
    this.capacity = capacity
    this.#index = new KeyIndex({ ...options, capacity })
    this.#keys = new Uint32Array(2 * capacity)
    this.#counts = new Uint32Array(capacity)
  }

  /** Places taken: the different keys met. */
  get used(): number {
    return this.#used
  }

  /** Keys that are counted. */
  get size(): number {
    return this.#index.size
  }

  /** places[i] <- where key i is counted, or `absentPayload`. */
  find(keys: Keys, places: Uint32Array): void {
    this.#index.find(keys, places)
  }

  count(place: number): number {
    return this.#counts[place]
  }

  setCount(place: number, count: number): void {
    this.#counts[place] = count
  }

  /** Takes in keys that it does not have, with places in order; there must be room. */
  add(keys: Keys, places: Uint32Array, counts: Uint32Array): void {
    const n = keyCount(keys)
    assert(this.#used + n <= this.capacity, 'a generation has room for a chunk')
    for (let i = 0; i < n; i += 1) places[i] = this.#used + i
    this.#index.findOrInsert(keys, places)
    this.#keys.set(keys, 2 * this.#used)
    this.#counts.set(counts.subarray(0, n), this.#used)
    this.#used += n
  }

  /** Stops counting keys; those that it does not have are left out. */
  drop(keys: Keys, places: Uint32Array): void {
    this.#index.find(keys, places)
    for (let i = 0; i < keyCount(keys); i += 1) {
      if (places[i] !== absentPayload) this.#counts[places[i]] = 0
    }
    this.#index.erase(keys)
  }

  clear(): void {
    this.#index.clear()
    this.#used = 0
  }

  /** Keys in order of arrival with their counts; places of admitted keys are 0. */
  serialize(writer: ByteWriter): void {
    writer.array(this.#keys.subarray(0, 2 * this.#used))
    writer.array(this.#counts.subarray(0, this.#used))
  }

  load(reader: ByteReader): void {
    this.clear()
    const keys = new Uint32Array(reader.array())
    const counts = new Uint32Array(reader.array())
    if (keys.length !== 2 * counts.length || counts.length > this.capacity) {
      throw new RangeError(`${counts.length} counted keys do not fit ${this.capacity}`)
    }
    this.#keys.set(keys)
    this.#counts.set(counts)
    this.#used = counts.length
    const places = new Uint32Array(1)
    for (const [place, count] of counts.entries()) {
      places[0] = place
      if (count > 0) this.#index.set(keys.subarray(2 * place, 2 * place + 2), places)
    }
  }
}

/** Invariant: no key is counted in both generations with a count that matters: the young one is. */
export class MinCountAdmission implements Admission {
  readonly #count: number
  #young: Generation
  #old: Generation
  #admitted = 0
  #refused = 0
  readonly #places = new Uint32Array(chunk)
  readonly #oldPlaces = new Uint32Array(chunk)
  readonly #newKeys = new Uint32Array(2 * chunk)
  readonly #newCounts = new Uint32Array(chunk)
  readonly #admittedKeys = new Uint32Array(2 * chunk)

  constructor({ count, capacityKeys }: Spec, options: KernelOptions) {
    assert(Number.isInteger(count) && count >= 1, 'a key is admitted at a whole count')
    const half = Math.max(chunk, Math.ceil(capacityKeys / 2))
    this.#count = count
    this.#young = new Generation(half, options)
    this.#old = new Generation(half, options)
  }

  admit({ keys, occurrences }: Newcomers, admitted: Uint8Array): void {
    for (let at = 0; at < occurrences.length; at += chunk) {
      const end = Math.min(occurrences.length, at + chunk)
      this.#admitChunk(
        keys.subarray(2 * at, 2 * end),
        occurrences.subarray(at, end),
        admitted.subarray(at, end),
      )
    }
  }

  stats(): AdmissionStats {
    return {
      admitted: this.#admitted,
      refused: this.#refused,
      tracked: this.#young.size + this.#old.size,
      falsePositiveRate: 0,
    }
  }

  serialize(): Uint8Array {
    const writer = new ByteWriter(1 << 16)
    this.#young.serialize(writer)
    this.#old.serialize(writer)
    return writer.finish()
  }

  load(bytes: Uint8Array): void {
    const reader = new ByteReader(bytes)
    this.#young.load(reader)
    this.#old.load(reader)
  }

  #admitChunk(keys: Keys, occurrences: Uint32Array, admitted: Uint8Array): void {
    const n = occurrences.length
    if (this.#young.used + n > this.#young.capacity) this.#turn()
    this.#young.find(keys, this.#places)
    this.#old.find(keys, this.#oldPlaces)
    let [fresh, done] = [0, 0]
    for (let i = 0; i < n; i += 1) {
      const count = Math.min(this.#seen(i) + occurrences[i], absentPayload - 1)
      admitted[i] = count >= this.#count ? 1 : 0
      if (admitted[i] === 1) {
        copyKey(this.#admittedKeys, done, keys, i)
        done += 1
      } else if (this.#places[i] !== absentPayload) {
        this.#young.setCount(this.#places[i], count)
      } else {
        copyKey(this.#newKeys, fresh, keys, i)
        this.#newCounts[fresh] = count
        fresh += 1
      }
    }
    this.#admitted += done
    this.#refused += n - done
    this.#young.add(this.#newKeys.subarray(0, 2 * fresh), this.#places, this.#newCounts)
    if (done > 0) this.#forget(this.#admittedKeys.subarray(0, 2 * done))
  }

  /** A key that loses its row later starts from nothing. */
  #forget(keys: Keys): void {
    this.#young.drop(keys, this.#places)
    this.#old.drop(keys, this.#places)
  }

  #seen(i: number): number {
    if (this.#places[i] !== absentPayload) return this.#young.count(this.#places[i])
    return this.#oldPlaces[i] === absentPayload ? 0 : this.#old.count(this.#oldPlaces[i])
  }

  #turn(): void {
    const emptied = this.#old
    this.#old = this.#young
    this.#young = emptied
    emptied.clear()
  }
}
