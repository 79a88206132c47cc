/**
 * Whole rows as bytes, for snapshots, caches and other processes. A record:
 *
 *     key u64 | count u32 | version u32 | last seen f64 | flags u32 | 0 u32
 *     vector, dim f32 | optimizer state, f32, both unpadded
 *
 * Bit 0 of the flags: a delta has yet to carry the row.
 */
import { NONE, slotOf } from './cuckoo'
import {
  addRow,
  bitOf,
  clearBit,
  copyFloats,
  keyAddress,
  rowAddress,
  setBit,
  stampAddress,
  Table,
} from './table-layout'

const HEADER: usize = 32

/** What becomes of the changed bit of a row that is written. */
const MARK_CHANGED: i32 = 1
const AS_RECORDED: i32 = 2

/** records[i] <- rows[i] (u32), or zeros for NONE. */
export function tableReadRecords(address: usize, rows: usize, n: i32, records: usize): void {
  const table = changetype<Table>(address)
  const size = recordBytes(table)
  for (let i: usize = 0; i < usize(n); i += 1) {
    const row = load<u32>(rows + (i << 2))
    if (row == NONE) memory.fill(records + i * size, 0, size)
    else pack(table, row, records + i * size, table.changed)
  }
}

/**
 * The next rows up to `to` that a snapshot under way has yet to save, as records, at most `max`:
 * those changed in version `since` or later, and those that a delta has yet to carry. Goes on from
 * `table.cursor`. Returns how many.
 */
export function tablePackPending(
  address: usize,
  max: i32,
  records: usize,
  since: u32,
  to: u32,
): i32 {
  const table = changetype<Table>(address)
  const size = recordBytes(table)
  let count = 0
  let row = table.cursor
  while (row < to && count < max) {
    const bits = load<u32>(usize(table.pending) + (usize(row >> 5) << 2)) >> (row & 31)
    if (bits == 0) {
      row = (row | 31) + 1
      continue
    }
    row += ctz(bits)
    if (row >= to) break
    count += savePending(table, row, records + usize(count) * size, since)
    row += 1
  }
  table.cursor = min(row, to)
  return count
}

/** The same for those of the staged rows (u32) that are about to change. */
export function tablePackStaged(
  address: usize,
  rows: usize,
  n: i32,
  records: usize,
  since: u32,
): i32 {
  const table = changetype<Table>(address)
  const size = recordBytes(table)
  let count = 0
  for (let i: usize = 0; i < usize(n); i += 1) {
    const row = load<u32>(rows + (i << 2))
    if (row == NONE || bitOf(table.pending, row) == 0) continue
    count += savePending(table, row, records + usize(count) * size, since)
  }
  return count
}

/** Writes the row if the snapshot is to have it; 1 or 0. In any case it is no longer pending. */
function savePending(table: Table, row: u32, record: usize, since: u32): i32 {
  clearBit(table.pending, row)
  const version = load<u32>(stampAddress(table, row), 4)
  if (version < since && bitOf(table.frozen, row) == 0) return 0
  pack(table, row, record, table.frozen)
  return 1
}

function pack(table: Table, row: u32, record: usize, changed: u32): void {
  const vector = rowAddress(table, row)
  store<u64>(record, load<u64>(keyAddress(table, row)))
  v128.store(record, v128.load(stampAddress(table, row)), 8)
  store<u64>(record, bitOf(changed, row), 24)
  copyFloats(record + HEADER, vector, table.dim)
  const state = record + HEADER + (usize(table.dim) << 2)
  copyFloats(state, vector + usize(table.stateOffset), table.stateFloats)
}

/**
 * Rows as the records say, in place of those that have the same keys; key 0 is left out. Changed
 * bits stay as they are, are set (1) or become what the records say (2). Returns how many records
 * found no room.
 */
export function tableWriteRecords(address: usize, n: i32, records: usize, changes: i32): i32 {
  const table = changetype<Table>(address)
  const size = recordBytes(table)
  let refused = 0
  for (let i: usize = 0; i < usize(n); i += 1) {
    const record = records + i * size
    const key = load<u64>(record)
    if (key == 0) continue
    const slot = slotOf(table.buckets, table.bucketCount, key)
    const row = slot != 0 ? load<u32>(slot) - 1 : addRow(table, key)
    if (row == NONE) refused += 1
    else unpack(table, row, record, changes)
  }
  return refused
}

function unpack(table: Table, row: u32, record: usize, changes: i32): void {
  const vector = rowAddress(table, row)
  v128.store(stampAddress(table, row), v128.load(record, 8))
  copyFloats(vector, record + HEADER, table.dim)
  const state = record + HEADER + (usize(table.dim) << 2)
  copyFloats(vector + usize(table.stateOffset), state, table.stateFloats)
  const recorded = changes == AS_RECORDED
  const changed = changes == MARK_CHANGED || (recorded && (load<u32>(record, 24) & 1) != 0)
  if (changed) setBit(table.changed, row)
  else if (recorded) clearBit(table.changed, row)
}

// @ts-ignore: decorator
@inline
function recordBytes(table: Table): usize {
  return HEADER + ((usize(table.dim) + usize(table.stateFloats)) << 2)
}
