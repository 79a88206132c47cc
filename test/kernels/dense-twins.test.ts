import { assert, boolean, constantFrom, integer, property, tuple } from 'fast-check'
import { expect, test } from 'vitest'

import { activationCode } from '../../src/kernels/dense-kernels.ts'
import { absent } from '../../src/kernels/operands.ts'
import { KernelTwins } from '../support/kernel-twins.ts'

const twins = new KernelTwins()
const seeds = integer({ min: 0, max: 2 ** 31 })
const sizes = integer({ min: 1, max: 23 })
const tables = tuple(sizes, sizes)
const flags = constantFrom(0 as const, 1 as const)
const activations = constantFrom(...Object.values(activationCode))

const matmuls = constantFrom(
  'matmul' as const,
  'matmulTransposedA' as const,
  'matmulTransposedB' as const,
)
/** Most are small; some cross the blocks of 256 in k and of 32 KiB in panels. */
const shapes = tuple(sizes, sizes, sizes)
const large: [number, number, number][] = [
  [13, 70, 300],
  [7, 40, 600],
  [30, 300, 33],
  [64, 64, 64],
  [1, 565, 64],
]

const checkProduct = (
  name: 'matmul' | 'matmulTransposedA' | 'matmulTransposedB',
  [m, n, k]: [number, number, number],
  accumulate: 0 | 1,
): void => {
  const c = twins.noise(m * n)
  twins.check(name, [c, twins.noise(m * k), twins.noise(n * k), m, n, k, accumulate], m)
}

test('a matrix product is that of its twin in every layout, split anywhere', () => {
  assert(
    property(matmuls, shapes, flags, seeds, (name, shape, accumulate, seed) => {
      twins.reset(seed)
      checkProduct(name, shape, accumulate)
    }),
  )
  for (const [i, shape] of large.entries()) {
    for (const name of ['matmul', 'matmulTransposedA', 'matmulTransposedB'] as const) {
      twins.reset(i)
      checkProduct(name, shape, i % 2 === 0 ? 0 : 1)
    }
  }
})

test('a product over no k is zero', () => {
  const c = twins.reset(1).noise(20)
  twins.check('matmul', [c, twins.noise(1), twins.noise(1), 4, 5, 0, 0], 4)
  expect(twins.read(c, 20)).toEqual(new Float32Array(20))
})

test('layers forward and backward are those of their twins', () => {
  assert(
    property(tables, activations, boolean(), seeds, ([rows, columns], activation, apart, seed) => {
      const x = twins.reset(seed).noise(rows * columns, 3)
      const out = apart ? twins.noise(rows * columns) : x
      const bias = apart ? twins.noise(columns) : absent
      const gradients = twins.noise(rows * columns)
      twins.check('biasActivation', [out, x, bias, columns, activation], rows)
      twins.check('activationBackward', [gradients, x, activation], rows * columns)
      twins.check('sumColumns', [bias || out, gradients, rows, columns, apart ? 1 : 0], columns)
    }),
  )
})

test('normalised rows and their gradients are those of their twins', () => {
  assert(
    property(sizes, sizes, boolean(), seeds, (rows, columns, apart, seed) => {
      const x = twins.reset(seed).noise(rows * columns)
      const y = apart ? twins.noise(rows * columns) : x
      const inverses = twins.noise(rows)
      const gradients = twins.noise(rows * columns)
      twins.check('normalizeRows', [y, inverses, x, columns, 1e-6], rows)
      twins.check('normalizeRowsBackward', [gradients, y, inverses, columns], rows)
    }),
  )
})

test('cross layers and layer norms are those of their twins', () => {
  assert(
    property(tables, flags, seeds, ([rows, columns], accumulate, seed) => {
      const n = rows * columns
      twins.reset(seed)
      const [out, u, x0, x] = [0, 1, 2, 3].map(() => twins.noise(n))
      const [gain, bias] = [twins.noise(columns), twins.noise(columns)]
      twins.check('crossRows', [out, u, x0, x, bias, columns, 0.3], rows)
      twins.check('crossBackward', [u, out, x, x0, u, accumulate], n)
      const inverses = twins.noise(rows)
      twins.check('layerNorm', [out, u, inverses, x, gain, bias, columns, 1e-5], rows)
      twins.check('layerNormBackward', [x0, x, u, inverses, gain, columns], rows)
      twins.check('sumProducts', [bias, x, u, rows, columns, accumulate], columns)
    }),
  )
})

test('rows are gathered and scattered as the twins do it, duplicates in order', () => {
  assert(
    property(sizes, sizes, sizes, seeds, (count, dim, all, seed) => {
      const rows = twins.reset(seed).noise(all * dim)
      const stride = dim + twins.integer(5)
      const indices = twins.indices(count, all)
      const out = twins.noise(count * stride)
      twins.check('gatherRows', [out, stride, rows, indices, dim], count)
      twins.check('scatterAddRows', [rows, out, stride, indices, count, dim], dim)
    }),
  )
})

test('bags are pooled forward and backward as the twins do it', () => {
  assert(
    property(tables, boolean(), flags, seeds, ([bags, dim], weighted, accumulate, seed) => {
      twins.reset(seed)
      const all = 1 + twins.integer(9)
      const lengths = Array.from({ length: bags }, () => twins.integer(4))
      const offsets = twins.ints([0, ...lengths.map((_, b) => sumOf(lengths.slice(0, b + 1)))])
      const entries = sumOf(lengths)
      const indices = twins.indices(entries, all)
      const weights = weighted ? twins.noise(entries) : absent
      const stride = dim + twins.integer(5)
      const rows = twins.noise(all * dim)
      const vectors = twins.noise(bags * stride)
      const gradients = twins.noise(all * dim)
      const lists = [offsets, indices] as const

      twins.check('poolBags', [vectors, stride, rows, dim, ...lists, weights, accumulate], bags)
      twins.check(
        'poolBagsBackward',
        [gradients, vectors, stride, dim, ...lists, weights, bags],
        dim,
      )
      const weightGradients = twins.noise(entries)
      twins.check(
        'bagWeightGradients',
        [weightGradients, rows, vectors, stride, dim, ...lists],
        bags,
      )
      twins.check('maxBags', [vectors, stride, rows, dim, ...lists, accumulate], bags)
      twins.check('maxBagsBackward', [gradients, rows, vectors, stride, dim, ...lists, bags], dim)
    }),
  )
})

const sumOf = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0)

test('element by element, exp and log among them, the kernels are their twins', () => {
  assert(
    property(integer({ min: 1, max: 200 }), seeds, (n, seed) => {
      const x = twins.reset(seed).noise(n, 30)
      const out = twins.noise(n)
      twins.check('exp', [out, x], n)
      twins.check('log', [x, out], n)
      twins.check('exp', [out, x], n)
      twins.check('scale', [x, out, 0.3], n)
      twins.check('addScaled', [out, x, -1.7], n)
      twins.check('dropout', [out, x, seed, 0x40000000, 1.3], n)
      twins.check('dropout', [out, out, seed, 0xc0000000, 4], n)
      const [sum, sumTwin] = twins.results('sum', [out, n])
      expect(sum).toBe(sumTwin)
      const [squares, squaresTwin] = twins.results('sumOfSquares', [out, n])
      expect(squares).toBe(squaresTwin)
      const rows = Math.floor(n / 3)
      const [largest, largestTwin] = twins.largestSquares(out, 3, rows)
      expect(largest).toBe(largestTwin)
    }),
  )
})

test('optimizers are their twins', () => {
  assert(
    property(integer({ min: 1, max: 67 }), seeds, (n, seed) => {
      const [w, g, m] = [twins.reset(seed).noise(n), twins.noise(n), twins.noise(n)]
      const [a, z] = [0, 0].map(() =>
        twins.floats(Array.from({ length: n }, () => Math.abs(twins.draw()))),
      )
      twins.check('adagrad', [w, a, g, 0.1, 1e-7], n)
      twins.check('adagradDecay', [w, a, g, 0.1, 1e-7, 0.9, 0.1], n)
      twins.check('adam', [w, m, a, g, 0.01, 0.9, 0.999, 1e-7], n)
      twins.check('momentum', [w, m, g, 0.01, 0.9, 0], n)
      twins.check('momentum', [w, m, g, 0.01, 0.9, 1], n)
      twins.check('rmsprop', [w, a, 0, 0, g, 0.01, 0.9, 0, 1e-7], n)
      twins.check('rmsprop', [w, a, m, z, g, 0.01, 0.9, 0.5, 1e-7], n)
      twins.check('ftrl', [w, a, z, g, 0.1, 0, 0.1], n)
      twins.check('ftrl', [w, a, z, g, 0.1, 0.3, 0.2], n)
      twins.checkWhole('clippyAdagrad', [w, a, g, 0.1, 1e-7, 0.1, 1e-3, 1e-2, n])
    }),
  )
})
