import { expect, test } from 'vitest'

import { ListOverlap, overlapOf } from '../../../src/serving/versions/list-overlap.ts'

const ids = (from: number, n: number): string[] =>
  Array.from({ length: n }, (_, i) => `${from + i}`)

test('lists are alike by what both have of the first ten', () => {
  expect(overlapOf(ids(0, 10), ids(0, 10).toReversed())).toBe(1)
  expect(overlapOf(ids(0, 10), ids(7, 10))).toBe(0.3)
  expect(overlapOf(ids(0, 30), ids(10, 30))).toBe(0)
  expect(overlapOf(ids(0, 2), ids(0, 4))).toBe(0.5)
  expect(overlapOf([], [])).toBe(1)
  expect(overlapOf([], ids(0, 3))).toBe(0)
})

test('the mean is of the newest comparisons alone', () => {
  const overlap = new ListOverlap()
  expect(overlap.mean).toBeUndefined()
  overlap.add(0.5)
  overlap.add(1)
  expect([overlap.mean, overlap.count]).toEqual([0.75, 2])
  for (let i = 0; i < 512; i += 1) overlap.add(0)
  expect([overlap.mean, overlap.count]).toEqual([0, 514])
})
