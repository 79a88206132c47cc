/** What a trainer does less of while events wait to be learned. */
import { expect, test } from 'vitest'

import { ManualClock } from '../../src/base/clock.ts'
import { Backlog } from '../../src/trainer/backlog.ts'
import { breather } from '../../src/trainer/breather.ts'

const usualMs = 100
const newestAt = 50_000

/** A backlog whose newest learned event was accepted `ageMs` ago. */
function backlogOf(ageMs: number) {
  const clock = new ManualClock(newestAt + ageMs)
  const backlog = new Backlog(clock)
  backlog.learned(newestAt)
  return { clock, backlog }
}

test.each([
  [0, usualMs],
  [2_000, usualMs],
  [2_400, 600],
  [4_000, 1_000],
  [3_600_000, 1_000],
])('events learned %d ms late are published every %d ms', (ageMs, intervalMs) => {
  expect(backlogOf(ageMs).backlog.deltaIntervalMs(usualMs)).toBe(intervalMs)
})

test('a longer interval than that is kept', () => {
  expect(backlogOf(10_000).backlog.deltaIntervalMs(60_000)).toBe(60_000)
})

test('before anything is learned everything is behind', () => {
  expect(new Backlog(new ManualClock(newestAt)).isBehind).toBe(true)
})

test('an evaluation pauses after each slice, but not while events wait', async () => {
  const sliceMs = 5
  const { clock, backlog } = backlogOf(50)
  const breathe = breather(clock, sliceMs, backlog)
  expect(breathe()).toBeUndefined()
  clock.advance(sliceMs)
  const pause = breathe()
  expect(pause).toBeInstanceOf(Promise)
  await pause
  expect(breathe()).toBeUndefined()
  clock.advance(2_000)
  expect(backlog.isBehind).toBe(true)
  expect(breathe()).toBeUndefined()
})
