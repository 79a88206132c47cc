/**
 * A batch of rows at a time. `rows[i]` (u32) is the row of keys[i] as `cuckooFind` gave it, NONE
 * where the key has none; vectors and gradients are n x dim f32, row-major, unpadded.
 */
import { NONE, payloadOf, place, remove, slotOf } from './cuckoo'
import { initialVector } from './initializer'
import { scratch } from './scratch'
import {
  copyFloats,
  freeRow,
  keyAddress,
  markChanged,
  rowAddress,
  stampAddress,
  Table,
  takeRow,
} from './table-layout'

/** Rows whose cache lines are fetched before the first of them is read or written. */
const AHEAD: usize = 32

/** vectors[i] <- the vector of rows[i], or for NONE the initial vector of keys[i]. */
export function tableGather(
  address: usize,
  keys: usize,
  rows: usize,
  n: i32,
  vectors: usize,
): void {
  const table = changetype<Table>(address)
  const dim = table.dim
  const bytes = usize(dim) << 2
  let to = vectors
  for (let i: usize = 0; i < usize(n); i += 1, to += bytes) {
    if (i % AHEAD == 0) fetchVectors(table, rows, i, n)
    const row = load<u32>(rows + (i << 2))
    if (row == NONE) initialVector(table, load<u64>(keys + (i << 3)), to)
    else copyFloats(to, rowAddress(table, row), dim)
  }
}

/**
 * Gives a row to each key that has none: rows[i] becomes it, with the initial vector and state,
 * seen at `time`. Where there is no room rows[i] stays NONE; returns how often that was so.
 */
export function tableInsert(
  address: usize,
  keys: usize,
  rows: usize,
  n: i32,
  time: f64,
  version: u32,
): i32 {
  const table = changetype<Table>(address)
  let refused = 0
  for (let i: usize = 0; i < usize(n); i += 1) {
    const key = load<u64>(keys + (i << 3))
    if (key == 0 || load<u32>(rows + (i << 2)) != NONE) continue
    // The key may have come before in this batch.
    const slot = slotOf(table.buckets, table.bucketCount, key)
    const row = slot != 0 ? load<u32>(slot) - 1 : insertRow(table, key, time, version)
    store<u32>(rows + (i << 2), row)
    refused += i32(row == NONE)
  }
  return refused
}

/** A row for a key that has none, or NONE. */
function insertRow(table: Table, key: u64, time: f64, version: u32): u32 {
  const row = takeRow(table)
  if (row == NONE) return NONE
  if (!place(table.buckets, table.bucketCount, key, row)) {
    freeRow(table, row)
    return NONE
  }
  table.size += 1
  store<u64>(keyAddress(table, row), key)
  initialVector(table, key, rowAddress(table, row))
  resetState(table, row)
  markChanged(table, row, time, version)
  return row
}

function resetState(table: Table, row: u32): void {
  const state = rowAddress(table, row) + usize(table.stateOffset)
  const initial = f32x4.splat(table.initialState)
  const end = (usize(table.stateFloats) + 3) & ~3
  for (let i: usize = 0; i < end; i += 4) v128.store(state + (i << 2), initial)
}

/** The rows take these vectors and fresh state; NONE is left out. */
export function tableAssign(
  address: usize,
  rows: usize,
  n: i32,
  vectors: usize,
  time: f64,
  version: u32,
): void {
  const table = changetype<Table>(address)
  for (let i: usize = 0; i < usize(n); i += 1) {
    if (i % AHEAD == 0) fetchRows(table, rows, i, n)
    const row = load<u32>(rows + (i << 2))
    if (row == NONE) continue
    copyFloats(rowAddress(table, row), vectors + ((i * usize(table.dim)) << 2), table.dim)
    resetState(table, row)
    markChanged(table, row, time, version)
  }
}

/**
 * The changes of several writers added up. exists[i] (u8) says whether the writer had found the
 * key: present and exists: vector += new - old; absent and not: inserted with `new`; else nothing.
 * Returns how many keys were refused for want of room.
 */
export function tableAccumulate(
  address: usize,
  keys: usize,
  n: i32,
  oldVectors: usize,
  newVectors: usize,
  exists: usize,
  time: f64,
  version: u32,
): i32 {
  const table = changetype<Table>(address)
  let refused = 0
  for (let i: usize = 0; i < usize(n); i += 1) {
    const key = load<u64>(keys + (i << 3))
    const offset = (i * usize(table.dim)) << 2
    const found = payloadOf(table.buckets, table.bucketCount, key)
    if (key == 0 || (found != NONE) != (load<u8>(exists + i) != 0)) continue
    const row = found != NONE ? found : insertRow(table, key, time, version)
    if (row == NONE) {
      refused += 1
    } else if (found == NONE) {
      copyFloats(rowAddress(table, row), newVectors + offset, table.dim)
    } else {
      decayState(table, row, version)
      addDifference(rowAddress(table, row), newVectors + offset, oldVectors + offset, table.dim)
      markChanged(table, row, time, version)
    }
  }
  return refused
}

function addDifference(to: usize, plus: usize, minus: usize, dim: u32): void {
  for (let i: usize = 0; i < usize(dim) << 2; i += 4) {
    store<f32>(to + i, load<f32>(to + i) + (load<f32>(plus + i) - load<f32>(minus + i)))
  }
}

/**
 * Adagrad (Duchi, Hazan, Singer 2011; epsilon inside the root as in Keras), with the accumulator
 * decaying where the table says so:
 *
 *     a <- a + g^2        w <- w - rate g / sqrt(a + epsilon)
 *
 * Keys are distinct. counts[row] grows by occurrences[i], or by one if `occurrences` is absent (0).
 */
export function tableAdagrad(
  address: usize,
  rows: usize,
  n: i32,
  gradients: usize,
  occurrences: usize,
  time: f64,
  version: u32,
): void {
  const table = changetype<Table>(address)
  const dim = table.dim
  const stateOffset = usize(table.stateOffset)
  const decays = table.decaySteps != 0
  for (let i: usize = 0; i < usize(n); i += 1) {
    if (i % AHEAD == 0) fetchRows(table, rows, i, n)
    const row = load<u32>(rows + (i << 2))
    if (row == NONE) continue
    if (decays) decayState(table, row, version)
    const vector = rowAddress(table, row)
    adagradRow(table, vector, vector + stateOffset, gradients + ((i * usize(dim)) << 2), dim)
    const stamp = stampAddress(table, row)
    const more = occurrences == 0 ? 1 : load<u32>(occurrences + (i << 2))
    store<u32>(stamp, saturatingAdd(load<u32>(stamp), more))
    markChanged(table, row, time, version)
  }
}

/**
 * Reads one word of every cache line of the next rows and of their stamps. Copying or updating a
 * row is so long that a processor sees only a few rows ahead; these loads depend on nothing, so
 * that many misses overlap.
 */
function fetchRows(table: Table, rows: usize, first: usize, n: i32): void {
  const stride = usize(table.stride)
  const end = min<usize>(first + AHEAD, usize(n))
  let sink: u32 = 0
  for (let i = first; i < end; i += 1) {
    const row = load<u32>(rows + (i << 2))
    if (row == NONE) continue
    const address = rowAddress(table, row)
    for (let line: usize = 0; line < stride; line += 64) sink |= load<u32>(address + line)
    sink |= load<u32>(stampAddress(table, row))
  }
  // Stored, so that no compiler leaves the loads out.
  store<u32>(scratch, sink)
}

/** The same for the vectors alone. */
function fetchVectors(table: Table, rows: usize, first: usize, n: i32): void {
  const bytes = usize(table.dim) << 2
  const end = min<usize>(first + AHEAD, usize(n))
  let sink: u32 = 0
  for (let i = first; i < end; i += 1) {
    const row = load<u32>(rows + (i << 2))
    if (row == NONE) continue
    const address = rowAddress(table, row)
    for (let line: usize = 0; line < bytes; line += 64) sink |= load<u32>(address + line)
  }
  store<u32>(scratch, sink)
}

// @ts-ignore: decorator
@inline
function adagradRow(table: Table, w: usize, a: usize, g: usize, dim: u32): void {
  const rate = table.rate
  const epsilon = table.epsilon
  const rates = f32x4.splat(rate)
  const epsilons = f32x4.splat(epsilon)
  const whole = usize(dim & ~3) << 2
  const end = usize(dim) << 2
  for (let i: usize = 0; i < whole; i += 16) {
    const gradient = v128.load(g + i)
    const sum = f32x4.add(v128.load(a + i), f32x4.mul(gradient, gradient))
    const step = f32x4.div(f32x4.mul(rates, gradient), f32x4.sqrt(f32x4.add(sum, epsilons)))
    v128.store(a + i, sum)
    v128.store(w + i, f32x4.sub(v128.load(w + i), step))
  }
  for (let i = whole; i < end; i += 4) {
    const gradient = load<f32>(g + i)
    const sum = load<f32>(a + i) + gradient * gradient
    store<f32>(a + i, sum)
    store<f32>(w + i, load<f32>(w + i) - (rate * gradient) / sqrt<f32>(sum + epsilon))
  }
}

// @ts-ignore: decorator
@inline
function saturatingAdd(a: u32, b: u32): u32 {
  return a + b < a ? 0xffff_ffff : a + b
}

/**
 * Catches up on the decays between the row's last change and `version`: one at every multiple of
 * decaySteps, a <- max(a decay, initial). Doing them late changes nothing, since nothing reads the
 * state in between. 1,024 in a row take any decay that matters to the floor.
 */
function decayState(table: Table, row: u32, version: u32): void {
  if (table.decaySteps == 0) return
  const last = load<u32>(stampAddress(table, row), 4)
  const due = version / table.decaySteps - last / table.decaySteps
  if (version <= last || due == 0) return
  let factor: f32 = 1
  for (let i: u32 = 0; i < min<u32>(due, 1024); i += 1) factor *= table.decay
  const state = rowAddress(table, row) + usize(table.stateOffset)
  for (let i: usize = 0; i < usize(table.stateFloats) << 2; i += 4) {
    store<f32>(state + i, max<f32>(load<f32>(state + i) * factor, table.initialState))
  }
}

/** Removes rows; the keys that had one are written to `removed`, in order. Returns their number. */
export function tableErase(address: usize, keys: usize, n: i32, removed: usize): i32 {
  const table = changetype<Table>(address)
  let count = 0
  for (let i: usize = 0; i < usize(n); i += 1) {
    const key = load<u64>(keys + (i << 3))
    const row = remove(table.buckets, table.bucketCount, key)
    if (row == NONE) continue
    freeRow(table, row)
    store<u64>(removed + (usize(count) << 3), key)
    count += 1
  }
  table.size -= count
  return count
}
