/**
 * A service whose configuration file says how its rows' servers are reached: Sentinels, a cluster,
 * TLS with an ACL user of no more rights than are documented.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { expect, test } from 'vitest'

import { loadConfig, parseOverride } from '../../../src/app/config/config.ts'
import { run } from '../../support/cli.ts'
import {
  makeCertificate,
  RedisServer,
  startCluster,
  startSentinel,
  tlsConfig,
} from '../../support/redis-server.ts'
import { temporaryDirectory } from '../../support/temporary-directory.ts'
import { smallShop, startSmall } from '../small-service.ts'

const limit = { timeout: 60_000 }
const password = 'not-to-be-logged'
const rights =
  '~freshet:* +hget +hset +hmget +hgetall +hdel +hlen +hkeys +eval +evalsha +unlink +info +ping +hello +client|setname'

/** Servers, and what `process.tables.redis` says of them, in a directory for files. */
type Start = (directory: string) => Promise<AsyncDisposable & { readonly redis: object }>

const listOf = (addresses: readonly { host: string; port: number }[]): string[] =>
  addresses.map(({ host, port }) => `${host}:${port}`)

const throughSentinel: Start = async () => {
  const servers = await startSentinel()
  const { addresses, masterName } = servers.settings
  return Object.assign(servers, { redis: { sentinels: listOf(addresses), masterName } })
}

const inCluster: Start = async () => {
  const servers = await startCluster()
  const nodes = listOf(servers.settings.addresses.slice(0, 1))
  return Object.assign(servers, { redis: { nodes } })
}

const byTls: Start = async (directory) => {
  const { key, cert } = makeCertificate(directory)
  const passwordFile = join(directory, 'password')
  writeFileSync(passwordFile, `${password}\n`)
  const config = [
    ...tlsConfig({ key, cert }),
    `user trainer on >${password} ${rights}`,
    'user default on nopass +ping',
  ]
  const servers = await RedisServer.start({
    config,
    client: { tls: { rejectUnauthorized: false } },
  })
  const url = `rediss://127.0.0.1:${servers.port}/0`
  const redis = { url, username: 'trainer', passwordFile, tls: { caFile: cert } }
  return Object.assign(servers, { redis })
}

test.each([
  ['through Sentinels', throughSentinel],
  ['in a cluster', inCluster],
  ['over TLS, by an ACL user', byTls],
] as const)('rows %s, as a configuration file says', limit, async (_, start) => {
  using directory = temporaryDirectory()
  await using servers = await start(directory.path)
  const { redis } = servers
  const file = join(directory.path, 'shop.yaml')
  const data = join(directory.path, 'data')
  const byTable = { words: { rows: 'memory' }, had: { rows: 'redis' } }
  const tables = { rows: 'tiered', memoryRows: 4000, byTable, redis }
  // JSON is YAML.
  const process = { dataDirectory: data, http: { port: 0 }, tables }
  writeFileSync(file, JSON.stringify({ process }))
  const overrides = smallShop.map(parseOverride)
  const { config } = loadConfig({ file, environment: {}, overrides })
  const log: string[] = []
  const first = await startSmall(config, log)
  await first.client.waitUntilReady(20_000)
  await first.client.sendItems(
    Array.from({ length: 60 }, (__, i) => ({
      id: `item-${i}`,
      features: { title: `thing ${i}`, categories: ['a'] },
      attributes: { title: `thing ${i}` },
    })),
  )
  const clicks = Array.from({ length: 300 }, (__, i) => ({
    kind: 'interaction',
    userId: `user-${i % 30}`,
    itemId: `item-${(7 * i) % 60}`,
    type: 'click',
    context: { device: 'phone' },
  }))
  await first.client.sendEvents(clicks)
  await first.settled(clicks.length)
  await first.service.stop()
  const flags = ['--config', file, ...smallShop.flatMap((text) => ['--set', text])]
  const { json } = await run('rows', 'list', ...flags, '--json')
  const { tags } = json as { tags: { table: string; tag: string; rows: number }[] }
  expect(tags.find(({ table }) => table === 'user')?.rows).toBeGreaterThanOrEqual(30)

  const second = await startSmall(config, log)
  await second.client.waitUntilReady(20_000)
  const metrics = await second.client.metrics()
  expect(metrics.sum('freshet_trainer_examples_total')).toBe(clicks.length)
  expect(metrics.sum('freshet_tier_store_up')).toBeGreaterThan(3)
  const { items } = await second.client.recommend('user-1', { n: 5 })
  expect(items).toHaveLength(5)
  await second.service.stop()
  expect(log.join('\n')).not.toContain(password)
})
