import fc from 'fast-check'
import { expect, test } from 'vitest'

import { TrafficSplit } from '../../../src/serving/versions/traffic-split.ts'

const users = Array.from({ length: 20_000 }, (_, i) => `user-${i}`)

test('a version gets its share of the users, whoever they are', () => {
  const split = new TrafficSplit('a', [
    { version: 'b', percent: 20 },
    { version: 'c', percent: 0.5 },
  ])
  const counts = Map.groupBy(users, (user) => split.of(user))
  const shareOf = (version: string): number => (counts.get(version)?.length ?? 0) / users.length
  // Five standard deviations of a binomial of so many users.
  expect(Math.abs(shareOf('b') - 0.2)).toBeLessThan(0.015)
  expect(Math.abs(shareOf('c') - 0.005)).toBeLessThan(0.0025)
  expect(split.versions).toEqual(['a', 'b', 'c'])
})

test('whoever is nobody in particular is the primary’s, and with one version everybody is', () => {
  const split = new TrafficSplit('a', [{ version: 'b', percent: 100 }])
  expect(split.of(undefined)).toBe('a')
  expect(new Set(users.map((user) => split.of(user)))).toEqual(new Set(['b']))
  const alone = new TrafficSplit('a', [{ version: 'b', percent: 0 }])
  expect(new Set(users.map((user) => alone.of(user)))).toEqual(new Set(['a']))
})

test('raising the share of the last version moves users to it, and nobody else', () => {
  const percent = fc.integer({ min: 0, max: 5_000 }).map((hundredths) => hundredths / 100)
  fc.assert(
    fc.property(percent, percent, fc.nat(50), fc.string(), (ofB, most, more, user) => {
      const ofC = Math.min(most, 50 - more)
      const b = { version: 'b', percent: ofB }
      const before = new TrafficSplit('a', [b, { version: 'c', percent: ofC }])
      const after = new TrafficSplit('a', [b, { version: 'c', percent: ofC + more }])
      expect(['c', before.of(user)]).toContain(after.of(user))
    }),
  )
})
