/**
 * What every scheduler must do. An adapter's test calls this with a way to open a fresh one whose
 * time it owns; what is special to the adapter it tests itself.
 */
import { expect, test } from 'vitest'

import type { JobHandler, Scheduler } from '../../src/jobs/scheduler.ts'

export interface SchedulerUnderTest extends AsyncDisposable {
  readonly scheduler: Scheduler
  /** Lets time pass, and what falls due in it run. */
  advance(ms: number): Promise<void>
}

const nothing: JobHandler = () => Promise.resolve({})

/** A job that ends when told to, or when aborted. */
function gatedJob(): { handler: JobHandler; open: () => void; started: () => number } {
  const gate = Promise.withResolvers<void>()
  let runs = 0
  const handler: JobHandler = async (_, { signal }) => {
    runs += 1
    const aborted = new Promise<never>((_resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason as Error))
    })
    await Promise.race([gate.promise, aborted])
    return {}
  }
  return { handler, open: () => gate.resolve(), started: () => runs }
}

export function testScheduler(open: () => Promise<SchedulerUnderTest>): void {
  test('a job that is run hands back its result', async () => {
    await using subject = await open()
    const { scheduler } = subject
    scheduler.define('double', ({ value }) => Promise.resolve({ doubled: Number(value) * 2 }))
    scheduler.start()
    const run = await scheduler.run('double', { value: 21 })
    expect(run).toMatchObject({
      name: 'double',
      state: 'done',
      payload: { value: 21 },
      result: { doubled: 42 },
      progress: 1,
    })
    expect(run.finishedAt).toBeGreaterThanOrEqual(run.startedAt)
  })

  test('a job that throws is a run that failed, and may run again', async () => {
    await using subject = await open()
    const { scheduler } = subject
    scheduler.define('break', () => Promise.reject(new Error('no luck')))
    scheduler.start()
    const run = await scheduler.run('break', {})
    expect(run.state).toBe('failed')
    expect(run.error).toContain('no luck')
    expect((await scheduler.run('break', {})).id).not.toBe(run.id)
  })

  test('a job that nobody defined is refused', async () => {
    await using subject = await open()
    subject.scheduler.define('known', nothing)
    subject.scheduler.start()
    await expect(subject.scheduler.run('unknown', {})).rejects.toMatchObject({
      code: 'JOB_UNKNOWN',
      details: { known: 'known' },
    })
    expect(subject.scheduler.names()).toEqual(['known'])
  })

  test('a job runs once at a time', async () => {
    await using subject = await open()
    const { scheduler } = subject
    const job = gatedJob()
    scheduler.define('slow', job.handler)
    scheduler.start()
    const first = scheduler.run('slow', {})
    await expect(scheduler.run('slow', {})).rejects.toMatchObject({ code: 'JOB_BUSY' })
    job.open()
    expect((await first).state).toBe('done')
    expect(job.started()).toBe(1)
  })

  test('jobs of different names run side by side', async () => {
    await using subject = await open()
    const { scheduler } = subject
    const job = gatedJob()
    scheduler.define('slow', job.handler)
    scheduler.define('quick', nothing)
    scheduler.start()
    const slow = scheduler.run('slow', {})
    expect((await scheduler.run('quick', {})).state).toBe('done')
    job.open()
    await slow
  })

  test('a job runs every interval, the first time after one', async () => {
    await using subject = await open()
    const { scheduler } = subject
    const payloads: unknown[] = []
    scheduler.define('tick', (payload) => {
      payloads.push(payload)
      return Promise.resolve({})
    })
    scheduler.every('tick', 100, { of: 'interval' })
    scheduler.start()
    await subject.advance(99)
    expect(payloads).toHaveLength(0)
    await subject.advance(1)
    expect(payloads).toEqual([{ of: 'interval' }])
    await subject.advance(200)
    expect(payloads).toHaveLength(3)
  })

  test('a run that falls due while the last one runs is left out', async () => {
    await using subject = await open()
    const { scheduler } = subject
    const job = gatedJob()
    scheduler.define('slow', job.handler)
    scheduler.every('slow', 100, {})
    scheduler.start()
    await subject.advance(350)
    expect(job.started()).toBe(1)
    job.open()
    await subject.advance(50)
    expect(job.started()).toBe(2)
  })

  test('a run under way is in the history, with its progress', async () => {
    await using subject = await open()
    const { scheduler } = subject
    const gate = Promise.withResolvers<void>()
    scheduler.define('half', async (_, { progress }) => {
      progress(0.5)
      await gate.promise
      return {}
    })
    scheduler.start()
    const run = scheduler.run('half', {})
    await subject.advance(0)
    expect(scheduler.history()[0]).toMatchObject({ name: 'half', state: 'running', progress: 0.5 })
    gate.resolve()
    await run
    expect(scheduler.history()[0]).toMatchObject({ state: 'done', progress: 1 })
  })

  test('the history has the newest runs first', async () => {
    await using subject = await open()
    const { scheduler } = subject
    scheduler.define('a', nothing)
    scheduler.define('b', nothing)
    scheduler.start()
    await scheduler.run('a', {})
    await scheduler.run('b', {})
    expect(scheduler.history().map((run) => run.name)).toEqual(['b', 'a'])
  })

  test('a stop aborts what runs, waits for it, and nothing runs after', async () => {
    await using subject = await open()
    const { scheduler } = subject
    const job = gatedJob()
    scheduler.define('slow', job.handler)
    scheduler.every('slow', 100, {})
    scheduler.start()
    const run = scheduler.run('slow', {})
    await subject.advance(0)
    await scheduler.stop()
    expect(await run).toMatchObject({ state: 'failed' })
    await subject.advance(1_000)
    expect(job.started()).toBe(1)
    await expect(scheduler.run('slow', {})).rejects.toMatchObject({ code: 'SHUTTING_DOWN' })
  })
}
