/**
 * Which rows leave when a table restricts itself: the lowest scores, in a strict order, so that the
 * same rows leave wherever they lie and in however many memories. The boundary is found by radix
 * selection from the top: a few passes over 24 bytes a row and one histogram of fixed size,
 * whatever the number of rows. (TensorFlow Recommenders Addons, whose `restrict` this is, exports
 * every key and score and sorts them, for each shard alone.)
 *
 * A large table may be restricted in steps, one between two batches: each pass is one, and what
 * leaves is removed in shares, parts of all keys by their hash. Rows that change meanwhile stay and
 * are no longer counted. So what leaves depends on the batches in between, but not on where rows
 * lie.
 */
import type { ByteReader, ByteWriter } from '../../base/bytes.ts'
import { ServiceError } from '../../base/errors.ts'
import type { Awaitable, Keys } from '../../base/keys.ts'
import type { Block } from '../../kernels/arena.ts'
import { histogramBins, scoreComponent, tableField } from '../../kernels/table-kernels.ts'
import type { RestrictRequest } from '../embedding-table.ts'
import type { TableStorage } from '../memory/table-storage.ts'
import type { RestrictPolicy, TableSpec } from '../table-spec.ts'

const { count, lastSeen, key } = scoreComponent
const components = [count, lastSeen, key] as const

/** The first component compared; the later ones break ties: older first, then by key. */
const firstComponent = {
  frequency: count,
  timestamp: lastSeen,
  combined: count,
} as const satisfies Record<RestrictPolicy, number>

/** A table that does not say at how many rows it restricts itself does so at this load. */
const defaultFill = 0.95
/** A table of no more rows is restricted whole: that takes some milliseconds. */
export const wholeRows = 131_072
/** Rows that one share removes, on average. */
const shareRows = 24_576
/** Each share looks at all marks once: of a very large table, shares are larger. */
const maximumShares = 32
/** Rows of one call of a scan kernel: short calls are soon compiled to fast code. */
const scanRows = 32_768

/** Where the operands of a kernel hold the time and the rate of scoring. */
const scoringOffset = 48
/** Of times in milliseconds, no two are further apart. */
const distanceBits = 48

const greatest = 2n ** 64n - 1n
const greatestWorth = 2n ** 32n - 1n
const noKeys: Keys = new Uint32Array(0)

/** All rows of a table, each in one of its storages. */
type Storages = readonly TableStorage[]
/** Erases the n keys staged in a storage. */
type EraseStaged = (storage: TableStorage, n: number) => void

/** The part of a table that restricts it. */
interface Restrictable<Result> {
  readonly spec: TableSpec
  restrictSome(request: RestrictRequest): Result
}

/**
 * Restricts a table as its specification says, if it says so: to be called between any two batches,
 * since a large table has more to do after the first call. Returns the keys removed now.
 */
export function restrictWhenFull(table: Restrictable<Keys>): Keys
export function restrictWhenFull(table: Restrictable<Awaitable<Keys>>): Awaitable<Keys>
export function restrictWhenFull(table: Restrictable<Awaitable<Keys>>): Awaitable<Keys> {
  const request = ownRequest(table.spec)
  return request === undefined ? noKeys : table.restrictSome(request)
}

/** What a table asks of itself; undefined where nothing makes its rows leave. */
export function ownRequest({ restrict, capacityRows }: TableSpec): RestrictRequest | undefined {
  if (restrict === undefined) return undefined
  const { trigger = Math.floor((restrict.triggerFill ?? defaultFill) * capacityRows) } = restrict
  return { ...restrict, trigger }
}

/** How many rows must leave a table of `size` rows. Throws `RESTRICT_INVALID`. */
export function rowsToRemove(request: RestrictRequest, size: number): number {
  const { numReserved, trigger, floorRows = 0 } = request
  for (const [argument, value] of Object.entries({ numReserved, trigger, floorRows })) {
    if (!Number.isSafeInteger(value) || value < 0) {
      throw new ServiceError('RESTRICT_INVALID', { argument, value })
    }
  }
  return size > trigger ? Math.max(0, size - Math.max(numReserved, floorRows)) : 0
}

/** A restrict under way: plain values, so that a snapshot can hold it. */
export interface Restriction {
  /** The component of a score from which on it is compared with the boundary. */
  readonly first: number
  /** Rows that changed after this version stay. */
  readonly version: number
  /** Counts are taken as what they are worth at this time, decaying by so many ticks each ms. */
  readonly now: number
  readonly rate: number
  /** Lower and upper end, both included, of each component's values at the boundary. */
  readonly ranges: readonly bigint[]
  /** The component whose range is being narrowed; past the last one the boundary is found. */
  readonly component: number
  /** How many rows of those within the ranges must leave. */
  readonly remaining: number
  /** The share of the keys to remove next, and how many there are. */
  readonly share: number
  readonly shares: number
}

type Scoring = Pick<Restriction, 'first' | 'component' | 'version' | 'ranges' | 'now' | 'rate'>

export interface RestrictionPlan {
  readonly policy: RestrictPolicy
  /** Rows to remove: 0 < wanted <= rows. */
  readonly wanted: number
  /** The version and the time of the table now. */
  readonly version: number
  readonly now: number
  /** Ticks a ms by which counts decay; see `decayTicks`. */
  readonly rate: number
  readonly whole: boolean
}

/** A restriction before anything is done for it but one pass over the rows. */
export function planRestriction(storages: Storages, plan: RestrictionPlan): Restriction {
  const { policy, wanted, version, rate, whole } = plan
  const first = firstComponent[policy]
  const shares = whole ? 1 : Math.min(maximumShares, Math.ceil(wanted / shareRows))
  const ranges = rangesOf(storages, plan)
  // No row must be younger than the time of scoring.
  const now = Math.max(plan.now, timeOf(ranges[2 * lastSeen + 1]))
  const progress = { component: first, remaining: wanted, share: 0, shares }
  return { first, version, now, rate, ranges, ...progress }
}

/**
 * One step, which takes a few milliseconds for a million rows: a pass that narrows the boundary, or
 * the removal of a share, whose keys are staged group by group in their storage for `erase`.
 * Returns what is left to do.
 */
export function advanceRestriction(
  storages: Storages,
  restriction: Restriction,
  erase: EraseStaged,
): Restriction | undefined {
  const { component, ranges, share, shares } = restriction
  if (component > key) {
    for (const storage of storages) removeShare(storage, restriction, erase)
    return share + 1 < shares ? { ...restriction, share: share + 1 } : undefined
  }
  const found = restriction.remaining === 0
  if (!found && ranges[2 * component] < ranges[2 * component + 1]) {
    return narrow(storages, restriction)
  }
  const next = { ...restriction, component: found ? key + 1 : component + 1 }
  // This step has nothing else to do, and the next one the more.
  if (next.component > key) for (const storage of storages) markBelow(storage, next)
  return next
}

function removeShare(storage: TableStorage, restriction: Restriction, erase: EraseStaged): void {
  const { kernels, table, keys, batch } = storage
  const { version, share, shares } = restriction
  markBelow(storage, restriction)
  storage.set(tableField.cursor, 0)
  for (;;) {
    const n = kernels.tableTakeMarked(table, version, share, shares, batch, keys.address)
    if (n === 0) return
    erase(storage, n)
  }
}

/**
 * Marks the rows that are to leave, once for all shares: rows that change later are told by their
 * version. Marks are no part of the state: who has none, after a restart, makes them again.
 */
function markBelow(storage: TableStorage, restriction: Restriction): void {
  const { kernels, table, operands } = storage
  const { first, version, ranges } = restriction
  if (storage.markedFor === ranges) return
  const boundary = components.map((component) => ranges[2 * component + 1])
  writeScoring(operands, boundary, restriction)
  eachScan(storage, (from, to) => {
    kernels.tableMarkBelow(table, operands.address, first, version, from, to)
  })
  storage.markedFor = ranges
}

/** The counts and times that occur; keys may be anything. */
function rangesOf(storages: Storages, plan: RestrictionPlan): readonly bigint[] {
  const { version } = plan
  const ranges = [greatest, 0n, greatest, 0n]
  for (const storage of storages) {
    const { kernels, table, operands } = storage
    writeScoring(operands, ranges, plan)
    eachScan(storage, (from, to) => {
      kernels.tableScoreRanges(table, operands.address, version, from, to)
    })
    for (const i of ranges.keys()) ranges[i] = readWords(operands.view, i)
  }
  // What counts are worth is not looked at for this: anything that fits.
  if (plan.rate !== 0) ranges.splice(0, 2, 0n, greatestWorth)
  return [...ranges, 0n, greatest]
}

/** A time from its number that grows with it; 0 where there is none. */
const timeOf = (value: bigint): number => Number(BigInt.asIntN(64, value ^ (1n << 63n)))

/** Narrows the component's range to the bin in which the wanted number of rows is reached. */
function narrow(storages: Storages, restriction: Restriction): Restriction {
  const { component, remaining, ranges } = restriction
  const [low, high] = ranges.slice(2 * component, 2 * component + 2)
  const bits = bitsPerBin(restriction)
  const counts = histogram(storages, restriction, bits)
  let bin = 0
  let below = 0
  while (bin < histogramBins && below + counts[bin] < remaining) {
    below += counts[bin]
    bin += 1
  }
  const start = low + (BigInt(bin) << BigInt(bits))
  // The rest have learned something since: fewer leave than were wanted.
  if (start > high) return { ...restriction, remaining: 0 }
  const end = bin < histogramBins ? start + (1n << BigInt(bits)) - 1n : high
  const narrowed = ranges
    .with(2 * component, start)
    .with(2 * component + 1, end < high ? end : high)
  const reached = bin < histogramBins && below + counts[bin] === remaining
  return { ...restriction, ranges: narrowed, remaining: reached ? 0 : remaining - below }
}

/** Rows by their component's distance from the lower end of its range, in units of 2^bits. */
function histogram(storages: Storages, restriction: Scoring, bits: number): Uint32Array {
  const [counts, ...others] = storages.map((storage) => histogramOf(storage, restriction, bits))
  for (const more of others) {
    for (let bin = 0; bin < histogramBins; bin += 1) counts[bin] += more[bin]
  }
  return counts
}

/** The same of one storage: its own bins. */
function histogramOf(storage: TableStorage, restriction: Scoring, bits: number): Uint32Array {
  const { kernels, table, operands, bins } = storage
  const { first, component, version, ranges } = restriction
  writeScoring(operands, ranges, restriction)
  bins.view.fill(0)
  eachScan(storage, (from, to) => {
    kernels.tableScoreHistogram(
      table,
      operands.address,
      first,
      component,
      bits,
      bins.address,
      version,
      from,
      to,
    )
  })
  return bins.view
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

function eachScan(storage: TableStorage, scan: (from: number, to: number) => void): void {
  const used = storage.get(tableField.used)
  for (let from = 0; from < used; from += scanRows) scan(from, Math.min(used, from + scanRows))
}

/** Numbers of 64 bits, and where the kernels look for them the time and the rate of scoring. */
function writeScoring(
  { view }: Block<Uint32Array>,
  values: readonly bigint[],
  { now, rate }: { readonly now: number; readonly rate: number },
): void {
  for (const [i, value] of values.entries()) {
    view[2 * i] = Number(value & 0xffff_ffffn)
    view[2 * i + 1] = Number(value >> 32n)
  }
  new Float64Array(view.buffer, view.byteOffset + scoringOffset, 2).set([now, rate])
}

/** How many rows were last seen before a time, of those that did not change after `version`. */
export function countRowsBefore(storages: Storages, time: number, version: number): number {
  const start = BigInt.asUintN(64, BigInt(time) ^ (1n << 63n))
  // Older rows lie below the range, where distances wrap around to the last bin.
  const ranges = [0n, 0n, start, start, 0n, greatest]
  const scoring = { first: lastSeen, component: lastSeen, version, ranges, now: 0, rate: 0 }
  return histogram(storages, scoring, distanceBits)[histogramBins - 1]
}

const readWords = (words: Uint32Array, i: number): bigint =>
  (BigInt(words[2 * i + 1]) << 32n) | BigInt(words[2 * i])

/** A restriction as bytes of a snapshot. */
export function writeRestriction(writer: ByteWriter, restriction: Restriction): void {
  const { first, version, now, rate, ranges, component, remaining, share, shares } = restriction
  writer.varint(first).uint32(version).float64(now).float64(rate)
  writer.array(BigUint64Array.from(ranges))
  writer.varint(component).varint(remaining).varint(share).varint(shares)
}

export const readRestriction = (reader: ByteReader): Restriction => ({
  first: reader.varint(),
  version: reader.uint32(),
  now: reader.float64(),
  rate: reader.float64(),
  ranges: [...new BigUint64Array(reader.array())],
  component: reader.varint(),
  remaining: reader.varint(),
  share: reader.varint(),
  shares: reader.varint(),
})
