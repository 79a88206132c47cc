/**
 * Where a table lies in memory. A row is a number below the capacity; under it stand
 *
 *     keys[row]    u64                                   0: the row is free
 *     stamps[row]  count u32 | version u32 | last seen f64 (whole ms)
 *     rows[row]    vector, dim f32, padded to 16 bytes | optimizer state, padded to 16 bytes
 *     changed      one bit: a delta has yet to carry it
 *     freed        one bit: it was taken and given back
 *     pending      one bit: a snapshot under way has yet to save it
 *     frozen       one bit: it was changed when that snapshot began
 *
 * and the index gives the row of a key. All are taken, freed, moved and saved together. Keys and
 * stamps lie apart from the floats, so that a scan of all scores reads 24 bytes a row, in order.
 * `src/kernels/table-layout.ts` has the same offsets.
 */
import { NONE, place } from './cuckoo'

@unmanaged
export class Table {
  buckets: u32
  bucketCount: u32
  keys: u32
  stamps: u32
  rows: u32
  changed: u32
  /** Bytes from row to row, and from a vector to its state. */
  stride: u32
  stateOffset: u32
  dim: u32
  stateFloats: u32
  /** As many rows as may be in use: those there is memory for, or fewer if the table is a shard. */
  capacity: u32
  size: u32
  /** Rows from here on were never taken. */
  used: u32
  freed: u32
  /** Where a scan in several calls goes on. */
  cursor: u32
  initializer: u32
  seed: u32
  /** The constant, the minimum or the mean; the range or the standard deviation. */
  initialA: f32
  initialB: f32
  initialState: f32
  rate: f32
  epsilon: f32
  decay: f32
  /** Versions between two decays; 0: never. */
  decaySteps: u32
  /** The word of `freed` in which the search for a row goes on. */
  freedCursor: u32
  /** Which rule `tableUpdate` follows, and bits that say how; 0: the table does not learn. */
  optimizer: u32
  variant: u32
  /** The rule's own numbers. */
  settingA: f32
  settingB: f32
  settingC: f32
  /** 0: none. */
  l2: f32
  clipNorm: f32
  clipValue: f32
  maxNorm: f32
  /** 256 u32: what a count is worth after so many ticks; see `count-decay.ts`. */
  halvings: u32
  /** Ticks a millisecond by which counts decay; 0: they do not. */
  countTicks: f32
  /** Of a snapshot under way: one bit for each row that it has yet to save, */
  pending: u32
  /** and the changed bits when it began. */
  frozen: u32
  /** The longest path on which keys moved to make room for another. */
  longestPath: u32
}

export const STAMP: usize = 16
/** The version of a free row, so that a scan of stamps need not read keys. No row in use has it. */
export const FREE: u32 = 0xffff_ffff

// @ts-ignore: decorator
@inline
export function keyAddress(table: Table, row: u32): usize {
  return usize(table.keys) + (usize(row) << 3)
}

// @ts-ignore: decorator
@inline
export function stampAddress(table: Table, row: u32): usize {
  return usize(table.stamps) + usize(row) * STAMP
}

// @ts-ignore: decorator
@inline
export function rowAddress(table: Table, row: u32): usize {
  return usize(table.rows) + usize(row) * usize(table.stride)
}

/** Bit `row` of a part that has one bit for each row. */
// @ts-ignore: decorator
@inline
export function bitOf(bits: u32, row: u32): u32 {
  return (load<u32>(usize(bits) + (usize(row >> 5) << 2)) >> (row & 31)) & 1
}

// @ts-ignore: decorator
@inline
export function setBit(bits: u32, row: u32): void {
  const word = usize(bits) + (usize(row >> 5) << 2)
  store<u32>(word, load<u32>(word) | (1 << (row & 31)))
}

// @ts-ignore: decorator
@inline
export function clearBit(bits: u32, row: u32): void {
  const word = usize(bits) + (usize(row >> 5) << 2)
  store<u32>(word, load<u32>(word) & ~(1 << (row & 31)))
}

/** The row's last change is now; deltas will carry it. */
// @ts-ignore: decorator
@inline
export function markChanged(table: Table, row: u32, time: f64, version: u32): void {
  const stamp = stampAddress(table, row)
  store<u32>(stamp, version, 4)
  store<f64>(stamp, time, 8)
  setBit(table.changed, row)
}

/**
 * A free row, or NONE. Rows that were given back come first, in turn: after many have left together
 * new ones lie side by side, and finding one waits for no chain of loads.
 */
function takeRow(table: Table): u32 {
  if (table.size >= table.capacity) return NONE
  if (table.used == table.size) {
    table.used += 1
    return table.used - 1
  }
  const words = (table.used + 31) >> 5
  const freed = usize(table.freed)
  let word = table.freedCursor
  while (load<u32>(freed + (usize(word) << 2)) == 0) word = word + 1 < words ? word + 1 : 0
  const bits = load<u32>(freed + (usize(word) << 2))
  store<u32>(freed + (usize(word) << 2), bits & (bits - 1))
  table.freedCursor = word
  return (word << 5) + ctz(bits)
}

/** A row for a key that has none, all but its key still to be written; or NONE. */
export function addRow(table: Table, key: u64): u32 {
  const row = takeRow(table)
  if (row == NONE) return NONE
  const path = place(table.buckets, table.bucketCount, key, row)
  if (path == 0) {
    freeRow(table, row)
    return NONE
  }
  table.longestPath = max(table.longestPath, path - 1)
  table.size += 1
  store<u64>(keyAddress(table, row), key)
  return row
}

/** Gives a row back; `size` must go down with it. */
export function freeRow(table: Table, row: u32): void {
  const stamp = stampAddress(table, row)
  store<u64>(keyAddress(table, row), 0)
  store<u32>(stamp, 0)
  store<u32>(stamp, FREE, 4)
  store<f64>(stamp, 0, 8)
  clearBit(table.changed, row)
  setBit(table.freed, row)
}

/** n floats, 4-byte aligned at least, from one place to another. */
// @ts-ignore: decorator
@inline
export function copyFloats(to: usize, from: usize, n: u32): void {
  const whole = usize(n & ~3) << 2
  const end = usize(n) << 2
  for (let i: usize = 0; i < whole; i += 16) v128.store(to + i, v128.load(from + i))
  for (let i = whole; i < end; i += 4) store<f32>(to + i, load<f32>(from + i))
}
