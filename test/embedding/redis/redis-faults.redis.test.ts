/**
 * What the row store does when servers are lost, slow or replaced: wait, or say so; never guess.
 */
import assert from 'node:assert/strict'

import { expect, test } from 'vitest'

import { ServiceError } from '../../../src/base/errors.ts'
import type { RedisLimits } from '../../../src/embedding/redis/redis-calls.ts'
import type { RedisRowStore } from '../../../src/embedding/redis/redis-row-store.ts'
import { openRedisRowStore } from '../../../src/embedding/redis/redis-row-store.ts'
import type { RedisSettings } from '../../../src/redis/redis-connection.ts'
import { closing, readAll, recordsOf, testRecordBytes } from '../../contract/row-store.ts'
import {
  clusterReady,
  RedisServer,
  startCluster,
  startSentinel,
  until,
} from '../../support/redis-server.ts'
import { keysOf, range, tableSpec } from '../../support/tables.ts'

const quick: RedisLimits = { commandTimeoutMs: 200, attempts: 2, probeIntervalMs: 50 }

/** To connect may take a busy machine longer than answers to commands may take here. */
const openings = 20

async function open(connection: RedisSettings, limits = quick) {
  const options = { table: tableSpec(), recordBytes: testRecordBytes, tag: 'faults', connection }
  for (let opening = 1; ; opening += 1) {
    try {
      return closing(await openRedisRowStore({ ...options, limits }))
    } catch (error) {
      const isLate = error instanceof ServiceError && error.code === 'ROW_STORE_UNAVAILABLE'
      if (!isLate || opening === openings) throw error
    }
  }
}

/**
 * Writes batch after batch, as training does: waits while the store is unavailable, and writes
 * again what the store has lost. A server killed with its AOF synced every second, and a fail-over,
 * may both lose what they have confirmed.
 */
class Load {
  readonly #store: RedisRowStore
  readonly #ids = range(0, 500)
  readonly #done: Promise<void>
  #ended = false
  batches = 0
  waits = 0

  constructor(store: RedisRowStore) {
    this.#store = store
    this.#done = this.#run()
  }

  /** Ends, and compares every row with what was written last. */
  async end(): Promise<void> {
    this.#ended = true
    await this.#done
    const keys = keysOf(...this.#ids)
    const [records, present] = await readAll(this.#store, keys)
    assert.ok(present.every((flag) => flag === 1))
    assert.equal(Buffer.compare(records, recordsOf(keys, this.batches)), 0)
  }

  async #run(): Promise<void> {
    while (!this.#ended) {
      this.batches += 1
      await this.#again(() => this.#write())
      await this.#again(async () => {
        const [records] = await readAll(this.#store, keysOf(...this.#ids))
        const written = recordsOf(keysOf(...this.#ids), this.batches)
        assert.equal(Buffer.compare(records, written), 0)
      })
    }
  }

  async #write(): Promise<void> {
    await this.#store.write(recordsOf(keysOf(...this.#ids), this.batches))
  }

  async #again(action: () => Promise<void>): Promise<void> {
    for (;;) {
      try {
        await action()
        return
      } catch (error) {
        await this.#recover(error)
      }
    }
  }

  async #recover(error: unknown): Promise<void> {
    if (!(error instanceof ServiceError)) throw error
    this.waits += 1
    await this.#store.ready()
    if (error.code === 'ROW_STORE_UNAVAILABLE') return
    if (error.code !== 'ROW_STORE_WENT_BACK') throw error
    await this.#again(async () => {
      await this.#store.acceptLoss()
      await this.#write()
    })
  }
}

/** As callers do: a connection may be lost once more while clients hear of the new master. */
async function whenThere<Result>(store: RedisRowStore, action: () => Promise<Result>) {
  for (;;) {
    await store.ready()
    try {
      return await action()
    } catch (error) {
      const isThere = !(error instanceof ServiceError && error.code === 'ROW_STORE_UNAVAILABLE')
      if (isThere) throw error
    }
  }
}

const batchesAfter = async (load: Load, more = 3): Promise<void> => {
  const wanted = load.batches + more
  await until(`${more} more batches`, () => load.batches >= wanted)
}

test('killed under load and started again it has every row', async () => {
  await using server = await RedisServer.start({ appendOnly: true })
  await using store = await open(server.settings)
  const load = new Load(store)
  for (let kills = 0; kills < 3; kills += 1) {
    await batchesAfter(load)
    await server.kill()
    await until('the loss is noticed', () => store.state === 'unavailable')
    await server.start()
    await until('it is there again', () => store.state !== 'unavailable')
  }
  await batchesAfter(load)
  await load.end()
  expect(load.waits).toBeGreaterThanOrEqual(3)
}, 60_000)

test('a read from a silent server is refused, never answered with nothing', async () => {
  await using server = await RedisServer.start()
  await using store = await open(server.settings)
  await store.write(recordsOf(keysOf(1)))
  await server.command('CLIENT', 'PAUSE', 1_000)
  const records = new Uint8Array(testRecordBytes).fill(7)
  const present = Uint8Array.of(7)
  await expect(store.read(keysOf(1), records, present)).rejects.toMatchObject({
    code: 'ROW_STORE_UNAVAILABLE',
    retryable: true,
  })
  // At once, while the breaker is open; and nothing was written where rows were expected.
  await expect(store.size()).rejects.toMatchObject({ code: 'ROW_STORE_UNAVAILABLE' })
  expect([records[0], present[0], store.state]).toEqual([7, 7, 'unavailable'])
  await store.ready()
  expect(store.state).toBe('available')
  expect(await readAll(store, keysOf(1))).toEqual([recordsOf(keysOf(1)), [1]])
}, 30_000)

test('a pause of ten seconds passes with the limits as they are', async () => {
  await using server = await RedisServer.start()
  await using store = await open(server.settings, {})
  const load = new Load(store)
  await batchesAfter(load)
  await server.command('CLIENT', 'PAUSE', 10_000)
  await until('the silence is noticed', () => store.state === 'unavailable')
  await until('it ends', () => store.state !== 'unavailable')
  await batchesAfter(load)
  await load.end()
  expect(load.waits).toBeGreaterThan(0)
}, 60_000)

test('waiting for a store ends with the signal', async () => {
  await using server = await RedisServer.start()
  await using store = await open(server.settings)
  await server.kill()
  await expect(store.size()).rejects.toMatchObject({ code: 'ROW_STORE_UNAVAILABLE' })
  const stop = new AbortController()
  const ready = store.ready(stop.signal)
  stop.abort(new Error('stopping'))
  await expect(ready).rejects.toThrow('stopping')
}, 30_000)

test('a server that comes back empty has gone back, and says so until that is accepted', async () => {
  await using server = await RedisServer.start()
  await using store = await open(server.settings)
  await store.write(recordsOf(keysOf(1, 2)))
  await store.mark(1)
  await server.command('FLUSHALL')
  await expect(readAll(store, keysOf(1))).rejects.toMatchObject({ code: 'ROW_STORE_WENT_BACK' })
  await expect(store.write(recordsOf(keysOf(1)))).rejects.toMatchObject({
    code: 'ROW_STORE_WENT_BACK',
    retryable: false,
  })
  expect(Math.max(...(await store.acceptLoss()))).toBe(-1)
  expect((await readAll(store, keysOf(1)))[1]).toEqual([0])
  await store.write(recordsOf(keysOf(1)))
  expect((await readAll(store, keysOf(1)))[1]).toEqual([1])
}, 30_000)

test('a write finds out by itself that the one before was lost', async () => {
  await using server = await RedisServer.start()
  await using store = await open(server.settings)
  await store.write(recordsOf(keysOf(1)))
  await server.command('FLUSHALL')
  await expect(store.write(recordsOf(keysOf(1)))).rejects.toMatchObject({
    code: 'ROW_STORE_WENT_BACK',
  })
})

test('a process that was replaced is shut out', async () => {
  await using server = await RedisServer.start()
  await using old = await open(server.settings)
  await old.write(recordsOf(keysOf(1), 1))
  await using store = await open(server.settings)
  await store.write(recordsOf(keysOf(1), 2))
  await expect(old.write(recordsOf(keysOf(1), 3))).rejects.toMatchObject({
    code: 'ROW_STORE_FENCED',
  })
  await expect(old.acceptLoss()).rejects.toMatchObject({ code: 'ROW_STORE_FENCED' })
  expect(await readAll(store, keysOf(1))).toEqual([recordsOf(keysOf(1), 2), [1]])
})

test('scripts that the server has forgotten are sent again', async () => {
  await using server = await RedisServer.start()
  await using store = await open(server.settings)
  await store.write(recordsOf(keysOf(1)))
  await server.command('SCRIPT', 'FLUSH')
  await store.write(recordsOf(keysOf(1), 2))
  expect(await store.erase(keysOf(1, 2))).toBe(1)
})

test('a full server refuses writes until it has room', async () => {
  await using server = await RedisServer.start()
  await using store = await open(server.settings)
  await server.command('CONFIG', 'SET', 'maxmemory', '1')
  await expect(store.write(recordsOf(keysOf(1)))).rejects.toMatchObject({
    code: 'ROW_STORE_UNAVAILABLE',
  })
  await server.command('CONFIG', 'SET', 'maxmemory', '0')
  await store.ready()
  await store.write(recordsOf(keysOf(1)))
  expect(await store.size()).toBe(1)
})

test('a fail-over in Sentinel goes on, with every row in the end', async () => {
  await using group = await startSentinel()
  await using store = await open(group.settings, { ...quick, probeIntervalMs: 100 })
  const load = new Load(store)
  await batchesAfter(load)
  // It waits for the replica to be known as a good one.
  await until('a fail-over begins', async () => {
    return (await group.sentinel.command('SENTINEL', 'FAILOVER', 'rows')) === 'OK'
  })
  await until('the replica is the master', async () => {
    const master = await group.sentinel.command('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', 'rows')
    return String(master).endsWith(`,${group.replica.port}`)
  })
  await batchesAfter(load)
  await group.master.kill()
  await batchesAfter(load)
  await load.end()
  expect(store.state).toBe('available')
}, 60_000)

test('a fail-over that loses writes is found out', async () => {
  await using group = await startSentinel()
  await using store = await open(group.settings, { ...quick, probeIntervalMs: 100 })
  await store.write(recordsOf(keysOf(1), 1))
  await store.mark(1)
  await group.master.command('WAIT', 1, 5_000)
  // The replica hears nothing more.
  await group.replica.command('REPLICAOF', '127.0.0.1', 1)
  await store.write(recordsOf(keysOf(1), 2))
  await store.mark(2)
  await group.master.kill()
  await until('the loss is found', async () => {
    await store.size().catch(() => undefined)
    return store.state === 'wentBack'
  })
  await expect(readAll(store, keysOf(1))).rejects.toMatchObject({ code: 'ROW_STORE_WENT_BACK' })
  const marks = await whenThere(store, () => store.acceptLoss())
  expect([Math.min(...marks), Math.max(...marks)]).toEqual([1, 1])
  await whenThere(store, () => store.write(recordsOf(keysOf(1), 2)))
  await whenThere(store, () => store.mark(2))
  const found = await whenThere(store, () => readAll(store, keysOf(1)))
  expect(found).toEqual([recordsOf(keysOf(1), 2), [1]])
}, 60_000)

test('one node of a cluster lost and back: everything waits, nothing is lost', async () => {
  await using group = await startCluster({ appendOnly: true })
  await using store = await open(group.settings, { ...quick, probeIntervalMs: 100 })
  const load = new Load(store)
  await batchesAfter(load)
  const [, node] = group.servers
  await node?.kill()
  await until('the loss is noticed', () => store.state === 'unavailable')
  await node?.start()
  await Promise.all(group.servers.map((server) => clusterReady(server, 3)))
  await until('it is there again', () => store.state !== 'unavailable')
  await batchesAfter(load)
  await load.end()
  expect(store.state).toBe('available')
}, 90_000)
