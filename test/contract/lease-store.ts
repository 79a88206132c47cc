/** What every store of leases must do: one holder at a time, epochs that only go up. */
import { expect, test } from 'vitest'

import type { LeaseStore } from '../../src/trainer/lease/lease.ts'

interface LeaseStoreUnderTest extends AsyncDisposable {
  readonly store: LeaseStore
  /** Lets so much of a lease's time pass. */
  expire(ms: number): Promise<void>
}

export type OpenLeaseStore = () => LeaseStoreUnderTest | Promise<LeaseStoreUnderTest>

const ttlMs = 5_000

async function granted(store: LeaseStore, token: string): Promise<number> {
  const answer = await store.acquire({ holder: `holder ${token}`, token, ttlMs })
  expect(answer.isGranted).toBe(true)
  return answer.isGranted ? answer.epoch : 0
}

export function testLeaseStore(open: OpenLeaseStore): void {
  test('a lease is of one holder, whom the others are told', async () => {
    await using subject = await open()
    const { store } = subject
    await granted(store, 'a')
    const answer = await store.acquire({ holder: 'holder b', token: 'b', ttlMs })
    expect(answer).toMatchObject({ isGranted: false, holder: 'holder a' })
    expect(answer.isGranted ? 0 : answer.leftMs).toBeGreaterThan(ttlMs / 2)
  })

  test('a request that is repeated is granted under the same epoch', async () => {
    await using subject = await open()
    const { store } = subject
    expect(await granted(store, 'a')).toBe(await granted(store, 'a'))
  })

  test('the next lease has a greater epoch, after an expiry and after a release', async () => {
    await using subject = await open()
    const { store } = subject
    const first = await granted(store, 'a')
    await subject.expire(ttlMs + 1)
    const second = await granted(store, 'b')
    expect(second).toBeGreaterThan(first)
    await store.release({ epoch: second, token: 'b' })
    expect(await granted(store, 'c')).toBeGreaterThan(second)
  })

  test('an expired lease can be renewed until another one takes it', async () => {
    await using subject = await open()
    const { store } = subject
    const fence = { epoch: await granted(store, 'a'), token: 'a' }
    await subject.expire(ttlMs + 1)
    expect(await store.renew(fence, ttlMs)).toBe(true)
    await subject.expire(ttlMs + 1)
    await granted(store, 'b')
    expect(await store.renew(fence, ttlMs)).toBe(false)
  })

  test('what is released is neither renewed nor taken from the next holder', async () => {
    await using subject = await open()
    const { store } = subject
    const first = { epoch: await granted(store, 'a'), token: 'a' }
    await store.release(first)
    expect(await store.renew(first, ttlMs)).toBe(false)
    const second = { epoch: await granted(store, 'b'), token: 'b' }
    await store.release(first)
    expect(await store.renew(second, ttlMs)).toBe(true)
  })

  test('a token of another one is no fence, under the same epoch either', async () => {
    await using subject = await open()
    const { store } = subject
    const epoch = await granted(store, 'a')
    expect(await store.renew({ epoch, token: 'b' }, ttlMs)).toBe(false)
  })
}
