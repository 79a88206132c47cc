import { expect, test } from 'vitest'

import type { LayerSpec, ModelSpec } from '../../src/model/spec.ts'
import type { StepBatch } from '../../src/model/step-batch.ts'
import { TwoTower } from '../../src/model/two-tower.ts'
import { fillRows, limits, plainSpec, someBatch, someItems, someQueries } from './fixtures.ts'

const dim = 8
const queries = 40
const columns = 30
const items = someItems(columns)
const people = someQueries(queries, items).map((query) =>
  Object.assign(query, { userId: 'somebody' }),
)
const batch: StepBatch = { ...someBatch(queries, columns), masked: new Int32Array(0) }

function spec(layers: readonly LayerSpec[]): ModelSpec {
  const plain = plainSpec(dim)
  return {
    ...plain,
    query: { ...plain.query, layers },
    candidate: { ...plain.candidate, layers: [{ kind: 'dropout', rate: 0.3 }] },
  }
}

const dense = { kind: 'dense', units: dim, activation: 'tanh' } as const
const layers: readonly LayerSpec[] = [dense, { kind: 'dropout', rate: 0.5 }, dense]

interface Outcome {
  readonly loss: number
  readonly gradients: readonly Float32Array[]
}

function learn(model: TwoTower, step: number, change?: (rows: Float32Array) => void): Outcome {
  const lookups = model.prepareStep(people, items, step)
  fillRows(lookups)
  change?.(lookups[0].rows)
  const { loss } = model.step(batch)
  return { loss, gradients: lookups.map(({ gradients }) => gradients.slice()) }
}

const vectorsOf = (one: TwoTower): Float32Array => {
  fillRows(one.prepareQueries(people))
  return one.embedQueries().slice()
}

test('a step drops by its number alone, and the next one otherwise', async () => {
  const model = await TwoTower.create(spec(layers), limits(queries, columns))
  const again = await TwoTower.create(spec(layers), { ...limits(300, 200), threads: 2 })
  const first = learn(model, 1)
  expect(learn(model, 2).loss).not.toBe(first.loss)
  expect(learn(model, 1)).toEqual(first)
  // Whatever lies where, and however many threads there are.
  expect(learn(again, 1)).toEqual(first)
})

test('wasm and its reference drop the same', async () => {
  const reference = { ...limits(queries, columns), implementation: 'reference' } as const
  const model = await TwoTower.create(spec(layers), limits(queries, columns))
  const twin = await TwoTower.create(spec(layers), reference)
  expect(learn(twin, 3)).toEqual(learn(model, 3))
})

test('gradients are the slopes of the loss with the same elements dropped', async () => {
  const model = await TwoTower.create(spec(layers), limits(queries, columns))
  const { gradients } = learn(model, 5)
  const weight = batch.weights.reduce((sum, w, b) => sum + (batch.targets[b] < 0 ? 0 : w), 0)
  for (let j = 0; j < dim; j += 1) {
    const h = 1e-2
    const lossAt = (shift: number): number => learn(model, 5, (rows) => (rows[j] += shift)).loss
    const slope = (weight * (lossAt(h) - lossAt(-h))) / (2 * h)
    expect(Math.abs(gradients[0][j] - slope)).toBeLessThan(5e-3 * (1 + Math.abs(slope)))
  }
})

test('answers drop nothing', async () => {
  const share = { kind: 'dropout', rate: 0.25 } as const
  const plain = await TwoTower.create(spec([]), limits(queries, columns))
  const model = await TwoTower.create(spec([share]), limits(queries, columns))
  expect(vectorsOf(model)).toEqual(vectorsOf(plain))
})
