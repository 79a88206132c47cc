import { expect, test } from 'vitest'

import { assert, present, unreachable } from '../../src/base/assert.ts'
import { ManualClock, systemClock } from '../../src/base/clock.ts'
import { ServiceError } from '../../src/base/errors.ts'
import { type Service, startAll, stopAll } from '../../src/base/service.ts'

const { signal } = new AbortController()

/** A service that writes down what happens to it. */
const recorded = (name: string, diary: string[], failing?: 'start' | 'drain' | 'stop'): Service => {
  const verb = (what: 'start' | 'drain' | 'stop') => async (): Promise<void> => {
    diary.push(`${what} ${name}`)
    if (what === failing) throw new Error(`${what} of ${name} failed`)
    await Promise.resolve()
  }
  return { name, start: verb('start'), drain: verb('drain'), stop: verb('stop') }
}

test('services start in order, and stop in reverse, each drained before it is stopped', async () => {
  const diary: string[] = []
  const services = [recorded('log', diary), recorded('server', diary)]
  await startAll(services, signal)
  await stopAll(services)
  expect(diary).toEqual([
    'start log',
    'start server',
    'drain server',
    'stop server',
    'drain log',
    'stop log',
  ])
})

test('a failed start stops what had started, and the error reaches the caller', async () => {
  const diary: string[] = []
  const services = [
    recorded('log', diary),
    recorded('trainer', diary, 'start'),
    recorded('server', diary),
  ]
  await expect(startAll(services, signal)).rejects.toThrow('start of trainer failed')
  expect(diary).toContain('stop log')
  expect(diary).not.toContain('start server')
})

test('a failed drain does not keep the others from stopping', async () => {
  const diary: string[] = []
  const services = [recorded('log', diary), recorded('server', diary, 'drain')]
  await expect(stopAll(services)).rejects.toThrow('drain of server failed')
  expect(diary).toContain('stop server')
  expect(diary).toContain('stop log')
})

test('an operating error says what happened, with which status, and whether to try again', () => {
  const error = new ServiceError('REQUEST_INVALID', { path: 'n', reason: 'expected a number' })
  expect(error.message).toBe('the request is invalid at n: expected a number')
  expect([error.status, error.retryable]).toEqual([400, false])
  expect(new ServiceError('REQUEST_INVALID', {}).message).toContain('{path}')
})

test('a programmer error stops the program', () => {
  expect(() => assert(1 + 1 === 3, 'sums')).toThrow('assertion failed: sums')
  expect(() => present(undefined, 'the table')).toThrow('the table is missing')
  expect(() => unreachable('x' as never)).toThrow('unreachable')
  expect(present(0, 'zero')).toBe(0)
})

test('a manual clock moves when told to, the system clock by itself', () => {
  const clock = new ManualClock(5)
  clock.advance(10)
  expect([clock.now(), clock.monotonic()]).toEqual([15, 15])
  expect(systemClock.now()).toBeGreaterThan(1.7e12)
  expect(systemClock.monotonic()).toBeLessThanOrEqual(systemClock.monotonic())
})
