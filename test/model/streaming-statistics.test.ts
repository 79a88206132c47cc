import { expect, test } from 'vitest'

import { seededRandom } from '../../src/base/random.ts'
import {
  bucketIn,
  measureValues,
  type Statistics,
  statisticsOf,
  statisticsSize,
} from '../../src/model/streaming-statistics.ts'

const buckets = 8
const fresh = (): Statistics =>
  statisticsOf(new Float32Array(statisticsSize(buckets) + 2), 2, buckets)

/** Batches of 50 numbers by a distribution. */
function stream(statistics: Statistics, numbers: number, draw: () => number): void {
  for (let done = 0; done < numbers; done += 50) {
    measureValues(statistics, Float64Array.from({ length: 50 }, draw))
  }
}

test('the first numbers give plain averages', () => {
  const statistics = fresh()
  measureValues(statistics, Float64Array.of(2, 4, 9))
  expect(statistics.mean[0]).toBeCloseTo(5, 5)
  expect(statistics.variance[0]).toBeCloseTo((9 + 1 + 16) / 3, 4)
})

test('mean, deviation and buckets of a long stream are those of its distribution', () => {
  const statistics = fresh()
  const random = seededRandom(1)
  const draw = (): number => 100 + 20 * random.normal()
  stream(statistics, 60_000, draw)
  expect(statistics.mean[0]).toBeCloseTo(100, -0.3)
  expect(Math.sqrt(statistics.variance[0])).toBeCloseTo(20, 0)
  const counts = new Float64Array(buckets)
  for (let i = 0; i < 20_000; i += 1) counts[bucketIn(statistics, draw())] += 1 / 20_000
  for (const share of counts) expect(Math.abs(share - 1 / buckets)).toBeLessThan(0.02)
})

test('a stream that has moved elsewhere is followed, however long it stood still', () => {
  const statistics = fresh()
  const random = seededRandom(2)
  stream(statistics, 100_000, () => random.normal())
  stream(statistics, 60_000, () => 50 + 5 * random.normal())
  expect(statistics.mean[0]).toBeGreaterThan(48)
  expect(statistics.bounds[3]).toBeGreaterThan(46)
  expect([...statistics.bounds]).toEqual(Array.from(statistics.bounds.toSorted()))
})
