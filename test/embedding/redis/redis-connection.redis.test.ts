/** Who may connect, how, and to which rows. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterAll, beforeAll, expect, test } from 'vitest'

import type { RedisRowStoreOptions } from '../../../src/embedding/redis/redis-row-store.ts'
import { openRedisRowStore } from '../../../src/embedding/redis/redis-row-store.ts'
import type { TableSpec } from '../../../src/embedding/table-spec.ts'
import type { RedisSettings } from '../../../src/redis/redis-connection.ts'
import { closing, readAll, recordsOf, testRecordBytes } from '../../contract/row-store.ts'
import { makeCertificate, RedisServer, startCluster } from '../../support/redis-server.ts'
import { keysOf, randomKeys, range, tableSpec } from '../../support/tables.ts'

const password = 'not-to-be-logged'
/** What `docs/operating.md` says that a user needs. */
const permissions =
  '~freshet:* +hget +hset +hmget +hgetall +hdel +hlen +hscan +eval +evalsha +unlink +copy +info +ping +hello +client|setname'

let server: RedisServer
beforeAll(async () => {
  server = await RedisServer.start()
  await server.command('ACL', 'SETUSER', 'trainer', 'on', `>${password}`, ...permissions.split(' '))
  await server.command(
    'ACL',
    'SETUSER',
    'reader',
    'on',
    `>${password}`,
    '~freshet:*',
    '+@read',
    '+hello',
    '+info',
  )
}, 240_000)
afterAll(() => server.stop())

async function open(connection: RedisSettings, more: Partial<RedisRowStoreOptions> = {}) {
  const table = tableSpec({ name: 'connection' })
  const limits = { commandTimeoutMs: 500, attempts: 2 }
  const options = { table, recordBytes: testRecordBytes, tag: 'v1', connection, limits }
  return closing(await openRedisRowStore({ ...options, ...more }))
}

const as = (username: string, secret: string): RedisSettings => ({
  ...server.settings,
  username,
  password: secret,
})

test('a user needs no more than what is documented', async () => {
  await using store = await open(as('trainer', password))
  const keys = keysOf(...range(0, 50))
  await store.write(recordsOf(keys))
  expect(await store.erase(keysOf(1))).toBe(1)
  await store.scores(() => undefined)
  await store.mark(1)
  await using next = await open(as('trainer', password), { tag: 'v2' })
  await next.importFrom('v1')
  expect(await next.size()).toBe(49)
  await using other = await open(as('trainer', password), { tag: 'v3', slices: 4 })
  await other.importFrom('v1')
  expect(await other.size()).toBe(49)
  await other.expire(Number.MAX_SAFE_INTEGER)
})

test('nor in a cluster', async () => {
  await using cluster = await startCluster()
  const more = ['+cluster|slots', '+cluster|info', '+asking']
  for (const node of cluster.servers) {
    const user = ['trainer', 'on', `>${password}`, ...permissions.split(' '), ...more]
    await node.command('ACL', 'SETUSER', ...user)
  }
  await using store = await open({ ...cluster.settings, username: 'trainer', password })
  const keys = keysOf(...range(0, 50))
  await store.write(recordsOf(keys))
  expect(await store.size()).toBe(50)
})

test('a wrong password, or missing permissions, are refused at once and not shown', async () => {
  const denied = await open(as('trainer', `${password}!`)).catch((error: unknown) => error)
  expect(denied).toMatchObject({ code: 'ROW_STORE_FAILED' })
  const reader = await open(as('reader', password)).catch((error: unknown) => error)
  expect(reader).toMatchObject({ code: 'ROW_STORE_FAILED' })
  const shown = JSON.stringify([denied, reader].map((error) => [error, String(error)]))
  expect(shown).not.toContain(password)
})

test('no server is no rows: it is not available', async () => {
  const nobody: RedisSettings = { mode: 'standalone', addresses: [{ host: '127.0.0.1', port: 1 }] }
  await expect(open(nobody)).rejects.toMatchObject({ code: 'ROW_STORE_UNAVAILABLE' })
})

test.each<[string, Partial<TableSpec>]>([
  ['dim', { dim: 3 }],
  ['seed', { seed: 5 }],
  ['initializer', { initializer: { kind: 'zeros' } }],
])('rows of another %s are refused', async (field, changes) => {
  await using store = await open(server.settings, { tag: 'mine' })
  await store.write(recordsOf(keysOf(1)))
  const table = tableSpec({ name: 'connection', ...changes })
  await expect(open(server.settings, { tag: 'mine', table })).rejects.toMatchObject({
    code: 'ROW_STORE_INCOMPATIBLE',
    details: { field },
  })
})

test('rows sliced otherwise are refused when that is asked for, else taken as they are', async () => {
  {
    await using store = await open(server.settings, { tag: 'sliced', slices: 8 })
    await store.write(recordsOf(keysOf(1)))
  }
  await expect(open(server.settings, { tag: 'sliced', slices: 4 })).rejects.toMatchObject({
    code: 'ROW_STORE_INCOMPATIBLE',
    details: { field: 'slices', found: '8', expected: '4' },
  })
  await using store = await open(server.settings, { tag: 'sliced' })
  expect(store.slices).toBe(8)
  expect((await readAll(store, keysOf(1)))[1]).toEqual([1])
})

test('a tag that nobody has is not imported', async () => {
  await using store = await open(server.settings, { tag: 'importing' })
  await expect(store.importFrom('nobody')).rejects.toMatchObject({
    code: 'ROW_STORE_INCOMPATIBLE',
  })
})

test('something else under a key is an error', async () => {
  await using store = await open(server.settings, { tag: 'damaged', slices: 1 })
  await store.write(recordsOf(keysOf(1)))
  const names = await server.command('KEYS', 'freshet:damaged:*:rows')
  const rows = String(names)
  const key = Buffer.from(keysOf(1).buffer).toString('latin1')
  await server.command('HSET', rows, key, 'no row')
  await expect(readAll(store, keysOf(1))).rejects.toMatchObject({ code: 'ROW_STORE_FAILED' })
  await server.command('DEL', rows)
  await server.command('SET', rows, 'no hash')
  await expect(readAll(store, keysOf(1))).rejects.toMatchObject({ code: 'ROW_STORE_FAILED' })
})

test('over TLS with a certificate of our own authority, and with no other', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'freshet-tls-'))
  try {
    const { key, cert } = makeCertificate(directory)
    const ca = readFileSync(cert, 'utf8')
    const config = [
      'tls-port PORT',
      `tls-cert-file ${cert}`,
      `tls-key-file ${key}`,
      `tls-ca-cert-file ${cert}`,
      'tls-auth-clients no',
    ]
    await using secure = await RedisServer.start({ config, client: { tls: { ca } } })
    await using store = await open({ ...secure.settings, tls: { ca } })
    const keys = randomKeys(1, 10)
    await store.write(recordsOf(keys))
    expect(await readAll(store, keys)).toEqual([recordsOf(keys), range(0, 10).map(() => 1)])
    await expect(open({ ...secure.settings, tls: {} })).rejects.toMatchObject({
      code: 'ROW_STORE_UNAVAILABLE',
    })
    await expect(open(secure.settings)).rejects.toMatchObject({ code: 'ROW_STORE_UNAVAILABLE' })
  } finally {
    rmSync(directory, { recursive: true })
  }
})
