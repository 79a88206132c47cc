/** Known cases of layers, by way of a model whose query tower is nothing else. */
import { expect, test } from 'vitest'

import type { LayerSpec } from '../../src/model/spec.ts'
import { TwoTower } from '../../src/model/two-tower.ts'
import { limits, plainSpec } from './fixtures.ts'

/** What the layers make of a row, all of their weights being `weights`. */
async function through(
  layers: readonly LayerSpec[],
  row: readonly number[],
  weights: (index: number) => number = () => 0,
): Promise<number[]> {
  const spec = plainSpec(row.length)
  const model = await TwoTower.create(
    { ...spec, query: { ...spec.query, layers } },
    { ...limits(1, 1), threads: 1 },
  )
  model.load(model.weights().map((_, i) => weights(i)))
  const query = { userId: 'ada', userFeatures: {}, history: [], context: {}, timestamp: 0 }
  const [lookup] = model.prepareQueries([query])
  lookup.rows.set(row)
  return Array.from(model.embedQueries())
}

const close = (values: readonly number[]) => values.map((value) => expect.closeTo(value, 5))
const cross = { kind: 'cross', diagScale: 0 } as const
const row = [0.1, 0.2, 0.3]
/** A matrix of ones and a bias of zeros; a column and a row of ones and such a bias; 2 and 1. */
const ones = (i: number): number => (i < 9 ? 1 : 0)
const onesOfRankOne = (i: number): number => (i < 6 ? 1 : 0)
const gainAndBias = (i: number): number => (i < 3 ? 2 : 1)

test('one cross layer', async () => {
  expect(await through([cross], row, ones)).toEqual(close([0.16, 0.32, 0.48]))
})

test('one cross layer with a diagonal', async () => {
  const layer = { ...cross, diagScale: 1 }
  expect(await through([layer], row, ones)).toEqual(close([0.17, 0.36, 0.57]))
})

test('three cross layers with a bias of ones', async () => {
  const layers = [cross, cross, cross]
  expect(await through(layers, row, () => 1)).toEqual(close([0.9256, 1.8512, 2.7768]))
})

/**
 * One whose x is not x0: the layer before has no matrix, and a bias that makes [.4, .5, .6] of
 * [.1, .2, .3]; its own matrix is of ones.
 */
const secondCross = (diagScale: number, bias: number): Promise<number[]> =>
  through([cross, { ...cross, diagScale }], row, (i) => {
    if (i < 12) return [0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 1.5, 1][i]
    return i < 21 ? 1 : bias
  })

test('a cross layer of what entered the first and what came out of it', async () => {
  expect(await secondCross(0, 0)).toEqual(close([0.55, 0.8, 1.05]))
  expect(await secondCross(0, 1)).toEqual(close([0.65, 1, 1.35]))
  expect(await secondCross(1, 0)).toEqual(close([0.59, 0.9, 1.23]))
})

test('a cross layer of rank one is the product of a column and a row', async () => {
  const layer = { ...cross, projectionDim: 1 }
  expect(await through([layer], row, onesOfRankOne)).toEqual(close([0.16, 0.32, 0.48]))
})

test('a layer norm, its gain 2 and its bias 1', async () => {
  const root = Math.sqrt(0.02 / 3 + 1e-5)
  const expected = [1 - 0.2 / root, 1, 1 + 0.2 / root]
  expect(await through([{ kind: 'layerNorm' }], row, gainAndBias)).toEqual(close(expected))
})

test('a negative diagonal and a tower of another width are refused', async () => {
  const refused = expect.objectContaining({ code: 'CONFIG_INVALID' })
  await expect(through([{ ...cross, diagScale: -1 }], row)).rejects.toEqual(refused)
  const narrow = { kind: 'dense', units: 2, activation: 'linear' } as const
  await expect(through([cross, narrow], row)).rejects.toEqual(refused)
})
