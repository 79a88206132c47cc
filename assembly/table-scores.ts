/**
 * Which rows have the lowest scores, without sorting them: a score is three numbers compared one
 * after the other, and the caller narrows a window around the boundary, component by component,
 * with one pass over the rows and a histogram each time (radix selection from the top).
 */
import { keyAddress, stampAddress, Table } from './table-layout'

/** Components, each as a u64 that grows with it. */
const COUNT: u32 = 0
const LAST_SEEN: u32 = 1

/** Bins of a histogram; the last takes everything above, too. */
const BINS: u64 = 8192

/** The rows still in question: low and high of each component, both included. */
@unmanaged
class Window {
  countLow: u64
  countHigh: u64
  lastSeenLow: u64
  lastSeenHigh: u64
  keyLow: u64
  keyHigh: u64
}

// @ts-ignore: decorator
@inline
function valueOf(table: Table, row: u32, component: u32): u64 {
  if (component == COUNT) return load<u32>(stampAddress(table, row))
  if (component == LAST_SEEN) {
    return u64(i64(load<f64>(stampAddress(table, row), 8))) ^ 0x8000_0000_0000_0000
  }
  return load<u64>(keyAddress(table, row))
}

// @ts-ignore: decorator
@inline
function isWithin(table: Table, row: u32, window: Window): bool {
  const count = valueOf(table, row, COUNT)
  if (count < window.countLow || count > window.countHigh) return false
  const lastSeen = valueOf(table, row, LAST_SEEN)
  if (lastSeen < window.lastSeenLow || lastSeen > window.lastSeenHigh) return false
  const key = load<u64>(keyAddress(table, row))
  return key != 0 && key >= window.keyLow && key <= window.keyHigh
}

/** out (2 u64) <- least and greatest value of a component among the rows of the window. */
export function tableScoreRange(address: usize, window: usize, component: u32, out: usize): void {
  const table = changetype<Table>(address)
  let least: u64 = u64.MAX_VALUE
  let greatest: u64 = 0
  for (let row: u32 = 0; row < table.used; row += 1) {
    if (!isWithin(table, row, changetype<Window>(window))) continue
    const value = valueOf(table, row, component)
    least = min<u64>(least, value)
    greatest = max<u64>(greatest, value)
  }
  store<u64>(out, least)
  store<u64>(out, greatest, 8)
}

/** bins (u32) <- how many rows of the window have (value - low) >> bits = b, low the window's. */
export function tableScoreHistogram(
  address: usize,
  window: usize,
  component: u32,
  bits: u32,
  bins: usize,
): void {
  const table = changetype<Table>(address)
  memory.fill(bins, 0, usize(BINS) << 2)
  const low = load<u64>(window + (usize(component) << 4))
  for (let row: u32 = 0; row < table.used; row += 1) {
    if (!isWithin(table, row, changetype<Window>(window))) continue
    const bin = (valueOf(table, row, component) - low) >> bits
    const at = bins + (usize(min<u64>(bin, BINS - 1)) << 2)
    store<u32>(at, load<u32>(at) + 1)
  }
}

/**
 * The keys of the next rows, at most `max`, whose score is not above the boundary: 3 u64, compared
 * from component `first` (0 or 1) on. Returns how many; goes on from `table.cursor`.
 */
export function tableScoresBelow(
  address: usize,
  boundary: usize,
  first: u32,
  max: i32,
  keys: usize,
): i32 {
  const table = changetype<Table>(address)
  let count = 0
  let row = table.cursor
  for (; row < table.used && count < max; row += 1) {
    const key = load<u64>(keyAddress(table, row))
    if (key == 0 || isAbove(table, row, boundary, first)) continue
    store<u64>(keys + (usize(count) << 3), key)
    count += 1
  }
  table.cursor = row
  return count
}

// @ts-ignore: decorator
@inline
function isAbove(table: Table, row: u32, boundary: usize, first: u32): bool {
  for (let component = first; component < 3; component += 1) {
    const value = valueOf(table, row, component)
    const limit = load<u64>(boundary + (usize(component) << 3))
    if (value != limit) return value > limit
  }
  return false
}
