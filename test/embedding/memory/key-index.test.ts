import { array, assert, constantFrom, integer, property, record } from 'fast-check'
import { describe, expect, test } from 'vitest'

import type { Keys } from '../../../src/base/keys.ts'
import { KeyIndex } from '../../../src/embedding/memory/key-index.ts'
import { Arena } from '../../../src/kernels/arena.ts'
import { loadKernels, scratchBytes } from '../../../src/kernels/kernels.ts'
import { absentPayload, bucketBytes } from '../../../src/kernels/table-kernels.ts'
import { keysOf, randomKeys, range } from '../../support/tables.ts'

const implementations = ['wasm', 'reference'] as const
const payloadsOf = (n: number, first = 0): Uint32Array => Uint32Array.from(range(first, first + n))

const found = (index: KeyIndex, keys: Keys): number[] => {
  const payloads = new Uint32Array(keys.length / 2)
  index.find(keys, payloads)
  return [...payloads]
}

describe.each(implementations)('in %s', (implementation) => {
  test('a key gives back its payload, an unknown one none', () => {
    const index = new KeyIndex({ capacity: 10, implementation })
    expect(index.findOrInsert(keysOf(1, 2), Uint32Array.of(7, 8))).toBe(2)
    expect(found(index, keysOf(2, 3, 1))).toEqual([8, absentPayload, 7])
  })

  test('findOrInsert keeps what is stored and gives it back; set replaces it', () => {
    const index = new KeyIndex({ capacity: 10, implementation })
    index.findOrInsert(keysOf(1), Uint32Array.of(7))
    const payloads = Uint32Array.of(9, 5)
    expect(index.findOrInsert(keysOf(1, 4), payloads)).toBe(1)
    expect([...payloads]).toEqual([7, 5])
    expect(index.set(keysOf(1), Uint32Array.of(9))).toBe(0)
    expect(found(index, keysOf(1, 4))).toEqual([9, 5])
  })

  test('erase removes, clear removes everything', () => {
    const index = new KeyIndex({ capacity: 10, implementation })
    index.set(keysOf(1, 2, 3), payloadsOf(3))
    expect(index.erase(keysOf(2, 2, 9))).toBe(1)
    expect(found(index, keysOf(1, 2, 3))).toEqual([0, absentPayload, 2])
    expect(index.size).toBe(2)
    index.clear()
    expect(index.size).toBe(0)
    expect(found(index, keysOf(1))).toEqual([absentPayload])
  })

  test('the key 0 is refused, and so is what is beyond the capacity', () => {
    const index = new KeyIndex({ capacity: 2, implementation })
    const payloads = payloadsOf(4)
    expect(index.findOrInsert(keysOf(-1, 5, 6, 7), payloads)).toBe(2)
    expect([...payloads]).toEqual([absentPayload, 1, 2, absentPayload])
    expect(found(index, keysOf(-1, 5, 6, 7))).toEqual([absentPayload, 1, 2, absentPayload])
  })

  test('it fills to its capacity, and every key is still found', () => {
    const capacity = 20_000
    const index = new KeyIndex({ capacity, implementation })
    const keys = randomKeys(1, capacity)
    expect(index.set(keys, payloadsOf(capacity))).toBe(capacity)
    expect(found(index, keys)).toEqual(range(0, capacity))
    // Turn over half of the keys: paths are sought in a full index.
    index.erase(keys.subarray(0, capacity))
    const others = randomKeys(2, capacity / 2)
    expect(index.set(others, payloadsOf(capacity / 2))).toBe(capacity / 2)
    expect(found(index, others)).toEqual(range(0, capacity / 2))
    expect(found(index, keys.subarray(capacity))).toEqual(range(capacity / 2, capacity))
  })
})

test('small indexes hold what a Map would, and the kernels agree with their twins', () => {
  const actions = array(
    record({
      verb: constantFrom('findOrInsert' as const, 'set' as const, 'erase' as const),
      ids: array(integer({ min: 0, max: 40 }), { maxLength: 20 }),
      payload: integer({ min: 0, max: 1000 }),
    }),
    { maxLength: 25 },
  )
  assert(
    property(actions, integer({ min: 1, max: 30 }), (sequence, capacity) => {
      const map = new Map<number, number>()
      const indexes = implementations.map(
        (implementation) => new KeyIndex({ capacity, implementation }),
      )
      for (const { verb, ids, payload } of sequence) {
        for (const id of ids) {
          if (verb === 'erase') map.delete(id)
          else if (map.has(id) ? verb === 'set' : map.size < capacity) map.set(id, payload)
        }
        for (const index of indexes) {
          if (verb === 'erase') index.erase(keysOf(...ids))
          else index[verb](keysOf(...ids), new Uint32Array(ids.length).fill(payload))
          expect(index.size).toBe(map.size)
          const all = found(index, keysOf(...range(0, 41)))
          expect(all).toEqual(range(0, 41).map((id) => map.get(id) ?? absentPayload))
        }
      }
    }),
  )
})

/** How many of `n` random keys an index of so many buckets refuses. */
function refusedBy(buckets: number, n: number, seed: number): number {
  const arena = new Arena(scratchBytes + buckets * bucketBytes + 12 * n + 4096)
  const kernels = loadKernels(arena)
  const index = arena.bytes(buckets * bucketBytes)
  const [keys, payloads] = [arena.words(2 * n), arena.words(n)]
  keys.view.set(randomKeys(seed, n))
  const operands = [index.address, buckets, keys.address, n, payloads.address] as const
  return n - kernels.cuckooInsert(...operands, n, 0)
}

test.each([
  [256, 40],
  [1024, 20],
  [4096, 10],
  [32_768, 2],
  [262_144, 1],
])('keys find room up to a load of .955 in %i buckets, %i sets of keys', (buckets, sets) => {
  const n = Math.floor(4 * buckets * 0.955)
  const refused = range(1, sets + 1).map((seed) => refusedBy(buckets, n, seed))
  expect(new Set(refused)).toEqual(new Set([0]))
})
