/** Who may connect, how, and to which rows. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterAll, beforeAll, expect, test } from 'vitest'

import type { RedisRowStoreOptions } from '../../../src/embedding/redis/redis-row-store.ts'
import { openRedisRowStore } from '../../../src/embedding/redis/redis-row-store.ts'
import type { RowKind } from '../../../src/embedding/redis/redis-slice-header.ts'
import { RedisTags } from '../../../src/embedding/redis/redis-tags.ts'
import type { TableSpec } from '../../../src/embedding/table-spec.ts'
import type { RedisSettings } from '../../../src/redis/redis-connection.ts'
import { closing, readAll, recordsOf, testRecordBytes } from '../../contract/row-store.ts'
import {
  makeCertificate,
  RedisServer,
  startCluster,
  tlsConfig,
} from '../../support/redis-server.ts'
import { keysOf, randomKeys, range, tableSpec } from '../../support/tables.ts'

const password = 'not-to-be-logged'
/** What `docs/operating.md` says that a user needs. */
const permissions =
  '~freshet:* +hget +hset +hmget +hgetall +hdel +hlen +hkeys +eval +evalsha +unlink +info +ping +hello +client|setname'

const kind: RowKind = { table: tableSpec({ name: 'connection' }), recordBytes: testRecordBytes }

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

async function gathered(runs: AsyncIterable<Uint8Array>): Promise<Uint8Array[]> {
  const all: Uint8Array[] = []
  for await (const run of runs) all.push(run)
  return all
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
  await store.mark(1)
  await using tags = await RedisTags.open('connection', as('trainer', password))
  const [tag] = await tags.list()
  expect(tag).toMatchObject({ tag: 'v1', rows: 49 })
  const rows = await gathered(tags.rows('v1', kind))
  expect(Buffer.concat(rows)).toHaveLength(49 * testRecordBytes)
  await tags.remove(tag)
  expect(await tags.list()).toEqual([])
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
  ['keySeed', {}],
])('rows of another %s are refused', async (field, changes) => {
  await using store = await open(server.settings, { tag: 'mine', keySeed: 1 })
  await store.write(recordsOf(keysOf(1)))
  const table = tableSpec({ name: 'connection', ...changes })
  const other = { tag: 'mine', table, keySeed: field === 'keySeed' ? 2 : 1 }
  await expect(open(server.settings, other)).rejects.toMatchObject({
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

test('rows under a tag are read by whoever has the same kind, however they are sliced', async () => {
  await using store = await open(server.settings, { tag: 'read', slices: 4, keySeed: 1 })
  const keys = keysOf(...range(0, 300))
  await store.write(recordsOf(keys))
  await using tags = await RedisTags.open('connection', server.settings)
  const read = async (changes: Partial<RowKind>, tag = 'read'): Promise<Buffer> =>
    Buffer.concat(await gathered(tags.rows(tag, { ...kind, ...changes })))
  const found = await read({ keySeed: 1 })
  const others = tableSpec({ name: 'connection', seed: 9, initializer: { kind: 'zeros' } })
  expect(await read({ table: others })).toEqual(found)
  await using copy = await open(server.settings, { tag: 'copy' })
  await copy.write(found)
  expect(await readAll(copy, keys)).toEqual([recordsOf(keys), range(0, 300).map(() => 1)])
  for (const [field, refused] of [
    ['keySeed', () => read({ keySeed: 2 })],
    ['recordBytes', () => read({ recordBytes: 52 })],
    ['rows', () => read({}, 'nobody')],
  ] as const) {
    await expect(refused()).rejects.toMatchObject({
      code: 'ROW_STORE_INCOMPATIBLE',
      details: { field },
    })
  }
})

test('a slice that changes while it is read is read again', async () => {
  await using store = await open(server.settings, { tag: 'busy', slices: 1 })
  const keys = keysOf(...range(0, 300))
  await store.write(recordsOf(keys, 1))
  await using tags = await RedisTags.open('connection', server.settings, { attempts: 50 })
  const stop = new AbortController()
  const writing = (async () => {
    for (let seed = 2; seed < 40 && !stop.signal.aborted; seed += 1) {
      await store.write(recordsOf(keys, seed))
    }
  })()
  const [rows] = await gathered(tags.rows('busy', kind))
  stop.abort()
  await writing
  const seeds = range(0, 300).map((i) => Buffer.from(rows).readUInt32LE(i * testRecordBytes + 12))
  expect(new Set(seeds).size).toBe(1)
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
    const config = tlsConfig({ key, cert })
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
