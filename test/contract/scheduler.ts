/**
 * What every scheduler must do. An adapter's test calls this with a way to open a fresh one whose
 * time it owns; what is special to the adapter it tests itself.
 */
import { expect, test } from 'vitest'

import type { Clock } from '../../src/base/clock.ts'
import { ServiceError } from '../../src/base/errors.ts'
import type { JobHandler, Scheduler } from '../../src/jobs/scheduler.ts'

export interface SchedulerUnderTest extends AsyncDisposable {
  readonly scheduler: Scheduler
  /** An interval that the adapter keeps well, in milliseconds. */
  readonly beatMs: number
  /** By which intervals are kept; it may go on by itself. */
  readonly clock: Clock
  /** Lets time pass, and what falls due in it run. */
  advance(ms: number): Promise<void>
  /** Lets time pass until something is so, however long that takes; throws after far too long. */
  until(isSo: () => Promise<boolean> | boolean): Promise<void>
}

const nothing: JobHandler = () => Promise.resolve({})

const notYet: JobHandler = () => Promise.reject(new Error('not yet'))

const refuse = (): never => {
  throw new ServiceError('REQUEST_INVALID', { path: 'payload.x', reason: 'no' })
}

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
    const { beatMs, clock } = subject
    scheduler.every('tick', beatMs, { of: 'interval' })
    const begin = clock.monotonic()
    scheduler.start()
    await subject.advance(0.5 * beatMs)
    const beats = (): number => Math.floor((clock.monotonic() - begin) / beatMs)
    expect(payloads.length).toBeLessThanOrEqual(beats())
    await subject.until(() => payloads.length >= 3)
    expect(beats()).toBeGreaterThanOrEqual(3)
    expect(payloads.length).toBeLessThanOrEqual(beats())
    expect(payloads).toContainEqual({ of: 'interval' })
  })

  test('a run that falls due while the last one runs is left out', async () => {
    await using subject = await open()
    const { scheduler } = subject
    const job = gatedJob()
    scheduler.define('slow', job.handler)
    scheduler.every('slow', subject.beatMs, {})
    scheduler.start()
    await subject.until(() => job.started() === 1)
    await subject.advance(3.5 * subject.beatMs)
    expect(job.started()).toBe(1)
    const { clock, beatMs } = subject
    const opened = clock.monotonic()
    job.open()
    await subject.until(() => job.started() >= 2)
    // What fell due before is not made up for.
    expect(job.started() - 2).toBeLessThanOrEqual((clock.monotonic() - opened) / beatMs)
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
    await subject.until(async () => (await scheduler.history())[0]?.progress === 0.5)
    const [underWay] = await scheduler.history()
    expect(underWay).toMatchObject({ name: 'half', state: 'running', progress: 0.5 })
    expect(await scheduler.find(underWay?.id ?? '')).toEqual(underWay)
    gate.resolve()
    expect(await scheduler.find((await run).id)).toMatchObject({ state: 'done', progress: 1 })
    expect((await scheduler.history())[0]).toMatchObject({ state: 'done', progress: 1 })
    expect(await scheduler.find('half-of-nothing')).toBeUndefined()
  })

  test('runs under way and runs before another try are counted, by name', async () => {
    await using subject = await open()
    const { scheduler } = subject
    const job = gatedJob()
    scheduler.define('slow', job.handler)
    scheduler.define('patient', notYet, { retries: 1, backoffMs: 60_000 })
    scheduler.start()
    const begun = [await scheduler.begin('slow', {}), await scheduler.begin('patient', {})]
    await subject.until(() => {
      const counts = scheduler.queues().map(({ active, delayed }) => `${active} ${delayed}`)
      return counts.join() === '1 0,0 1'
    })
    job.open()
    await begun[0].finished
    await subject.until(() => scheduler.queues().every(({ active }) => active === 0))
    expect(scheduler.queues().map(({ name }) => name)).toEqual(['slow', 'patient'])
  })

  test('the history has the newest runs first', async () => {
    await using subject = await open()
    const { scheduler } = subject
    scheduler.define('a', nothing)
    scheduler.define('b', nothing)
    scheduler.start()
    await scheduler.run('a', {})
    await scheduler.run('b', {})
    expect((await scheduler.history()).map((run) => run.name)).toEqual(['b', 'a'])
  })

  test('a stop aborts what runs, waits for it, and nothing runs after', async () => {
    await using subject = await open()
    const { scheduler } = subject
    const job = gatedJob()
    scheduler.define('slow', job.handler)
    scheduler.every('slow', subject.beatMs, {})
    scheduler.start()
    const run = scheduler.run('slow', {})
    await subject.until(() => job.started() === 1)
    await scheduler.stop()
    expect(await run).toMatchObject({ state: 'failed', code: 'SHUTTING_DOWN' })
    await subject.advance(2 * subject.beatMs)
    expect(job.started()).toBe(1)
    await expect(scheduler.run('slow', {})).rejects.toMatchObject({ code: 'SHUTTING_DOWN' })
  })

  test('a run that is called off has failed, and its name is free again', async () => {
    await using subject = await open()
    const { scheduler } = subject
    const job = gatedJob()
    scheduler.define('gated', job.handler, { retries: 3 })
    scheduler.start()
    const { id, finished } = await scheduler.begin('gated', {})
    await subject.until(() => job.started() === 1)
    expect((await scheduler.cancel(id))?.id).toBe(id)
    expect(await finished).toMatchObject({ state: 'failed', code: 'JOB_CANCELLED' })
    expect(job.started()).toBe(1)
    expect(await scheduler.cancel(id)).toMatchObject({ id, code: 'JOB_CANCELLED' })
    expect(await scheduler.cancel('gated-never')).toBeUndefined()
    job.open()
    expect((await scheduler.run('gated', {})).state).toBe('done')
  })

  test('a run that waits for another try can be called off', async () => {
    await using subject = await open()
    const { scheduler } = subject
    let tries = 0
    const handler: JobHandler = () => {
      tries += 1
      return notYet({}, { run: '', signal: new AbortController().signal, progress: () => {} })
    }
    scheduler.define('again', handler, { retries: 3, backoffMs: 3_600_000 })
    scheduler.start()
    const { id, finished } = await scheduler.begin('again', {})
    await subject.until(async () => scheduler.queues()[0]?.delayed === 1 || tries === 1)
    await scheduler.cancel(id)
    expect(await finished).toMatchObject({ state: 'failed', code: 'JOB_CANCELLED' })
    expect(tries).toBe(1)
  })

  test('an error of the table keeps its code', async () => {
    await using subject = await open()
    const { scheduler } = subject
    const error = new ServiceError('TRAINER_STOPPED', {})
    scheduler.define('refuse', () => Promise.reject(error))
    scheduler.start()
    expect(await scheduler.run('refuse', {})).toMatchObject({
      state: 'failed',
      code: 'TRAINER_STOPPED',
      error: `TRAINER_STOPPED: ${error.message}`,
    })
  })

  test('a payload that its check refuses is no run', async () => {
    await using subject = await open()
    const { scheduler } = subject
    scheduler.define('checked', nothing, { check: refuse })
    scheduler.start()
    const refused = scheduler.run('checked', { x: 1 })
    await expect(refused).rejects.toMatchObject({ code: 'REQUEST_INVALID' })
    expect(await scheduler.history()).toEqual([])
  })

  test('a run has one key: asked again, there is the run that was', async () => {
    await using subject = await open()
    const { scheduler } = subject
    const ids: string[] = []
    scheduler.define('once', (_, { run }) => {
      ids.push(run)
      return Promise.resolve({ at: ids.length })
    })
    scheduler.start()
    const first = await scheduler.run('once', {}, { key: 'monday' })
    expect(await scheduler.run('once', {}, { key: 'monday' })).toEqual(first)
    const other = await scheduler.run('once', {}, { key: 'tuesday' })
    expect(other.result).toEqual({ at: 2 })
    expect(ids).toEqual([first.id, other.id])
    const wrong = scheduler.run('once', {}, { key: 'a b' })
    await expect(wrong).rejects.toMatchObject({ code: 'REQUEST_INVALID' })
  })

  test('the key of a run under way waits for that run', async () => {
    await using subject = await open()
    const { scheduler } = subject
    const job = gatedJob()
    scheduler.define('slow', job.handler)
    scheduler.start()
    const first = await scheduler.begin('slow', {}, { key: 'k' })
    const second = await scheduler.begin('slow', {}, { key: 'k' })
    expect(second.id).toBe(first.id)
    job.open()
    expect(await second.finished).toEqual(await first.finished)
    expect(job.started()).toBe(1)
  })

  test('a job that says it may be is begun again after an error that may pass', async () => {
    await using subject = await open()
    const { scheduler } = subject
    let attempts = 0
    const handler: JobHandler = () => {
      attempts += 1
      return attempts < 3 ? Promise.reject(new Error('not yet')) : Promise.resolve({ attempts })
    }
    scheduler.define('patient', handler, { retries: 2, backoffMs: 10 })
    scheduler.start()
    const run = scheduler.run('patient', {})
    await subject.advance(200)
    expect(await run).toMatchObject({ state: 'done', result: { attempts: 3 } })
  })

  test('what would fail the same way again is not begun again', async () => {
    await using subject = await open()
    const { scheduler } = subject
    let attempts = 0
    const handler: JobHandler = () => {
      attempts += 1
      return Promise.reject(new ServiceError('REQUEST_INVALID', { path: 'x', reason: 'no' }))
    }
    scheduler.define('hopeless', handler, { retries: 2, backoffMs: 10 })
    scheduler.start()
    expect(await scheduler.run('hopeless', {})).toMatchObject({ code: 'REQUEST_INVALID' })
    expect(attempts).toBe(1)
  })
}
