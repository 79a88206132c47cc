import { describe, expect, test } from 'vitest'

import { MemoryTable } from '../../../src/embedding/memory/memory-table.ts'
import { testEmbeddingTable } from '../../contract/embedding-table.ts'
import { testTieredTable } from '../../contract/tiered-table.ts'
import { randomKeys, step, tableSpec } from '../../support/tables.ts'
import { tieredTable } from '../../support/tiered.ts'

describe.each([4, 1000])('with %i rows in memory', (memoryRows) => {
  testEmbeddingTable((spec) => Promise.resolve(tieredTable(spec, { memoryRows }).table))
})
testTieredTable((spec, memoryRows) => Promise.resolve(tieredTable(spec, { memoryRows }).table), 150)

test('a table that fits in memory whole needs no room, however much has changed', async () => {
  const whole = tableSpec({ capacityRows: 64 })
  const { table } = tieredTable(whole, { memoryRows: 64, saved: () => undefined })
  const memory = new MemoryTable(whole)
  const vectors = new Float32Array(200)
  for (const one of [table, memory]) {
    for (let n = 1; n < 9; n += 1) await one.findOrInsert(randomKeys(n, 100), vectors, step(n))
  }
  expect(table.size).toBe(64)
  expect(await table.digest()).toBe(memory.digest())
})

test('a table of which too much has changed says so, and goes on after a flush', async () => {
  const { table } = tieredTable(tableSpec({ capacityRows: 64 }), {
    memoryRows: 16,
    saved: () => undefined,
  })
  await table.assign(randomKeys(1, 16), new Float32Array(32), step(1))
  const more = async (): Promise<void> =>
    await table.assign(randomKeys(2, 8), new Float32Array(16), step(2))
  await expect(more()).rejects.toMatchObject({ code: 'ROW_CACHE_FULL' })
  await table.flush(1)
  await more()
  expect(table.size).toBe(24)
})

test('rows that are sent for ahead are taken if they are still right', async () => {
  const { table } = tieredTable(tableSpec({ capacityRows: 64 }), { memoryRows: 16 })
  const [first, second] = [randomKeys(1, 16), randomKeys(2, 16)]
  await table.assign(first, new Float32Array(32).fill(1), step(1))
  await table.assign(second, new Float32Array(32).fill(2), step(2))
  table.prefetch(first)
  const found = new Float32Array(32)
  await table.find(first, found)
  expect(found).toEqual(new Float32Array(32).fill(1))
  expect(table.stats().tier).toMatchObject({ fetched: 16, prefetched: 8 })
  // Changed between sending and taking, and back in the store meanwhile.
  table.prefetch(second)
  await table.assign(second, new Float32Array(32).fill(3), step(3))
  await table.find(first, found)
  await table.find(second, found)
  expect(found).toEqual(new Float32Array(32).fill(3))
})
