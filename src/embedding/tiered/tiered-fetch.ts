/**
 * Brings rows of a tiered table from the store into its cache, checked against the directory: a row
 * is used only if it is there and has the version that it must have. Else the store has lost writes
 * that it had confirmed: it is brought up to date, and read again.
 */
import { ServiceError } from '../../base/errors.ts'
import type { Keys } from '../../base/keys.ts'
import { keyCount } from '../../base/keys.ts'
import { absentPayload } from '../../kernels/table-kernels.ts'
import { KeyIndex } from '../memory/key-index.ts'
import { KeyList } from '../memory/key-list.ts'
import type { MemoryTable } from '../memory/memory-table.ts'
import type { RowKeeper } from './row-keeper.ts'
import type { FetchCounts } from './tier-stats.ts'
import type { RowCache } from './tiered-cache.ts'
import { chosenKeys } from './tiered-parts.ts'

/** Count, version and last seen of a record, which the directory has too. */
const stampAt = 8
const stampEnd = 24
const versionAt = 12
/** A store that is up to date and still gives a wrong row is asked so often. */
const tries = 4

/** Rows that were sent for before they were needed. */
interface Ahead {
  readonly keys: Keys
  readonly records: Uint8Array
  readonly present: Uint8Array
  /** False: they did not come. */
  readonly arrived: Promise<boolean>
}

/**
 * Invariant: `#places` leads from the keys of `#ahead` to their places in it, and holds no others.
 */
export class RowFetch {
  readonly #directory: MemoryTable
  readonly #cache: RowCache
  readonly #rows: RowKeeper
  readonly #places: KeyIndex
  #ahead: Ahead | undefined
  #lookups = 0
  #hits = 0
  #fetched = 0
  #prefetched = 0

  constructor(directory: MemoryTable, cache: RowCache, rows: RowKeeper) {
    this.#directory = directory
    this.#cache = cache
    this.#rows = rows
    this.#places = new KeyIndex({ capacity: Math.max(1, cache.capacity >> 1) })
  }

  get counts(): FetchCounts {
    return {
      lookups: this.#lookups,
      hits: this.#hits,
      fetched: this.#fetched,
      prefetched: this.#prefetched,
    }
  }

  clear(): void {
    this.#ahead = undefined
    this.#places.clear()
  }

  /**
   * Rows of those keys that have one but no slot, `absent` at most; what is returned is to be
   * awaited, undefined: there are none.
   */
  missing(keys: Keys, slots: Uint32Array, absent: number): Promise<void> | undefined {
    const n = keyCount(keys)
    this.#lookups += n
    this.#hits += n - absent
    if (absent === 0) return undefined
    const held = this.#held(chosenKeys(keys, slots, absentPayload))
    this.#hits += absent - keyCount(held)
    return held.length === 0 ? undefined : this.#bring(held)
  }

  /** Sends for the rows of the keys that are not cached, in place of those sent for before. */
  ahead(keys: Keys): void {
    const slots = new Uint32Array(keyCount(keys))
    this.#cache.peek(keys, slots)
    const held = this.#held(chosenKeys(keys, slots, absentPayload))
    this.clear()
    const n = Math.min(keyCount(held), this.#places.capacity)
    if (n === 0) return
    const wanted = held.slice(0, 2 * n)
    this.#places.findOrInsert(
      wanted,
      Uint32Array.from({ length: n }, (_, i) => i),
    )
    const records = new Uint8Array(n * this.#recordBytes)
    const present = new Uint8Array(n)
    const arrived = this.#rows.readAhead(wanted, records, present)
    this.#ahead = { keys: wanted, records, present, arrived }
  }

  /**
   * Copies of rows wherever they are, of those keys that have one, in any order; nothing is cached.
   * The table may change meanwhile.
   */
  async copies(keys: Keys): Promise<{ readonly keys: Keys; readonly records: Uint8Array }> {
    const foundKeys = new KeyList()
    const found = new Uint8Array(keyCount(keys) * this.#recordBytes)
    let end = 0
    const take = (some: Keys, records: Uint8Array): void => {
      foundKeys.push(some)
      found.set(records, end)
      end += records.length
    }
    let wanted = keys
    for (let attempt = 0; wanted.length > 0; attempt += 1) {
      if (attempt > 1) await this.#rows.bringUpToDate()
      this.#requirePatience(attempt, wanted)
      const far = this.#held(this.#takeCached(wanted, take))
      wanted = far.length === 0 ? far : await this.#readOnce(far, take)
    }
    return { keys: foundKeys.view(), records: found.subarray(0, end) }
  }

  get #recordBytes(): number {
    return this.#cache.table.recordBytes
  }

  /** Those of the keys that have a row. */
  #held(keys: Keys): Keys {
    const n = keyCount(keys)
    if (n === 0) return keys
    const present = new Uint8Array(n)
    this.#directory.find(keys, new Float32Array(n), present)
    return present.includes(0) ? chosenKeys(keys, present, 1) : keys
  }

  /** Gives the rows that are in memory; returns the keys of the others. */
  #takeCached(keys: Keys, take: (keys: Keys, records: Uint8Array) => void): Keys {
    const records = new Uint8Array(keyCount(keys) * this.#recordBytes)
    const cached = new Uint8Array(keyCount(keys))
    this.#cache.table.readRecords(keys, records, cached)
    take(chosenKeys(keys, cached, 1), compacted(records, cached, this.#recordBytes))
    return chosenKeys(keys, cached, 0)
  }

  async #bring(keys: Keys): Promise<void> {
    const rest = await this.#takeAhead(keys)
    if (rest.length === 0) return
    await this.#read(rest, (found, records) => {
      this.#fetched += keyCount(found)
      this.#cache.take(found, records)
    })
  }

  /** Takes in what was sent for; returns the keys of the others. */
  async #takeAhead(keys: Keys): Promise<Keys> {
    const n = keyCount(keys)
    const places = new Uint32Array(n)
    if (this.#ahead === undefined || this.#places.find(keys, places) === 0) return keys
    const { records, present, arrived } = this.#ahead
    if (!(await arrived)) return keys
    const rows = new Uint8Array(n * this.#recordBytes)
    const came = new Uint8Array(n)
    for (let i = 0; i < n; i += 1) {
      const place = places[i]
      if (place === absentPayload || present[place] === 0) continue
      came[i] = 1
      rows.set(this.#record(records, place), i * this.#recordBytes)
    }
    const accepted = this.#check(keys, rows, came)
    this.#prefetched += keyCount(accepted.keys)
    this.#fetched += keyCount(accepted.keys)
    this.#cache.take(accepted.keys, accepted.records)
    return accepted.others
  }

  /** Reads until each row is as the directory knows it. Throws `ROW_STORE_DAMAGED`. */
  async #read(keys: Keys, take: (keys: Keys, records: Uint8Array) => void): Promise<void> {
    let wanted = keys
    for (let attempt = 0; wanted.length > 0; attempt += 1) {
      if (attempt > 0) await this.#rows.bringUpToDate()
      this.#requirePatience(attempt, wanted)
      wanted = await this.#readOnce(wanted, take)
    }
  }

  /** Returns the keys whose rows are not as the directory knows them. */
  async #readOnce(keys: Keys, take: (keys: Keys, records: Uint8Array) => void): Promise<Keys> {
    const n = keyCount(keys)
    const records = new Uint8Array(n * this.#recordBytes)
    const present = new Uint8Array(n)
    await this.#rows.read(keys, records, present)
    const checked = this.#check(keys, records, present)
    take(checked.keys, checked.records)
    return checked.others
  }

  #requirePatience(attempt: number, keys: Keys): void {
    if (attempt < tries) return
    throw new ServiceError('ROW_STORE_DAMAGED', { table: this.#rows.name, rows: keyCount(keys) })
  }

  /**
   * Tells the records that are as the directory knows them from the `others`; those whose row is
   * gone by now are neither.
   */
  #check(keys: Keys, records: Uint8Array, present: Uint8Array): Checked {
    const n = keyCount(keys)
    const size = this.#directory.recordBytes
    const stamps = new Uint8Array(n * size)
    const held = new Uint8Array(n)
    this.#directory.readRecords(keys, stamps, held)
    const verdict = new Uint8Array(n)
    for (let i = 0; i < n; i += 1) {
      if (held[i] === 0) continue
      const record = this.#record(records, i)
      const stamp = stamps.subarray(i * size, (i + 1) * size)
      const isRight =
        present[i] === 1 && isSame(record, stamp, 0) && isSame(record, stamp, versionAt)
      verdict[i] = isRight ? good : wrong
      if (isRight) record.set(stamp.subarray(stampAt, stampEnd), stampAt)
    }
    const others = chosenKeys(keys, verdict, wrong)
    if (!verdict.some((one) => one !== good)) return { keys, records, others }
    const rows = compacted(records, verdict, this.#recordBytes)
    return { keys: chosenKeys(keys, verdict, good), records: rows, others }
  }

  #record(records: Uint8Array, i: number): Uint8Array {
    return records.subarray(i * this.#recordBytes, (i + 1) * this.#recordBytes)
  }
}

const good = 1
const wrong = 2

interface Checked {
  readonly keys: Keys
  readonly records: Uint8Array
  readonly others: Keys
}

/** Four bytes, of the low word of the key or of the version. */
function isSame(a: Uint8Array, b: Uint8Array, at: number): boolean {
  for (let i = at; i < at + 4; i += 1) if (a[i] !== b[i]) return false
  return true
}

/** The records whose mark is 1. */
function compacted(records: Uint8Array, marks: Uint8Array, size: number): Uint8Array {
  const kept = new Uint8Array(marks.length * size)
  let at = 0
  for (let i = 0; i < marks.length; i += 1) {
    if (marks[i] !== 1) continue
    kept.set(records.subarray(i * size, (i + 1) * size), at)
    at += size
  }
  return kept.subarray(0, at)
}
