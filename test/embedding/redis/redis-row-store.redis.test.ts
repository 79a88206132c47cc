import { afterAll, beforeAll, describe } from 'vitest'

import { openRedisRowStore } from '../../../src/embedding/redis/redis-row-store.ts'
import type { RedisSettings } from '../../../src/redis/redis-connection.ts'
import { testRecordBytes, testRowStore } from '../../contract/row-store.ts'
import { oldestRedis, valkey } from '../../support/fetch-redis.ts'
import { anyServer, RedisServer, startCluster } from '../../support/redis-server.ts'
import { tableSpec } from '../../support/tables.ts'

/** The contract on servers that `start` gives, each store under a tag of its own. */
function testOn(start: () => Promise<{ settings: RedisSettings } & AsyncDisposable>): void {
  let servers: Awaited<ReturnType<typeof start>>
  beforeAll(async () => {
    servers = await start()
  }, 240_000)
  afterAll(() => servers[Symbol.asyncDispose]())
  const table = tableSpec({ name: `test-${process.pid}-${performance.now()}` })
  let opened = 0
  testRowStore((tag) => {
    opened += 1
    return openRedisRowStore({
      table,
      recordBytes: testRecordBytes,
      tag: tag ?? `tag-${opened}`,
      connection: servers.settings,
    })
  })
}

describe('one server', () => {
  testOn(anyServer)
})

describe('a cluster of three nodes', () => {
  testOn(startCluster)
})

describe('the oldest Redis', () => {
  testOn(() => RedisServer.start({ program: oldestRedis() }))
})

describe('Valkey', () => {
  testOn(() => RedisServer.start({ program: valkey() }))
})
