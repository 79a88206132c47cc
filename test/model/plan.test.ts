import { expect, test } from 'vitest'

import { planModel } from '../../src/model/plan.ts'
import type { FeatureSpec, ModelSpec } from '../../src/model/spec.ts'
import { mixedSpec, plainSpec, streamSpec } from './fixtures.ts'

test('features side by side have columns one after the other', () => {
  const { query, candidate, popularity } = planModel(mixedSpec())
  expect(query.features.map(({ column, width }) => [column, width])).toEqual([
    [0, 4],
    [4, 5],
    [9, 3],
    [12, 2],
    [14, 4],
    [18, 4],
  ])
  expect(query.width).toBe(22)
  expect(candidate.width).toBe(5 + 4 + 3 * 3 + 2 + 4)
  expect(popularity).toBeUndefined()
})

test('summed features share their columns', () => {
  const { query, popularity } = planModel(streamSpec(8))
  expect(query.features.map(({ column, width }) => [column, width])).toEqual(
    Array.from({ length: 5 }, () => [0, 8]),
  )
  expect(query.width).toBe(8)
  expect(popularity?.width).toBe(1)
})

const withQuery = (spec: ModelSpec, ...features: readonly FeatureSpec[]): ModelSpec => ({
  ...spec,
  query: { ...spec.query, features },
})
const plain = plainSpec(4)
const id = (name: string, table: string): FeatureSpec => ({ kind: 'id', name, table })
const number = { kind: 'numeric', name: 'n', field: 'n', offset: 0, scale: 1 } as const
const gap = { kind: 'gap', name: 'gap', table: 'gap' } as const

const history = (of: string): FeatureSpec => ({
  kind: 'sequence',
  name: 'history',
  table: 'user',
  length: 2,
  gapBoundariesMs: [],
  weights: 'mean',
  of,
})

const refused: [string, string, ModelSpec][] = [
  ['an unknown table', 'no table "nowhere"', withQuery(plain, id('user', 'nowhere'))],
  ['a tower without features', 'needs a feature', withQuery(plain)],
  ['a name twice', 'declared twice', withQuery(plain, id('a', 'user'), id('a', 'user'))],
  ['a table twice', 'declared twice', { ...plain, tables: [...plain.tables, plain.tables[0]] }],
  [
    'a table without floats',
    'whole number',
    { ...plain, tables: [{ ...plain.tables[0], dim: 0 }, plain.tables[1]] },
  ],
  ['towers of another dim', 'the model’s dim'.replace('’', "'"), { ...plain, dim: 5 }],
  [
    'a query tower too narrow for its heads',
    'of each of 2 heads',
    { ...plain, query: { ...plain.query, heads: 2 } },
  ],
  ['no head', 'from 1 to 8', { ...plain, query: { ...plain.query, heads: 0 } }],
  [
    'an item of several vectors',
    'an item has one vector',
    { ...plain, candidate: { ...plain.candidate, heads: 1 } },
  ],
  ['no temperature', 'above 0', { ...plain, score: { temperature: 0 } }],
  [
    'history on the candidate side',
    'a candidate has no feature of kind gap',
    {
      ...streamSpec(),
      candidate: {
        ...streamSpec().candidate,
        features: [{ ...gap, boundariesMs: [] }],
      },
    },
  ],
  [
    'a history by what items do not have',
    'no feature "genres"',
    withQuery(plain, history('genres')),
  ],
  [
    'a largest with weights',
    'max has no weights',
    withQuery(plain, {
      kind: 'categories',
      name: 'tastes',
      field: 'tastes',
      table: 'user',
      combine: 'max',
      weights: 'strengths',
    }),
  ],
  [
    'boundaries that do not ascend',
    'must ascend',
    withQuery(streamSpec(), { ...gap, boundariesMs: [2, 2] }),
  ],
  [
    'boundaries without a table',
    'needs both',
    withQuery(plain, { ...number, transform: 'linear', boundaries: [1] }),
  ],
  [
    'a plain number in a sum',
    'cannot be summed',
    withQuery(streamSpec(), { ...number, transform: 'linear' }),
  ],
  [
    'a sum of different dims',
    'one dim',
    withQuery(streamSpec(), id('user', 'user'), id('w', 'gap-weight')),
  ],
  [
    'a popularity weight of many floats',
    'dim 1',
    {
      ...plain,
      score: {
        temperature: 1,
        popularity: {
          halfLifeMs: 1,
          smoothing: 1,
          initialWeight: 1,
          features: [id('user', 'user')],
        },
      },
    },
  ],
]

test.each(refused)('%s is refused', (_, reason, spec) => {
  expect(() => planModel(spec)).toThrow(
    expect.objectContaining({
      code: 'CONFIG_INVALID',
      details: expect.objectContaining({
        reason: expect.stringContaining(reason) as unknown,
      }) as unknown,
    }) as Error,
  )
})
