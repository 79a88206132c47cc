/** A table's record and what it points to, for the twins: see `assembly/table-layout.ts`. */
import type { Address } from '../operands.ts'
import { absentPayload, tableField } from '../table-kernels.ts'
import { CuckooIndex } from './reference-cuckoo.ts'

/** The version of a free row: see `FREE` in `assembly/table-layout.ts`. */
const freeVersion = 0xffff_ffff

type Field = (typeof tableField)[keyof typeof tableField]

/** Addresses are given and used as element indices: `floats[table.vector(row)]`. */
export class TableMemory {
  readonly words: Uint32Array
  readonly floats: Float32Array
  readonly doubles: Float64Array
  readonly bytes: Uint8Array
  readonly dim: number
  readonly stateFloats: number
  readonly index: CuckooIndex
  readonly #record: number
  readonly #rows: number
  readonly #stride: number
  readonly #stateOffset: number

  constructor(memory: WebAssembly.Memory, table: Address) {
    this.words = new Uint32Array(memory.buffer)
    this.floats = new Float32Array(memory.buffer)
    this.doubles = new Float64Array(memory.buffer)
    this.bytes = new Uint8Array(memory.buffer)
    this.#record = table >>> 2
    this.dim = this.word(tableField.dim)
    this.stateFloats = this.word(tableField.stateFloats)
    this.#rows = this.word(tableField.rows) >>> 2
    this.#stride = this.word(tableField.stride) >>> 2
    this.#stateOffset = this.word(tableField.stateOffset) >>> 2
    const buckets = this.word(tableField.buckets)
    this.index = new CuckooIndex(this.words, buckets, this.word(tableField.bucketCount))
  }

  word(field: Field): number {
    return this.words[this.#record + field]
  }

  float(field: Field): number {
    return this.floats[this.#record + field]
  }

  set(field: Field, value: number): void {
    this.words[this.#record + field] = value
  }

  add(field: Field, by: number): void {
    this.words[this.#record + field] += by
  }

  /** Low and high word of key i of a batch. */
  keyAt(keys: Address, i: number): [low: number, high: number] {
    return [this.words[(keys >>> 2) + 2 * i], this.words[(keys >>> 2) + 2 * i + 1]]
  }

  /** Low and high word of the row's key; both 0: the row is free. */
  keyOf(row: number): [low: number, high: number] {
    return this.keyAt(this.word(tableField.keys), row)
  }

  isFree(row: number): boolean {
    const [low, high] = this.keyOf(row)
    return low === 0 && high === 0
  }

  vector(row: number): number {
    return this.#rows + row * this.#stride
  }

  state(row: number): number {
    return this.vector(row) + this.#stateOffset
  }

  /** Count, then version, then two words of last-seen time. */
  stamp(row: number): number {
    return (this.word(tableField.stamps) >>> 2) + 4 * row
  }

  lastSeen(row: number): number {
    return this.doubles[(this.stamp(row) + 2) >>> 1]
  }

  /** Bit `row` of a part that has one bit for each row. */
  bit(part: Field, row: number): boolean {
    return ((this.words[this.#bits(part, row)] >>> (row & 31)) & 1) === 1
  }

  setBit(part: Field, row: number, value: boolean): void {
    const bit = 1 << (row & 31)
    if (value) this.words[this.#bits(part, row)] |= bit
    else this.words[this.#bits(part, row)] &= ~bit
  }

  markChanged(row: number, [time, version]: readonly [number, number]): void {
    this.words[this.stamp(row) + 1] = version
    this.doubles[(this.stamp(row) + 2) >>> 1] = time
    this.setBit(tableField.changed, row, true)
  }

  /** A row for a key that has none, all but its key still to be written; or `absentPayload`. */
  addRow(low: number, high: number): number {
    const row = this.#takeRow()
    if (row === absentPayload) return row
    const path = this.index.place(low, high, row)
    if (path === 0) {
      this.freeRow(row)
      return absentPayload
    }
    this.set(tableField.longestPath, Math.max(this.word(tableField.longestPath), path - 1))
    this.add(tableField.size, 1)
    this.#setKey(row, low, high)
    return row
  }

  freeRow(row: number): void {
    this.#setKey(row, 0, 0)
    this.words[this.stamp(row)] = 0
    this.words[this.stamp(row) + 1] = freeVersion
    this.doubles[(this.stamp(row) + 2) >>> 1] = 0
    this.setBit(tableField.changed, row, false)
    this.setBit(tableField.freed, row, true)
  }

  #takeRow(): number {
    const used = this.word(tableField.used)
    const size = this.word(tableField.size)
    if (size >= this.word(tableField.capacity)) return absentPayload
    if (used === size) {
      this.set(tableField.used, used + 1)
      return used
    }
    const freed = this.word(tableField.freed) >>> 2
    let word = this.word(tableField.freedCursor)
    while (this.words[freed + word] === 0) word = (word + 1) % ((used + 31) >>> 5)
    const bits = this.words[freed + word]
    this.words[freed + word] = bits & (bits - 1)
    this.set(tableField.freedCursor, word)
    return word * 32 + (31 - Math.clz32(bits & -bits))
  }

  #setKey(row: number, low: number, high: number): void {
    const at = (this.word(tableField.keys) >>> 2) + 2 * row
    this.words[at] = low
    this.words[at + 1] = high
  }

  #bits(part: Field, row: number): number {
    return (this.word(part) >>> 2) + (row >>> 5)
  }
}
