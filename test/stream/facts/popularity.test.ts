import * as fc from 'fast-check'
import { expect, test } from 'vitest'

import { DecayedCounts } from '../../../src/stream/facts/popularity.ts'

const halfLifeMs = 1_000

test('a count is the sum of what was added, each halved every half-life', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat({ max: 3 }), fc.integer({ min: 0, max: 3_000_000 })), {
        minLength: 1,
      }),
      fc.nat({ max: 3 }),
      (additions, handle) => {
        const counts = new DecayedCounts(halfLifeMs)
        for (const [to, time] of additions) counts.add(to, time)
        const now = Math.max(...additions.map(([, time]) => time))
        const expected = additions
          .filter(([to]) => to === handle)
          .reduce((sum, [, time]) => sum + 2 ** ((time - now) / halfLifeMs), 0)
        expect(counts.count(handle, now)).toBeCloseTo(expected, 10)
        expect(counts.count(handle, now + halfLifeMs)).toBeCloseTo(expected / 2, 10)
      },
    ),
  )
})

test('the total is that of all handles, and what is cleared is gone', () => {
  const counts = new DecayedCounts(halfLifeMs)
  counts.add(0, 0)
  counts.add(200, 1_000, 3)
  expect(counts.total(1_000)).toBe(3.5)
  counts.clear(200)
  counts.clear(5_000)
  expect(counts.total(1_000)).toBe(0.5)
  expect(counts.count(200, 1_000)).toBe(0)
  expect(counts.count(9_999, 1_000)).toBe(0)
})

test('a time before the newest addition is taken as that: counts are never from the future', () => {
  const counts = new DecayedCounts(halfLifeMs)
  counts.add(0, 5_000)
  expect(counts.count(0, 0)).toBe(1)
  expect(new DecayedCounts(halfLifeMs).count(0, 0)).toBe(0)
})

test('ten thousand half-lives do no harm', () => {
  const counts = new DecayedCounts(halfLifeMs)
  for (let i = 0; i <= 10_000; i += 1) counts.add(i % 3, i * halfLifeMs)
  expect(counts.total(10_000 * halfLifeMs)).toBeCloseTo(2, 10)
})
