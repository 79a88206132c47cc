import { expect, test } from 'vitest'

import { differingFields } from '../../../src/trainer/checkpoint/config-difference.ts'

test('equal configurations differ nowhere', () => {
  expect(differingFields({ a: [1, { b: null }] }, { a: [1, { b: null }] })).toEqual([])
})

test('a difference is named by its path', () => {
  expect(differingFields({ a: { b: [1, 2] }, c: 'x' }, { a: { b: [1, 3] }, c: 'y' })).toEqual([
    'a.b.1',
    'c',
  ])
})

test('what only one side has differs, and so does a list from an object', () => {
  expect(differingFields({ a: 1 }, { b: 1 })).toEqual(['a', 'b'])
  expect(differingFields({ a: [] }, { a: {} })).toEqual(['a'])
})
