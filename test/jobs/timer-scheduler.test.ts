import { describe, expect, test } from 'vitest'

import { systemClock } from '../../src/base/clock.ts'
import type { JobRun } from '../../src/jobs/scheduler.ts'
import { systemTimers, TimerScheduler } from '../../src/jobs/timer-scheduler.ts'
import { testJobs } from '../contract/jobs.ts'
import { type SchedulerUnderTest, testScheduler } from '../contract/scheduler.ts'
import { ManualTimers } from '../support/manual-timers.ts'

const nothing = (): Promise<Record<string, never>> => Promise.resolve({})

function open(historyRuns = 10): {
  scheduler: TimerScheduler
  timers: ManualTimers
  finished: JobRun[]
} {
  const timers = new ManualTimers()
  const finished: JobRun[] = []
  const onFinished = (run: JobRun): void => void finished.push(run)
  const options = { clock: timers, timers, historyRuns, onFinished }
  return { scheduler: new TimerScheduler(options), timers, finished }
}

const underTest = (): Promise<SchedulerUnderTest> => {
  const { scheduler, timers } = open()
  return Promise.resolve({
    scheduler,
    beatMs: 100,
    clock: timers,
    advance: (ms) => timers.advance(ms),
    async until(isSo) {
      for (let i = 0; !(await isSo()); i += 1) {
        if (i === 1_000) throw new Error('it does not become so')
        await timers.advance(i === 0 ? 0 : 10)
      }
    },
    [Symbol.asyncDispose]: () => scheduler.stop(),
  })
}

describe('as every scheduler', () => {
  testScheduler(underTest)
  testJobs(underTest)
})

test('the history forgets the oldest runs', async () => {
  const { scheduler } = open(2)
  scheduler.define('a', nothing)
  scheduler.start()
  await scheduler.run('a', { n: 1 })
  await scheduler.run('a', { n: 2 })
  await scheduler.run('a', { n: 3 })
  expect((await scheduler.history()).map((run) => run.payload['n'])).toEqual([3, 2])
})

test('after a blocked event loop a job runs once, and then keeps its beat', async () => {
  const { scheduler, timers, finished } = open()
  scheduler.define('tick', nothing)
  scheduler.every('tick', 100, {})
  scheduler.start()
  timers.jump(350)
  await timers.advance(0)
  expect(finished).toHaveLength(1)
  await timers.advance(49)
  expect(finished).toHaveLength(1)
  await timers.advance(1)
  expect(finished).toHaveLength(2)
})

test('an interval may be added after the start', async () => {
  const { scheduler, timers, finished } = open()
  scheduler.define('tick', nothing)
  scheduler.start()
  scheduler.every('tick', 100, {})
  await timers.advance(100)
  expect(finished).toMatchObject([{ name: 'tick', state: 'done' }])
})

test('a progress that is no number from 0 to 1 is held within it', async () => {
  const { scheduler, timers } = open()
  const gate = Promise.withResolvers<void>()
  scheduler.define('odd', async (_, { progress }) => {
    progress(0.25)
    progress(Number.NaN)
    progress(-1)
    await gate.promise
    progress(7)
    return Promise.reject(new Error('stop here'))
  })
  const run = scheduler.run('odd', {})
  await timers.advance(0)
  expect((await scheduler.history())[0]?.progress).toBe(0.25)
  gate.resolve()
  expect((await run).progress).toBe(1)
})

test('a stop leaves no timer behind', async () => {
  const { scheduler, timers } = open()
  scheduler.define('tick', nothing)
  scheduler.every('tick', 100, {})
  scheduler.start()
  expect(timers.pending).toBe(1)
  await scheduler.stop()
  expect(timers.pending).toBe(0)
})

test('runs have ids of their own', async () => {
  const { scheduler } = open()
  scheduler.define('a', nothing)
  const ids = new Set<string>()
  for (const _ of [1, 2, 3]) ids.add((await scheduler.run('a', {})).id)
  expect(ids.size).toBe(3)
})

test('with the system clock and timers a job runs by itself', async () => {
  const ran = Promise.withResolvers<JobRun>()
  const onFinished = ran.resolve
  const options = { clock: systemClock, timers: systemTimers, historyRuns: 1, onFinished }
  const scheduler = new TimerScheduler(options)
  scheduler.define('tick', nothing)
  scheduler.every('tick', 1, {})
  scheduler.start()
  // A timer of the system keeps no process alive; this one does, for as long as the test waits.
  const alive = setInterval(() => {}, 1_000)
  expect((await ran.promise).name).toBe('tick')
  clearInterval(alive)
  await scheduler.stop()
})
