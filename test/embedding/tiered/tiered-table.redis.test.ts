/**
 * What every table must do, done by one that has few of its rows in memory and all in Redis: on one
 * server, on a cluster, and on the oldest Redis that can be had.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { MemoryTable } from '../../../src/embedding/memory/memory-table.ts'
import {
  openRedisRowStore,
  type RedisRowStore,
} from '../../../src/embedding/redis/redis-row-store.ts'
import type { TableSpec } from '../../../src/embedding/table-spec.ts'
import type { RedisSettings } from '../../../src/redis/redis-connection.ts'
import { testEmbeddingTable } from '../../contract/embedding-table.ts'
import { testTieredTable } from '../../contract/tiered-table.ts'
import { oldestRedis } from '../../support/fetch-redis.ts'
import { anyServer, RedisServer, startCluster } from '../../support/redis-server.ts'
import { randomKeys, step, tableSpec } from '../../support/tables.ts'
import { recordBytesOf, tieredTable } from '../../support/tiered.ts'

type Servers = { readonly settings: RedisSettings } & AsyncDisposable

/** Opens tables on servers that `start` gives, each under a tag of its own. */
function tablesOn(start: () => Promise<Servers>) {
  let servers: Servers
  const stores: RedisRowStore[] = []
  beforeAll(async () => {
    servers = await start()
  }, 240_000)
  afterAll(async () => {
    for (const store of stores) {
      await store.clear()
      await store.close()
    }
    await servers[Symbol.asyncDispose]()
  })
  const run = `${process.pid}-${performance.now()}`
  return async (spec: TableSpec, memoryRows: number) => {
    const store = await openRedisRowStore({
      table: spec,
      recordBytes: recordBytesOf(spec),
      tag: `tiered-${run}-${stores.length}`,
      connection: servers.settings,
    })
    stores.push(store)
    return tieredTable(spec, { memoryRows, store }).table
  }
}

describe.each<readonly [string, () => Promise<Servers>]>([
  ['one server', anyServer],
  ['a cluster of three nodes', startCluster],
  ['the oldest Redis', () => RedisServer.start({ program: oldestRedis() })],
])('%s', (_, start) => {
  const open = tablesOn(start)
  testEmbeddingTable((spec) => open(spec, 4))
  testTieredTable(open, 60)
})

describe('growth', () => {
  const open = tablesOn(anyServer)

  test('a table twenty times its memory trains to the bits of one in memory', async () => {
    const spec = tableSpec({ dim: 8, capacityRows: 20_000 })
    const memory = new MemoryTable(spec)
    const tiered = await open(spec, 1000)
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
})
