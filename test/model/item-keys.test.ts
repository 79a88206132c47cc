import { expect, test } from 'vitest'

import { KeyHasher } from '../../src/kernels/key-hasher.ts'
import { ItemKeys } from '../../src/model/item-keys.ts'
import { planModel } from '../../src/model/plan.ts'
import { mixedSpec, someItems } from './fixtures.ts'

const { candidate } = planModel(mixedSpec())
const made = (maxWords?: number): ItemKeys => new ItemKeys(candidate, 1, new KeyHasher(), maxWords)

/** Everything that is known of an item: counts and keys. */
function entryOf(keys: ItemKeys, item: ReturnType<typeof someItems>[number]): number[] {
  keys.begin(1)
  const start = keys.locate(item)
  keys.finish()
  const counts = [...keys.words.subarray(start, start + keys.headerWords)]
  const words = counts.reduce((sum, count) => sum + 2 * count, 2)
  return [...keys.words.subarray(start, start + keys.headerWords + words)]
}

test('an entry is found again where it was, without hashing', () => {
  const keys = made()
  const [item] = someItems(1)
  keys.begin(2)
  const start = keys.locate(item)
  keys.finish()
  expect(keys.locate(item)).toBe(start)
  keys.finish()
  expect(entryOf(keys, item)).toEqual(entryOf(made(), item))
})

test('two revisions of a handle in one batch keep their own keys', () => {
  const keys = made()
  const [first, second] = someItems(2)
  const other = { ...second, handle: first.handle, revision: first.revision + 1 }
  keys.begin(2)
  const starts = [keys.locate(first), keys.locate(other)]
  keys.finish()
  expect(starts[0]).not.toBe(starts[1])
  const id = (start: number): number[] => {
    const at = start + keys.headerWords
    return [...keys.words.subarray(at, at + 2)]
  }
  expect(id(starts[0])).not.toEqual(id(starts[1]))
  expect(id(starts[1])).toEqual(
    entryOf(made(), other).slice(keys.headerWords, keys.headerWords + 2),
  )
})

test('a full cache forgets everything and goes on with the same keys', () => {
  const items = someItems(200)
  const small = made(2000)
  for (let round = 0; round < 3; round += 1) {
    for (const item of items) expect(entryOf(small, item)).toEqual(entryOf(made(), item))
  }
  expect(small.words.length).toBeLessThan(10_000)
})
