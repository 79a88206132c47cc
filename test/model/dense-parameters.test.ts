import { expect, test } from 'vitest'

import { Arena } from '../../src/kernels/arena.ts'
import { loadKernels } from '../../src/kernels/kernels.ts'
import { DenseParameters } from '../../src/model/dense-parameters.ts'
import type { DenseOptimizerSpec } from '../../src/model/spec.ts'

function made(size: number, optimizer: DenseOptimizerSpec) {
  const arena = new Arena(1 << 17)
  const parameters = new DenseParameters(arena, size, optimizer)
  const own = loadKernels(arena)
  parameters.resetState()
  return { parameters, kernels: own }
}

test('adam follows its formula with the bias corrections of every step', () => {
  const { parameters, kernels } = made(2, {
    kind: 'adam',
    rate: 0.1,
    beta1: 0.9,
    beta2: 0.99,
    epsilon: 1e-7,
  })
  let [w, m, v] = [0, 0, 0]
  for (let t = 1; t <= 10; t += 1) {
    const g = Math.sin(t)
    parameters.gradients.view.set([3 * g, 0])
    parameters.update(kernels, 1 / 3)
    m = 0.9 * m + 0.1 * g
    v = 0.99 * v + 0.01 * g * g
    const rate = (0.1 * Math.sqrt(1 - 0.99 ** t)) / (1 - 0.9 ** t)
    w -= (rate * m) / (Math.sqrt(v) + 1e-7)
    expect(parameters.values.view[0]).toBeCloseTo(w, 5)
  }
  expect(parameters.values.view[1]).toBe(0)
})

test('adagrad follows its formula', () => {
  const { parameters, kernels } = made(1, {
    kind: 'adagrad',
    rate: 0.1,
    initialAccumulator: 0.2,
    epsilon: 1e-7,
  })
  let [w, a] = [0, 0.2]
  for (let t = 1; t <= 10; t += 1) {
    const g = Math.cos(t)
    parameters.gradients.view[0] = g
    parameters.update(kernels, 1)
    a += g * g
    w -= (0.1 * g) / Math.sqrt(a + 1e-7)
    expect(parameters.values.view[0]).toBeCloseTo(w, 6)
  }
})

test('nothing to learn is nothing to do', () => {
  const { parameters, kernels } = made(0, {
    kind: 'adam',
    rate: 1,
    beta1: 0.5,
    beta2: 0.5,
    epsilon: 1,
  })
  expect(() => parameters.update(kernels, 1)).not.toThrow()
})
