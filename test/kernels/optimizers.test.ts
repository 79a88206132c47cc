import { expect, test } from 'vitest'

import { KernelDesk, normals, worstError } from '../support/kernel-desk.ts'

const [w, g] = [normals(15, 7), normals(16, 7)]

test('adagrad divides by the root of the accumulated squares', () => {
  const desk = new KernelDesk()
  const [weights, a] = [desk.floats(w), desk.floats(w.map(() => 0.1))]
  const gradient = desk.floats(g).address
  for (let step = 0; step < 3; step += 1) {
    desk.kernels.adagrad(weights.address, a.address, gradient, 0.05, 1e-7, 0, 7)
  }
  const expected = w.map((value, i) =>
    [1, 2, 3].reduce((x, t) => x - (0.05 * g[i]) / Math.sqrt(0.1 + t * g[i] ** 2 + 1e-7), value),
  )
  expect(worstError(weights.view, expected)).toBeLessThan(1e-6)
})

test('adagradDecay lowers the accumulator first, but not below its floor', () => {
  const desk = new KernelDesk()
  const [weights, a] = [desk.floats([1, 1]), desk.floats([4, 0.105])]
  const gradient = desk.floats([1, 0]).address
  desk.kernels.adagradDecay(weights.address, a.address, gradient, 0.1, 0, 0.9, 0.1, 0, 2)
  expect(worstError(a.view, [4.6, 0.1])).toBeLessThan(1e-6)
  expect(worstError(weights.view, [1 - 0.1 / Math.sqrt(4.6), 1])).toBeLessThan(1e-6)
})

test('adam takes a step of its rate at first, whatever the gradient', () => {
  const desk = new KernelDesk()
  const [weights, m, v] = [desk.floats(w), desk.zeros(7), desk.zeros(7)]
  const gradient = desk.floats(g).address
  const rate = (0.01 * Math.sqrt(1 - 0.999)) / (1 - 0.9)
  desk.kernels.adam(
    ...([weights.address, m.address, v.address, gradient, rate, 0.9, 0.999, 1e-12, 0, 7] as const),
  )
  expect(
    worstError(
      weights.view,
      w.map((value, i) => value - 0.01 * Math.sign(g[i])),
    ),
  ).toBeLessThan(1e-5)
})

test('sums show what is not finite', () => {
  const desk = new KernelDesk()
  const { kernels } = desk
  expect(kernels.sumOfSquares(desk.floats([1, 2, 3, 4, 5]).address, 5)).toBe(55)
  expect(kernels.sum(desk.floats([1e30, 1, -1e30]).address, 3)).toBe(0)
  expect(kernels.sumOfSquares(desk.floats([1, NaN]).address, 2)).toBe(NaN)
  expect(kernels.sumOfSquares(desk.floats([1, -Infinity]).address, 2)).toBe(Infinity)
  // Too large for f32, not for the sum.
  expect(kernels.sumOfSquares(desk.floats([1e30]).address, 1)).toBeGreaterThan(1e59)
})
