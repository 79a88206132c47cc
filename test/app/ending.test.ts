import { expect, test } from 'vitest'

import { Ending } from '../../src/app/ending.ts'
import { ServiceError } from '../../src/base/errors.ts'

const closed = new ServiceError('SYNC_CLOSED', { side: 'the trainer' })
const full = new ServiceError('MEMORY_EXHAUSTED', { bytes: 2, available: 1, capacity: 1 })

const open = (waitMs: number) => {
  const codes: unknown[] = []
  const ending = new Ending({ error: (details: object) => codes.push(details) }, waitMs)
  return { ending, codes }
}

test('a trainer that is gone is the end, and why it went is the reason', () => {
  const { ending, codes } = open(60_000)
  ending.fail(closed)
  expect(ending.signal.aborted).toBe(false)
  ending.fail(full)
  expect(ending.signal.reason).toBe(full)
  expect(codes).toMatchObject([{ code: 'SYNC_CLOSED' }, { code: 'MEMORY_EXHAUSTED' }])
})

test('the first reason stays', () => {
  const { ending } = open(60_000)
  ending.fail(full)
  ending.fail(new Error('something else'))
  expect(ending.signal.reason).toBe(full)
})

test('who says no more ends it all the same', async () => {
  const { ending } = open(1)
  ending.fail(closed)
  await expect.poll(() => ending.signal.aborted).toBe(true)
  expect(ending.signal.reason).toBe(closed)
})
