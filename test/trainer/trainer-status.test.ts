import { expect, test } from 'vitest'

import { ManualClock } from '../../src/base/clock.ts'
import { RateMeter } from '../../src/trainer/trainer-status.ts'

test('a rate is that of the last whole stretch of a second or more', () => {
  const clock = new ManualClock()
  const meter = new RateMeter(clock)
  meter.add(500)
  expect(meter.rate()).toBe(0)
  clock.advance(1000)
  expect(meter.rate()).toBe(500)
  meter.add(300)
  clock.advance(500)
  expect(meter.rate()).toBe(500)
  clock.advance(1500)
  expect(meter.rate()).toBe(150)
  clock.advance(1000)
  expect(meter.rate()).toBe(0)
})
