/** Twins of `assembly/table-scan.ts`: passes over all rows. */
import type { Address } from '../operands.ts'
import type { TableScanKernels } from '../table-kernels.ts'
import { tableField } from '../table-kernels.ts'
import { xxh64 } from './reference-hash.ts'
import { TableMemory } from './reference-table-memory.ts'
import { Word64 } from './reference-u64.ts'

export function referenceTableScanKernels(memory: WebAssembly.Memory): TableScanKernels {
  const open = (table: Address): TableMemory => new TableMemory(memory, table)
  return {
    tableDigest: (table, out) => {
      const sum = digest(open(table))
      new Uint32Array(memory.buffer, out, 2).set([sum.low, sum.high])
    },
    tableNextRows: (address, max, keys, rows) => {
      const table = open(address)
      return scan(table, { max }, (row, count) => {
        writeKey(table, row, keys, count)
        table.words[(rows >>> 2) + count] = row
        return true
      })
    },
    tableTakeChanged: (address, max, keys) => {
      const table = open(address)
      return scan(table, { max }, (row, count) => {
        if (!table.bit(tableField.changed, row)) return false
        table.setBit(tableField.changed, row, false)
        writeKey(table, row, keys, count)
        return true
      })
    },
  }
}

/**
 * Rows in use from the cursor to `to` (default: all), until `take` has said yes `max` times.
 * Returns how often it did.
 */
export function scan(
  table: TableMemory,
  { max, to = table.word(tableField.used) }: { readonly max: number; readonly to?: number },
  take: (row: number, count: number) => boolean,
): number {
  let row = table.word(tableField.cursor)
  let count = 0
  for (; row < to && count < max; row += 1) {
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
