/**
 * What `restrict` and the verbs around it do in TensorFlow Recommenders Addons, number for number:
 * counts are of update steps, however often a key comes in one.
 */
import { describe, expect, test } from 'vitest'

import { seededRandom } from '../../../src/base/random.ts'
import type { RestrictRequest } from '../../../src/embedding/embedding-table.ts'
import { MemoryTable } from '../../../src/embedding/memory/memory-table.ts'
import { keysOf, range, step, tableSpec } from '../../support/tables.ts'

const compatible = { policy: 'frequency', numReserved: 1, trigger: 1, counting: 'steps' } as const

/** One step on these ids; each comes so often as its id says, and that must not matter. */
function train(table: MemoryTable, ids: readonly number[], n: number): void {
  const vectors = new Float32Array(ids.length * table.spec.dim)
  const occurrences = Uint32Array.from(ids, (id) => 1 + (id % 7))
  table.findOrInsert(keysOf(...ids), vectors, step(n))
  table.applyGradients(keysOf(...ids), vectors.fill(0.1), occurrences, step(n))
}

function idsIn(table: MemoryTable): number[] {
  const present = new Uint8Array(256)
  table.find(keysOf(...range(0, 256)), new Float32Array(256 * table.spec.dim), present)
  return range(0, 256).filter((id) => present[id] === 1)
}

describe.each([1, 3])('in %i memories', (shards) => {
  const open = (dim = 2): MemoryTable =>
    new MemoryTable(tableSpec({ dim, capacityRows: 512, restrict: compatible }), { shards })

  const trained = (...steps: readonly (readonly number[])[]): MemoryTable => {
    const table = open()
    for (const [n, ids] of steps.entries()) train(table, ids, n + 1)
    return table
  }

  const first = [range(0, 6), range(4, 9)]
  const second = [range(0, 6), range(3, 9)]

  test.each<[readonly (readonly number[])[], RestrictRequest, number[]]>([
    [first, { policy: 'frequency', numReserved: 2, trigger: 2 }, [4, 5]],
    [first, { policy: 'timestamp', numReserved: 5, trigger: 5 }, [4, 5, 6, 7, 8]],
    [first, { policy: 'frequency', numReserved: 2, trigger: 100 }, range(0, 9)],
    [second, { policy: 'frequency', numReserved: 3, trigger: 3 }, [3, 4, 5]],
    [second, { policy: 'timestamp', numReserved: 6, trigger: 6 }, [3, 4, 5, 6, 7, 8]],
  ])('steps on %j, restricted by %j, leave %j', (steps, request, left) => {
    const table = trained(...steps)
    expect(table.size).toBe(9)
    table.restrict(request)
    expect(idsIn(table)).toEqual(left)
  })

  test('32 random ids below 256 a step, 100 reserved, trigger 150: 100 rows and 100 states', () => {
    const random = seededRandom(5)
    const table = open(8)
    for (let n = 1; table.size <= 150; n += 1) {
      train(table, [...new Set(range(0, 32).map(() => random.integer(256)))], n)
    }
    table.restrict({ policy: 'frequency', numReserved: 100, trigger: 150 })
    expect(table.size).toBe(100)
    const records = new Uint8Array(256 * table.recordBytes)
    const present = new Uint8Array(256)
    table.readRecords(keysOf(...range(0, 256)), records, present)
    const state = (id: number): Float32Array =>
      new Float32Array(records.slice((id + 1) * table.recordBytes - 32).buffer, 0, 8)
    expect(range(0, 256).filter((id) => state(id)[0] > 0.1)).toHaveLength(100)
    expect(present.reduce((sum, bit) => sum + bit, 0)).toBe(100)
  })

  test('4 keys upserted, [1, 5] removed: 3 left; [0, 1, 5] is [0, -1, -1] with default -1', () => {
    const initializer = { kind: 'constant', value: -1 } as const
    const table = new MemoryTable(tableSpec({ dim: 1, initializer }), { shards })
    table.assign(keysOf(0, 1, 2, 3), Float32Array.of(0, 1, 2, 3), step(1))
    table.erase(keysOf(1, 5))
    expect(table.size).toBe(3)
    const found = new Float32Array(3)
    table.find(keysOf(0, 1, 5), found)
    expect([...found]).toEqual([0, -1, -1])
  })

  test.each([
    { numReserved: -1 },
    { numReserved: 1.5 },
    { trigger: -1 },
    { trigger: 0.5 },
    { numReserved: Number.NaN },
  ])('%j is a clear error', (wrong) => {
    const request = { policy: 'frequency', numReserved: 1, trigger: 1, ...wrong } as const
    expect(() => open().restrict(request)).toThrow(/must be a whole number of rows, not/)
  })
})
