import { expect, test } from 'vitest'

import { seededRandom } from '../../src/base/random.ts'
import { ScoreDrift } from '../../src/serving/score-drift.ts'

test('of ages of which too little is known anything may be expected', () => {
  const drift = new ScoreDrift()
  for (let i = 0; i < 63; i += 1) drift.note(5, false, 0)
  expect(drift.most(5, false)).toBe(Infinity)
  drift.note(4, false, 0)
  expect(drift.most(7, false)).toBe(0)
  expect(drift.most(8, false)).toBe(Infinity)
  expect(drift.most(5, true)).toBe(Infinity)
})

test('hardly any drift is greater than what is expected, at any age, and it is followed', () => {
  const random = seededRandom(1, 0)
  const drift = new ScoreDrift()
  const draw = (age: number): number => {
    const sum = Array.from({ length: 12 }, () => random.next()).reduce((a, b) => a + b, -6)
    return age * (0.01 * sum - 0.002)
  }
  for (const age of [1, 8, 100]) {
    for (let i = 0; i < 2_000; i += 1) drift.note(age, false, draw(age))
    const most = drift.most(age, false)
    const beyond = Array.from({ length: 2_000 }, () => draw(age)).filter((one) => one > most)
    expect(beyond.length).toBeLessThan(20)
    expect(most).toBeLessThan(age * 0.08)
  }
  for (let i = 0; i < 10_000; i += 1) drift.note(8, false, -1)
  expect(drift.most(8, false)).toBeLessThan(0.02)
})
