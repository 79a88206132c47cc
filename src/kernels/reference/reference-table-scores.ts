/** Twins of `assembly/table-scores.ts`: scores as 64-bit numbers, their ranges and histograms. */
import type { Address } from '../operands.ts'
import type { TableScoreKernels } from '../table-kernels.ts'
import { histogramBins, scoreComponent, tableField } from '../table-kernels.ts'
import { worth } from './reference-count-decay.ts'
import { firstHash } from './reference-cuckoo.ts'
import { TableMemory } from './reference-table-memory.ts'
import { scan, writeKey } from './reference-table-scan.ts'
import { highWord, Word64 } from './reference-u64.ts'

const components = [scoreComponent.count, scoreComponent.lastSeen, scoreComponent.key] as const

export function referenceTableScoreKernels(memory: WebAssembly.Memory): TableScoreKernels {
  const open = (table: Address): TableMemory => new TableMemory(memory, table)
  return {
    tableScoreRanges: (...[address, ranges, version, from, to]) => {
      extendRanges(open(address), ranges, { version, from, to })
    },
    tableScoreHistogram: (
      ...[address, ranges, first, component, bits, bins, version, from, to]
    ) => {
      countRows(open(address), { ranges, first, component, bits, bins, version, from, to })
    },
    tableMarkBelow: (...[address, boundary, first, version, from, to]) => {
      const table = open(address)
      const limits = components.map((component) => read(table, boundary, component))
      const scoring = scoringAt(table, boundary)
      for (let row = from; row < to; row += 1) {
        const stays =
          isNewer(table, row, version) || isAbove(table, row, { limits, first, scoring })
        table.setBit(tableField.leaving, row, !stays)
      }
    },
    tableTakeMarked: (...[address, version, share, shares, max, keys]) => {
      const table = open(address)
      return scan(table, max, (row, count) => {
        if (!table.bit(tableField.leaving, row) || isNewer(table, row, version)) return false
        const [low, high] = table.keyOf(row)
        if (highWord(firstHash(low, high), shares) !== share) return false
        writeKey(table, row, keys, count)
        return true
      })
    },
  }
}

/** Rows from..to that did not change after `version`. */
interface Rows {
  readonly version: number
  readonly from: number
  readonly to: number
}

/** Also true of a free row, whose version is above any. */
const isNewer = (table: TableMemory, row: number, version: number): boolean =>
  table.words[table.stamp(row) + 1] > version

/** When counts are scored, and by how many ticks a millisecond they decay until then. */
interface Scoring {
  readonly now: number
  readonly rate: number
}

const asTheyAre: Scoring = { now: 0, rate: 0 }

const scoringAt = ({ doubles }: TableMemory, ranges: Address): Scoring => ({
  now: doubles[(ranges >>> 3) + 6],
  rate: doubles[(ranges >>> 3) + 7],
})

function extendRanges(table: TableMemory, ranges: Address, { version, from, to }: Rows): void {
  for (const component of [scoreComponent.count, scoreComponent.lastSeen]) {
    const least = read(table, ranges, 2 * component)
    const greatest = read(table, ranges, 2 * component + 1)
    for (let row = from; row < to; row += 1) {
      if (isNewer(table, row, version)) continue
      const value = valueOf(table, row, component, asTheyAre)
      if (value.compare(least) < 0) least.copy(value)
      if (value.compare(greatest) > 0) greatest.copy(value)
    }
    const words = [least.low, least.high, greatest.low, greatest.high]
    table.words.set(words, (ranges >>> 2) + 4 * component)
  }
}

interface Counting extends Rows {
  readonly ranges: Address
  readonly first: number
  readonly component: number
  readonly bits: number
  readonly bins: Address
}

function countRows(table: TableMemory, counting: Counting): void {
  const { ranges, first, component, bits, bins, version, from, to } = counting
  const lows = components.map((c) => read(table, ranges, 2 * c))
  const scoring = scoringAt(table, ranges)
  const fixed = components.filter((c) => c >= first && c < component)
  for (let row = from; row < to; row += 1) {
    if (isNewer(table, row, version)) continue
    if (fixed.some((c) => valueOf(table, row, c, scoring).compare(lows[c]) !== 0)) continue
    const bin = valueOf(table, row, component, scoring).subtract(lows[component]).shiftRight(bits)
    if (bin.high !== 0 || bin.low >= histogramBins) continue
    table.words[(bins >>> 2) + bin.low] += 1
  }
}

/** The i-th u64 from an address on. */
const read = ({ words }: TableMemory, address: Address, i: number): Word64 =>
  new Word64().set(words[(address >>> 2) + 2 * i + 1], words[(address >>> 2) + 2 * i])

const value64 = new Word64()

/** A component of the row's score; valid until the next call. */
function valueOf(table: TableMemory, row: number, component: number, scoring: Scoring): Word64 {
  if (component === scoreComponent.count) return worthOf(table, row, scoring)
  if (component === scoreComponent.lastSeen) {
    const time = table.lastSeen(row)
    // Two's complement with the sign turned round, so that unsigned order is the order of times.
    const high = Math.floor(time / 2 ** 32)
    return value64.set(high ^ 0x8000_0000, time - high * 2 ** 32)
  }
  const [low, high] = table.keyOf(row)
  return value64.set(high, low)
}

/** The count, or with a rate what it is worth at the time of scoring. */
function worthOf(table: TableMemory, row: number, { now, rate }: Scoring): Word64 {
  const count = table.words[table.stamp(row)]
  if (rate === 0) return value64.set(0, count)
  return value64.set(0, worth(table, count, (now - table.lastSeen(row)) * rate))
}

interface Boundary {
  readonly limits: readonly Word64[]
  readonly first: number
  readonly scoring: Scoring
}

function isAbove(table: TableMemory, row: number, { limits, first, scoring }: Boundary): boolean {
  for (const component of components) {
    if (component < first) continue
    const order = valueOf(table, row, component, scoring).compare(limits[component])
    if (order !== 0) return order > 0
  }
  return false
}
