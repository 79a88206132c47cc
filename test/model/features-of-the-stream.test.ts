import { expect, test } from 'vitest'

import { outOfVocabularyKey } from '../../src/base/keys.ts'
import type { ItemInput, QueryInput } from '../../src/model/inputs.ts'
import type { FeatureSpec, ModelSpec } from '../../src/model/spec.ts'
import { TwoTower } from '../../src/model/two-tower.ts'
import { fillRows, limits, plainSpec, someBatch } from './fixtures.ts'

const queryOf = (userId?: string): QueryInput => {
  return { userId, userFeatures: {}, history: [], context: {}, timestamp: 0 }
}

const itemOf = (handle: number, features: ItemInput['features']): ItemInput => {
  return { handle, id: `item ${handle}`, revision: 1, features }
}

const number = (transform: 'zscore' | 'quantile', rest: object = {}): FeatureSpec => {
  return { kind: 'numeric', name: 'p', field: 'price', transform, offset: 0, scale: 1, ...rest }
}

/** Items are their price and nothing else, as it enters the tower. */
function priceSpec(dim: number, feature: FeatureSpec): ModelSpec {
  const spec = plainSpec(dim)
  return { ...spec, candidate: { ...spec.candidate, features: [feature] } }
}

/** One batch about items of these prices; undefined: it has none. */
function learnFrom(model: TwoTower, prices: readonly (number | undefined)[]): void {
  const items = prices.map((price, i) => itemOf(i, price === undefined ? {} : { price }))
  const queries = items.map((_, i) => queryOf(`user ${i}`))
  fillRows(model.prepareStep(queries, items))
  model.step({ ...someBatch(items.length, items.length), popularity: new Float32Array(0) })
  model.update()
}

function vectorsOf(model: TwoTower, prices: readonly (number | undefined)[]): number[][] {
  model.prepareItems(prices.map((price, i) => itemOf(i, price === undefined ? {} : { price })))
  const vectors = model.embedItems()
  const { dim } = model.spec
  return prices.map((_, i) => [...vectors.subarray(i * dim, (i + 1) * dim)])
}

test('a number stands where it does among those of the stream; missing is a state', async () => {
  const model = await TwoTower.create(priceSpec(2, number('zscore')), limits(6, 6))
  expect(vectorsOf(model, [10, undefined])).toEqual([
    [0, 0],
    [0, 1],
  ])
  learnFrom(model, [10, 20, 30, undefined])
  const [low, middle, none] = vectorsOf(model, [10, 20, undefined])
  expect(low[0]).toBeCloseTo(-10 / Math.sqrt(200 / 3), 5)
  expect([middle, none]).toEqual([
    [0, 0],
    [0, 1],
  ])
  // What one mad number would do to a tower is bounded.
  expect(vectorsOf(model, [1e12])[0][0]).toBe(10)
})

test('buckets hold as many numbers each, and behind them stands the missing one', async () => {
  const spec = priceSpec(5, number('quantile', { buckets: 4 }))
  const model = await TwoTower.create(spec, limits(8, 8))
  learnFrom(model, [1, 2, 3, 4, 50, 60, 700, 800])
  const buckets = vectorsOf(model, [1, 3.5, 70, 5000, undefined]).map((row) => row.indexOf(1))
  expect(buckets).toEqual([0, 1, 2, 3, 4])
  expect(model.candidateIsStatic).toBe(false)
})

test('what was measured is saved with the weights, and moved by accepted batches alone', async () => {
  const spec = priceSpec(2, number('zscore'))
  const model = await TwoTower.create(spec, limits(6, 6))
  learnFrom(model, [5, 7, 9])
  const saved = model.weights()
  const items = [itemOf(0, { price: 1e6 })]
  fillRows(model.prepareStep([queryOf('a')], items))
  model.step({ ...someBatch(1, 1), popularity: new Float32Array(0) })
  // Refused: no update.
  model.prepareQueries([queryOf('a')])
  model.update()
  expect(model.weights()).toEqual(saved)
  const other = await TwoTower.create(spec, limits(6, 6))
  other.load(saved)
  expect(vectorsOf(other, [5, 8])).toEqual(vectorsOf(model, [5, 8]))
})

test('a vector enters as it is; one of another length is none', async () => {
  const dense: FeatureSpec = { kind: 'dense', name: 'content', field: 'content', dim: 3 }
  const model = await TwoTower.create(priceSpec(4, dense), limits(3, 3))
  model.prepareItems([
    itemOf(0, { content: [0.5, -2, 4] }),
    itemOf(1, { content: [1, 2] }),
    itemOf(2, {}),
  ])
  expect([...model.embedItems()]).toEqual([0.5, -2, 4, 0, 0, 0, 0, 1, 0, 0, 0, 1])
})

const dropped = { ...plainSpec(4) }
const dropoutSpec = (dropout: number): ModelSpec => ({
  ...dropped,
  query: {
    ...dropped.query,
    features: [{ kind: 'id', name: 'user', table: 'user', dropout }],
  },
  candidate: {
    ...dropped.candidate,
    features: [{ kind: 'id', name: 'item', table: 'item', dropout }],
  },
})

test('that share of ids is taken for unknown in training, others in the next step', async () => {
  const model = await TwoTower.create(dropoutSpec(0.25), limits(400, 400))
  const queries = Array.from({ length: 400 }, (_, b) => queryOf(`user ${b}`))
  const items = queries.map((_, i) => itemOf(i, {}))
  const unknown = (step?: number): readonly number[] =>
    model.prepareStep(queries, items, step).map(({ keys, occurrences }) => {
      const i = keys.findIndex((word, at) => at % 2 === 0 && word === outOfVocabularyKey[0])
      return i < 0 ? 0 : occurrences[i / 2]
    })
  for (const count of unknown(1)) expect(Math.abs(count - 100)).toBeLessThan(30)
  expect(unknown(1)).toEqual(unknown(1))
  const rows = (step: number): string => model.prepareStep(queries, items, step)[0].keys.join(' ')
  expect(rows(1)).not.toBe(rows(2))
  expect(unknown()).toEqual([0, 0])
})

test('a request without a user has the vector of unknown ones', async () => {
  const model = await TwoTower.create(dropoutSpec(0.1), limits(2, 2))
  const [{ keys }] = model.prepareQueries([queryOf()])
  expect([...keys]).toEqual([...outOfVocabularyKey])
  const [known] = model.prepareQueries([queryOf('a')])
  expect([...known.keys]).not.toEqual([...outOfVocabularyKey])
})

test.each<[string, Partial<FeatureSpec>]>([
  ['has no table', { table: 'item', boundaries: [1] }],
  ['cannot be summed', {}],
])('a measured number that %s where it must not is refused', async (reason, rest) => {
  const spec = priceSpec(2, number('zscore', rest))
  const summed = { ...spec, candidate: { ...spec.candidate, combine: 'sum' as const } }
  await expect(TwoTower.create(summed, limits(1, 1))).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
    details: { reason: expect.stringContaining(reason) },
  })
})
