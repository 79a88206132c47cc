import { expect, test } from 'vitest'

import { KernelDesk, normals, range, worstError } from '../support/kernel-desk.ts'

const transpose = (x: number[], rows: number): number[] =>
  range(x.length).map((i) => x[(i % rows) * (x.length / rows) + Math.floor(i / rows)])

test('the three layouts give the same product', () => {
  const [m, n, k] = [9, 21, 30]
  const desk = new KernelDesk()
  const a = normals(1, m * k)
  const b = normals(2, k * n)
  const at = desk.floats(transpose(a, m)).address
  const bt = desk.floats(transpose(b, k)).address
  const [left, right] = [desk.floats(a).address, desk.floats(b).address]
  const c = range(3).map(() => desk.zeros(m * n))
  desk.kernels.matmul(c[0].address, left, right, m, n, k, 0, 0, m)
  desk.kernels.matmulTransposedA(c[1].address, at, right, m, n, k, 0, 0, m)
  desk.kernels.matmulTransposedB(c[2].address, left, bt, m, n, k, 0, 0, m)

  const wanted = range(m * n).map((i) =>
    range(k).reduce((sum, p) => sum + a[Math.floor(i / n) * k + p] * b[p * n + (i % n)], 0),
  )
  expect(worstError(c[0].view, wanted)).toBeLessThan(1e-5)
  expect(c[1].view).toEqual(c[0].view)
  expect(c[2].view).toEqual(c[0].view)
})

test('accumulate goes on from what C holds', () => {
  const desk = new KernelDesk()
  const c = desk.floats([10, 20])
  desk.kernels.matmul(
    c.address,
    desk.floats([2]).address,
    desk.floats([3, 4]).address,
    1,
    2,
    1,
    1,
    0,
    1,
  )
  expect([...c.view]).toEqual([16, 28])
})
