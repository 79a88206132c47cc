/**
 * Matrix products, after Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication"
 * (2008), with one level of blocking: panels of B of 8 columns and at most 256 rows are copied
 * together so that they stay in the first-level cache, and a tile of 4 x 8 of C is kept in registers
 * while a row quadruple of A meets a panel. A is read where it lies.
 *
 * Every element of C is the sum over k in its order, one multiplication and one addition rounded
 * each: the tiling, the blocking and the split over threads leave no trace in the bits.
 */
import { scratch } from './scratch'
import { copyFloats } from './vector'

const tileRows: i32 = 4
const tileColumns: i32 = 8
const panelRowBytes: usize = 32
/** Longest stretch of k between two visits to C. */
const depth: i32 = 256
/** Of packed panels: 32 KiB; behind them a tile for the edges of C and a row quadruple of At. */
const packedBytes: usize = 32_768
const edgeBytes: usize = 128
/** With fewer rows than this, packing B costs more than it saves. */
const fewRows: i32 = 12
/** A B with no more columns than this is as near together as if it were packed. */
const fewColumns: i32 = 64

/** C = A B, with A m x k, B k x n. */
export function matmul(
  c: usize, a: usize, b: usize, m: i32, n: i32, k: i32, accumulate: i32, from: i32, to: i32,
): void {
  const bRow = usize(n) << 2
  multiply(c, n, a, usize(k) << 2, 4, b, bRow, 4, k, accumulate, from, to)
}

/** C = A Bt, with A m x k, B n x k. */
export function matmulTransposedB(
  c: usize, a: usize, b: usize, m: i32, n: i32, k: i32, accumulate: i32, from: i32, to: i32,
): void {
  const row = usize(k) << 2
  multiply(c, n, a, row, 4, b, 4, row, k, accumulate, from, to)
}

/** C = At B, with A k x m, B k x n. */
export function matmulTransposedA(
  c: usize, a: usize, b: usize, m: i32, n: i32, k: i32, accumulate: i32, from: i32, to: i32,
): void {
  multiply(c, n, a, 4, usize(m) << 2, b, usize(n) << 2, 4, k, accumulate, from, to)
}

/**
 * C = A B, m x n over k, where B lies in panels of 8 columns, k x 8 each, as `packRows` makes them.
 * m is a multiple of 4 and n of 16: two panels at a time, so that lines of C are written whole. Rows of C
 * are `cRow` bytes apart.
 */
export function multiplyPanels(
  c: usize, cRow: usize, a: usize, panels: usize, m: i32, n: i32, k: i32,
): void {
  const aRow = usize(k) << 2
  const panelBytes = usize(k) * panelRowBytes
  for (let column = 0; column < n; column += tileColumns << 1) {
    multiplyPanel(c, cRow, a, aRow, panels, m, k)
    multiplyPanel(c + panelRowBytes, cRow, a, aRow, panels + panelBytes, m, k)
    c += panelRowBytes << 1
    panels += panelBytes << 1
  }
}

function multiplyPanel(
  c: usize, cRow: usize, a: usize, aRow: usize, panel: usize, m: i32, k: i32,
): void {
  for (let row = 0; row < m; row += tileRows) {
    const a1 = a + aRow
    const a2 = a1 + aRow
    wholeTile(c, cRow, a, a1, a2, a2 + aRow, 4, panel, panelRowBytes, k, true)
    c += cRow << 2
    a += aRow << 2
  }
}

/**
 * Rows [from, to) of C, n columns. Steps are bytes from an element of A to that of the next row and of
 * the next k, and from one of B to that of the next k and of the next column.
 */
export function multiply(
  c: usize, n: i32, a: usize, aRow: usize, aStep: usize, b: usize, bStep: usize, bColumn: usize,
  k: i32, accumulate: i32, from: i32, to: i32,
): void {
  const narrow = n <= fewColumns && n % tileColumns == 0
  const inPlace = bColumn == 4 && (narrow || to - from < fewRows)
  // In place as much of B as would be packed.
  const stretch = narrow ? min(depth, i32(packedBytes >> 2) / n) : depth
  for (let start = 0; start < max(k, 1); start += stretch) {
    const length = min(stretch, k - start)
    const aPart = a + usize(start) * aStep
    const bPart = b + usize(start) * bStep
    const fresh = start == 0 && accumulate == 0
    const room = max(1, i32(packedBytes / (usize(max(length, 1)) * panelRowBytes)))
    const panels = narrow ? n / tileColumns : inPlace ? 1 : room
    const block = panels * tileColumns
    for (let column = 0; column < n; column += block) {
      const end = min(n, column + block)
      const direct = inPlace && end - column == block
      const panel = bPart + usize(column) * bColumn
      if (!direct) pack(panel, bStep, bColumn, length, end - column)
      for (let row = from; row < to; row += tileRows) {
        const rows = min(tileRows, to - row)
        // At is read across its rows, often a power of two apart: every line of them would want the
        // same place in the cache.
        const gathered = aStep != 4 && rows == tileRows
        const aSource = aPart + usize(row) * aRow
        const aTile = gathered ? gather(aSource, aStep, length) : aSource
        const aTileStep = gathered ? usize(16) : aStep
        for (let j = column; j < end; j += tileColumns) {
          const ahead = usize(j - column)
          tile(
            c + (usize(row) * usize(n) + usize(j) << 2), usize(n) << 2, rows,
            min(tileColumns, end - j), aTile, aRow, aTileStep,
            direct ? panel + (ahead << 2) : scratch + (ahead * usize(length) << 2),
            direct ? bStep : panelRowBytes, length, fresh,
          )
        }
      }
    }
  }
}

/** Copies `columns` columns of B into panels of 8, rows of a panel together; the last is filled with 0. */
function pack(b: usize, bStep: usize, bColumn: usize, length: i32, columns: i32): void {
  const panelBytes = usize(length) * panelRowBytes
  let panel = scratch
  for (let column = 0; column < columns; column += tileColumns) {
    const width = min(tileColumns, columns - column)
    const source = b + usize(column) * bColumn
    if (width == tileColumns && bColumn == 4) {
      for (let p = 0, at = panel; p < length; p++, at += panelRowBytes) {
        const row = source + usize(p) * bStep
        v128.store(at, v128.load(row))
        v128.store(at, v128.load(row, 16), 16)
      }
    } else {
      if (width < tileColumns) memory.fill(panel, 0, panelBytes)
      for (let j = 0; j < width; j++) {
        let from = source + usize(j) * bColumn
        for (let at = panel + (usize(j) << 2), end = at + panelBytes; at < end; at += panelRowBytes) {
          store<f32>(at, load<f32>(from))
          from += bStep
        }
      }
    }
    panel += panelBytes
  }
}

/** Copies four rows of At, which lie side by side, together. */
function gather(a: usize, aStep: usize, length: i32): usize {
  const rows = scratch + packedBytes + edgeBytes
  for (let at = rows, end = rows + (usize(length) << 4); at < end; at += 16) {
    v128.store(at, v128.load(a))
    a += aStep
  }
  return rows
}

/** A tile of C; at the edges it is computed whole, beside C, and the part that exists is copied. */
function tile(
  c: usize, cRow: usize, rows: i32, columns: i32, a: usize, aRow: usize, aStep: usize,
  b: usize, bStep: usize, length: i32, fresh: bool,
): void {
  if (rows == tileRows && columns == tileColumns) {
    const twoRows = aRow << 1
    wholeTile(c, cRow, a, a + aRow, a + twoRows, a + aRow + twoRows, aStep, b, bStep, length, fresh)
    return
  }
  const edge = scratch + packedBytes
  if (!fresh) {
    for (let i = 0; i < rows; i++) {
      copyFloats(edge + usize(i) * panelRowBytes, c + usize(i) * cRow, columns)
    }
  }
  // Rows that do not exist read the last one that does; what they give is not copied.
  const a1 = rows > 1 ? a + aRow : a
  const a2 = rows > 2 ? a1 + aRow : a1
  const a3 = rows > 3 ? a2 + aRow : a2
  wholeTile(edge, panelRowBytes, a, a1, a2, a3, aStep, b, bStep, length, fresh)
  for (let i = 0; i < rows; i++) {
    copyFloats(c + usize(i) * cRow, edge + usize(i) * panelRowBytes, columns)
  }
}

/** The inner loop: 8 accumulators, so that additions of 4 cycles' latency keep two units busy. */
// @ts-ignore: decorator
@inline
function wholeTile(
  c: usize, cRow: usize, a0: usize, a1: usize, a2: usize, a3: usize, aStep: usize,
  b: usize, bStep: usize, length: i32, fresh: bool,
): void {
  const c1 = c + cRow
  const c2 = c1 + cRow
  const c3 = c2 + cRow
  const zero = f32x4.splat(0)
  let s00 = fresh ? zero : v128.load(c)
  let s01 = fresh ? zero : v128.load(c, 16)
  let s10 = fresh ? zero : v128.load(c1)
  let s11 = fresh ? zero : v128.load(c1, 16)
  let s20 = fresh ? zero : v128.load(c2)
  let s21 = fresh ? zero : v128.load(c2, 16)
  let s30 = fresh ? zero : v128.load(c3)
  let s31 = fresh ? zero : v128.load(c3, 16)
  for (let p = 0; p < length; p++) {
    const left = v128.load(b)
    const right = v128.load(b, 16)
    const x0 = v128.load32_splat(a0)
    s00 = f32x4.add(s00, f32x4.mul(x0, left))
    s01 = f32x4.add(s01, f32x4.mul(x0, right))
    const x1 = v128.load32_splat(a1)
    s10 = f32x4.add(s10, f32x4.mul(x1, left))
    s11 = f32x4.add(s11, f32x4.mul(x1, right))
    const x2 = v128.load32_splat(a2)
    s20 = f32x4.add(s20, f32x4.mul(x2, left))
    s21 = f32x4.add(s21, f32x4.mul(x2, right))
    const x3 = v128.load32_splat(a3)
    s30 = f32x4.add(s30, f32x4.mul(x3, left))
    s31 = f32x4.add(s31, f32x4.mul(x3, right))
    a0 += aStep
    a1 += aStep
    a2 += aStep
    a3 += aStep
    b += bStep
  }
  v128.store(c, s00)
  v128.store(c, s01, 16)
  v128.store(c1, s10)
  v128.store(c1, s11, 16)
  v128.store(c2, s20)
  v128.store(c2, s21, 16)
  v128.store(c3, s30)
  v128.store(c3, s31, 16)
}
