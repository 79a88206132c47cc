import { afterAll, beforeAll, describe } from 'vitest'

import type { RedisRowStore } from '../../../src/embedding/redis/redis-row-store.ts'
import { openRedisRowStore } from '../../../src/embedding/redis/redis-row-store.ts'
import { openStoredTable, recordBytesOf } from '../../../src/embedding/store/stored-table.ts'
import type { TableSpec } from '../../../src/embedding/table-spec.ts'
import type { RedisSettings } from '../../../src/redis/redis-connection.ts'
import { testEmbeddingTable } from '../../contract/embedding-table.ts'
import { testStoredTable } from '../../contract/stored-table.ts'
import { anyServer, startCluster } from '../../support/redis-server.ts'
import { adagrad } from '../../support/tables.ts'

/** The contract on servers that `start` gives, each table under a tag of its own. */
function testOn(start: () => Promise<{ settings: RedisSettings } & AsyncDisposable>): void {
  let servers: Awaited<ReturnType<typeof start>>
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
  const open = async (spec: TableSpec) => {
    const store = await openRedisRowStore({
      table: spec,
      recordBytes: recordBytesOf(spec),
      tag: `${run}-${stores.length}`,
      connection: servers.settings,
    })
    stores.push(store)
    return await openStoredTable(spec, { store })
  }
  testEmbeddingTable(open)
  testStoredTable(open, [adagrad, { ...adagrad, kind: 'adagradDecay', decay: 0.7, decaySteps: 5 }])
}

describe('one server', () => {
  testOn(anyServer)
})

describe('a cluster of three nodes', () => {
  testOn(startCluster)
})
