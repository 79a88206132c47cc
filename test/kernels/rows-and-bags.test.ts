import { expect, test } from 'vitest'

import { KernelDesk, normals, range, worstError } from '../support/kernel-desk.ts'

const lists = { offsets: [0, 2, 2, 5], indices: [1, 0, 2, 2, 1] }
const [all, dim, bags] = [3, 6, 3]
const rows = normals(12, all * dim)
const weights = normals(13, 5)
const g = normals(14, bags * dim)
const product = (x: ArrayLike<number>, y: ArrayLike<number>): number =>
  range(x.length).reduce((sum, i) => sum + x[i] * y[i], 0)

const pooled = (desk: KernelDesk, of: number[], by: number[]): Float32Array => {
  const out = desk.zeros(bags * dim)
  const [offsets, indices] = [desk.ints(lists.offsets), desk.ints(lists.indices)]
  const [rowsAt, weightsAt] = [desk.floats(of).address, desk.floats(by).address]
  desk.kernels.poolBags(out.address, dim, rowsAt, dim, offsets, indices, weightsAt, 0, 0, bags)
  return out.view
}

test('an empty bag is zero and a bag the weighted sum of its rows', () => {
  const out = pooled(new KernelDesk(), rows, weights)
  expect(out.slice(dim, 2 * dim)).toEqual(new Float32Array(dim))
  const first = range(dim).map((j) => weights[0] * rows[dim + j] + weights[1] * rows[j])
  expect(worstError(out.slice(0, dim), first)).toBeLessThan(1e-6)
})

const units = (n: number): number[][] => range(n).map((i) => range(n).map((j) => Number(i === j)))

test('gradients of rows and of weights are those of the pooled sum', () => {
  const desk = new KernelDesk()
  const [offsets, indices] = [desk.ints(lists.offsets), desk.ints(lists.indices)]
  const gradient = desk.floats(g).address
  const rowGradients = desk.zeros(all * dim)
  const weightGradients = desk.zeros(5)
  const [rowsAt, weightsAt] = [desk.floats(rows).address, desk.floats(weights).address]
  desk.kernels.poolBagsBackward(
    ...([
      rowGradients.address,
      gradient,
      dim,
      dim,
      offsets,
      indices,
      weightsAt,
      bags,
      0,
      dim,
    ] as const),
  )
  desk.kernels.bagWeightGradients(
    ...([weightGradients.address, rowsAt, gradient, dim, dim, offsets, indices, 0, bags] as const),
  )
  const byRows = (x: number[]): number => product(pooled(new KernelDesk(), x, weights), g)
  const byWeights = (x: number[]): number => product(pooled(new KernelDesk(), rows, x), g)
  // Pooling is linear in both, so unit vectors give the gradient exactly.
  expect(
    worstError(
      rowGradients.view,
      units(all * dim).map((unit) => byRows(unit)),
    ),
  ).toBeLessThan(1e-5)
  expect(
    worstError(
      weightGradients.view,
      units(5).map((unit) => byWeights(unit)),
    ),
  ).toBeLessThan(1e-5)
})

test('the largest of a bag gets the gradient, the first among equals', () => {
  const desk = new KernelDesk()
  const [offsets, indices] = [desk.ints([0, 3]), desk.ints([0, 1, 2])]
  const table = desk.floats([1, 5, 4, 5, 4, 0]).address
  const [out, gradients] = [desk.zeros(2), desk.zeros(6)]
  desk.kernels.maxBags(out.address, 2, table, 2, offsets, indices, 0, 0, 1)
  expect([...out.view]).toEqual([4, 5])
  const by = desk.floats([10, 20]).address
  desk.kernels.maxBagsBackward(gradients.address, table, by, 2, 2, offsets, indices, 1, 0, 2)
  expect([...gradients.view]).toEqual([0, 20, 10, 0, 0, 0])
})

test('scattered rows are added, gathered ones copied', () => {
  const desk = new KernelDesk()
  const table = desk.floats([1, 2, 3, 4])
  const indices = desk.ints([1, 1, 0])
  const out = desk.zeros(6)
  desk.kernels.gatherRows(out.address, 2, table.address, indices, 2, 0, 3)
  expect([...out.view]).toEqual([3, 4, 3, 4, 1, 2])
  desk.kernels.scatterAddRows(table.address, out.address, 2, indices, 3, 2, 0, 2)
  expect([...table.view]).toEqual([2, 4, 9, 12])
})
