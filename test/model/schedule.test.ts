import { expect, test } from 'vitest'

import { rateScaleAt } from '../../src/model/schedule.ts'
import type { ScheduleSpec } from '../../src/model/spec.ts'

const plain: ScheduleSpec = {
  warmupSteps: 10,
  decay: 'none',
  decaySteps: 100,
  floor: 0.1,
  of: 'dense',
}

test('rates rise in a straight line, and are whole from the last step of it', () => {
  expect([1, 5, 10, 11, 1e9].map((step) => rateScaleAt(plain, step))).toEqual([0.1, 0.5, 1, 1, 1])
  expect(rateScaleAt({ ...plain, warmupSteps: 0 }, 1)).toBe(1)
})

test.each([
  ['linear', [1, 0.55, 0.1, 0.1]],
  ['cosine', [1, 0.55, 0.1, 0.1]],
  ['exponential', [1, Math.SQRT1_2, 0.5, 0.1]],
  ['inverseSqrt', [1, 1 / Math.sqrt(1.5), 1 / Math.sqrt(2), 0.1]],
] as const)('after that they fall, never below the floor: %s', (decay, expected) => {
  const found = [10, 60, 110, 1e6].map((step) => rateScaleAt({ ...plain, decay }, step))
  for (const [i, value] of expected.entries()) expect(found[i]).toBeCloseTo(value, 12)
})
