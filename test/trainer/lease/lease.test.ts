import { expect, test } from 'vitest'

import { ManualClock } from '../../../src/base/clock.ts'
import { acquireLease } from '../../../src/trainer/lease/lease.ts'
import { MemoryLeaseStore } from '../../../src/trainer/lease/memory-lease.ts'
import { testLeaseStore } from '../../contract/lease-store.ts'

testLeaseStore(() => {
  const clock = new ManualClock()
  const store = new MemoryLeaseStore(clock)
  return {
    store,
    expire: (ms) => {
      clock.advance(ms)
      return Promise.resolve()
    },
    [Symbol.asyncDispose]: () => store.close(),
  }
})

const code = (name: string): unknown => expect.objectContaining({ code: name })

test('a holder that does not renew in time is told that another one has taken over', async () => {
  const clock = new ManualClock()
  const store = new MemoryLeaseStore(clock)
  const first = await acquireLease({ store, holder: 'a', ttlMs: 30, clock })
  expect(first.isCurrent).toBe(true)
  clock.advance(31)
  expect(first.isCurrent).toBe(false)
  const second = await acquireLease({ store, holder: 'b', ttlMs: 30, clock })
  await expect.poll(() => first.lost.aborted).toBe(true)
  expect(first.lost.reason).toEqual(code('LEASE_LOST'))
  expect(second.epoch).toBe(first.epoch + 1)
  await first.release()
  expect(second.isCurrent).toBe(true)
  await second.release()
})

test('a lease that is renewed lasts, and whoever waits is told who has it', async () => {
  const clock = new ManualClock()
  const store = new MemoryLeaseStore(clock)
  const first = await acquireLease({ store, holder: 'a', ttlMs: 30, clock })
  const giveUp = new AbortController()
  const holders: string[] = []
  const waiting = acquireLease({
    store,
    holder: 'b',
    ttlMs: 30,
    clock,
    signal: giveUp.signal,
    onWait: (holder) => holders.push(holder),
  })
  for (let i = 0; i < 5; i += 1) {
    clock.advance(20)
    const look = { holder: 'c', token: 'c', ttlMs: 30 }
    await expect
      .poll(async () => {
        const answer = await store.acquire(look)
        return answer.isGranted ? -1 : answer.leftMs
      })
      .toBe(30)
  }
  giveUp.abort(new Error('enough'))
  await expect(waiting).rejects.toThrow(/enough|aborted/)
  expect(holders).toEqual(['a'])
  await first.release()
})

test('what is released is taken at once', async () => {
  const store = new MemoryLeaseStore(new ManualClock())
  const first = await acquireLease({ store, holder: 'a', ttlMs: 100_000 })
  const waiting = acquireLease({ store, holder: 'b', ttlMs: 100 })
  await first.release()
  const second = await waiting
  expect(second.epoch).toBe(first.epoch + 1)
  await second.release()
})
