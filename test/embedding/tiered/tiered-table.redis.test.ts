/** What every table must do, done by one that has few of its rows in memory and all in Redis. */
import { afterAll, beforeAll, expect, test } from 'vitest'

import { MemoryTable } from '../../../src/embedding/memory/memory-table.ts'
import {
  openRedisRowStore,
  type RedisRowStore,
} from '../../../src/embedding/redis/redis-row-store.ts'
import { testEmbeddingTable } from '../../contract/embedding-table.ts'
import { anyServer } from '../../support/redis-server.ts'
import { randomKeys, step, tableSpec } from '../../support/tables.ts'
import { recordBytesOf, tieredTable } from '../../support/tiered.ts'

let server: Awaited<ReturnType<typeof anyServer>>
const stores: RedisRowStore[] = []
let tags = 0

beforeAll(async () => {
  server = await anyServer()
})
afterAll(async () => {
  for (const store of stores) {
    await store.clear()
    await store.close()
  }
  await server[Symbol.asyncDispose]()
})

async function openTiered(spec: ReturnType<typeof tableSpec>, memoryRows: number) {
  tags += 1
  const store = await openRedisRowStore({
    table: spec,
    recordBytes: recordBytesOf(spec),
    tag: `tiered-${process.pid}-${tags}`,
    connection: server.settings,
  })
  stores.push(store)
  return tieredTable(spec, { memoryRows, store }).table
}

testEmbeddingTable((spec) => openTiered(spec, 4))

test('a table twenty times its memory trains to the bits of one in memory', async () => {
  const spec = tableSpec({ dim: 8, capacityRows: 20_000 })
  const memory = new MemoryTable(spec)
  const tiered = await openTiered(spec, 1000)
  const vectors = new Float32Array(400 * spec.dim)
  for (let n = 1; n <= 60; n += 1) {
    const keys = randomKeys(n % 45, 400)
    const gradients = vectors.map((_, i) => ((i * n) % 7) - 3)
    for (const table of [memory, tiered]) {
      await table.findOrInsert(keys, vectors, step(n))
      await table.applyGradients(keys, gradients, new Uint32Array(400).fill(1), step(n))
    }
  }
  expect(tiered.size).toBe(18_000)
  expect(tiered.stats().tier.fetched).toBeGreaterThan(5000)
  expect(await tiered.digest()).toBe(memory.digest())
})
