/** What a table in a row store must do beyond the contract of tables: be like one in memory. */
import { expect, test } from 'vitest'

import { seededRandom } from '../../src/base/random.ts'
import type { EmbeddingTable } from '../../src/embedding/embedding-table.ts'
import { MemoryTable } from '../../src/embedding/memory/memory-table.ts'
import type { StoredTable } from '../../src/embedding/store/stored-table.ts'
import type { OptimizerSpec, TableSpec } from '../../src/embedding/table-spec.ts'
import { idsOf, keysOf, range, step, tableSpec } from '../support/tables.ts'

/** One training step on distinct ids: rows are made, then updated. */
export async function train(table: EmbeddingTable, ids: readonly number[], n: number) {
  const keys = Uint32Array.from({ length: 2 * ids.length }, (_, i) => (i % 2 ? 0 : ids[i / 2] + 1))
  const floats = ids.length * table.spec.dim
  await table.findOrInsert(keys, new Float32Array(floats), step(n))
  const gradients = new Float32Array(floats).map((_, i) => ((i % 7) - 3) / 4)
  await table.applyGradients(keys, gradients, new Uint32Array(ids.length).fill(2), step(n))
}

const limit = 80

async function sees(table: EmbeddingTable): Promise<unknown> {
  const vectors = new Float32Array(limit * table.spec.dim)
  const present = new Uint8Array(limit)
  await table.find(keysOf(...range(0, limit)), vectors, present)
  const { rows, admitted, refused, evicted, evictionAgeMs } = table.stats()
  return { vectors, present, rows, admitted, refused, evicted, evictionAgeMs }
}

async function act(table: EmbeddingTable, turn: number): Promise<unknown> {
  const random = seededRandom(turn)
  const ids = [...new Set(range(0, 12).map(() => random.integer(limit)))]
  const keys = keysOf(...ids)
  const floats = new Float32Array(ids.length * table.spec.dim).map(() => random.next() - 0.5)
  const choice = random.integer(10)
  if (choice < 6) await train(table, ids, turn)
  else if (choice === 6) await table.assign(keys, floats, step(turn))
  else if (choice === 7) return await table.erase(keys)
  else if (choice === 8) {
    const exists = new Uint8Array(ids.length).map(() => random.integer(2))
    const change = { oldVectors: floats.map((x) => x / 3), newVectors: floats, exists }
    await table.accumulate(keys, change, step(turn))
  } else {
    const request = { numReserved: 20, trigger: 30, policy: 'frequency' } as const
    return idsOf(await table.restrict(request))
  }
  return undefined
}

/** Not at every turn, so that changes of several add up. */
const changesOf = async (table: EmbeddingTable, turn: number): Promise<unknown> =>
  turn % 7 === 0 ? await table.takeChanges() : undefined

export function testStoredTable(
  open: (spec: TableSpec) => Promise<StoredTable>,
  optimizers: readonly OptimizerSpec[],
): void {
  test.each(optimizers)('with $kind it is a table in memory, bit for bit', async (optimizer) => {
    const spec = tableSpec({ capacityRows: 48, optimizer })
    const [memory, stored] = [new MemoryTable(spec), await open(spec)]
    for (let turn = 1; turn <= 60; turn += 1) {
      expect(await act(stored, turn)).toEqual(await act(memory, turn))
      expect(await sees(stored)).toEqual(await sees(memory))
      expect(await changesOf(stored, turn)).toEqual(await changesOf(memory, turn))
    }
  })

  test('batches larger than the workbench are done in parts', async () => {
    const spec = tableSpec({ capacityRows: 10_000 })
    const [memory, stored] = [new MemoryTable(spec), await open(spec)]
    const ids = range(0, 9_000)
    await train(memory, ids, 1)
    await train(stored, ids, 1)
    expect(stored.size).toBe(9_000)
    const [expected, vectors] = [new Float32Array(18_000), new Float32Array(18_000)]
    memory.find(keysOf(...ids), expected)
    await stored.find(keysOf(...ids), vectors)
    expect(Buffer.compare(Buffer.from(vectors.buffer), Buffer.from(expected.buffer))).toBe(0)
  })

  test('a sweep removes the rows that were not seen since', async () => {
    const table = await open(tableSpec())
    await train(table, range(0, 6), 1)
    await train(table, range(4, 9), 2)
    expect(idsOf(await table.sweep(2_000))).toEqual([0, 1, 2, 3])
    expect(table.size).toBe(5)
    expect(idsOf((await table.takeChanges()).removed)).toEqual([0, 1, 2, 3])
  })

  test('a row that learns while a restrict goes on in shares stays', async () => {
    const spec = tableSpec({ capacityRows: 200_000, dim: 1 })
    const [memory, stored] = [new MemoryTable(spec), await open(spec)]
    const request = { numReserved: 60_000, trigger: 100_000, policy: 'frequency' } as const
    const ids = range(0, 140_000)
    for (const table of [memory, stored]) await train(table, ids, 1)
    for (let turn = 2; turn < 26; turn += 1) {
      await train(memory, range(turn * 10, turn * 10 + 5), turn)
      await train(stored, range(turn * 10, turn * 10 + 5), turn)
      expect(await stored.restrictSome(request)).toEqual(memory.restrictSome(request))
    }
    expect(stored.size).toBe(memory.size)
    expect(stored.size).toBeLessThan(70_000)
  }, 60_000)
}
