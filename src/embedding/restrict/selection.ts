/**
 * Which rows leave when a table restricts itself: the lowest scores, in a strict order, so that the
 * same rows leave wherever they lie and in however many memories. The boundary is found by radix
 * selection from the top: a few passes over 24 bytes a row and one histogram of fixed size; one
 * more pass collects the numbers of the rows below it, by shares of their keys' hashes; then the
 * shares are removed. (TensorFlow Recommenders Addons, whose `restrict` this is, exports every key
 * and score and sorts them, for each shard alone.)
 *
 * Every step looks at a bounded number of rows, whatever the size of the table, and batches go on
 * in between. Rows that change meanwhile stay. A pass ends with the counts of those rows alone that
 * have not changed until then: whoever changes a row says so before (`release`), and if it was
 * counted already it is counted no more. So what leaves depends on the batches in between, but not
 * on the order in which rows lie; and what a pass has counted need not be saved, but can be counted
 * again.
 */
import type { Keys } from '../../base/keys.ts'
import {
  absentPayload,
  histogramBins,
  scoreComponent,
  tableField,
} from '../../kernels/table-kernels.ts'
import type { TableShards } from '../memory/table-shards.ts'
import type { TableStorage } from '../memory/table-storage.ts'
import { found, isCollected, isFound, type Restriction, type StepSizes } from './restriction.ts'
import { RowLists } from './row-lists.ts'

const { count, key } = scoreComponent
const components = [count, scoreComponent.lastSeen, key] as const

/** Rows of one call of a scan kernel: short calls are soon compiled to fast code. */
const scanRows = 32_768

/** Where the operands of a kernel hold time and rate of scoring, and since when rows take part. */
const scoringOffset = 48

/** Takes the n rows and keys that are staged in a storage. */
export type Visit = (storage: TableStorage, n: number) => void

/** From part to part of a pass. */
interface Span {
  readonly from: number
  readonly to: number
}

/**
 * Working space of one restriction at a time, which is given again with every call. Invariant: of
 * the parts done of its pass, `#bins` counts the rows that have not changed, or `#lists` holds
 * those to remove; undefined: to be made again from the rows.
 */
export class Selection {
  readonly #shards: TableShards
  readonly #protected: () => Keys
  readonly #steps: StepSizes
  #bins: Uint32Array | undefined
  #lists: ReadonlyMap<TableStorage, RowLists> | undefined
  #moves = 0
  readonly #seen = new Set<number>()

  constructor(shards: TableShards, protectedKeys: () => Keys, steps: StepSizes) {
    this.#shards = shards
    this.#protected = protectedKeys
    this.#steps = steps
  }

  /** Whether rows must be released before they change. */
  get isCounting(): boolean {
    return this.#bins !== undefined
  }

  /** Rows have changed that were not released, or another restriction begins. */
  forget(): void {
    this.#bins = undefined
    this.#lists = undefined
  }

  /** One step. What leaves is staged in its storage, rows and keys, and visited. What is left. */
  advance(given: Restriction, visit: Visit): Restriction | undefined {
    if (this.#moves !== this.#shards.moves) this.forget()
    this.#moves = this.#shards.moves
    const restriction = settled(given, this.#steps)
    if (restriction === undefined) return undefined
    if (!isFound(restriction)) return this.#count(restriction)
    if (!isCollected(restriction)) return this.#collect(restriction)
    return this.#removeShare(restriction, visit)
  }

  /** The n rows staged in a storage are about to change: they are not counted any more. */
  release(storage: TableStorage, n: number, restriction: Restriction): void {
    if (this.#bins === undefined) return
    const before = boundOf(storage, restriction.part, restriction.parts)
    this.#subtract(binsOf(storage, n, restriction, before), storage.rows.view)
  }

  #count(restriction: Restriction): Restriction | undefined {
    const { storages } = this.#shards
    const span = { from: this.#bins === undefined ? 0 : restriction.part, to: restriction.part + 1 }
    const isWhole = restriction.parts === 1 && storages.length === 1
    const bins = this.#bins ?? (isWhole ? storages[0].bins.view : new Uint32Array(histogramBins))
    this.#bins = bins
    for (const storage of storages) addHistogram(storage, restriction, span, bins)
    if (span.to < restriction.parts) return { ...restriction, part: span.to }
    this.#shards.eachPart(this.#protected(), ({ storage, size }) => {
      storage.lookUp(size)
      this.#subtract(binsOf(storage, size, restriction, absentPayload), storage.rows.view)
    })
    this.forget()
    return narrow({ ...restriction, part: 0 }, bins, this.#steps)
  }

  /** A row may be among them more than once. */
  #subtract(staged: Uint32Array, rows: Uint32Array): void {
    const bins = this.#bins
    if (bins === undefined) return
    this.#seen.clear()
    for (let i = 0; i < staged.length; i += 1) {
      if (staged[i] === absentPayload || this.#seen.has(rows[i])) continue
      this.#seen.add(rows[i])
      bins[staged[i]] -= 1
    }
  }

  #collect(restriction: Restriction): Restriction {
    const from = this.#lists === undefined ? 0 : restriction.part
    this.#collectParts(restriction, { from, to: restriction.part + 1 })
    return { ...restriction, part: restriction.part + 1 }
  }

  #collectParts(restriction: Restriction, span: Span): ReadonlyMap<TableStorage, RowLists> {
    const { storages } = this.#shards
    const lists = this.#lists ?? newLists(storages, restriction.shares)
    this.#lists = lists
    const kept = this.#protectedRows()
    for (const [storage, list] of lists) {
      collect(storage, restriction, span, (share, row) => {
        if (kept?.get(storage)?.has(row) !== true) list.add(share, row)
      })
    }
    return lists
  }

  #removeShare(restriction: Restriction, visit: Visit): Restriction | undefined {
    const { version, share, shares, parts } = restriction
    const lists = this.#lists ?? this.#collectParts(restriction, { from: 0, to: parts })
    for (const [storage, list] of lists) {
      const { kernels, table, rows, keys, batch } = storage
      for (const some of list.rowsOf(share, batch)) {
        rows.view.set(some)
        const n = kernels.tableUnchanged(table, version, rows.address, some.length, keys.address)
        if (n > 0) visit(storage, n)
      }
    }
    if (share + 1 < shares) return { ...restriction, share: share + 1 }
    this.forget()
    return undefined
  }

  #protectedRows(): ReadonlyMap<TableStorage, ReadonlySet<number>> | undefined {
    const keys = this.#protected()
    if (keys.length === 0) return undefined
    const kept = new Map<TableStorage, Set<number>>()
    this.#shards.eachPart(keys, ({ storage, size }) => {
      storage.lookUp(size)
      const rows = kept.get(storage) ?? new Set()
      for (let i = 0; i < size; i += 1) rows.add(storage.rows.view[i])
      kept.set(storage, rows)
    })
    return kept
  }
}

const newLists = (
  storages: readonly TableStorage[],
  shares: number,
): ReadonlyMap<TableStorage, RowLists> =>
  new Map(storages.map((storage) => [storage, new RowLists(shares)]))

/** Where a part of a pass begins in a storage. */
const boundOf = ({ capacity }: TableStorage, part: number, parts: number): number =>
  Math.floor((capacity * part) / parts)

/** Without components that have one value left: there is nothing to count. */
function settled(restriction: Restriction, steps: StepSizes): Restriction | undefined {
  const { component, ranges, wanted } = restriction
  if (isFound(restriction) || ranges[2 * component] < ranges[2 * component + 1]) return restriction
  if (component === key) return found(restriction, wanted, steps)
  return settled({ ...restriction, component: component + 1 }, steps)
}

/** Narrows the component's range to the bin in which the wanted number of rows is reached. */
function narrow(
  restriction: Restriction,
  counts: Uint32Array,
  steps: StepSizes,
): Restriction | undefined {
  const { component, ranges, remaining, wanted } = restriction
  const [low, high] = ranges.slice(2 * component, 2 * component + 2)
  const bits = BigInt(bitsPerBin(restriction))
  let [bin, below] = [0, 0]
  while (bin < histogramBins && below + counts[bin] < remaining) {
    below += counts[bin]
    bin += 1
  }
  const start = low + (BigInt(bin) << bits)
  // The rest have learned something since, or there are no more: fewer leave than were wanted.
  if (start > high) return found(restriction, wanted - remaining + below, steps)
  const end = bin < histogramBins ? start + (1n << bits) - 1n : high
  const narrowed = ranges
    .with(2 * component, start)
    .with(2 * component + 1, end < high ? end : high)
  const reached = bin < histogramBins && below + counts[bin] === remaining
  const next = { ...restriction, ranges: narrowed, remaining: remaining - below }
  return reached ? found(next, wanted, steps) : next
}

/**
 * So many that the histogram covers the range; but counts are first looked for at its lower end,
 * one by one, since most are small even where a few are large.
 */
function bitsPerBin({ ranges, component, rate }: Restriction): number {
  const [low, high] = ranges.slice(2 * component, 2 * component + 2)
  if (component === count && rate === 0 && low < BigInt(histogramBins)) return 0
  let bits = 0
  while ((high - low) >> BigInt(bits) >= BigInt(histogramBins)) bits += 1
  return bits
}

/** Rows by their component's distance from the lower end of its range, in units of 2^bits. */
function addHistogram(
  storage: TableStorage,
  restriction: Restriction,
  span: Span,
  counts: Uint32Array,
): void {
  const { kernels, table, operands, bins } = storage
  const { first, component, version, ranges } = restriction
  const bits = bitsPerBin(restriction)
  writeScoring(storage, restriction, ranges)
  bins.view.fill(0)
  const { address } = operands
  const end = Math.min(storage.get(tableField.used), boundOf(storage, span.to, restriction.parts))
  for (let from = boundOf(storage, span.from, restriction.parts); from < end; from += scanRows) {
    const to = Math.min(end, from + scanRows)
    const where = [bins.address, version, from, to] as const
    kernels.tableScoreHistogram(table, address, first, component, bits, ...where)
  }
  if (counts === bins.view) return
  for (let bin = 0; bin < histogramBins; bin += 1) counts[bin] += bins.view[bin]
}

/** A view: of each of n staged rows the bin in which it is counted, or `absentPayload`. */
function binsOf(
  storage: TableStorage,
  n: number,
  restriction: Restriction,
  before: number,
): Uint32Array {
  const { kernels, table, operands, rows, occurrences } = storage
  const { first, component, version, ranges } = restriction
  const bits = bitsPerBin(restriction)
  writeScoring(storage, restriction, ranges)
  const where = [version, rows.address, n, before, occurrences.address] as const
  kernels.tableScoreBins(table, operands.address, first, component, bits, ...where)
  return occurrences.view.subarray(0, n)
}

/** Rows that are not above the boundary, with their shares. */
function collect(
  storage: TableStorage,
  restriction: Restriction,
  span: Span,
  add: (share: number, row: number) => void,
): void {
  const { kernels, table, operands, rows, occurrences, batch } = storage
  const { first, version, ranges, shares, parts } = restriction
  const boundary = components.map((component) => ranges[2 * component + 1])
  writeScoring(storage, restriction, boundary)
  const to = Math.min(storage.get(tableField.used), boundOf(storage, span.to, parts))
  storage.set(tableField.cursor, Math.min(to, boundOf(storage, span.from, parts)))
  while (storage.get(tableField.cursor) < to) {
    const end = Math.min(to, storage.get(tableField.cursor) + scanRows)
    const where = [shares, end, batch, rows.address, occurrences.address] as const
    const n = kernels.tableRowsBelow(table, operands.address, first, version, ...where)
    for (let i = 0; i < n; i += 1) add(occurrences.view[i], rows.view[i])
  }
}

/** Numbers of 64 bits, and behind the six of them that there may be, how rows are scored. */
function writeScoring(
  { operands: { view } }: TableStorage,
  { now, rate, since }: Restriction,
  values: readonly bigint[],
): void {
  for (const [i, value] of values.entries()) {
    view[2 * i] = Number(value & 0xffff_ffffn)
    view[2 * i + 1] = Number(value >> 32n)
  }
  new Float64Array(view.buffer, view.byteOffset + scoringOffset, 3).set([now, rate, since])
}
