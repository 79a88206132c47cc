/**
 * What every embedding table must do. An adapter's test calls this with a way to open an empty
 * table; what is special to the adapter it tests itself.
 */
import { expect, test } from 'vitest'

import type { EmbeddingTable, RestrictRequest } from '../../src/embedding/embedding-table.ts'
import type { TableSpec } from '../../src/embedding/table-spec.ts'
import { idsOf, keysOf, range, step, tableSpec } from '../support/tables.ts'

export type OpenTable = (spec: TableSpec) => Promise<EmbeddingTable>

/** One training step on distinct ids: rows are made, then updated. */
async function train(table: EmbeddingTable, ids: readonly number[], n: number): Promise<void> {
  const keys = keysOf(...ids)
  await table.findOrInsert(keys, new Float32Array(ids.length * table.spec.dim), step(n))
  const gradients = new Float32Array(ids.length * table.spec.dim).fill(0.5)
  const occurrences = new Uint32Array(ids.length).fill(1)
  await table.applyGradients(keys, gradients, occurrences, step(n))
}

async function vectorsOf(table: EmbeddingTable, ids: readonly number[]): Promise<number[]> {
  const vectors = new Float32Array(ids.length * table.spec.dim)
  await table.find(keysOf(...ids), vectors)
  return [...vectors]
}

async function presence(table: EmbeddingTable, ids: readonly number[]): Promise<number[]> {
  const present = new Uint8Array(ids.length)
  await table.find(keysOf(...ids), new Float32Array(ids.length * table.spec.dim), present)
  return [...present]
}

async function changes(table: EmbeddingTable): Promise<readonly [number[], number[]]> {
  const { changed, removed, resync } = await table.takeChanges()
  // Told apart so that a test sees it: no id is negative.
  return resync ? [[-1], [-1]] : [idsOf(changed), idsOf(removed)]
}

const floats = (...values: number[]): Float32Array => Float32Array.from(values)

async function idsIn(table: EmbeddingTable, limit = 256): Promise<number[]> {
  const present = await presence(table, range(0, limit))
  return range(0, limit).filter((id) => present[id] === 1)
}

export function testEmbeddingTable(open: OpenTable): void {
  testVerbs(open)
  testFullTable(open)
  testRestrict(open)
  testChanges(open)
  testAccumulate(open)
}

function testVerbs(open: OpenTable): void {
  test('findOrInsert returns the same row for the same key', async () => {
    const table = await open(tableSpec())
    const [first, second] = [new Float32Array(4), new Float32Array(4)]
    await table.findOrInsert(keysOf(1, 2), first, step(1))
    await table.findOrInsert(keysOf(1, 2), second, step(2))
    expect(second).toEqual(first)
    expect(table.size).toBe(2)
  })

  test('a key that comes twice in one batch gets one row', async () => {
    const table = await open(tableSpec())
    await table.findOrInsert(keysOf(5, 5, 5), new Float32Array(6), step(1))
    expect(table.size).toBe(1)
  })

  test('find makes no row and gives the vector that the row would start with', async () => {
    const table = await open(tableSpec())
    const before = await vectorsOf(table, [1, 2])
    expect(table.size).toBe(0)
    const inserted = new Float32Array(4)
    await table.findOrInsert(keysOf(1, 2), inserted, step(1))
    expect([...inserted]).toEqual(before)
  })

  test('find says which keys have a row', async () => {
    const table = await open(tableSpec())
    await train(table, [1, 3], 1)
    expect(await presence(table, [0, 1, 2, 3])).toEqual([0, 1, 0, 1])
  })

  test('assign sets vectors, of new keys and of old ones', async () => {
    const table = await open(tableSpec())
    await train(table, [1], 1)
    await table.assign(keysOf(1, 2), Float32Array.of(1, 2, 3, 4), step(2))
    expect(await vectorsOf(table, [1, 2])).toEqual([1, 2, 3, 4])
  })

  test('applyGradients leaves out keys without a row', async () => {
    const table = await open(tableSpec())
    const gradients = new Float32Array(2).fill(1)
    await table.applyGradients(keysOf(7), gradients, Uint32Array.of(1), step(1))
    expect(table.size).toBe(0)
  })

  test('applyGradients takes a step of Adagrad', async () => {
    const table = await open(tableSpec({ initializer: { kind: 'constant', value: 1 } }))
    await table.findOrInsert(keysOf(1), new Float32Array(2), step(1))
    await table.applyGradients(keysOf(1), Float32Array.of(0.5, -2), Uint32Array.of(1), step(1))
    const [a, b] = await vectorsOf(table, [1])
    expect(a).toBeCloseTo(1 - (0.1 * 0.5) / Math.sqrt(0.1 + 0.25 + 1e-7), 6)
    expect(b).toBeCloseTo(1 + (0.1 * 2) / Math.sqrt(0.1 + 4 + 1e-7), 6)
  })

  test('erase removes rows and says how many there were', async () => {
    const table = await open(tableSpec())
    await table.assign(keysOf(0, 1, 2, 3), new Float32Array(8), step(1))
    expect(await table.erase(keysOf(1, 5))).toBe(1)
    expect(table.size).toBe(3)
    expect(await presence(table, [0, 1, 5])).toEqual([1, 0, 0])
  })

  test('a key that returns starts fresh', async () => {
    const table = await open(tableSpec())
    const initial = await vectorsOf(table, [1])
    await train(table, [1], 1)
    await table.erase(keysOf(1))
    expect(await vectorsOf(table, [1])).toEqual(initial)
    await train(table, [1], 2)
    const other = await open(tableSpec())
    await train(other, [1], 2)
    expect(await vectorsOf(table, [1])).toEqual(await vectorsOf(other, [1]))
  })

  test('the key 0 never has a row', async () => {
    const table = await open(tableSpec())
    const none = new Uint32Array(2)
    await table.findOrInsert(none, new Float32Array(2), step(1))
    await table.assign(none, new Float32Array(2), step(1))
    await table.applyGradients(none, new Float32Array(2), Uint32Array.of(1), step(1))
    expect(await table.erase(none)).toBe(0)
    expect(table.size).toBe(0)
  })
}

function testFullTable(open: OpenTable): void {
  test('a full table refuses new keys, counts them and goes on', async () => {
    const table = await open(tableSpec({ capacityRows: 8 }))
    await train(table, range(0, 12), 1)
    expect(table.size).toBe(8)
    expect(await idsIn(table)).toEqual(range(0, 8))
    expect(table.stats()).toMatchObject({ rows: 8, admitted: 8, refused: 4 })
  })

  test('a refused key reads its initial vector and learns nothing', async () => {
    const table = await open(tableSpec({ capacityRows: 1 }))
    const initial = await vectorsOf(table, [1])
    await train(table, [0, 1], 1)
    expect(await vectorsOf(table, [1])).toEqual(initial)
  })

  test('room that erase makes is used again', async () => {
    const table = await open(tableSpec({ capacityRows: 4 }))
    for (let round = 0; round < 10; round += 1) {
      await train(table, range(4 * round, 4 * round + 4), round + 1)
      expect(table.size).toBe(4)
      await table.erase(keysOf(...range(4 * round, 4 * round + 4)))
    }
    expect(table.stats().refused).toBe(0)
  })
}

function testRestrict(open: OpenTable): void {
  const restricted = async (
    steps: readonly (readonly number[])[],
    request: RestrictRequest,
  ): Promise<number[]> => {
    const table = await open(tableSpec())
    for (const [i, ids] of steps.entries()) await train(table, ids, i + 1)
    const before = await idsIn(table)
    const removed = idsOf(await table.restrict(request))
    const after = await idsIn(table)
    expect([...removed, ...after].toSorted((a, b) => a - b)).toEqual(before)
    expect(table.size).toBe(after.length)
    return after
  }
  const first = [range(0, 6), range(4, 9)]
  const second = [range(0, 6), range(3, 9)]

  test('ids 0..5, then 4..8: frequency keeps 4 and 5', async () => {
    const request = { numReserved: 2, trigger: 2, policy: 'frequency' } as const
    expect(await restricted(first, request)).toEqual([4, 5])
  })

  test('ids 0..5, then 4..8: timestamp keeps 4..8', async () => {
    const request = { numReserved: 5, trigger: 5, policy: 'timestamp' } as const
    expect(await restricted(first, request)).toEqual([4, 5, 6, 7, 8])
  })

  test('ids 0..5, then 4..8: nothing happens below the trigger', async () => {
    const request = { numReserved: 2, trigger: 100, policy: 'frequency' } as const
    expect(await restricted(first, request)).toEqual(range(0, 9))
  })

  test('nothing happens at the trigger itself', async () => {
    const request = { numReserved: 2, trigger: 9, policy: 'timestamp' } as const
    expect(await restricted(first, request)).toEqual(range(0, 9))
  })

  test('ids 0..5, then 3..8: frequency keeps 3, 4, 5 of 3', async () => {
    const request = { numReserved: 3, trigger: 3, policy: 'frequency' } as const
    expect(await restricted(second, request)).toEqual([3, 4, 5])
  })

  test('ids 0..5, then 3..8: timestamp keeps 3..8 of 6', async () => {
    const request = { numReserved: 6, trigger: 6, policy: 'timestamp' } as const
    expect(await restricted(second, request)).toEqual([3, 4, 5, 6, 7, 8])
  })

  test('among equal counts the older leave first, then the smaller keys', async () => {
    const request = { numReserved: 2, trigger: 2, policy: 'frequency' } as const
    expect(await restricted([[3, 9, 1], [2], [8]], request)).toEqual([2, 8])
    expect(await restricted([[3, 9, 1]], request)).toEqual([3, 9])
  })

  test('restrictSome ends where restrict does', async () => {
    const request = { numReserved: 3, trigger: 3, policy: 'frequency' } as const
    const table = await open(tableSpec())
    for (const [i, ids] of second.entries()) await train(table, ids, i + 1)
    for (let calls = 0; table.size > 3 && calls < 9; calls += 1) await table.restrictSome(request)
    expect(await idsIn(table)).toEqual([3, 4, 5])
    expect(await table.restrictSome(request)).toHaveLength(0)
  })

  test('everything can leave', async () => {
    const request = { numReserved: 0, trigger: 0, policy: 'frequency' } as const
    expect(await restricted(first, request)).toEqual([])
  })

  test.each([-1, 2.5, Number.NaN, Number.POSITIVE_INFINITY])(
    '%s is no number of rows',
    async (value) => {
      const table = await open(tableSpec())
      const call = async (request: Partial<RestrictRequest>): Promise<unknown> =>
        await table.restrict({ numReserved: 1, trigger: 1, policy: 'frequency', ...request })
      await expect(call({ numReserved: value })).rejects.toMatchObject({ code: 'RESTRICT_INVALID' })
      await expect(call({ trigger: value })).rejects.toMatchObject({ code: 'RESTRICT_INVALID' })
    },
  )

  test('finding moves no score; occurrences and steps are counted as declared', async () => {
    const restrict = { policy: 'frequency', numReserved: 1, trigger: 1 } as const
    for (const counting of ['occurrences', 'steps'] as const) {
      const table = await open(tableSpec({ restrict: { ...restrict, counting } }))
      const keys = keysOf(1, 2)
      await table.findOrInsert(keys, new Float32Array(4), step(1))
      await table.applyGradients(keys, new Float32Array(4), Uint32Array.of(3, 1), step(1))
      await table.applyGradients(keysOf(2), new Float32Array(2), Uint32Array.of(1), step(2))
      for (let i = 0; i < 9; i += 1) await vectorsOf(table, [1])
      await table.restrict(restrict)
      expect(await idsIn(table)).toEqual(counting === 'occurrences' ? [1] : [2])
    }
  })
}

function testChanges(open: OpenTable): void {
  test('changes are the keys inserted, updated, assigned or removed since the last time', async () => {
    const table = await open(tableSpec())
    await train(table, [1, 2, 3], 1)
    expect(await changes(table)).toEqual([[1, 2, 3], []])
    expect(await changes(table)).toEqual([[], []])
    await train(table, [2], 2)
    await table.assign(keysOf(9), new Float32Array(2), step(2))
    await table.erase(keysOf(3, 4))
    expect(await changes(table)).toEqual([[2, 9], [3]])
    await table.find(keysOf(1, 2), new Float32Array(4))
    expect(await changes(table)).toEqual([[], []])
  })

  test('so many rows have changed, counted once each, or an eighth more', async () => {
    const table = await open(tableSpec({ capacityRows: 512 }))
    for (let n = 1; n <= 4; n += 1) await train(table, range(0, 40), n)
    expect([table.hasChanged(40), table.hasChanged(41), table.hasChanged(1000)]).toEqual([
      true,
      false,
      false,
    ])
    await train(table, range(40, 70), 5)
    expect([table.hasChanged(64), table.hasChanged(71)]).toEqual([true, false])
    await changes(table)
    expect(table.hasChanged(1)).toBe(false)
  })

  test('what restrict removes is in the next changes', async () => {
    const table = await open(tableSpec())
    await train(table, range(0, 4), 1)
    await train(table, [0, 1], 2)
    await changes(table)
    await table.restrict({ numReserved: 2, trigger: 2, policy: 'frequency' })
    expect(await changes(table)).toEqual([[], [2, 3]])
  })

  test('a key that was removed and came back is changed, not removed', async () => {
    const table = await open(tableSpec())
    await train(table, [1, 2], 1)
    await changes(table)
    await table.erase(keysOf(1, 2))
    await table.findOrInsert(keysOf(1), new Float32Array(2), step(2))
    expect(await changes(table)).toEqual([[1], [2]])
  })

  test('a key that came and went between is only removed', async () => {
    const table = await open(tableSpec())
    await train(table, [1], 1)
    await table.erase(keysOf(1))
    expect(await changes(table)).toEqual([[], [1]])
  })
}

function testAccumulate(open: OpenTable): void {
  test('accumulate tells the four cases apart', async () => {
    const table = await open(tableSpec({ dim: 1 }))
    await table.assign(keysOf(0, 1, 2, 3), floats(0, 1, 2, 3), step(1))
    await table.assign(keysOf(100), floats(99), step(2))
    await table.erase(keysOf(1))
    const change = {
      oldVectors: floats(0, 1, 2, 3),
      newVectors: floats(10, 11, 100, 13),
      exists: Uint8Array.of(1, 1, 0, 1),
    }
    await table.accumulate(keysOf(0, 1, 100, 3), change, step(3))
    expect(await idsIn(table)).toEqual([0, 2, 3, 100])
    expect(await vectorsOf(table, [0, 2, 3, 100])).toEqual([10, 2, 13, 99])
  })

  test('accumulate inserts what nobody had', async () => {
    const table = await open(tableSpec({ dim: 1, capacityRows: 1 }))
    const change = {
      oldVectors: Float32Array.of(0, 0),
      newVectors: Float32Array.of(7, 8),
      exists: Uint8Array.of(0, 0),
    }
    await table.accumulate(keysOf(4, 5), change, step(1))
    expect(await idsIn(table)).toEqual([4])
    expect(await vectorsOf(table, [4])).toEqual([7])
    expect(table.stats()).toMatchObject({ admitted: 1, refused: 1 })
  })
}
