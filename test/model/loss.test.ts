/** The loss' known cases, on a model that is nothing but a vector per user and per item. */
import { expect, test } from 'vitest'

import type { ModelSpec } from '../../src/model/spec.ts'
import type { StepBatch, StepResult } from '../../src/model/step-batch.ts'
import { TwoTower } from '../../src/model/two-tower.ts'
import { limits, plainSpec, someItems } from './fixtures.ts'

type Matrix = readonly (readonly number[])[]

interface Case {
  readonly queries: Matrix
  readonly candidates: Matrix
  readonly spec?: ModelSpec
  readonly batch?: Partial<StepBatch>
}

/** One step on given vectors; the target of query b is column b. */
async function lossOf({ queries, candidates, spec, batch }: Case): Promise<StepResult> {
  const dim = queries[0].length
  const model = await TwoTower.create(
    spec ?? plainSpec(dim),
    limits(queries.length, candidates.length),
  )
  const people = queries.map((_, b) => ({
    userId: `user ${b}`,
    userFeatures: {},
    history: [],
    context: {},
    timestamp: 0,
  }))
  const [users, items] = model.prepareStep(people, someItems(candidates.length))
  users.rows.set(queries.flat())
  items.rows.set(candidates.flat())
  return model.step({
    targets: Int32Array.from(queries, (_, b) => b),
    weights: new Float32Array(queries.length).fill(1),
    corrections: new Float32Array(candidates.length),
    targetCorrections: new Float32Array(queries.length),
    popularity: new Float32Array(candidates.length),
    masked: new Int32Array(0),
    pulls: new Int32Array(0),
    ...batch,
  })
}

const queries = [
  [1, 2, 3],
  [2, 3, 4],
]
const candidates = [
  [1, 1, 1],
  [1, 1, 0],
]
const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x))
const { exp, log } = Math

test('two queries and their two items: scores [[6, 3], [9, 5]]', async () => {
  const { loss, weight } = await lossOf({ queries, candidates })
  expect(loss * weight).toBeCloseTo(-log(sigmoid(3)) - log(1 - sigmoid(4)), 5)
  expect(weight).toBe(2)
})

test('the best of several heads counts: scores [[2, 5, 5], [3, 7, 7]]', async () => {
  const spec = plainSpec(4)
  const [user, item] = spec.tables
  const { loss, weight } = await lossOf({
    queries: [
      [1, 0, 0, 0, 0, 1, 0, 0],
      [0, 0, 1, 0, 0, 0, 0, 1],
    ],
    candidates: [
      [2, 1, 3, 0],
      [0, 5, 7, 2],
      [5, 4, 1, 7],
    ],
    spec: { ...spec, tables: [{ ...user, dim: 8 }, item], query: { ...spec.query, heads: 2 } },
  })
  const expected = -log(exp(2) / (exp(2) + 2 * exp(5))) - log(exp(7) / (exp(3) + 2 * exp(7)))
  expect(loss * weight).toBeCloseTo(expected, 5)
})

test('the loss is the mean over the weights', async () => {
  const weights = Float32Array.of(0.7, 0.3)
  const { loss, weight } = await lossOf({ queries, candidates, batch: { weights } })
  expect(loss * weight).toBeCloseTo(-0.7 * log(sigmoid(3)) - 0.3 * log(1 - sigmoid(4)), 5)
  expect(weight).toBeCloseTo(1, 6)
})

test('further columns are further negatives: scores [[2, 3, 5], [3, 7, 5]]', async () => {
  const { loss, weight } = await lossOf({
    queries: [
      [1, 0],
      [0, 1],
    ],
    candidates: [
      [2, 3],
      [3, 7],
      [5, 5],
    ],
  })
  const first = -log(1 / (1 + exp(1) + exp(3)))
  const second = -log(exp(4) / (1 + exp(4) + exp(2)))
  expect(loss * weight).toBeCloseTo(first + second, 5)
})

test('an accidental hit takes no part', async () => {
  const masked = Int32Array.of(0, 1)
  const { loss } = await lossOf({ queries, candidates, batch: { masked } })
  expect(loss * 2).toBeCloseTo(-log(1 - sigmoid(4)), 5)
})

test('a query’s own positive cannot be masked', async () => {
  const masked = Int32Array.of(0, 0, 1, 1)
  const { loss } = await lossOf({ queries, candidates, batch: { masked } })
  expect(loss).toBe((await lossOf({ queries, candidates })).loss)
})

test('a correction is added to the column, to the own positive its own', async () => {
  const corrections = Float32Array.of(-log(0.2), -log(0.5))
  const targetCorrections = Float32Array.of(-log(0.1), -log(0.4))
  const { loss } = await lossOf({ queries, candidates, batch: { corrections, targetCorrections } })
  const first = log(1 + exp(3 - log(0.5) - (6 - log(0.1))))
  const second = log(1 + exp(9 - log(0.2) - (5 - log(0.4))))
  expect(loss * 2).toBeCloseTo(first + second, 5)
})

test('the temperature divides scores and not corrections', async () => {
  const spec = { ...plainSpec(3), score: { temperature: 2 } }
  const corrections = Float32Array.of(0.5, 0)
  const { loss } = await lossOf({ spec, queries, candidates, batch: { corrections } })
  const first = log(1 + exp((3 - 6) / 2))
  const second = log(1 + exp((9 - 5) / 2 + 0.5))
  expect(loss * 2).toBeCloseTo(first + second, 5)
})

test('popularity enters by its weight', async () => {
  const score: ModelSpec['score'] = {
    temperature: 1,
    popularity: { halfLifeMs: 1, smoothing: 1, initialWeight: 1.5, features: [] },
  }
  const spec = { ...plainSpec(3), score }
  const popularity = Float32Array.of(0, 2)
  const { loss } = await lossOf({ spec, queries, candidates, batch: { popularity } })
  expect(loss * 2).toBeCloseTo(log(1 + exp(3 + 3 - 6)) + log(1 + exp(9 - (5 + 3))), 5)
})

test('a batch of one event learns from its negatives', async () => {
  const { loss, rowGradientNorm } = await lossOf({
    queries: [[1, 0]],
    candidates: [
      [1, 0],
      [1, 0],
    ],
  })
  expect(loss).toBeCloseTo(log(2), 5)
  expect(rowGradientNorm).toBeGreaterThan(0.1)
})

test('without any weight there is no loss and no gradient', async () => {
  const targets = Int32Array.of(-1, -1)
  const result = await lossOf({ queries, candidates, batch: { targets } })
  expect(result).toMatchObject({ loss: 0, weight: 0, gradientNorm: 0, rowGradientNorm: 0 })
})

test('columns far below the best add nothing, those far above do not overflow', async () => {
  const far = await lossOf({
    queries: [[1]],
    candidates: [[0], [-500], [-60]],
  })
  expect(far.loss).toBe(0)
  const above = await lossOf({ queries: [[1]], candidates: [[0], [500]] })
  expect(above.loss).toBeCloseTo(500, 3)
})

test('what is no number shows in every figure that a guard looks at', async () => {
  const result = await lossOf({
    queries: [[NaN, 0, 0], queries[1]],
    candidates,
  })
  expect(result.loss).toBeNaN()
  expect(result.rowGradientNorm).toBeNaN()
})

test('of hard negatives the hardest count: scores [[2, 3, 5], [3, 7, 5]], one each', async () => {
  const { loss, weight } = await lossOf({
    queries: [
      [1, 0],
      [0, 1],
    ],
    candidates: [
      [2, 3],
      [3, 7],
      [5, 5],
    ],
    spec: plainSpec(2, { hardNegatives: 1 }),
  })
  expect(loss * weight).toBeCloseTo(-log(sigmoid(2 - 5)) - log(sigmoid(7 - 5)), 5)
})

test('BPR is the mean over the negatives of how much they come near', async () => {
  const spec = plainSpec(3, { kind: 'bpr' })
  const { loss, weight } = await lossOf({ queries, candidates, spec })
  expect(loss * weight).toBeCloseTo(-log(sigmoid(6 - 3)) - log(sigmoid(5 - 9)), 5)
})

test('sigmoid asks of each score on its own whether it is the positive', async () => {
  const spec = plainSpec(3, { kind: 'sigmoid' })
  const { loss, weight } = await lossOf({ queries, candidates, spec })
  const [first, second] = [log(sigmoid(6)) + log(sigmoid(-3)), log(sigmoid(5)) + log(sigmoid(-9))]
  expect(loss * weight).toBeCloseTo(-first - second, 5)
})
