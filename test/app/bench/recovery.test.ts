import { expect, test } from 'vitest'

import { Recovery } from '../../../src/app/bench/recovery.ts'

/** Ten answers in each tenth of a second, so many of them in trouble. */
function answers(recovery: Recovery, troubles: readonly number[]): Recovery {
  for (const [i, count] of troubles.entries()) {
    for (let k = 0; k < 10; k += 1) recovery.add(1_000 + i * 100 + k * 10, k < count)
  }
  return recovery
}

const calm = Array.from({ length: 12 }, () => 0)

test('it is over when a calm second begins', () => {
  const recovery = answers(new Recovery(1_000), [9, 3, 0, 1, ...calm])
  expect(recovery.recoveryMs).toBe(400)
  expect(recovery.lastTroubleMs).toBe(300)
})

test('a hiccup after that is told apart', () => {
  const recovery = answers(new Recovery(1_000), [5, ...calm, 8, 0])
  expect(recovery.recoveryMs).toBe(100)
  expect(recovery.lastTroubleMs).toBe(1_370)
})

test('without trouble nothing has to be waited for, without a calm second nobody knows', () => {
  expect(answers(new Recovery(1_000), calm)).toMatchObject({ recoveryMs: 0, lastTroubleMs: 0 })
  expect(answers(new Recovery(1_000), [0, 1, 0, 1, 0, 1]).recoveryMs).toBeUndefined()
})

test('who gets no answer is not calm', () => {
  const recovery = answers(new Recovery(1_000), [0])
  answers(recovery, [])
  recovery.add(1_000 + 3_000, true)
  for (let i = 31; i < 45; i += 1) recovery.add(1_000 + i * 100, false)
  expect(recovery.recoveryMs).toBe(3_100)
})
