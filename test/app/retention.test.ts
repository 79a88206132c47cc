import { expect, test } from 'vitest'

import { retainFrom } from '../../src/app/retention.ts'

const segments = [0, 10, 20, 30].map((first) => ({ first, bytes: 100, modifiedAt: first * 1000 }))
const retain = (
  limits: { retentionBytes?: number; retentionMs?: number },
  needed: number | undefined = 1000,
) =>
  retainFrom(
    segments,
    { retentionBytes: 1e9, retentionMs: 1e9, ...limits },
    { now: 40_000, needed },
  )

test('everything is kept within the limits', () => {
  expect(retain({})).toBe(0)
})

test('the oldest segments go until the size is right', () => {
  expect(retain({ retentionBytes: 250 })).toBe(20)
})

test('segments that are too old go, but never the last', () => {
  expect(retain({ retentionMs: 25_000 })).toBe(20)
  expect(retain({ retentionMs: 1 })).toBe(30)
})

test('nothing goes that the oldest checkpoint needs', () => {
  expect(retain({ retentionBytes: 1 }, 15)).toBe(15)
  expect(
    retainFrom(segments, { retentionBytes: 1, retentionMs: 1 }, { now: 1e9, needed: undefined }),
  ).toBe(0)
})

test('an empty log has nothing to lose', () => {
  const limits = { retentionBytes: 1, retentionMs: 1 }
  expect(retainFrom([], limits, { now: 0, needed: 5 })).toBe(0)
})
