/**
 * Rows of an import on their way to a table whose rows lie elsewhere. The directory takes their
 * stamps and decides which find room; the rows themselves are handed on, some thousand at a time,
 * and stay in no memory.
 */
import type { Keys } from '../../base/keys.ts'
import { keyCount } from '../../base/keys.ts'
import type { Stamp } from '../embedding-table.ts'
import type { ImportableTable, WriteOptions } from '../exchange/table-import.ts'
import { MemoryTable } from '../memory/memory-table.ts'
import type { TableSpec } from '../table-spec.ts'
import { directorySpec } from './tiered-parts.ts'

/** Rows that wait to be handed on. */
const benchRows = 4096
/** Of a record: key, stamp and what the table notes beside it. */
const headBytes = 32
/** Count, version and last seen in it. */
const stampAt = 8
const stampEnd = 24

/** Invariant: the rows on the bench are not handed on yet; the directory has their stamps. */
export class ArrivingRows implements ImportableTable {
  readonly spec: TableSpec
  /** Stamps of all rows that the table will have. */
  readonly directory: MemoryTable
  readonly #bench: MemoryTable
  readonly #handOn: (records: Uint8Array) => void
  #zeros = new Float32Array(0)

  /** `handOn` gets whole records, those of one key in the order in which they came. */
  constructor(spec: TableSpec, handOn: (records: Uint8Array) => void) {
    this.spec = spec
    this.directory = new MemoryTable(directorySpec(spec))
    this.#bench = new MemoryTable({ ...spec, capacityRows: benchRows })
    this.#handOn = handOn
  }

  get recordBytes(): number {
    return this.#bench.recordBytes
  }

  get size(): number {
    return this.directory.size
  }

  /** At most `benchRows` keys. */
  assign(keys: Keys, vectors: Float32Array, stamp: Stamp): void {
    this.#makeRoom(keyCount(keys))
    this.directory.assign(keys, this.#floats(keyCount(keys)), stamp)
    this.#bench.assign(keys, vectors, stamp)
  }

  readRecords(keys: Keys, records: Uint8Array, present: Uint8Array): void {
    this.#bench.readRecords(keys, records, present)
    this.directory.find(keys, this.#floats(keyCount(keys)), present)
  }

  writeRecords(records: Uint8Array, options?: WriteOptions): number {
    const { recordBytes } = this
    let refused = 0
    for (let at = 0; at < records.length; at += benchRows * recordBytes) {
      const some = records.subarray(at, at + benchRows * recordBytes)
      this.#makeRoom(some.length / recordBytes)
      refused += this.directory.writeRecords(this.#heads(some), options)
      this.#bench.writeRecords(some)
    }
    return refused
  }

  /** The last ones are handed on. */
  finish(): void {
    this.#makeRoom(benchRows)
  }

  #makeRoom(rows: number): void {
    if (this.#bench.size + rows <= benchRows) return
    for (const { keys } of this.#bench.export()) this.#handOn(this.#recordsOf(keys))
    this.#bench.clear()
  }

  /** With the stamps that the directory has, which may have known the keys before. */
  #recordsOf(keys: Keys): Uint8Array {
    const n = keyCount(keys)
    const { recordBytes } = this
    const size = this.directory.recordBytes
    const [records, stamps] = [new Uint8Array(n * recordBytes), new Uint8Array(n * size)]
    const present = new Uint8Array(n)
    this.#bench.readRecords(keys, records, present)
    this.directory.readRecords(keys, stamps, present)
    for (let i = 0; i < n; i += 1) {
      const stamp = stamps.subarray(i * size + stampAt, i * size + stampEnd)
      records.set(stamp, i * recordBytes + stampAt)
    }
    return records
  }

  /** Records as the directory has them. */
  #heads(records: Uint8Array): Uint8Array {
    const n = records.length / this.recordBytes
    const size = this.directory.recordBytes
    const heads = new Uint8Array(n * size)
    for (let i = 0; i < n; i += 1) {
      const at = i * this.recordBytes
      heads.set(records.subarray(at, at + headBytes), i * size)
    }
    return heads
  }

  #floats(n: number): Float32Array {
    if (n > this.#zeros.length) this.#zeros = new Float32Array(2 * n)
    return this.#zeros.fill(0, 0, n)
  }
}
