import { array, assert, integer, property, uniqueArray } from 'fast-check'
import { describe, expect, test } from 'vitest'

import { outOfVocabularyKey } from '../../../src/base/keys.ts'
import { admissionOf } from '../../../src/embedding/admission/admission-policies.ts'
import type { Admission } from '../../../src/embedding/admission/admission.ts'
import { AdmittedTable } from '../../../src/embedding/admission/admitted-table.ts'
import { SharedRowReader } from '../../../src/embedding/admission/shared-row.ts'
import { MemoryTable } from '../../../src/embedding/memory/memory-table.ts'
import type { TableSpec } from '../../../src/embedding/table-spec.ts'
import { keysOf, randomKeys, range, step, tableSpec } from '../../support/tables.ts'

/** Admits every key, but is asked. */
const everyone: Admission = {
  admit: ({ occurrences }, admitted) => {
    admitted.fill(1, 0, occurrences.length)
  },
  stats: () => ({ admitted: 0, refused: 0, tracked: 0, falsePositiveRate: 0 }),
  serialize: () => new Uint8Array(0),
  load: () => {},
}

const twice = { kind: 'minCount', count: 2, capacityKeys: 4096 } as const

interface Desk {
  readonly rows: MemoryTable
  readonly table: AdmittedTable
}

function desk(changes: Partial<TableSpec> = {}): Desk {
  const spec = tableSpec({ admission: twice, ...changes })
  const rows = new MemoryTable(spec)
  return { rows, table: new AdmittedTable(rows, admissionOf(spec) ?? everyone) }
}

/** Synchronous tables answer at once, also behind an admission. */
function train({ table }: Desk, ids: readonly number[], n: number, gradient = 0.5): number[] {
  const keys = keysOf(...ids)
  const vectors = new Float32Array(ids.length * table.spec.dim)
  const once = new Uint32Array(ids.length).fill(1)
  void table.findOrInsert(keys, vectors, step(n), once)
  void table.applyGradients(keys, new Float32Array(vectors.length).fill(gradient), once, step(n))
  return [...vectors]
}

const read = (table: Pick<MemoryTable, 'find' | 'spec'>, keys: Uint32Array): number[] => {
  const vectors = new Float32Array((keys.length / 2) * table.spec.dim)
  table.find(keys, vectors)
  return [...vectors]
}

const hasRow = ({ rows }: Desk, id: number): boolean => {
  const present = new Uint8Array(1)
  rows.find(keysOf(id), new Float32Array(rows.spec.dim), present)
  return present[0] === 1
}

test('where every key is admitted it trains as the table alone', () => {
  const rows = new MemoryTable(tableSpec())
  const one = { rows, table: new AdmittedTable(rows, everyone) }
  const alone = new MemoryTable(tableSpec())
  for (let n = 1; n < 9; n += 1) {
    const ids = range(n, n + 5)
    const vectors = new Float32Array(10)
    alone.findOrInsert(keysOf(...ids), vectors, step(n))
    expect(train(one, ids, n)).toEqual([...vectors])
    const counts = new Uint32Array(5).fill(1)
    alone.applyGradients(keysOf(...ids), vectors.fill(0.5), counts, step(n))
  }
  expect(rows.digest()).toBe(alone.digest())
})

test('what is no business of admission is done by the table', () => {
  const { rows, table } = desk()
  const keys = keysOf(1, 2, 3)
  void table.assign(keys, new Float32Array(6).fill(1), step(1))
  const exists = Uint8Array.of(1, 1, 1)
  const oldVectors = new Float32Array(6).fill(1)
  const newVectors = new Float32Array(6).fill(3)
  void table.accumulate(keys, { oldVectors, newVectors, exists }, step(2))
  expect(read(rows, keys)).toEqual([3, 3, 3, 3, 3, 3])
  expect(table.erase(keysOf(3))).toBe(1)
  const request = { numReserved: 1, trigger: 1, policy: 'timestamp' } as const
  expect(table.restrict(request)).toHaveLength(2)
  expect(table.restrictSome({ ...request, numReserved: 0, trigger: 0 })).toHaveLength(2)
  expect(table.takeChanges()).toMatchObject({ removed: keys })
  expect(table.size).toBe(0)
})

describe('until it is admitted', () => {
  test('a key has no row and reads the shared one', () => {
    const one = desk()
    const first = train(one, [1, 2], 1)
    expect(first.slice(0, 2)).toEqual(first.slice(2))
    expect(first.slice(0, 2)).toEqual(read(new MemoryTable(one.rows.spec), outOfVocabularyKey))
    expect([hasRow(one, 1), one.rows.size]).toEqual([false, 1])
    train(one, [1], 2)
    expect([hasRow(one, 1), hasRow(one, 2), one.rows.size]).toEqual([true, false, 2])
  })

  test('its gradient goes to the shared row: several keys are one update', () => {
    const one = desk({ dim: 1, initializer: { kind: 'zeros' } })
    train(one, [1, 2, 3], 1, 0.5)
    const alone = new MemoryTable(one.rows.spec)
    const vector = new Float32Array(1)
    alone.findOrInsert(outOfVocabularyKey, vector, step(1))
    alone.applyGradients(outOfVocabularyKey, Float32Array.of(1.5), Uint32Array.of(3), step(1))
    expect(one.rows.digest()).toBe(alone.digest())
  })

  test('keys with a row and keys without are told apart in one batch', () => {
    const one = desk({ dim: 1 })
    train(one, [5], 1)
    train(one, [5], 2)
    const shared = read(one.rows, outOfVocabularyKey)
    const own = read(one.rows, keysOf(5))
    expect(train(one, [6, 5, 7], 3)).toEqual([...shared, ...own, ...shared])
    expect(read(one.rows, keysOf(5))).not.toEqual(own)
    expect(read(one.rows, outOfVocabularyKey)).not.toEqual(shared)
  })

  test('gradients of a batch that was not fetched last find their rows all the same', () => {
    const [one, other] = [desk(), desk()]
    for (const n of [1, 2]) for (const each of [one, other]) train(each, [1, 2], n)
    const gradients = new Float32Array(6).fill(0.25)
    const counts = Uint32Array.of(1, 1, 1)
    const keys = keysOf(1, 8, 2)
    void one.table.findOrInsert(keys, new Float32Array(6), step(3))
    void other.table.findOrInsert(keys, new Float32Array(6), step(3))
    void other.table.find(keysOf(1), new Float32Array(2))
    void one.table.applyGradients(keys, gradients, counts, step(3))
    void other.table.applyGradients(keys, gradients, counts, step(3))
    expect(other.rows.digest()).toBe(one.rows.digest())
  })
})

test('a reader reads what training reads', () => {
  const one = desk()
  train(one, [1, 2], 1)
  train(one, [1], 2)
  const keys = keysOf(1, 2, 3)
  const vectors = new Float32Array(6)
  new SharedRowReader().find(one.rows, keys, vectors)
  const shared = read(one.rows, outOfVocabularyKey)
  expect([...vectors]).toEqual([...read(one.rows, keysOf(1)), ...shared, ...shared])
  const own = new Float32Array(6)
  void one.table.find(keys, own)
  expect(own).toEqual(vectors)
  const plain = new MemoryTable(tableSpec())
  new SharedRowReader().find(plain, keys, vectors)
  expect([...vectors]).toEqual(read(plain, keys))
})

test('a full table refuses an admitted key, which then shares', () => {
  const one = desk({ capacityRows: 2, dim: 1 })
  for (const n of [1, 2]) train(one, [1, 2], n)
  expect(one.rows.size).toBe(2)
  const shared = read(one.rows, outOfVocabularyKey)
  expect(train(one, [2], 3)).toEqual(shared)
  expect(train(one, [2], 4)).not.toEqual(shared)
})

test('the key 0 has no row, and trains none', () => {
  const one = desk()
  train(one, [-1], 1)
  train(one, [-1], 2)
  expect(one.rows.size).toBe(0)
  expect(read(one.rows, outOfVocabularyKey)).toEqual(
    read(new MemoryTable(one.rows.spec), outOfVocabularyKey),
  )
})

test('statistics tell who earned a row', () => {
  const one = desk()
  for (const n of [1, 2]) train(one, [1, 2, 3], n)
  expect(one.table.stats()).toMatchObject({
    rows: 4,
    admission: { admitted: 3, refused: 3, tracked: 0 },
  })
})

test('the largest batch decides how much is staged', () => {
  const admission = { ...twice, capacityKeys: 20_000 }
  const one = desk({ capacityRows: 10_000, dim: 1, admission })
  const ids = range(0, 5000)
  for (const n of [1, 2]) train(one, ids, n)
  expect(one.rows.size).toBe(5001)
})

test('restarts in between change nothing', () => {
  const batches = array(uniqueArray(integer({ min: 0, max: 20 }), { maxLength: 8 }), {
    maxLength: 20,
  })
  assert(
    property(batches, (steps) => {
      const plain = desk({ dim: 1 })
      let restored = desk({ dim: 1 })
      for (const [n, ids] of steps.entries()) {
        expect(train(restored, ids, n + 1)).toEqual(train(plain, ids, n + 1))
        const again = desk({ dim: 1 })
        again.rows.load(restored.rows.snapshot())
        again.table.loadAdmission(restored.table.serializeAdmission())
        restored = again
      }
      expect(restored.rows.digest()).toBe(plain.rows.digest())
    }),
    { numRuns: 40 },
  )
})

test('a table that answers later is waited for', async () => {
  const spec = tableSpec({ admission: twice })
  const rows = new MemoryTable(spec)
  const later: MemoryTable = new Proxy(rows, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target)
      if (typeof value !== 'function') return value
      return (...given: unknown[]) => Promise.resolve().then(() => value.apply(target, given))
    },
  })
  const table = new AdmittedTable(later, admissionOf(spec) ?? everyone)
  const reference = desk()
  for (let n = 1; n < 6; n += 1) {
    const keys = randomKeys(n % 3, 10)
    const [vectors, expected] = [new Float32Array(20), new Float32Array(20)]
    const once = new Uint32Array(10).fill(1)
    await table.findOrInsert(keys, vectors, step(n), once)
    await table.applyGradients(keys, vectors, once, step(n))
    void reference.table.findOrInsert(keys, expected, step(n), once)
    void reference.table.applyGradients(keys, expected, once, step(n))
    expect(vectors).toEqual(expected)
  }
  expect(rows.digest()).toBe(reference.rows.digest())
})
