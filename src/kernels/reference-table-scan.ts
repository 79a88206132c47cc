/** Twins of `assembly/table-scan.ts` and `assembly/table-scores.ts`: passes over all rows. */
import type { Address } from './operands.ts'
import { xxh64 } from './reference-hash.ts'
import { TableMemory } from './reference-table-memory.ts'
import { Word64 } from './reference-u64.ts'
import type { TableScanKernels, TableScoreKernels } from './table-kernels.ts'
import { absentPayload, histogramBins, scoreComponent, tableField } from './table-kernels.ts'

const { floor, min } = Math

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
function scan(
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

function writeKey(table: TableMemory, row: number, keys: Address, i: number): void {
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

export function referenceTableScoreKernels(memory: WebAssembly.Memory): TableScoreKernels {
  const open = (table: Address): TableMemory => new TableMemory(memory, table)
  return {
    tableScoreRange: (address, window, component, out) => {
      const table = open(address)
      const [least, greatest] = [new Word64().set(-1, -1), new Word64()]
      eachWithin(table, window, (row) => {
        const value = valueOf(table, row, component)
        if (value.compare(least) < 0) least.copy(value)
        if (value.compare(greatest) > 0) greatest.copy(value)
      })
      table.words.set([least.low, least.high, greatest.low, greatest.high], out >>> 2)
    },
    tableScoreHistogram: (...[address, window, component, bits, bins]) => {
      const table = open(address)
      const counts = table.words.subarray(bins >>> 2, (bins >>> 2) + histogramBins).fill(0)
      const low = read(table, window, 2 * component)
      eachWithin(table, window, (row) => {
        const bin = valueOf(table, row, component).subtract(low).shiftRight(bits)
        counts[bin.high === 0 ? min(bin.low, histogramBins - 1) : histogramBins - 1] += 1
      })
    },
    tableScoresBelow: (...[address, boundary, first, max, keys]) => {
      const table = open(address)
      const limits = [0, 1, 2].map((component) => read(table, boundary, component))
      return scan(table, max, (row, count) => {
        if (isAbove(table, row, limits, first)) return false
        writeKey(table, row, keys, count)
        return true
      })
    },
  }
}

/** The i-th u64 from an address on. */
const read = ({ words }: TableMemory, address: Address, i: number): Word64 =>
  new Word64().set(words[(address >>> 2) + 2 * i + 1], words[(address >>> 2) + 2 * i])

const value64 = new Word64()

/** A component of the row's score; valid until the next call. */
function valueOf(table: TableMemory, row: number, component: number): Word64 {
  if (component === scoreComponent.count) return value64.set(0, table.words[table.stamp(row)])
  if (component === scoreComponent.lastSeen) {
    const time = table.lastSeen(row)
    // Two's complement with the sign turned round, so that unsigned order is the order of times.
    const high = floor(time / 2 ** 32)
    return value64.set(high ^ 0x8000_0000, time - high * 2 ** 32)
  }
  const [low, high] = table.keyOf(row)
  return value64.set(high, low)
}

function eachWithin(table: TableMemory, window: Address, visit: (row: number) => void): void {
  const bounds = Array.from({ length: 6 }, (_, i) => read(table, window, i))
  for (let row = 0; row < table.word(tableField.used); row += 1) {
    if (!table.isFree(row) && isWithin(table, row, bounds)) visit(row)
  }
}

const isWithin = (table: TableMemory, row: number, bounds: readonly Word64[]): boolean =>
  [0, 1, 2].every((component) => {
    const value = valueOf(table, row, component)
    return (
      value.compare(bounds[2 * component]) >= 0 && value.compare(bounds[2 * component + 1]) <= 0
    )
  })

function isAbove(
  table: TableMemory,
  row: number,
  limits: readonly Word64[],
  first: number,
): boolean {
  for (let component = first; component < limits.length; component += 1) {
    const order = valueOf(table, row, component).compare(limits[component])
    if (order !== 0) return order > 0
  }
  return false
}
