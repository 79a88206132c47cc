import { expect, test } from 'vitest'

import {
  bucketOf,
  categoriesOf,
  namespaceSeed,
  numberOf,
  tokensOf,
  transformed,
} from '../../src/model/feature-keys.ts'

test('a title becomes its first words and their runs, without case and punctuation', () => {
  const limits = { maxTokens: 3, ngrams: 2 }
  expect(tokensOf('It’s: a Wonderful  (Life), 1946!', limits)).toEqual([
    'its',
    'a',
    'wonderful',
    'its a',
    'a wonderful',
  ])
  expect(tokensOf('Amélie', limits)).toEqual(['amélie'])
})

test('text that is none has no tokens', () => {
  const limits = { maxTokens: 3, ngrams: 3 }
  for (const value of [undefined, '', ' -- ', 3, ['a']]) expect(tokensOf(value, limits)).toEqual([])
})

test('categories are a list, or one, and not without limit', () => {
  expect(categoriesOf(undefined)).toEqual([])
  expect(categoriesOf('drama')).toEqual(['drama'])
  expect(categoriesOf(7)).toEqual(['7'])
  expect(categoriesOf(['a', 'b'])).toEqual(['a', 'b'])
  expect(categoriesOf(Array.from({ length: 100 }, (_, i) => i))).toHaveLength(32)
})

test('only finite numbers are numbers', () => {
  expect([1.5, 0, NaN, Infinity, '3', undefined].map((value) => numberOf(value))).toEqual([
    1.5,
    0,
    undefined,
    undefined,
    undefined,
    undefined,
  ])
})

test('a boundary belongs to the bucket above it', () => {
  const boundaries = [0, 10, 20]
  expect([-1, 0, 9.9, 10, 20, 1e9].map((value) => bucketOf(value, boundaries))).toEqual([
    0, 1, 1, 2, 3, 3,
  ])
})

test('a number is bent, shifted and scaled, in this order', () => {
  const spec = { kind: 'numeric', name: 'x', field: 'x', offset: 1, scale: 2 } as const
  expect(transformed(4, { ...spec, transform: 'linear' })).toBe(6)
  expect(transformed(Math.E - 1, { ...spec, transform: 'log1p' })).toBeCloseTo(0, 12)
  expect(transformed(1 - Math.E, { ...spec, transform: 'log1p' })).toBeCloseTo(-4, 12)
})

test('namespaces and models have seeds of their own', () => {
  const seeds = [
    namespaceSeed('item id', 1),
    namespaceSeed('user id', 1),
    namespaceSeed('item id', 2),
    namespaceSeed('', 1),
  ]
  expect(new Set(seeds).size).toBe(4)
  expect(seeds.every((seed) => Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32)).toBe(true)
})
