import { type ChildProcess, spawn } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'

import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { systemClock } from '../../src/base/clock.ts'
import { BullMqScheduler, type BullMqSchedulerOptions } from '../../src/jobs/bullmq-scheduler.ts'
import type { RedisSettings } from '../../src/redis/redis-connection.ts'
import { testJobs } from '../contract/jobs.ts'
import { type SchedulerUnderTest, testScheduler } from '../contract/scheduler.ts'
import { RedisServer, until } from '../support/redis-server.ts'

let server: RedisServer
let tags = 0

beforeAll(async () => {
  server = await RedisServer.start()
})
afterAll(() => server.stop())

const freshTag = (): string => `test-${(tags += 1)}`

function openAt(
  redis: RedisSettings,
  tag: string,
  options: Partial<BullMqSchedulerOptions> = {},
): BullMqScheduler & AsyncDisposable {
  const limits = { lockMs: 1_000, stalledMs: 300, superviseMs: 200 }
  const scheduler = new BullMqScheduler({
    clock: systemClock,
    redis,
    tag,
    historyRuns: 10,
    limits,
    ...options,
  })
  return Object.assign(scheduler, { [Symbol.asyncDispose]: () => scheduler.stop() })
}

const underTest = (): Promise<SchedulerUnderTest> => {
  const scheduler = openAt(server.settings, freshTag())
  return Promise.resolve({
    scheduler,
    beatMs: 400,
    clock: systemClock,
    // Time passes by itself.
    advance: (ms) => sleep(ms),
    until: (isSo) => until('the scheduler there', isSo),
    [Symbol.asyncDispose]: () => scheduler.stop(),
  })
}

describe('as every scheduler', () => {
  testScheduler(underTest)
  testJobs(underTest)
})

const nothing = () => Promise.resolve({})

test("two processes do one run at a time, and each sees the other's", async () => {
  const tag = freshTag()
  await using first = openAt(server.settings, tag)
  await using second = openAt(server.settings, tag)
  await using third = openAt(server.settings, tag)
  const gate = Promise.withResolvers<void>()
  let atOnce = 0
  let most = 0
  const handler = async (_: unknown, { progress }: { progress: (done: number) => void }) => {
    atOnce += 1
    most = Math.max(most, atOnce)
    progress(0.25)
    await gate.promise
    atOnce -= 1
    return { ok: true }
  }
  for (const scheduler of [first, second]) {
    scheduler.define('slow', handler)
    scheduler.start()
  }
  third.declare('slow')
  const run = first.run('slow', {})
  await until('progress', async () => (await third.history())[0]?.progress === 0.25)
  await expect(second.run('slow', {})).rejects.toMatchObject({ code: 'JOB_BUSY' })
  await expect(third.run('slow', {})).rejects.toMatchObject({ code: 'JOB_BUSY' })
  gate.resolve()
  expect(await run).toMatchObject({ state: 'done', result: { ok: true } })
  expect(await third.history()).toEqual([await run])
  // From where nobody works on it, it is done elsewhere.
  expect(await third.run('slow', {})).toMatchObject({ state: 'done' })
  expect(most).toBe(1)
})

test('an interval of two processes is one interval, and 0 ends it', async () => {
  const tag = freshTag()
  let runs = 0
  const handler = () => {
    runs += 1
    return Promise.resolve({})
  }
  const begin = performance.now()
  {
    await using first = openAt(server.settings, tag)
    await using second = openAt(server.settings, tag)
    for (const scheduler of [first, second]) {
      scheduler.define('tick', handler)
      scheduler.every('tick', 400, {})
      scheduler.start()
    }
    await until('some beats', () => runs >= 4)
    expect(runs).toBeLessThanOrEqual((performance.now() - begin) / 400)
  }
  const intervals = `{freshet:${tag}}:jobs:ticks:repeat`
  expect(await server.command('ZCARD', intervals)).toBe(1)
  await using later = openAt(server.settings, tag)
  later.define('tick', handler)
  later.every('tick', 0, {})
  later.start()
  await until('the end of it', async () => (await server.command('ZCARD', intervals)) === 0)
})

test('the history forgets the oldest runs', async () => {
  await using scheduler = openAt(server.settings, freshTag(), { historyRuns: 2 })
  scheduler.define('a', nothing)
  scheduler.start()
  for (const n of [1, 2, 3]) await scheduler.run('a', { n })
  expect((await scheduler.history()).map((run) => run.payload['n'])).toEqual([3, 2])
})

test('Redis that is killed and started again takes the schedule up again', async () => {
  // What has been written to the file is there when it is killed; a sync may take seconds.
  await using own = await RedisServer.start({ appendOnly: true, config: ['appendfsync no'] })
  const errors: Error[] = []
  const options = { onError: (error: Error) => void errors.push(error) }
  await using scheduler = openAt(own.settings, 'restarted', options)
  let runs = 0
  scheduler.define('tick', () => {
    runs += 1
    return Promise.resolve({})
  })
  scheduler.every('tick', 300, {})
  scheduler.start()
  await until('a run', () => runs > 0)
  await own.kill()
  await sleep(500)
  await own.start()
  runs = 0
  await until('runs again', () => runs > 1)
  expect(errors.length).toBeGreaterThan(0)
})

test('a schedule that Redis has lost altogether is made again', async () => {
  await using own = await RedisServer.start()
  await using scheduler = openAt(own.settings, 'lost')
  let runs = 0
  scheduler.define('tick', () => {
    runs += 1
    return Promise.resolve({})
  })
  scheduler.every('tick', 300, {})
  scheduler.start()
  await until('a run', () => runs > 0)
  await own.kill()
  await own.start()
  runs = 0
  await until('runs again', () => runs > 1)
  expect(await scheduler.history()).toContainEqual(expect.objectContaining({ name: 'tick' }))
})

test('without Redis a run is refused in time, and a stop ends in time', async () => {
  const own = await RedisServer.start()
  const limits = { answerMs: 500 }
  const scheduler = openAt(own.settings, 'gone', { limits })
  scheduler.define('a', nothing)
  scheduler.start()
  await scheduler.run('a', {})
  await own.stop()
  await expect(scheduler.run('a', {})).rejects.toMatchObject({ code: 'JOBS_UNAVAILABLE' })
  await expect(scheduler.history()).rejects.toMatchObject({ code: 'JOBS_UNAVAILABLE' })
  await scheduler.stop()
})

function workerProcess(tag: string, mode: 'hang' | 'work'): ChildProcess {
  const file = new URL('../support/job-process.ts', import.meta.url).pathname
  const args = [file, String(server.port), tag, mode]
  // No output of ours: whoever waits for its end would wait for a child that was left over.
  const child = spawn(process.execPath, args, { stdio: 'ignore' })
  process.once('exit', () => child.kill('SIGKILL'))
  return child
}

test('a run whose process is killed in the middle is ended by another, once in effect', async () => {
  const tag = freshTag()
  await using scheduler = openAt(server.settings, tag)
  scheduler.declare('slow', { retries: 3 })
  const first = workerProcess(tag, 'hang')
  let second: ChildProcess | undefined
  try {
    const { id, finished } = await scheduler.begin('slow', { n: 1 })
    await until('progress', async () => (await scheduler.find(id))?.progress === 0.5)
    second = workerProcess(tag, 'work')
    first.kill('SIGKILL')
    expect(await finished).toMatchObject({ id, state: 'done', result: { by: 'work' } })
    const begun = await server.command('LRANGE', 'begun', 0, -1)
    expect(begun).toEqual([`${id} hang`, `${id} work`])
    expect(await server.command('SMEMBERS', 'effect')).toEqual([id])
    expect(await scheduler.history()).toHaveLength(1)
  } finally {
    first.kill('SIGKILL')
    second?.kill('SIGKILL')
  }
})

async function locksOf(tag: string, id: string): Promise<readonly string[]> {
  const keys = await server.command('KEYS', `*${tag}*:${id}:lock`)
  return Array.isArray(keys) ? keys.map(String) : []
}

test('a run that may not be begun again has failed with its process', async () => {
  const tag = freshTag()
  await using lost = openAt(server.settings, tag)
  lost.define('fragile', (_, { signal }) => sleep(60_000, {}, { signal }))
  lost.start()
  const { id, finished } = await lost.begin('fragile', {})
  await until('a lock', async () => (await locksOf(tag, id)).length === 1)
  // What a process that is gone leaves behind: a lock that nobody renews.
  const [lock] = await locksOf(tag, id)
  await server.command('DEL', lock)
  await using other = openAt(server.settings, tag)
  other.define('fragile', nothing)
  other.start()
  expect(await finished).toMatchObject({ id, state: 'failed' })
})
