/** The two losses between towers on tensors: each other's twins, however a batch is cut. */
import { join } from 'node:path'

import { expect, test } from 'vitest'

import { seededRandom } from '../../../src/base/random.ts'
import type { StepInput } from '../../../src/model/dense-engine.ts'
import { ClosedLoss } from '../../../src/model/tfjs/closed-loss.ts'
import { HostLoss } from '../../../src/model/tfjs/host-loss.ts'
import { loadTensorflow } from '../../../src/model/tfjs/load-tensorflow.ts'
import { productsOf } from '../../../src/model/tfjs/products.ts'
import type { TensorLoss } from '../../../src/model/tfjs/tensor-loss.ts'
import { distance } from '../../contract/dense-engine.ts'
import { tensorflowPackages } from '../../support/fetch-tensorflow.ts'

const from = join(tensorflowPackages(), 'any.js')
const { tf, native } = await loadTensorflow({ from })
const products = productsOf(tf, native)
const [batch, columns, dim, sharing] = [23, 17, 6, 9]

const random = seededRandom(3)
const floats = (n: number, scale = 1): Float32Array =>
  new Float32Array(n).map(() => scale * random.normal())
const indices = (n: number, below: number): Int32Array =>
  new Int32Array(n).map(() => random.integer(below))

/** What towers were given does not matter here. */
const none = new Float32Array(0)
const input: StepInput = {
  batch,
  columns,
  queries: none,
  candidates: none,
  shared: { rows: sharing, rowOf: indices(batch, sharing) },
  targets: indices(batch, columns).fill(-1, 4, 6),
  weights: floats(batch).map(Math.abs),
  corrections: floats(columns),
  targetCorrections: floats(batch, 0.1),
  popularity: floats(columns),
  popularityWeights: floats(batch, 0.3),
  masked: Int32Array.of(0, 3, 1, 3, 9, 2, 22, 16),
  pulls: Int32Array.of(4, 2, 5, 16),
  pull: 0.3,
  pushes: { pairs: Int32Array.of(1, 5, 20, 5), weights: Float32Array.of(0.5, 2) },
  temperature: 0.7,
  l2: 0.01,
}
const queries = floats(sharing * dim)
const candidates = floats(columns * dim)

const shapeOf = (tileFloats: number) =>
  ({ dim, heads: 1, loss: { kind: 'softmax' }, popularity: true, tileFloats }) as const

const onTensors = (tileFloats: number): TensorLoss =>
  new ClosedLoss(tf, products, shapeOf(tileFloats))

/** Has to do it all itself. */
const onHost = (tileFloats: number): TensorLoss =>
  new HostLoss(tf, products, shapeOf(tileFloats), {
    run: () => {
      throw new Error('left to others')
    },
  })

function outcomeOf(loss: TensorLoss, given: StepInput): readonly Float32Array[] {
  const found: Float32Array[] = []
  tf.tidy(() => {
    const outcome = loss.run(
      given,
      tf.tensor(queries, [given.shared === undefined ? batch : sharing, dim]),
      tf.tensor(candidates, [columns, dim]),
    )
    const tensors = [outcome.queries, outcome.candidates, outcome.popularityWeights, outcome.loss]
    for (const tensor of tensors) if (tensor !== undefined) found.push(tensor.dataSync())
  })
  return found
}

function expectEqual(mine: readonly Float32Array[], other: readonly Float32Array[]): void {
  expect(mine.map(({ length }) => length)).toEqual(other.map(({ length }) => length))
  expect(mine).toHaveLength(4)
  for (const [i, one] of mine.entries()) expect(distance(one, other[i])).toBeLessThan(1e-4)
}

/** One query a tile, five, all. */
test.each([1, 5 * columns, 1 << 22])('with %d logits at once they agree', (tileFloats) => {
  const whole = outcomeOf(onTensors(1 << 22), input)
  expect(whole.every((values) => values.some((value) => value !== 0))).toBe(true)
  expectEqual(outcomeOf(onTensors(tileFloats), input), whole)
  expectEqual(outcomeOf(onHost(tileFloats), input), whole)
})

test('a sum too large for the rows in arrays is left to tensors', () => {
  const far = { ...input, corrections: input.corrections.map((value, i) => value + 40 * i) }
  const others = onTensors(1 << 22)
  const loss = new HostLoss(tf, products, shapeOf(5 * columns), others)
  expect(() => outcomeOf(onHost(5 * columns), far)).toThrow('left to others')
  expectEqual(outcomeOf(loss, far), outcomeOf(others, far))
})
