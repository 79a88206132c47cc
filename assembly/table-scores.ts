/**
 * Which rows have the lowest scores, without sorting them. A score is three numbers compared one
 * after the other: count, time last seen, key. The caller fixes them in that order: with a few
 * passes over the rows and a histogram each it narrows the range in which the boundary lies until
 * one value is left, and goes on to the next number among the rows that have that value (radix
 * selection from the top). A count may be taken as it is or as what it is worth at some time.
 *
 * A pass is cut into calls over the rows from..to, with batches in between: `tableScoreBins` says
 * in which bins rows were counted that are about to change.
 */
import { worth } from './count-decay'
import { hash32, NONE, scaled } from './cuckoo'
import { keyAddress, stampAddress, Table } from './table-layout'

/** Components of a score, each as a u64 that grows with it. */
const COUNT: u32 = 0
const LAST_SEEN: u32 = 1

/** Bins of a histogram. */
const BINS: u64 = 65536

/**
 * The ranges or the boundary are followed by the time of scoring, the rate of decay, and the time
 * before which a row must not have been seen last to take part.
 */
const SCORED_AT: usize = 48
const SCORE_TICKS: usize = 56
const SINCE: usize = 64

/** The count, or with a rate (ticks a millisecond) what it is worth at `now`. */
// @ts-ignore: decorator
@inline
function worthOf(table: Table, row: u32, ranges: usize): u64 {
  const stamp = stampAddress(table, row)
  const count = load<u32>(stamp)
  const rate = load<f64>(ranges, SCORE_TICKS)
  if (rate == 0) return u64(count)
  return worth(table, count, (load<f64>(ranges, SCORED_AT) - load<f64>(stamp, 8)) * rate)
}

/** Of the other components. */
// @ts-ignore: decorator
@inline
function valueOf(table: Table, row: u32, component: u32): u64 {
  if (component == LAST_SEEN) return ordered(load<f64>(stampAddress(table, row), 8))
  return load<u64>(keyAddress(table, row))
}

/** Whole milliseconds as a u64 that grows with them, also below zero. */
// @ts-ignore: decorator
@inline
function ordered(time: f64): u64 {
  return u64(i64(time)) ^ 0x8000_0000_0000_0000
}

/** And back: comparing f64 is cheaper than making a u64 of every time. */
// @ts-ignore: decorator
@inline
function timeOf(value: u64): f64 {
  return f64(i64(value ^ 0x8000_0000_0000_0000))
}

/** Also true of a free row, whose version is above any. */
// @ts-ignore: decorator
@inline
function isNewer(table: Table, row: u32, version: u32): bool {
  return load<u32>(stampAddress(table, row), 4) > version
}

/**
 * bins (u32): adds how many rows from..to have (value - low) >> bits = bin, where value is the
 * component and low the lower end of its range. Rows are counted that did not change after
 * `version` and whose earlier components, from `first` on, are the lower ends of their ranges.
 * Behind the three ranges stand three f64: the time of scoring, the ticks a millisecond by which
 * counts decay until then (0: they are taken as they are), and since when a row must have been seen.
 */
export function tableScoreHistogram(
  address: usize,
  ranges: usize,
  first: u32,
  component: u32,
  bits: u32,
  bins: usize,
  version: u32,
  from: u32,
  to: u32,
): void {
  const table = changetype<Table>(address)
  for (let row = from; row < to; row += 1) {
    // No branches: which rows are counted is as good as random.
    const bin = binOf(table, ranges, first, component, bits, version, row)
    const at = bins + (usize(bin & (BINS - 1)) << 2)
    store<u32>(at, load<u32>(at) + u32(bin < BINS))
  }
}

/** bins[i] (u32) <- the bin in which the row rows[i] is, if it is below `before`, or NONE. */
export function tableScoreBins(
  address: usize,
  ranges: usize,
  first: u32,
  component: u32,
  bits: u32,
  version: u32,
  rows: usize,
  n: i32,
  before: u32,
  bins: usize,
): void {
  const table = changetype<Table>(address)
  for (let i: usize = 0; i < usize(n); i += 1) {
    const row = load<u32>(rows + (i << 2))
    let bin: u64 = BINS
    if (row < before && row != NONE) {
      bin = binOf(table, ranges, first, component, bits, version, row)
    }
    store<u32>(bins + (i << 2), bin < BINS ? u32(bin) : NONE)
  }
}

/** BINS or more: the row is not counted. */
// @ts-ignore: decorator
@inline
function binOf(
  table: Table,
  ranges: usize,
  first: u32,
  component: u32,
  bits: u32,
  version: u32,
  row: u32,
): u64 {
  const anyCount = u32(first != COUNT || component == COUNT)
  const anyLastSeen = u32(component <= LAST_SEEN)
  const ofCount = component == COUNT
  const lastSeen = load<f64>(stampAddress(table, row), 8)
  const worth = anyCount & u32(!ofCount) ? 0 : worthOf(table, row, ranges)
  const value = ofCount ? worth : valueOf(table, row, component)
  const bin = (value - load<u64>(ranges + (usize(component) << 4))) >> bits
  const counted =
    (anyCount | u32(worth == load<u64>(ranges))) &
    (anyLastSeen | u32(lastSeen == timeOf(load<u64>(ranges, 16)))) &
    u32(lastSeen >= load<f64>(ranges, SINCE)) &
    u32(!isNewer(table, row, version))
  return select<u64>(bin, BINS, counted != 0)
}

/**
 * The next rows from `table.cursor` to `to` whose score is not above the boundary (3 u64, compared
 * from component `first` on; scored as for histograms, from the same places) and which did not
 * change after `version`, at most `max`: their numbers, and to which of `shares` they belong by the
 * hash of their key (both u32). Returns how many; goes on from `table.cursor`.
 */
export function tableRowsBelow(
  address: usize,
  boundary: usize,
  first: u32,
  version: u32,
  shares: u32,
  to: u32,
  max: i32,
  rows: usize,
  shareOf: usize,
): i32 {
  const table = changetype<Table>(address)
  const byCount = u32(first == COUNT)
  const countLimit = load<u64>(boundary)
  const lastSeenLimit = timeOf(load<u64>(boundary, 8))
  const keyLimit = load<u64>(boundary, 16)
  const since = load<f64>(boundary, SINCE)
  let found = 0
  let row = table.cursor
  for (; row < to && found < max; row += 1) {
    const count = byCount ? worthOf(table, row, boundary) : 0
    const lastSeen = load<f64>(stampAddress(table, row), 8)
    // No branches but the rare last one: which rows leave is as good as random.
    const sameCount = (byCount ^ 1) | u32(count == countLimit)
    const sameTime = sameCount & u32(lastSeen == lastSeenLimit)
    let below = (byCount & u32(count < countLimit)) | (sameCount & u32(lastSeen < lastSeenLimit))
    if (sameTime) below |= u32(load<u64>(keyAddress(table, row)) <= keyLimit)
    store<u32>(rows + (usize(found) << 2), row)
    found += below & u32(!isNewer(table, row, version)) & u32(lastSeen >= since)
  }
  table.cursor = row
  for (let i: usize = 0; i < usize(found); i += 1) {
    const key = load<u64>(keyAddress(table, load<u32>(rows + (i << 2))))
    store<u32>(shareOf + (i << 2), scaled(hash32(key), shares))
  }
  return found
}

/**
 * Those of the rows (u32) that still did not change after `version`, moved to the front, and their
 * keys. Returns how many.
 */
export function tableUnchanged(
  address: usize,
  version: u32,
  rows: usize,
  n: i32,
  keys: usize,
): i32 {
  const table = changetype<Table>(address)
  let count = 0
  for (let i: usize = 0; i < usize(n); i += 1) {
    const row = load<u32>(rows + (i << 2))
    store<u32>(rows + (usize(count) << 2), row)
    store<u64>(keys + (usize(count) << 3), load<u64>(keyAddress(table, row)))
    count += i32(!isNewer(table, row, version))
  }
  return count
}
