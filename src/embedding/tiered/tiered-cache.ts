/**
 * The rows of a tiered table that are in memory: whole rows in a memory table, and for each a slot
 * that says whether the store has it as it is. A row that the store does not have yet is pinned;
 * of the others the coldest make room, by the clock algorithm (Corbató 1968): a hand goes round the
 * slots and takes the first that nobody has asked for since it last came by. What is cached changes
 * no result, only how much must be read.
 */
import { assert } from '../../base/assert.ts'
import type { Keys } from '../../base/keys.ts'
import { keyCount } from '../../base/keys.ts'
import type { KernelOptions } from '../../kernels/kernels.ts'
import { absentPayload } from '../../kernels/table-kernels.ts'
import { KeyIndex } from '../memory/key-index.ts'
import { copyKey } from '../memory/key-list.ts'
import { MemoryTable } from '../memory/memory-table.ts'
import type { TableSpec } from '../table-spec.ts'

/** Index, key, flags, last operation, free slot, place in the list of changes and in a cut. */
const bytesPerSlot = 17 + 8 + 1 + 8 + 4 + 4 + 4

/** Rows of a cut that are copied in one go: well below a millisecond. */
const copiedAtOnce = 1024

/** A cuckoo index that is never full refuses no key, however long keys come and go. */
const spare = 17 / 16

/** Changed since the last cut. */
const dirty = 1
/** In the cut that is on its way to the store. */
const leaving = 2
const pinned = dirty | leaving
/** Asked for since the hand came by. */
const used = 4
/** In the list of changed slots, whatever has become of its row. */
const listed = 8
/** In the last cut, and not copied for it yet. */
const awaited = 16

/**
 * Invariants: a key has a slot exactly if its row is in `table`; `#keys` holds the key of each slot
 * that is taken; `#pinned` slots have a pinned flag; `#dirty` lists each slot that has `listed`
 * once, and all that have `dirty` are among them.
 */
export class RowCache {
  readonly table: MemoryTable
  readonly capacity: number
  /** Every row that the table may have fits. */
  readonly #isWhole: boolean
  readonly #slots: KeyIndex
  readonly #keys: Uint32Array
  readonly #flags: Uint8Array
  /** The operation that needs a slot's row: it stays until the next one. */
  readonly #needed: Float64Array
  readonly #free: Int32Array
  #freeCount: number
  #operation = 0
  #hand = 0
  #pinned = 0
  /** Of the keys that were asked for last: slots that only need keeps. */
  #loose = 0
  readonly #dirty: Int32Array
  #dirtyCount = 0
  /** Slots of the last cut, their rows as of then, and how many of them were looked at. */
  #cut = new Int32Array(0)
  #copies = new Uint8Array(0)
  #copied = 0
  /** Of each slot in the cut, its place there. */
  readonly #places: Int32Array
  #victims = new Uint32Array(2048)

  constructor(spec: TableSpec, capacity: number, options: KernelOptions = {}) {
    this.capacity = capacity
    this.#isWhole = capacity >= spec.capacityRows
    const capacityRows = Math.ceil(capacity * spare)
    this.table = new MemoryTable({ ...spec, capacityRows }, options)
    this.#slots = new KeyIndex({ capacity: capacityRows, ...options })
    this.#keys = new Uint32Array(2 * capacity)
    this.#flags = new Uint8Array(capacity)
    this.#needed = new Float64Array(capacity)
    this.#free = Int32Array.from({ length: capacity }, (_, i) => capacity - 1 - i)
    this.#freeCount = capacity
    this.#dirty = new Int32Array(capacity)
    this.#places = new Int32Array(capacity)
  }

  get size(): number {
    return this.capacity - this.#freeCount
  }

  /** Rows that cannot make room. */
  get pinned(): number {
    return this.#pinned
  }

  /** Rows changed since the last cut, at most. */
  get dirty(): number {
    return this.#dirtyCount
  }

  /** Of memory, for rows and what belongs to them. */
  get bytes(): number {
    return this.table.stats().bytes + this.capacity * bytesPerSlot
  }

  /** Begins an operation: rows that it finds or takes in stay until the next begins. */
  begin(): void {
    this.#operation += 1
  }

  /** slots[i] <- the slot of key i, or `absentPayload`. Returns how many are cached. */
  find(keys: Keys, slots: Uint32Array): number {
    const found = this.#slots.find(keys, slots)
    const n = keyCount(keys)
    this.#loose = 0
    for (let i = 0; i < n; i += 1) {
      const slot = slots[i]
      if (slot === absentPayload) continue
      if ((this.#flags[slot] & pinned) === 0) this.#loose += 1
      this.#flags[slot] |= used
      this.#needed[slot] = this.#operation
    }
    return found
  }

  /** Whether so many rows can be taken in while those just found stay. */
  fits(rows: number): boolean {
    return this.#isWhole || rows === 0 || rows + this.#loose + this.#pinned <= this.capacity
  }

  /** The same without asking for the rows. */
  peek(keys: Keys, slots: Uint32Array): void {
    this.#slots.find(keys, slots)
  }

  /** Takes in rows that are not cached, as the store has them. */
  take(keys: Keys, records: Uint8Array): void {
    this.#place(keys, 0)
    const refused = this.table.writeRecords(records)
    assert(refused === 0, 'a row for each slot')
  }

  /** Slots for new rows, which the caller makes; a key that has one keeps it. */
  place(keys: Keys): void {
    this.#place(keys, dirty)
  }

  /** After every operation. */
  requireWhole(): void {
    assert(this.table.size === this.size, 'a row for each slot')
  }

  /** The rows in these slots are about to change; `absentPayload` is passed over. */
  touch(slots: Uint32Array, n: number): void {
    this.#copyAwaited(slots, n)
    for (let i = 0; i < n; i += 1) {
      if (slots[i] !== absentPayload) this.#soil(slots[i])
    }
  }

  /** Lets go of rows, pinned or not. */
  drop(keys: Keys): void {
    const n = keyCount(keys)
    const slots = new Uint32Array(n)
    if (this.#slots.find(keys, slots) === 0) return
    this.#copyAwaited(slots, n)
    for (let i = 0; i < n; i += 1) {
      const slot = slots[i]
      // A key that comes twice has left with its first.
      if (slot === absentPayload || this.#keys[2 * slot] + this.#keys[2 * slot + 1] === 0) continue
      this.#release(slot)
    }
    this.#slots.erase(keys)
    this.table.drop(keys)
  }

  /**
   * Begins a cut: the rows that changed since the last one, as they are now, though they are copied
   * later, by `copies`. Until `settle` or `takeBack` they stay pinned.
   */
  cut(): void {
    const changed = this.#dirty.subarray(0, this.#dirtyCount)
    const slots = new Int32Array(this.#dirtyCount)
    let n = 0
    for (const slot of changed) {
      this.#flags[slot] &= ~listed
      // The row was dropped meanwhile.
      if ((this.#flags[slot] & dirty) === 0) continue
      this.#flags[slot] = (this.#flags[slot] & ~dirty) | leaving | awaited
      this.#places[slot] = n
      slots[n] = slot
      n += 1
    }
    this.#dirtyCount = 0
    this.#cut = slots.subarray(0, n)
    this.#copies = new Uint8Array(n * this.table.recordBytes)
    this.#copied = 0
  }

  /** The rows of the cut, in runs of whole records; to be asked for in any rhythm. */
  *copies(): Generator<Uint8Array> {
    const { recordBytes } = this.table
    for (let from = 0; from < this.#cut.length; from += copiedAtOnce) {
      const to = Math.min(from + copiedAtOnce, this.#cut.length)
      this.#copyUpTo(to)
      yield this.#copies.subarray(from * recordBytes, to * recordBytes)
    }
  }

  /** The store has the rows of the last cut. */
  settle(): void {
    for (const slot of this.#cut) {
      if ((this.#flags[slot] & pinned) === leaving) this.#pinned -= 1
      this.#flags[slot] &= ~(leaving | awaited)
    }
    this.#endCut()
  }

  /** The store will not get the rows of the last cut: they belong to the next one. */
  takeBack(): void {
    for (const slot of this.#cut) {
      if ((this.#flags[slot] & leaving) === 0) continue
      this.#flags[slot] &= ~(leaving | awaited)
      if ((this.#flags[slot] & dirty) !== 0) continue
      this.#pinned -= 1
      this.#soil(slot)
    }
    this.#endCut()
  }

  clear(): void {
    this.table.clear()
    this.#slots.clear()
    this.#keys.fill(0)
    this.#flags.fill(0)
    for (let i = 0; i < this.capacity; i += 1) this.#free[i] = this.capacity - 1 - i
    this.#freeCount = this.capacity
    this.#pinned = 0
    this.#dirtyCount = 0
    this.#endCut()
  }

  #endCut(): void {
    this.#cut = new Int32Array(0)
    this.#copies = new Uint8Array(0)
  }

  /** Those among the first `to` rows of the cut that were not copied before they changed. */
  #copyUpTo(to: number): void {
    if (to <= this.#copied) return
    const slots = Uint32Array.from(this.#cut.subarray(this.#copied, to))
    this.#copyAwaited(slots, slots.length)
    this.#copied = to
  }

  /** Copies those rows that the cut awaits, each to its place there. */
  #copyAwaited(slots: Uint32Array, n: number): void {
    if (this.#copied === this.#cut.length) return
    const { recordBytes } = this.table
    const keys = new Uint32Array(2 * n)
    const places = new Int32Array(n)
    let count = 0
    for (let i = 0; i < n; i += 1) {
      const slot = slots[i]
      if (slot === absentPayload || (this.#flags[slot] & awaited) === 0) continue
      this.#flags[slot] &= ~awaited
      copyKey(keys, count, this.#keys, slot)
      places[count] = this.#places[slot]
      count += 1
    }
    if (count === 0) return
    const records = new Uint8Array(count * recordBytes)
    this.table.readRecords(keys.subarray(0, 2 * count), records, new Uint8Array(count))
    for (let i = 0; i < count; i += 1) {
      const record = records.subarray(i * recordBytes, (i + 1) * recordBytes)
      this.#copies.set(record, places[i] * recordBytes)
    }
  }

  #place(keys: Keys, flag: number): void {
    const n = keyCount(keys)
    this.#makeRoom(n)
    const slots = new Uint32Array(n)
    for (let i = 0; i < n; i += 1) slots[i] = this.#free[this.#freeCount - 1 - i]
    this.#slots.findOrInsert(keys, slots)
    for (let i = 0; i < n; i += 1) this.#occupy(slots[i], keys, i)
    if (flag === dirty) this.touch(slots, n)
  }

  /** Slot <- key i; one that is taken has it already. */
  #occupy(slot: number, keys: Keys, i: number): void {
    assert(slot !== absentPayload, 'keys are hashes: the index has room for each')
    this.#needed[slot] = this.#operation
    if (this.#keys[2 * slot] + this.#keys[2 * slot + 1] !== 0) return
    copyKey(this.#keys, slot, keys, i)
    this.#flags[slot] &= listed
    // A key that came twice has left a hole in those that were meant for it.
    let at = this.#freeCount - 1
    while (this.#free[at] !== slot) at -= 1
    this.#freeCount -= 1
    this.#free[at] = this.#free[this.#freeCount]
  }

  #soil(slot: number): void {
    const flags = this.#flags[slot]
    if ((flags & dirty) !== 0) return
    if ((flags & pinned) === 0) this.#pinned += 1
    this.#flags[slot] = flags | dirty | listed
    if ((flags & listed) !== 0) return
    this.#dirty[this.#dirtyCount] = slot
    this.#dirtyCount += 1
  }

  #release(slot: number): void {
    if ((this.#flags[slot] & pinned) !== 0) this.#pinned -= 1
    this.#flags[slot] &= listed
    this.#keys[2 * slot] = 0
    this.#keys[2 * slot + 1] = 0
    this.#free[this.#freeCount] = slot
    this.#freeCount += 1
  }

  /** At least n free slots. The caller has made sure that so many are not pinned. */
  #makeRoom(n: number): void {
    const wanted = n - this.#freeCount
    if (wanted <= 0) return
    if (2 * wanted > this.#victims.length) this.#victims = new Uint32Array(4 * wanted)
    let found = 0
    // Once to forget who was asked for, once to find them; a little more for where the hand stands.
    for (let steps = 3 * this.capacity; found < wanted; steps -= 1) {
      assert(steps > 0, 'a batch fits the memory of its table')
      const slot = this.#hand
      this.#hand = slot + 1 === this.capacity ? 0 : slot + 1
      if (!this.#isVictim(slot)) continue
      copyKey(this.#victims, found, this.#keys, slot)
      this.#release(slot)
      found += 1
    }
    const victims = this.#victims.subarray(0, 2 * found)
    this.#slots.erase(victims)
    this.table.drop(victims)
  }

  #isVictim(slot: number): boolean {
    const flags = this.#flags[slot]
    if ((flags & pinned) !== 0 || this.#needed[slot] === this.#operation) return false
    if (this.#keys[2 * slot] + this.#keys[2 * slot + 1] === 0) return false
    this.#flags[slot] = flags & ~used
    return (flags & used) === 0
  }
}
