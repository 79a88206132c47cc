/**
 * Row kernels in sequence: a program is a list of instructions, each a kernel over the same rows,
 * so that a whole tower runs over a stretch of rows in one call and a pool of threads meets once
 * per program instead of once per layer. See src/kernels/tower-kernels.ts.
 */
import { crossBackward, crossRows } from './cross'
import { dropout } from './dropout'
import { addScaled, scale } from './elements'
import { layerNorm, layerNormBackward, sumProducts } from './layer-norm'
import {
  activationBackward,
  biasActivation,
  normalizeRows,
  normalizeRowsBackward,
  sumColumns,
} from './layers'
import { matmul, matmulTransposedA } from './matmul'

/** Words of a program's header: rows, rows per pass, instructions, where these are. */
const headerBytes: usize = 16
/** Words of an instruction: operation, elements per row, operands. */
const instructionBytes: usize = 64

/** Rows [from, to) of the programs one behind the other. */
export function runPrograms(programs: usize, count: i32, from: i32, to: i32): void {
  let start = 0
  for (let i = 0; i < count; i++) {
    const program = programs + usize(i) * headerBytes
    const rows = load<i32>(program)
    const first = max(from, start) - start
    const end = min(to, start + rows) - start
    const pass = load<i32>(program, 4)
    for (let row = first; row < end; row += pass) runPass(program, row, min(end, row + pass))
    start += rows
  }
}

function runPass(program: usize, from: i32, to: i32): void {
  const instructions = load<i32>(program, 8)
  let at = usize(load<u32>(program, 12))
  for (let i = 0; i < instructions; i++) {
    const unit = load<i32>(at, 4)
    execute(load<i32>(at), at + 8, from * unit, to * unit)
    at += instructionBytes
  }
}

// @ts-ignore: decorator
@inline
function i(at: usize, operand: usize): i32 {
  return load<i32>(at + (operand << 2))
}

// @ts-ignore: decorator
@inline
function a(at: usize, operand: usize): usize {
  return usize(load<u32>(at + (operand << 2)))
}

// @ts-ignore: decorator
@inline
function f(at: usize, operand: usize): f32 {
  return load<f32>(at + (operand << 2))
}

/** The codes are `operationCode` of src/kernels/tower-kernels.ts. */
function execute(operation: i32, x: usize, from: i32, to: i32): void {
  switch (operation) {
    case 0:
      matmul(a(x, 0), a(x, 1), a(x, 2), i(x, 3), i(x, 4), i(x, 5), i(x, 6), from, to)
      break
    case 1:
      matmulTransposedA(a(x, 0), a(x, 1), a(x, 2), i(x, 3), i(x, 4), i(x, 5), i(x, 6), from, to)
      break
    case 2:
      packRows(a(x, 0), i(x, 1), a(x, 2), i(x, 3), from, to)
      break
    case 3:
      biasActivation(a(x, 0), a(x, 1), a(x, 2), i(x, 3), i(x, 4), from, to)
      break
    case 4:
      activationBackward(a(x, 0), a(x, 1), i(x, 2), from, to)
      break
    case 5:
      sumColumns(a(x, 0), a(x, 1), i(x, 2), i(x, 3), i(x, 4), from, to)
      break
    case 6:
      normalizeRows(a(x, 0), a(x, 1), a(x, 2), i(x, 3), f(x, 4), from, to)
      break
    case 7:
      normalizeRowsBackward(a(x, 0), a(x, 1), a(x, 2), i(x, 3), from, to)
      break
    case 8:
      addScaled(a(x, 0), a(x, 1), f(x, 2), from, to)
      break
    case 9:
      scale(a(x, 0), a(x, 1), f(x, 2), from, to)
      break
    case 10:
      transposeRows(a(x, 0), i(x, 1), a(x, 2), i(x, 3), from, to)
      break
    case 11:
      sumParts(a(x, 0), a(x, 1), i(x, 2), i(x, 3), from, to)
      break
    case 12:
      crossRows(a(x, 0), a(x, 1), a(x, 2), a(x, 3), a(x, 4), i(x, 5), f(x, 6), from, to)
      break
    case 13:
      crossBackward(a(x, 0), a(x, 1), a(x, 2), a(x, 3), a(x, 4), i(x, 5), from, to)
      break
    case 14:
      layerNorm(
        a(x, 0), a(x, 1), a(x, 2), a(x, 3), a(x, 4), a(x, 5), i(x, 6), f(x, 7), from, to,
      )
      break
    case 15:
      layerNormBackward(a(x, 0), a(x, 1), a(x, 2), a(x, 3), a(x, 4), i(x, 5), from, to)
      break
    case 16:
      sumProducts(a(x, 0), a(x, 1), a(x, 2), i(x, 3), i(x, 4), i(x, 5), from, to)
      break
    case 17:
      dropout(a(x, 0), a(x, 1), i(x, 2), i(x, 3), f(x, 4), from, to)
      break
    default:
      unreachable()
  }
}

/** Row r of x, `columns` floats, becomes column r of out, whose rows are `stride` floats apart. */
export function transposeRows(
  out: usize, stride: i32, x: usize, columns: i32, from: i32, to: i32,
): void {
  const step = usize(stride) << 2
  let row = from
  // Four rows at a time, so that what is written is one vector.
  for (; row + 4 <= to; row += 4) {
    const bytes = usize(columns) << 2
    const source = x + usize(row) * bytes
    let target = out + (usize(row) << 2)
    for (let j: usize = 0; j < bytes; j += 4) {
      let v = v128.load32_zero(source + j)
      v = v128.load_lane<f32>(source + j + bytes, v, 1)
      v = v128.load_lane<f32>(source + j + 2 * bytes, v, 2)
      v = v128.load_lane<f32>(source + j + 3 * bytes, v, 3)
      v128.store(target, v)
      target += step
    }
  }
  for (; row < to; row++) {
    const source = x + (usize(row) * usize(columns) << 2)
    let target = out + (usize(row) << 2)
    for (let j = 0; j < columns; j++) {
      store<f32>(target, load<f32>(source + (usize(j) << 2)))
      target += step
    }
  }
}

/**
 * Row r of x, `columns` floats, becomes column r % 8 of panel r / 8 of out; a panel has `depth` rows
 * of 8.
 */
export function packRows(
  out: usize, depth: i32, x: usize, columns: i32, from: i32, to: i32,
): void {
  const bytes = usize(columns) << 2
  for (let row = from; row < to;) {
    const source = x + usize(row) * bytes
    let target = out + (usize(row >> 3) * usize(depth) << 5) + (usize(row & 7) << 2)
    const four = (row & 3) == 0 && row + 4 <= to
    for (let j: usize = 0; j < bytes; j += 4) {
      if (four) {
        let v = v128.load32_zero(source + j)
        v = v128.load_lane<f32>(source + j + bytes, v, 1)
        v = v128.load_lane<f32>(source + j + 2 * bytes, v, 2)
        v = v128.load_lane<f32>(source + j + 3 * bytes, v, 3)
        v128.store(target, v)
      } else {
        store<f32>(target, load<f32>(source + j))
      }
      target += 32
    }
    row += four ? 4 : 1
  }
}

export function clear(out: usize, from: i32, to: i32): void {
  memory.fill(out + (usize(from) << 2), 0, usize(to - from) << 2)
}

/** out = the sum of `count` blocks of `length` floats, in their order. Range: elements. */
export function sumParts(
  out: usize, parts: usize, length: i32, count: i32, from: i32, to: i32,
): void {
  const step = usize(length) << 2
  const end = usize(to) << 2
  let at = usize(from) << 2
  for (; at + 16 <= end; at += 16) {
    let part = parts + at
    let sum = v128.load(part)
    for (let k = 1; k < count; k++) {
      part += step
      sum = f32x4.add(sum, v128.load(part))
    }
    v128.store(out + at, sum)
  }
  for (; at < end; at += 4) {
    let part = parts + at
    let sum = load<f32>(part)
    for (let k = 1; k < count; k++) {
      part += step
      sum += load<f32>(part)
    }
    store<f32>(out + at, sum)
  }
}
