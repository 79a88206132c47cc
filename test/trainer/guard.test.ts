import { expect, test } from 'vitest'

import { ByteReader, ByteWriter } from '../../src/base/bytes.ts'
import { Guard } from '../../src/trainer/guard.ts'

const step = (loss: number, other: object = {}) => ({
  loss,
  weight: 1,
  gradientNorm: 1,
  rowGradientNorm: 1,
  rowNorms: [1, 2],
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
  ['rowNotFinite', step(NaN, { rowNorms: [1, NaN] })],
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

test('a row far longer than rows use to be is refused, and one of ordinary length never', () => {
  const guard = settled()
  expect(guard.check(step(3, { rowNorms: [17, 2] }))?.reason).toBe('rowsExploded')
  expect(guard.check(step(3, { rowNorms: [15, 30] }))).toBeUndefined()
  expect(guard.rowLimit(1)).toBeGreaterThan(16 * 2)
})

test('a refused batch moves no band', () => {
  const guard = settled()
  const { limit } = guard
  for (let i = 0; i < 50; i += 1) guard.check(step(40))
  expect(guard.limit).toBe(limit)
})

test('losses above the band are held off for a while, and then taken for the ordinary', () => {
  const guard = settled({ holdMs: 3_600_000 })
  const minutes = (n: number): boolean => guard.check(step(12), n * 60_000) !== undefined
  expect(Array.from({ length: 60 }, (_, n) => minutes(n))).not.toContain(false)
  expect(minutes(60)).toBe(false)
  expect(guard.restarts).toBe(1)
  expect(guard.limit).toBe(Infinity)
})

test('a stream whose time stands still is held off for so many batches', () => {
  const guard = settled({ holdBatches: 20 })
  const refused = Array.from({ length: 21 }, () => guard.check(step(12)) !== undefined)
  expect(refused.lastIndexOf(true)).toBe(19)
})

test('refusals in a row ask for one rollback, until a batch is accepted', () => {
  const guard = settled({ repeats: 3 })
  const band = new ByteWriter()
  guard.serialize(band)
  const refuse = (times: number): boolean => {
    for (let i = 0; i < times; i += 1) guard.check(step(NaN))
    return guard.wantsRollback
  }
  expect(refuse(2)).toBe(false)
  expect(refuse(1)).toBe(true)
  guard.rolledBack(new ByteReader(band.finish()))
  expect(refuse(10)).toBe(false)
  guard.check(step(3))
  expect(refuse(3)).toBe(true)
  guard.cannotRollBack()
  expect([guard.wantsRollback, guard.rollbacks]).toEqual([false, 1])
})

test('broken rows ask for a rollback also where the batches between them pass', () => {
  const guard = settled({ repeats: 3 })
  for (let i = 0; i < 3; i += 1) {
    expect(guard.wantsRollback).toBe(false)
    guard.check(step(3, { rowNorms: [NaN, 1] }))
    guard.check(step(3))
  }
  expect(guard.wantsRollback).toBe(true)
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
