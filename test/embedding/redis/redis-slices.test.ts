import { expect, test } from 'vitest'

import {
  hashSlot,
  sliceKeys,
  sliceNames,
  slicesFor,
} from '../../../src/embedding/redis/redis-slices.ts'
import { randomKeys } from '../../support/tables.ts'

test('hash slots are those of the cluster specification', () => {
  expect(hashSlot('123456789')).toBe(0x31c3)
  expect(hashSlot('foo')).toBe(12_182)
})

test.each([1, 16, 64, 1_024])('%i slices lie evenly over the hash slots', (slices) => {
  const names = sliceNames('users', 'v1', slices)
  const ranges = names.map(({ rows }) => {
    const [, hashTag = ''] = /\{(.*)\}/.exec(rows) ?? []
    return Math.floor((hashSlot(hashTag) * slices) / 16_384)
  })
  expect(ranges).toEqual(Array.from({ length: slices }, (_, i) => i))
})

test('a slice lies at one place under every model tag', () => {
  const [first] = sliceNames('users', 'v1', 16)
  const [second] = sliceNames('users', 'v2', 16)
  expect(first?.rows.replace('v1', 'v2')).toBe(second?.rows)
})

test('hashes hold some 16,384 rows', () => {
  expect([1, 1_000_000, 16_000_000].map(slicesFor)).toEqual([16, 64, 1_024])
  expect(slicesFor(1e9)).toBe(4_096)
})

test('keys are spread evenly, each once, in order', () => {
  const keys = randomKeys(8, 10_000)
  keys.set([0, 0], 20)
  const { slices, starts, order } = sliceKeys(keys, 64)
  expect(slices).toHaveLength(64)
  expect(order.toSorted()).toEqual(
    Uint32Array.from({ length: 10_000 }, (_, i) => i).filter((i) => i !== 10),
  )
  const sizes = slices.map((slice) => starts[slice + 1] - starts[slice])
  expect(Math.max(...sizes)).toBeLessThan(1.4 * (10_000 / 64))
  for (const slice of slices) {
    const part = order.slice(starts[slice], starts[slice + 1])
    expect(part).toEqual(part.toSorted())
  }
})
