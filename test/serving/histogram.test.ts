import { array, assert, double, property } from 'fast-check'
import { expect, test } from 'vitest'

import { DurationHistogram } from '../../src/serving/histogram.ts'

test('a quantile is right to within the width of its bucket', () => {
  const durations = array(double({ min: 0.05, max: 90_000, noNaN: true }), { minLength: 1 })
  assert(
    property(durations, double({ min: 0.01, max: 1, noNaN: true }), (values, q) => {
      const histogram = new DurationHistogram()
      for (const value of values) histogram.add(value)
      const exact = values.toSorted((a, b) => a - b)[Math.ceil(q * values.length) - 1]
      const found = histogram.quantile(q)
      expect(found).toBeGreaterThanOrEqual(exact * 0.999)
      expect(found).toBeLessThanOrEqual(exact * 1.21)
    }),
  )
})

test('counts, sum and maximum are exact, also beyond the last bound', () => {
  const histogram = new DurationHistogram()
  for (const ms of [0, 3, 1e6]) histogram.add(ms)
  expect([histogram.count, histogram.sum, histogram.max]).toEqual([3, 1_000_003, 1e6])
  expect(histogram.counts[0]).toBe(1)
  expect(histogram.counts.at(-1)).toBe(1)
  expect(histogram.quantile(1)).toBe(1e6)
  histogram.reset()
  expect([histogram.count, histogram.sum, histogram.max]).toEqual([0, 0, 0])
  expect(histogram.quantile(0.5)).toBe(0)
})
