import { expect, test } from 'vitest'

import { activationCode } from '../../src/kernels/dense-kernels.ts'
import { KernelDesk, normals, slopes, worstError } from '../support/kernel-desk.ts'

/** Phi by its Taylor series, good to 1e-12 within six deviations. */
const cumulative = (x: number): number => {
  let [term, sum] = [x, x]
  for (let i = 1; i < 200; i += 1) {
    term *= (-x * x) / (2 * i)
    sum += term / (2 * i + 1)
  }
  return 0.5 + sum / Math.sqrt(2 * Math.PI)
}
const functions = {
  linear: (x: number) => x,
  relu: (x: number) => Math.max(x, 0),
  gelu: (x: number) => x * cumulative(x),
  tanh: Math.tanh,
}

test.each(['linear', 'relu', 'gelu', 'tanh'] as const)('%s and its derivative', (name) => {
  const desk = new KernelDesk()
  const columns = 40
  const x = normals(3, columns, 1.5)
  const bias = normals(4, columns, 0.5)
  const sums = x.map((value, i) => value + bias[i])
  const [block, out] = [desk.floats(x), desk.zeros(columns)]
  const biasAt = desk.floats(bias).address
  const code = activationCode[name]
  desk.kernels.biasActivation(out.address, block.address, biasAt, columns, code, 0, 1)
  expect(
    worstError(
      out.view,
      sums.map((value) => functions[name](value)),
    ),
  ).toBeLessThan(1e-6)
  expect(worstError(block.view, sums)).toBeLessThan(1e-6)

  const gradients = desk.floats(x.map(() => 2))
  const seen = name === 'tanh' ? out.address : block.address
  desk.kernels.activationBackward(gradients.address, seen, code, 0, columns)
  const total = (values: number[]): number =>
    values.reduce((sum, value) => sum + 2 * functions[name](value), 0)
  expect(worstError(gradients.view, slopes(total, sums))).toBeLessThan(1e-5)
})

const normalised = (values: number[]): number[] => {
  const length = Math.sqrt(values.reduce((sum, value) => sum + value * value, 0.01))
  return values.map((value) => value / length)
}

test('normalised rows have length one and their gradient is right', () => {
  const desk = new KernelDesk()
  const [x, g] = [normals(5, 11), normals(6, 11)]
  const [block, y, inverse, gradients] = [
    desk.floats(x),
    desk.zeros(11),
    desk.zeros(1),
    desk.floats(g),
  ]
  desk.kernels.normalizeRows(y.address, inverse.address, block.address, 11, 0.01, 0, 1)
  desk.kernels.normalizeRowsBackward(gradients.address, y.address, inverse.address, 11, 0, 1)

  expect(worstError(y.view, normalised(x))).toBeLessThan(1e-6)
  const along = (values: number[]): number =>
    normalised(values).reduce((sum, value, i) => sum + value * g[i], 0)
  expect(worstError(gradients.view, slopes(along, x))).toBeLessThan(1e-5)
})

test('a row of zeros stays zero and has a finite gradient', () => {
  const desk = new KernelDesk()
  const [y, inverse, gradients] = [desk.zeros(3), desk.zeros(1), desk.floats([1, 2, 3])]
  desk.kernels.normalizeRows(y.address, inverse.address, y.address, 3, 1e-12, 0, 1)
  desk.kernels.normalizeRowsBackward(gradients.address, y.address, inverse.address, 3, 0, 1)
  expect([...y.view]).toEqual([0, 0, 0])
  expect(gradients.view.every((value) => Number.isFinite(value))).toBe(true)
})

test('a bias gradient is the sum of the rows', () => {
  const desk = new KernelDesk()
  const out = desk.floats([100, 0])
  desk.kernels.sumColumns(out.address, desk.floats([1, 2, 3, 4]).address, 2, 2, 1, 0, 2)
  expect([...out.view]).toEqual([104, 6])
})

test.each([
  ['ones', 0, 0, [0.55, 0.8, 1.05]],
  ['a bias of ones', 1, 0, [0.65, 1, 1.35]],
  ['a diagonal of 1', 0, 1, [0.59, 0.9, 1.23]],
] as const)('a cross layer of ones on x0 and another x: %s', (_, bias, diagonal, expected) => {
  const desk = new KernelDesk()
  const [x0, x] = [desk.floats([0.1, 0.2, 0.3]).address, desk.floats([0.4, 0.5, 0.6]).address]
  const ones = desk.floats(Array.from({ length: 9 }, () => 1)).address
  const [u, out] = [desk.zeros(3).address, desk.zeros(3)]
  const biases = desk.floats([bias, bias, bias]).address
  desk.kernels.matmul(u, x, ones, 1, 3, 3, 0, 0, 1)
  desk.kernels.crossRows(out.address, u, x0, x, biases, 3, diagonal, 0, 1)
  expect(worstError(out.view, expected)).toBeLessThan(1e-6)
})
