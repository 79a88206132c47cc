import { expect, test } from 'vitest'

import { bucketsSince, maximum, parseMetrics, quantile } from '../../src/app/scrape.ts'

const text = `# HELP lag Events behind
# TYPE lag gauge
lag 3
rows{table="item"} 10
rows{table="user"} 5
time_bucket{stage="fact",le="0.001"} 50
time_bucket{stage="fact",le="0.01"} 90
time_bucket{stage="fact",le="+Inf"} 100
time_bucket{stage="index",le="0.001"} 1
`
const metrics = parseMetrics(text)
const fact = metrics.buckets('time', 'stage="fact"')

test('samples are found by name and labels, and added up over labels', () => {
  expect(metrics.get('lag')).toBe(3)
  expect(metrics.get('rows{table="item"}')).toBe(10)
  expect(metrics.get('none')).toBeUndefined()
  expect(metrics.sum('rows')).toBe(15)
  expect(metrics.sum('none')).toBe(0)
})

test('buckets are those of one label, in ascending order', () => {
  expect(fact).toEqual([
    { bound: 0.001, count: 50 },
    { bound: 0.01, count: 90 },
    { bound: Infinity, count: 100 },
  ])
})

test('quantiles are interpolated, and stop at the last bound', () => {
  expect(quantile(fact, 0.5)).toBeCloseTo(0.001)
  expect(quantile(fact, 0.7)).toBeCloseTo(0.0055)
  expect(quantile(fact, 0.99)).toBe(0.01)
  expect(quantile([], 0.5)).toBeUndefined()
})

test('the maximum is the bound that nothing exceeds', () => {
  expect(maximum(fact)).toBe(Infinity)
  expect(maximum(metrics.buckets('time', 'stage="index"'))).toBe(0.001)
  expect(maximum([])).toBeUndefined()
})

test('what was counted since an earlier scrape', () => {
  expect(bucketsSince(fact, [{ bound: 0.01, count: 60 }]).map(({ count }) => count)).toEqual([
    50, 30, 100,
  ])
})
