import { readFileSync } from 'node:fs'

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

interface Golden {
  readonly start: number[][]
  /** By step, by row. */
  readonly gradients: number[][][]
  readonly cases: readonly { name: string; optimizer: DenseOptimizerSpec; rows: number[][] }[]
}

const golden = JSON.parse(
  readFileSync(new URL('../golden/optimizers.json', import.meta.url), 'utf8'),
) as Golden

const known = [
  'SGD',
  'momentum',
  'momentum after Nesterov',
  'Adagrad',
  'AdagradDecay',
  'Adam',
  'RMSprop',
  'Clippy Adagrad 0.1',
  'Clippy Adagrad 0.5',
]

test.each(known)('ten steps of dense weights give the values of Keras: %s', (name) => {
  const { optimizer, rows } = golden.cases.find((one) => one.name === name)!
  const { parameters, kernels } = made(6, optimizer)
  parameters.values.view.set(golden.start[0])
  // The golden rows begin in version 1: their first decay is a step nearer.
  if (optimizer.kind === 'adagradDecay') {
    const state = new Float32Array(8).fill(optimizer.initialAccumulator)
    state.set([1, 0], 6)
    parameters.loadState(state)
  }
  for (const gradients of golden.gradients) {
    parameters.gradients.view.set(gradients[0].map((g) => 4 * g))
    parameters.update(kernels, 1 / 4)
  }
  for (const [i, value] of rows[0].entries()) {
    expect(Math.abs(parameters.values.view[i] - value)).toBeLessThan(1e-5 * (1 + Math.abs(value)))
  }
})

test.each(known)('state that was saved goes on to the same bits: %s', (name) => {
  const { optimizer } = golden.cases.find((one) => one.name === name)!
  const [first, second] = [made(6, optimizer), made(6, optimizer)]
  const step = ({ parameters, kernels }: typeof first, t: number): void => {
    parameters.gradients.view.set(golden.gradients[t][1])
    parameters.update(kernels, 1)
  }
  for (let t = 0; t < 5; t += 1) step(first, t)
  const state = new Float32Array(first.parameters.stateSize)
  first.parameters.saveState(state)
  second.parameters.loadState(state)
  second.parameters.values.view.set(first.parameters.values.view)
  for (let t = 5; t < 10; t += 1) for (const one of [first, second]) step(one, t)
  expect(second.parameters.values.view).toEqual(first.parameters.values.view)
})
