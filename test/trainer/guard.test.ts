import { expect, test } from 'vitest'

import { ByteReader, ByteWriter } from '../../src/base/bytes.ts'
import { Guard } from '../../src/trainer/guard.ts'

const step = (loss: number, other: object = {}) => ({
  loss,
  weight: 1,
  gradientNorm: 1,
  rowGradientNorm: 1,
  ...other,
})

const settled = (options = {}): Guard => {
  const guard = new Guard({ warmupBatches: 10, ...options })
  for (let i = 0; i < 50; i += 1) guard.check(step(3 + (i % 2) * 0.1))
  return guard
}

test('an ordinary step passes', () => {
  expect(settled().check(step(3.2))).toBeUndefined()
})

test.each([
  ['lossNotFinite', step(NaN)],
  ['lossNotFinite', step(Infinity)],
  ['gradientNotFinite', step(3, { gradientNorm: NaN })],
  ['gradientNotFinite', step(3, { rowGradientNorm: Infinity })],
])('%s is refused', (reason, bad) => {
  expect(new Guard().check(bad)?.reason).toBe(reason)
})

test('a loss above the running band is refused and says what the limit was', () => {
  const guard = settled()
  const { limit } = guard
  expect(limit).toBeGreaterThan(4)
  expect(guard.check(step(40))).toMatchObject({ reason: 'lossAboveBand', loss: 40, limit })
})

test('during warm-up no loss is too high', () => {
  const guard = new Guard({ warmupBatches: 10 })
  expect(guard.check(step(1e6))).toBeUndefined()
})

test('a batch without weight has no loss to judge', () => {
  const guard = settled()
  expect(guard.check(step(0, { weight: 0 }))).toBeUndefined()
  expect(guard.mean).toBeCloseTo(3.05, 1)
})

test('repeated refusals are reported every few, and one accepted batch ends the row', () => {
  const guard = settled({ repeats: 3 })
  const repeated = Array.from({ length: 6 }, () => guard.check(step(NaN))?.repeated)
  expect(repeated).toEqual([false, false, true, false, false, true])
  guard.check(step(3))
  expect(guard.check(step(NaN))).toMatchObject({ inRow: 1, repeated: false })
  expect(guard.trips).toBe(7)
})

test('when the stream has really changed, learning goes on after a while', () => {
  const guard = settled()
  let refused = 0
  while (guard.check(step(12)) !== undefined) refused += 1
  expect(refused).toBeGreaterThan(0)
  expect(refused).toBeLessThan(100)
})

test('a restored guard has the same band', () => {
  const guard = settled()
  guard.check(step(NaN))
  const writer = new ByteWriter()
  guard.serialize(writer)
  const restored = new Guard({ warmupBatches: 10 })
  restored.load(new ByteReader(writer.finish()))
  expect([restored.limit, restored.mean, restored.trips]).toEqual([guard.limit, guard.mean, 1])
})
