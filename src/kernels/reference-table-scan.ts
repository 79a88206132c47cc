/** Twins of `assembly/table-scan.ts`: passes over all rows. */
import type { Address } from './operands.ts'
import { xxh64 } from './reference-hash.ts'
import { TableMemory } from './reference-table-memory.ts'
import { Word64 } from './reference-u64.ts'
import type { TableScanKernels } from './table-kernels.ts'
import { absentPayload, tableField } from './table-kernels.ts'

export function referenceTableScanKernels(memory: WebAssembly.Memory): TableScanKernels {
  const open = (table: Address): TableMemory => new TableMemory(memory, table)
  return {
    tableDigest: (table, out) => {
      const sum = digest(open(table))
      new Uint32Array(memory.buffer, out, 2).set([sum.low, sum.high])
    },
    tableNextRows: (address, max, keys, rows) => {
      const table = open(address)
      return scan(table, max, (row, count) => {
        writeKey(table, row, keys, count)
        table.words[(rows >>> 2) + count] = row
        return true
      })
    },
    tableTakeChanged: (address, max, keys) => {
      const table = open(address)
      return scan(table, max, (row, count) => {
        if (!table.isChanged(row)) return false
        table.setChanged(row, false)
        writeKey(table, row, keys, count)
        return true
      })
    },
    tablePack: (address, max, records) => {
      const table = open(address)
      return scan(table, max, (row, count) => {
        pack(table, row, (records >>> 2) + count * recordWords(table))
        return true
      })
    },
    tableUnpack: (address, n, records) => {
      const table = open(address)
      for (let i = 0; i < n; i += 1) {
        if (!unpack(table, (records >>> 2) + i * recordWords(table))) return i
      }
      return n
    },
  }
}

/**
 * Rows in use from the cursor on, until `take` has said yes `max` times. Returns how often it did.
 */
export function scan(
  table: TableMemory,
  max: number,
  take: (row: number, count: number) => boolean,
): number {
  const used = table.word(tableField.used)
  let row = table.word(tableField.cursor)
  let count = 0
  for (; row < used && count < max; row += 1) {
    if (!table.isFree(row) && take(row, count)) count += 1
  }
  table.set(tableField.cursor, row)
  return count
}

export function writeKey(table: TableMemory, row: number, keys: Address, i: number): void {
  table.words.set(table.keyOf(row), (keys >>> 2) + 2 * i)
}

function digest(table: TableMemory): Word64 {
  const sum = new Word64()
  const hash = new Word64()
  const bytes = (word: number, words: number): Uint8Array =>
    table.bytes.subarray(word * 4, (word + words) * 4)
  for (let row = 0; row < table.word(tableField.used); row += 1) {
    if (table.isFree(row)) continue
    xxh64(hash.set(0, 0), bytes((table.word(tableField.keys) >>> 2) + 2 * row, 2))
    xxh64(hash, bytes(table.stamp(row), 4))
    xxh64(hash, bytes(table.vector(row), table.dim))
    sum.add(xxh64(hash, bytes(table.state(row), table.stateFloats)))
  }
  return sum
}

const recordWords = (table: TableMemory): number => 8 + table.dim + table.stateFloats

function pack(table: TableMemory, row: number, to: number): void {
  const { words, dim } = table
  words.set(table.keyOf(row), to)
  words.copyWithin(to + 2, table.stamp(row), table.stamp(row) + 4)
  words.set([table.isChanged(row) ? 1 : 0, 0], to + 6)
  words.copyWithin(to + 8, table.vector(row), table.vector(row) + dim)
  words.copyWithin(to + 8 + dim, table.state(row), table.state(row) + table.stateFloats)
}

function unpack(table: TableMemory, from: number): boolean {
  const { words, dim } = table
  const row = table.takeRow()
  if (row === absentPayload || !table.index.place(words[from], words[from + 1], row)) return false
  table.setKey(row, words[from], words[from + 1])
  words.copyWithin(table.stamp(row), from + 2, from + 6)
  if (words[from + 6] === 1) table.setChanged(row, true)
  words.copyWithin(table.vector(row), from + 8, from + 8 + dim)
  words.copyWithin(table.state(row), from + 8 + dim, from + 8 + dim + table.stateFloats)
  table.add(tableField.size, 1)
  return true
}
