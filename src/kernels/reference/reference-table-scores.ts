/** Twins of `assembly/table-scores.ts`: scores as 64-bit numbers, their histograms, rows below. */
import type { Address } from '../operands.ts'
import type { TableScoreKernels } from '../table-kernels.ts'
import { absentPayload, histogramBins, scoreComponent } from '../table-kernels.ts'
import { worth } from './reference-count-decay.ts'
import { firstHash } from './reference-cuckoo.ts'
import { TableMemory } from './reference-table-memory.ts'
import { scan, writeKey } from './reference-table-scan.ts'
import { highWord, Word64 } from './reference-u64.ts'

const components = [scoreComponent.count, scoreComponent.lastSeen, scoreComponent.key] as const

export function referenceTableScoreKernels(memory: WebAssembly.Memory): TableScoreKernels {
  const open = (table: Address): TableMemory => new TableMemory(memory, table)
  return {
    tableScoreHistogram: (
      ...[address, ranges, first, component, bits, bins, version, from, to]
    ) => {
      const table = open(address)
      const counting = countingOf(table, { ranges, first, component, bits, version })
      for (let row = from; row < to; row += 1) {
        const bin = binOf(table, row, counting)
        if (bin !== absentPayload) table.words[(bins >>> 2) + bin] += 1
      }
    },
    tableScoreBins: (
      ...[address, ranges, first, component, bits, version, rows, n, before, bins]
    ) => {
      const table = open(address)
      const counting = countingOf(table, { ranges, first, component, bits, version })
      for (let i = 0; i < n; i += 1) {
        const row = table.words[(rows >>> 2) + i]
        const counted = row < before && row !== absentPayload
        table.words[(bins >>> 2) + i] = counted ? binOf(table, row, counting) : absentPayload
      }
    },
    tableRowsBelow: (...[address, boundary, first, version, shares, to, max, rows, shareOf]) => {
      const table = open(address)
      const limits = components.map((component) => read(table, boundary, component))
      const limit = { limits, first, scoring: scoringAt(table, boundary) }
      return scan(table, { max, to }, (row, count) => {
        if (isLeftOut(table, row, version, limit.scoring)) return false
        if (isAbove(table, row, limit)) return false
        const [low, high] = table.keyOf(row)
        table.words[(rows >>> 2) + count] = row
        table.words[(shareOf >>> 2) + count] = highWord(firstHash(low, high), shares)
        return true
      })
    },
    tableUnchanged: (...[address, version, rows, n, keys]) => {
      const table = open(address)
      let count = 0
      for (let i = 0; i < n; i += 1) {
        const row = table.words[(rows >>> 2) + i]
        if (isNewer(table, row, version)) continue
        table.words[(rows >>> 2) + count] = row
        writeKey(table, row, keys, count)
        count += 1
      }
      return count
    },
  }
}

/** Also true of a free row, whose version is above any. */
const isNewer = (table: TableMemory, row: number, version: number): boolean =>
  table.words[table.stamp(row) + 1] > version

/** When counts are scored, and by how many ticks a millisecond they decay until then. */
interface Scoring {
  readonly now: number
  readonly rate: number
  /** A row that was last seen before takes no part. */
  readonly since: number
}

const scoringAt = ({ doubles }: TableMemory, ranges: Address): Scoring => ({
  now: doubles[(ranges >>> 3) + 6],
  rate: doubles[(ranges >>> 3) + 7],
  since: doubles[(ranges >>> 3) + 8],
})

function isLeftOut(table: TableMemory, row: number, version: number, { since }: Scoring): boolean {
  return isNewer(table, row, version) || table.lastSeen(row) < since
}

interface CountingRequest {
  readonly ranges: Address
  readonly first: number
  readonly component: number
  readonly bits: number
  readonly version: number
}

interface Counting extends CountingRequest {
  readonly lows: readonly Word64[]
  readonly scoring: Scoring
  /** Components that must be at the lower ends of their ranges. */
  readonly fixed: readonly number[]
}

const countingOf = (table: TableMemory, request: CountingRequest): Counting => ({
  ...request,
  lows: components.map((c) => read(table, request.ranges, 2 * c)),
  scoring: scoringAt(table, request.ranges),
  fixed: components.filter((c) => c >= request.first && c < request.component),
})

/** `absentPayload`: it is not counted. */
function binOf(table: TableMemory, row: number, counting: Counting): number {
  const { component, bits, version, lows, scoring, fixed } = counting
  if (isLeftOut(table, row, version, scoring)) return absentPayload
  if (fixed.some((c) => valueOf(table, row, c, scoring).compare(lows[c]) !== 0)) {
    return absentPayload
  }
  const bin = valueOf(table, row, component, scoring).subtract(lows[component]).shiftRight(bits)
  return bin.high === 0 && bin.low < histogramBins ? bin.low : absentPayload
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
