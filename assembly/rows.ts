/** Rows by index: gathered, scattered, pooled in bags; see src/kernels/dense-kernels.ts. */
import { addMultiple, clearFloats, copyFloats, dot, setMultiple } from './vector'

// @ts-ignore: decorator
@inline
function entry(list: usize, i: i32): i32 {
  return load<i32>(list + (usize(i) << 2))
}

/** The row that entry e of `indices` names. */
// @ts-ignore: decorator
@inline
function rowOf(rows: usize, indices: usize, e: i32, dim: i32): usize {
  return rows + (usize(entry(indices, e)) * usize(dim) << 2)
}

// @ts-ignore: decorator
@inline
function weightOf(weights: usize, e: i32): f32 {
  return weights ? load<f32>(weights + (usize(e) << 2)) : 1
}

export function gatherRows(
  out: usize, outStride: i32, rows: usize, indices: usize, dim: i32, from: i32, to: i32,
): void {
  for (let i = from; i < to; i++) {
    copyFloats(out + (usize(i) * usize(outStride) << 2), rowOf(rows, indices, i, dim), dim)
  }
}

export function scatterAddRows(
  out: usize, rows: usize, rowStride: i32, indices: usize, count: i32, dim: i32, from: i32, to: i32,
): void {
  const first = usize(from) << 2
  for (let i = 0; i < count; i++) {
    const source = rows + (usize(i) * usize(rowStride) << 2)
    addMultiple(rowOf(out, indices, i, dim) + first, source + first, 1, to - from)
  }
}

export function poolBags(
  out: usize, stride: i32, rows: usize, dim: i32, offsets: usize, indices: usize, weights: usize,
  accumulate: i32, from: i32, to: i32,
): void {
  for (let bag = from; bag < to; bag++) {
    const target = out + (usize(bag) * usize(stride) << 2)
    const end = entry(offsets, bag + 1)
    let e = entry(offsets, bag)
    if (!accumulate && e == end) clearFloats(target, dim)
    if (!accumulate && e < end) {
      setMultiple(target, rowOf(rows, indices, e, dim), weightOf(weights, e), dim)
      e++
    }
    for (; e < end; e++) {
      addMultiple(target, rowOf(rows, indices, e, dim), weightOf(weights, e), dim)
    }
  }
}

export function poolBagsBackward(
  rowGradients: usize, gradients: usize, stride: i32, dim: i32, offsets: usize, indices: usize,
  weights: usize, bags: i32, from: i32, to: i32,
): void {
  const first = usize(from) << 2
  for (let bag = 0; bag < bags; bag++) {
    const source = gradients + (usize(bag) * usize(stride) << 2) + first
    const end = entry(offsets, bag + 1)
    for (let e = entry(offsets, bag); e < end; e++) {
      const target = rowOf(rowGradients, indices, e, dim) + first
      addMultiple(target, source, weightOf(weights, e), to - from)
    }
  }
}

export function bagWeightGradients(
  weightGradients: usize, rows: usize, gradients: usize, stride: i32, dim: i32, offsets: usize,
  indices: usize, from: i32, to: i32,
): void {
  for (let bag = from; bag < to; bag++) {
    const gradient = gradients + (usize(bag) * usize(stride) << 2)
    const end = entry(offsets, bag + 1)
    for (let e = entry(offsets, bag); e < end; e++) {
      store<f32>(weightGradients + (usize(e) << 2), dot(rowOf(rows, indices, e, dim), gradient, dim))
    }
  }
}

/** The entry of the bag, which is not empty, that first holds the largest value of the column. */
// @ts-ignore: decorator
@inline
function firstLargest(
  rows: usize, indices: usize, dim: i32, column: usize, start: i32, end: i32,
): i32 {
  let best = start
  let most = load<f32>(rowOf(rows, indices, start, dim) + column)
  for (let e = start + 1; e < end; e++) {
    const value = load<f32>(rowOf(rows, indices, e, dim) + column)
    if (value > most) {
      most = value
      best = e
    }
  }
  return best
}

export function maxBags(
  out: usize, stride: i32, rows: usize, dim: i32, offsets: usize, indices: usize, accumulate: i32,
  from: i32, to: i32,
): void {
  const bytes = usize(dim) << 2
  for (let bag = from; bag < to; bag++) {
    const target = out + (usize(bag) * usize(stride) << 2)
    const start = entry(offsets, bag)
    const end = entry(offsets, bag + 1)
    if (!accumulate) clearFloats(target, dim)
    if (start == end) continue
    for (let column: usize = 0; column < bytes; column += 4) {
      const e = firstLargest(rows, indices, dim, column, start, end)
      const most = load<f32>(rowOf(rows, indices, e, dim) + column)
      store<f32>(target + column, load<f32>(target + column) + most)
    }
  }
}

export function maxBagsBackward(
  rowGradients: usize, rows: usize, gradients: usize, stride: i32, dim: i32, offsets: usize,
  indices: usize, bags: i32, from: i32, to: i32,
): void {
  const last = usize(to) << 2
  for (let bag = 0; bag < bags; bag++) {
    const source = gradients + (usize(bag) * usize(stride) << 2)
    const start = entry(offsets, bag)
    const end = entry(offsets, bag + 1)
    if (start == end) continue
    for (let column = usize(from) << 2; column < last; column += 4) {
      const e = firstLargest(rows, indices, dim, column, start, end)
      const at = rowOf(rowGradients, indices, e, dim) + column
      store<f32>(at, load<f32>(at) + load<f32>(source + column))
    }
  }
}
