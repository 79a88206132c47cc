/**
 * Which rows leave when a table restricts itself: the lowest scores, in a strict order, so that the
 * same rows leave wherever they lie. The boundary is found by radix selection from the top: a few
 * passes over 24 bytes a row and one histogram of fixed size, whatever the number of rows.
 *
 * A large table may be restricted in shares, one between two batches. A share is a part of all keys
 * by their hash, and a row that changed since the boundary was found stays: so what leaves does not
 * depend on where rows lie, even though the table goes on learning.
 */
import { ServiceError } from '../base/errors.ts'
import type { Awaitable, Keys } from '../base/keys.ts'
import { histogramBins, scoreComponent, tableField } from '../kernels/table-kernels.ts'
import type { RestrictRequest } from './embedding-table.ts'
import type { RestrictPolicy, TableSpec } from './table-spec.ts'
import type { TableStorage } from './table-storage.ts'

const { count, lastSeen, key } = scoreComponent
const components = [count, lastSeen, key] as const

/** The first component compared; the later ones break ties: older first, then by key. */
const firstComponent = { frequency: count, timestamp: lastSeen } as const satisfies Record<
  RestrictPolicy,
  number
>

/** A table of no more rows is restricted whole: that takes some milliseconds. */
export const wholeRows = 131_072
/** Rows that one share removes, on average. */
const shareRows = 16_384
/** Rows of one call of a scan kernel: short calls are soon compiled to fast code. */
const scanRows = 32_768

const greatest = 2n ** 64n - 1n
const noKeys: Keys = new Uint32Array(0)

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
  return table.spec.restrict === undefined ? noKeys : table.restrictSome(table.spec.restrict)
}

/** How many rows must leave a table of `size` rows. Throws `RESTRICT_INVALID`. */
export function rowsToRemove(request: RestrictRequest, size: number): number {
  for (const argument of ['numReserved', 'trigger'] as const) {
    const value = request[argument]
    if (!Number.isSafeInteger(value) || value < 0) {
      throw new ServiceError('RESTRICT_INVALID', { argument, value })
    }
  }
  return size > request.trigger ? Math.max(0, size - request.numReserved) : 0
}

/** What is left to do of a restrict. */
export interface Restriction {
  /** The component of a score from which on it is compared with the boundary. */
  readonly first: number
  /** Rows whose score is not above it leave, */
  readonly boundary: readonly bigint[]
  /** unless they changed after this version. */
  readonly version: number
  /** The next share, and how many there are. */
  readonly share: number
  readonly shares: number
}

export interface RestrictionPlan {
  readonly policy: RestrictPolicy
  /** Rows to remove: 0 < wanted <= rows. */
  readonly wanted: number
  /** The version of the table now. */
  readonly version: number
  readonly whole: boolean
}

/** Finds the boundary under which exactly the wanted number of rows lies. */
export function planRestriction(storage: TableStorage, plan: RestrictionPlan): Restriction {
  const { policy, wanted, version, whole } = plan
  const first = firstComponent[policy]
  const shares = whole ? 1 : Math.ceil(wanted / shareRows)
  return { first, boundary: findBoundary(storage, first, wanted), version, share: 0, shares }
}

/**
 * Stages the keys of one share's rows, group after group; `erase` takes out the n staged ones.
 * Returns what is left to do.
 */
export function removeShare(
  storage: TableStorage,
  restriction: Restriction,
  erase: (n: number) => void,
): Restriction | undefined {
  const { kernels, table, operands, keys, batch } = storage
  const { first, boundary, version, share, shares } = restriction
  writeWords(operands.view, boundary)
  storage.set(tableField.cursor, 0)
  for (;;) {
    const n = kernels.tableScoresBelow(
      table,
      operands.address,
      first,
      version,
      share,
      shares,
      batch,
      keys.address,
    )
    if (n === 0) break
    erase(n)
  }
  return share + 1 < shares ? { ...restriction, share: share + 1 } : undefined
}

/** Lower and upper end of the values in which the boundary lies, both included. */
interface Range {
  low: bigint
  high: bigint
}

function findBoundary(storage: TableStorage, first: number, wanted: number): readonly bigint[] {
  const ranges = rangesOf(storage)
  let remaining = wanted
  for (const component of components) {
    if (component < first) continue
    const range = ranges[component]
    while (remaining > 0 && range.low < range.high) {
      remaining -= narrow(storage, ranges, { first, component, wanted: remaining })
    }
    // The wanted number ends with this value: all later components are below the boundary.
    if (remaining === 0) {
      return components.map((c) => (c <= component ? ranges[c].high : greatest))
    }
  }
  return ranges.map(({ high }) => high)
}

/** The counts and times that occur; keys may be anything. */
function rangesOf(storage: TableStorage): readonly Range[] {
  const { kernels, table, operands } = storage
  writeRanges(
    storage,
    components.map(() => ({ low: greatest, high: 0n })),
  )
  eachScan(storage, (from, to) => {
    kernels.tableScoreRanges(table, operands.address, from, to)
  })
  const words = operands.view
  const at = (i: number): bigint => (BigInt(words[2 * i + 1]) << 32n) | BigInt(words[2 * i])
  const keys = { low: 0n, high: greatest }
  return [{ low: at(0), high: at(1) }, { low: at(2), high: at(3) }, keys]
}

/**
 * Narrows a component's range to the bin in which the wanted number is reached. Returns how many
 * rows lie below that bin; all that were wanted, when they end with the bin.
 */
function narrow(
  storage: TableStorage,
  ranges: readonly Range[],
  part: { readonly first: number; readonly component: number; readonly wanted: number },
): number {
  const { kernels, table, operands, bins } = storage
  const { first, component, wanted } = part
  const range = ranges[component]
  const bits = bitsPerBin(range, component)
  writeRanges(storage, ranges)
  bins.view.fill(0)
  eachScan(storage, (from, to) => {
    const { address } = operands
    kernels.tableScoreHistogram(table, address, first, component, bits, bins.address, from, to)
  })
  let bin = 0
  let below = 0
  while (bin < histogramBins && below + bins.view[bin] < wanted) {
    below += bins.view[bin]
    bin += 1
  }
  const low = range.low + (BigInt(bin) << BigInt(bits))
  range.low = low
  if (bin === histogramBins) return below
  const high = low + (1n << BigInt(bits)) - 1n
  if (high < range.high) range.high = high
  return below + bins.view[bin] === wanted ? wanted : below
}

/**
 * So many that the histogram covers the range; but counts are first looked for at its lower end,
 * one by one, since most are small even where a few are large.
 */
function bitsPerBin({ low, high }: Range, component: number): number {
  if (component === count && low < BigInt(histogramBins)) return 0
  let bits = 0
  while ((high - low) >> BigInt(bits) >= BigInt(histogramBins)) bits += 1
  return bits
}

function eachScan(storage: TableStorage, scan: (from: number, to: number) => void): void {
  const used = storage.get(tableField.used)
  for (let from = 0; from < used; from += scanRows) scan(from, Math.min(used, from + scanRows))
}

function writeRanges({ operands }: TableStorage, ranges: readonly Range[]): void {
  writeWords(
    operands.view,
    ranges.flatMap(({ low, high }) => [low, high]),
  )
}

function writeWords(words: Uint32Array, values: readonly bigint[]): void {
  for (const [i, value] of values.entries()) {
    words[2 * i] = Number(value & 0xffff_ffffn)
    words[2 * i + 1] = Number(value >> 32n)
  }
}
