/** Twins of `assembly/table-records.ts`: whole rows as bytes. */
import type { Address } from '../operands.ts'
import type { TableRecordKernels } from '../table-kernels.ts'
import { absentPayload, changedBits, recordHeaderBytes, tableField } from '../table-kernels.ts'
import { TableMemory } from './reference-table-memory.ts'
import { scan } from './reference-table-scan.ts'

const headerWords = recordHeaderBytes / 4

export function referenceTableRecordKernels(memory: WebAssembly.Memory): TableRecordKernels {
  const open = (table: Address): TableMemory => new TableMemory(memory, table)
  return {
    tablePackPending: (...[address, max, records, since, end]) => {
      const table = open(address)
      return scan(table, { max, to: end }, (row, count) => {
        const to = (records >>> 2) + count * recordWords(table)
        return savePending(table, row, to, since)
      })
    },
    tablePackStaged: (...[address, rows, n, records, since]) => {
      const table = open(address)
      let count = 0
      for (let i = 0; i < n; i += 1) {
        const row = table.words[(rows >>> 2) + i]
        const to = (records >>> 2) + count * recordWords(table)
        if (row !== absentPayload && savePending(table, row, to, since)) count += 1
      }
      return count
    },
    tableReadRecords: (address, rows, n, records) => {
      const table = open(address)
      const size = recordWords(table)
      for (let i = 0; i < n; i += 1) {
        const row = table.words[(rows >>> 2) + i]
        const to = (records >>> 2) + i * size
        if (row === absentPayload) table.words.fill(0, to, to + size)
        else pack(table, row, to, tableField.changed)
      }
    },
    tableWriteRecords: (address, n, records, changes) => {
      const table = open(address)
      let refused = 0
      for (let i = 0; i < n; i += 1) {
        const from = (records >>> 2) + i * recordWords(table)
        if (!write(table, from, changes)) refused += 1
      }
      return refused
    },
  }
}

const recordWords = (table: TableMemory): number => headerWords + table.dim + table.stateFloats

/** Whether the snapshot is to have the row, which is no longer pending. */
function savePending(table: TableMemory, row: number, to: number, since: number): boolean {
  if (!table.bit(tableField.pending, row)) return false
  table.setBit(tableField.pending, row, false)
  const version = table.words[table.stamp(row) + 1]
  if (version < since && !table.bit(tableField.frozen, row)) return false
  pack(table, row, to, tableField.frozen)
  return true
}

type Bits = typeof tableField.changed | typeof tableField.frozen

function pack(table: TableMemory, row: number, to: number, changed: Bits): void {
  const { words, dim, stateFloats } = table
  words.set(table.keyOf(row), to)
  words.copyWithin(to + 2, table.stamp(row), table.stamp(row) + 4)
  words.set([table.bit(changed, row) ? 1 : 0, 0], to + 6)
  words.copyWithin(to + headerWords, table.vector(row), table.vector(row) + dim)
  words.copyWithin(to + headerWords + dim, table.state(row), table.state(row) + stateFloats)
}

/** False: there is no room for it. */
function write(table: TableMemory, from: number, changes: number): boolean {
  const { words, dim, stateFloats } = table
  const [low, high] = [words[from], words[from + 1]]
  if (low === 0 && high === 0) return true
  const known = table.index.find(low, high)
  const row = known === absentPayload ? table.addRow(low, high) : known
  if (row === absentPayload) return false
  words.copyWithin(table.stamp(row), from + 2, from + 6)
  words.copyWithin(table.vector(row), from + headerWords, from + headerWords + dim)
  const state = from + headerWords + dim
  words.copyWithin(table.state(row), state, state + stateFloats)
  if (changes === changedBits.mark) table.setBit(tableField.changed, row, true)
  if (changes === changedBits.asRecorded) {
    table.setBit(tableField.changed, row, (words[from + 6] & 1) === 1)
  }
  return true
}
