/** Replies that are lost and commands that come late: what was done is done once, in order. */
import { afterAll, beforeAll, expect, test } from 'vitest'

import { ServiceError } from '../../../src/base/errors.ts'
import { seededRandom } from '../../../src/base/random.ts'
import { openRedisRowStore } from '../../../src/embedding/redis/redis-row-store.ts'
import { closing, readAll, recordsOf, testRecordBytes } from '../../contract/row-store.ts'
import { FaultyNetwork } from '../../support/faulty-network.ts'
import { RedisServer, until } from '../../support/redis-server.ts'
import { keysOf, range, tableSpec } from '../../support/tables.ts'

let server: RedisServer
beforeAll(async () => {
  server = await RedisServer.start()
}, 240_000)
afterAll(() => server.stop())

async function open(network: FaultyNetwork, tag: string, attempts = 8) {
  const store = await openRedisRowStore({
    table: tableSpec(),
    recordBytes: testRecordBytes,
    tag,
    slices: 4,
    connection: { mode: 'standalone', addresses: [{ host: '127.0.0.1', port: network.port }] },
    limits: { commandTimeoutMs: 200, attempts, probeIntervalMs: 20 },
  })
  return closing(store)
}

const ids = range(0, 40)
const keys = keysOf(...ids)

test('erase tells how many rows there were though its reply is lost', async () => {
  await using network = await FaultyNetwork.before(server.port)
  await using store = await open(network, 'erase')
  const random = seededRandom(6)
  for (let round = 0; round < 30; round += 1) {
    await store.write(recordsOf(keys))
    network.cutAfter(1 + random.integer(4))
    expect(await store.erase(keys)).toBe(40)
    expect(await store.size()).toBe(0)
  }
  expect(network.cuts).toBeGreaterThan(8)
}, 30_000)

test('a write that comes late, from a connection given up, changes nothing any more', async () => {
  await using network = await FaultyNetwork.before(server.port)
  await using store = await open(network, 'late', 2)
  await store.write(recordsOf(keys, 1))
  network.hold()
  const late = await store.write(recordsOf(keys, 2)).catch((error: unknown) => error)
  expect(late).toBeInstanceOf(ServiceError)
  expect(late).toMatchObject({ code: 'ROW_STORE_UNAVAILABLE' })
  await until('another connection', () => store.state === 'available')
  await store.write(recordsOf(keys, 3))
  await network.release()
  expect(await readAll(store, keys)).toEqual([recordsOf(keys, 3), ids.map(() => 1)])
  await store.erase(keysOf(1))
  expect((await readAll(store, keysOf(1)))[1]).toEqual([0])
}, 30_000)

test('rows read through a network that breaks are those that were written', async () => {
  await using network = await FaultyNetwork.before(server.port)
  await using store = await open(network, 'reads')
  const many = keysOf(...range(0, 3_000))
  await store.write(recordsOf(many))
  const random = seededRandom(7)
  for (let round = 0; round < 40; round += 1) {
    network.cutAfter(1 + random.integer(6))
    const [records, present] = await readAll(store, many)
    expect(Buffer.compare(records, recordsOf(many))).toBe(0)
    expect(present.every((flag) => flag === 1)).toBe(true)
  }
}, 30_000)
