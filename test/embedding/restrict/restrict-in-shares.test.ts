import { array, assert, constantFrom, integer, property, record } from 'fast-check'
import { expect, test } from 'vitest'

import type { Keys } from '../../../src/base/keys.ts'
import type { RestrictRequest } from '../../../src/embedding/embedding-table.ts'
import { MemoryTable } from '../../../src/embedding/memory/memory-table.ts'
import { restrictWhenFull } from '../../../src/embedding/restrict/restrict.ts'
import { keysOf, randomKeys, range, step, tableSpec } from '../../support/tables.ts'

const rows = 140_000
const kept = 90_000
const request: RestrictRequest = { numReserved: kept, trigger: kept, policy: 'frequency' }
const spec = tableSpec({ dim: 1, capacityRows: rows + 1000, restrict: request })
const keys = randomKeys(11, rows)

/** Counts from 0 to 6, times of ten steps. */
function filled(): MemoryTable {
  const table = new MemoryTable(spec)
  for (let n = 0; n < 10; n += 1) {
    const some = keys.subarray((n * keys.length) / 10, ((n + 1) * keys.length) / 10)
    table.findOrInsert(some, new Float32Array(rows / 10), step(n))
    const counts = new Uint32Array(rows / 10).map((_, i) => (i * i) % 7)
    table.applyGradients(some, new Float32Array(rows / 10), counts, step(n))
  }
  return table
}

/** What the trainer does between batches: 1,000 keys learn, among them new ones. */
function learn(table: MemoryTable, n: number): void {
  const some = keys.slice(n * 4000, n * 4000 + 1800)
  const batch = Uint32Array.from([...some, ...randomKeys(n, 100)])
  const vectors = new Float32Array(batch.length / 2)
  table.findOrInsert(batch, vectors, step(n))
  table.applyGradients(batch, vectors.fill(0.1), new Uint32Array(vectors.length).fill(1), step(n))
}

test('a large table removes in shares what it would remove at once', () => {
  const [whole, shared] = [filled(), filled()]
  const atOnce = whole.restrict(request)
  expect(restrictWhenFull(shared)).toHaveLength(0)
  const shares: Keys[] = []
  while (shared.size > kept) shares.push(restrictWhenFull(shared))
  expect(shares.length).toBeGreaterThan(2)
  expect(shared.digest()).toBe(whole.digest())
  expect(shares.reduce((sum, share) => sum + share.length, 0)).toBe(atOnce.length)
  expect(shared.takeChanges()).toEqual(whole.takeChanges())
  expect(restrictWhenFull(shared)).toHaveLength(0)
})

test('rows that learn meanwhile stay, and restarts between shares change nothing', () => {
  const plain = filled()
  let restored = filled()
  for (let n = 10; n < 34; n += 1) {
    const removed = [restrictWhenFull(plain), restrictWhenFull(restored)]
    expect(removed[1]).toEqual(removed[0])
    learn(plain, n)
    learn(restored, n)
    if (n % 3 !== 0) continue
    const again = new MemoryTable(spec)
    again.load(restored.snapshot())
    restored = again
  }
  expect(restored.digest()).toBe(plain.digest())
  expect(plain.size).toBeLessThan(kept + 4000)
  const present = new Uint8Array(900)
  plain.find(keys.slice(33 * 4000, 33 * 4000 + 1800), new Float32Array(900), present)
  expect(present.every((bit) => bit === 1)).toBe(true)
})

test('a restrict at once takes the place of one in shares', () => {
  const table = filled()
  while (table.size === rows) table.restrictSome(request)
  const { size } = table
  table.restrict({ ...request, numReserved: size - 10, trigger: 0 })
  expect(table.size).toBe(size - 10)
  // Nothing is left of the first one: this starts a new one, on a table that is now small.
  const removed = table.restrictSome({ ...request, trigger: size })
  expect(removed).toHaveLength(0)
  expect(table.size).toBe(size - 10)
})

test('a small table is restricted at once', () => {
  const table = new MemoryTable(tableSpec())
  table.findOrInsert(keysOf(...range(0, 9)), new Float32Array(18), step(1))
  expect(table.restrictSome({ ...request, numReserved: 4, trigger: 8 })).toHaveLength(10)
  expect(table.size).toBe(4)
})

/** What may happen to rows that wait for their share, other than that they learn. */
const happenings = {
  'written whole': (table: MemoryTable, n: number) => {
    const some = keys.slice(n * 5000, n * 5000 + 4000)
    const records = new Uint8Array(2000 * table.recordBytes)
    table.readRecords(some, records, new Uint8Array(2000))
    table.drop(keys.slice(n * 5000, n * 5000 + 6000))
    table.writeRecords(records)
  },
  'made at an old version': (table: MemoryTable, n: number) => {
    const vectors = new Float32Array(500)
    table.erase(keys.slice(n * 5000, n * 5000 + 1000))
    table.findOrInsert(randomKeys(100 + n, 500), vectors, step(9))
  },
  'changed at an old version': (table: MemoryTable, n: number) => {
    const some = keys.slice(n * 7000, n * 7000 + 1000)
    const many = new Uint32Array(500).fill(50)
    table.applyGradients(some, new Float32Array(500), many, step(9))
  },
}

test.each(Object.entries(happenings))('rows %s are looked at again', (_, happen) => {
  const plain = filled()
  let restored = filled()
  for (let n = 10; n < 22; n += 1) {
    expect(restrictWhenFull(restored)).toEqual(restrictWhenFull(plain))
    for (const table of [plain, restored]) happen(table, n)
    const again = new MemoryTable(spec)
    again.load(restored.snapshot())
    restored = again
  }
  expect(restored.digest()).toBe(plain.digest())
  expect(plain.size).toBeLessThan(kept + 8000)
})

test('rows that move leave all the same', () => {
  const [still, moving] = [filled(), filled()]
  for (let n = 10; n < 26; n += 1) {
    expect(restrictWhenFull(moving)).toEqual(restrictWhenFull(still))
    moving.compactSome({ free: 0.1, stepRows: 9_000 })
  }
  expect(moving.digest()).toBe(still.digest())
  expect(moving.size).toBe(kept)
})

const ids = 60
const someIds = array(integer({ min: 0, max: ids - 1 }), { minLength: 1, maxLength: 8 })
const happening = record({
  verb: constantFrom('learn', 'assign', 'erase', 'rewrite'),
  some: someIds,
  /** Steps of the restrict after it. */
  steps: integer({ min: 1, max: 4 }),
})

function happens(table: MemoryTable, verb: string, some: number[], n: number): void {
  const batch = keysOf(...new Set(some))
  const vectors = new Float32Array(batch.length / 2).fill(n)
  if (verb === 'learn') {
    table.findOrInsert(batch, vectors, step(n))
    table.applyGradients(batch, vectors, new Uint32Array(vectors.length).fill(1), step(n))
  } else if (verb === 'assign') table.assign(keysOf(...some), new Float32Array(8), step(n))
  else if (verb === 'erase') table.erase(keysOf(...some))
  else {
    const records = new Uint8Array(vectors.length * table.recordBytes)
    table.readRecords(batch, records, new Uint8Array(vectors.length))
    table.writeRecords(records)
  }
}

/** Every pass takes twelve steps, so most rows change in the middle of one. */
test('what leaves depends on the batches in between and not on where rows lie', () => {
  const small = tableSpec({ dim: 1, capacityRows: ids })
  const restrictSteps = { scanned: 5, removed: 3 }
  const policies = constantFrom('frequency', 'timestamp', 'combined')
  const numbers = integer({ min: 0, max: 50 })
  const sequences = array(happening, { minLength: 20, maxLength: 30 })
  const make = (shards: number): MemoryTable => {
    const table = new MemoryTable(small, { shards, restrictSteps })
    for (const id of range(0, ids)) {
      const [vector, count] = [new Float32Array(1), Uint32Array.of((id * 7) % 5)]
      table.findOrInsert(keysOf(id), vector, step(id % 11))
      table.applyGradients(keysOf(id), vector, count, step(id % 11))
    }
    return table
  }
  assert(
    property(sequences, policies, numbers, (all, policy, numReserved) => {
      const tables = [make(1), make(3), make(1)]
      for (const table of tables) table.startRestrict({ policy, numReserved, trigger: 0 })
      for (const [n, { verb, some, steps }] of all.entries()) {
        for (const table of tables) happens(table, verb, some, 20 + n)
        const restored = new MemoryTable(small, { shards: 2, restrictSteps })
        restored.load(tables[2].snapshot())
        tables[2] = restored
        for (let i = 0; i < steps; i += 1) {
          const removed = tables.map((table) => table.restrictSome({ ...request, trigger: ids }))
          expect(removed).toEqual([removed[0], removed[0], removed[0]])
        }
      }
      const digests = tables.map((table) => table.digest())
      expect(digests).toEqual([digests[0], digests[0], digests[0]])
    }),
    { numRuns: 3 },
  )
})
