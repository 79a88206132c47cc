/**
 * Parameters in Redis when somebody is killed, late, slow or replaced: afterwards every row of every
 * reader is the trainer's, and no removed one is left.
 */
import { assert, asyncProperty, integer } from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'

import { RedisPublisher } from '../../../src/sync/redis/redis-publisher.ts'
import { RedisSubscriber } from '../../../src/sync/redis/redis-subscriber.ts'
import { FaultyNetwork } from '../../support/faulty-network.ts'
import { LiveSync, smallSync } from '../../support/live-sync.ts'
import { RowReader, RowWriter } from '../../support/parameters.ts'
import { RedisServer, startCluster, startSentinel, until } from '../../support/redis-server.ts'
import { newModel, quickPublisher, quickSubscriber, takeFence } from '../../support/redis-sync.ts'

let server: RedisServer
beforeAll(async () => {
  server = await RedisServer.start({ appendOnly: true })
})
afterAll(async () => {
  await server.stop()
})

const code = (name: string): unknown => expect.objectContaining({ code: name })

/** One thing that may happen between, or in the middle of, two deltas. */
async function happen(live: LiveSync): Promise<void> {
  const what = live.random.integer(12)
  if (what === 0) {
    // In the middle of a delta, or before, or after.
    const publishing = live.publish()
    await live.killTrainer()
    await publishing
    await live.startTrainer()
  } else if (what === 1) {
    await live.killReader(live.random.integer(live.readers.length))
    live.addReader()
  } else {
    await live.publish()
  }
}

test('killing trainer or readers at any point leaves no difference', async () => {
  await assert(
    asyncProperty(integer(), async (seed) => {
      await using live = await LiveSync.open({ connection: server.settings, seed, ...smallSync })
      live.addReader()
      live.addReader()
      for (let i = 0; i < 30; i += 1) await happen(live)
      await live.settled()
      expect(live.differences()).toEqual([])
    }),
    { numRuns: 12 },
  )
})

test('killing the server again and again leaves no difference', async () => {
  const connection = server.settings
  await using live = await LiveSync.open({ connection, seed: 7, ...smallSync })
  live.addReader()
  live.addReader()
  for (let kills = 0; kills < 4; kills += 1) {
    for (let i = 0; i < 20; i += 1) await happen(live)
    const publishing = live.publish()
    await server.kill()
    await server.start()
    await publishing
  }
  await live.settled()
  expect(live.differences()).toEqual([])
})

test('a server that has lost everything gets it from the trainer', async () => {
  await using own = await RedisServer.start()
  await using live = await LiveSync.open({ connection: own.settings, ...smallSync })
  const { rows } = live.addReader()
  await live.settled()
  await own.command('FLUSHALL')
  live.addReader()
  await live.settled()
  expect(rows.sequence).toBe(live.writer.sequence)
})

test('the end of the stream that a server has lost is noticed without another delta', async () => {
  await using own = await RedisServer.start()
  await using live = await LiveSync.open({ connection: own.settings, ...smallSync })
  const rows = new RowReader()
  const { promise: gate, resolve: release } = Promise.withResolvers<void>()
  const options = { model: live.model, connection: own.settings, ...quickSubscriber }
  const end = new RedisSubscriber(options)
  void end.subscribe(0, async (delta, complete) => {
    if (delta.sequence === 2) await gate
    rows.apply(delta, complete)
  })
  await until('a start', () => rows.sequence === 1)
  await live.publish()
  await until('a delta on its way', () => live.publisher.status().sequence === 2)
  // As if the server had come back without its newest entries, which no reader has taken.
  await live.publish()
  await own.command('DEL', `freshet:{sync:${live.model}}:deltas`)
  release()
  await until('the reader there', () => rows.sequence === live.writer.sequence)
  expect(rows.rows).toEqual(live.writer.rows)
  await end.close()
})

test('a fail-over leaves no difference', async () => {
  await using group = await startSentinel()
  await using live = await LiveSync.open({ connection: group.settings, ...smallSync })
  live.addReader()
  for (let i = 0; i < 20; i += 1) await live.publish()
  await group.master.kill()
  for (let i = 0; i < 20; i += 1) await live.publish()
  live.addReader()
  await live.settled()
  expect(live.differences()).toEqual([])
})

test('a cluster has all of a model on one node', async () => {
  await using cluster = await startCluster()
  await using live = await LiveSync.open({ connection: cluster.settings, ...smallSync })
  live.addReader()
  for (let i = 0; i < 20; i += 1) await live.publish()
  live.addReader()
  await live.settled()
  expect(live.differences()).toEqual([])
})

test('a slow server is waited for', async () => {
  await using own = await RedisServer.start()
  const options = { connection: own.settings, ...smallSync, commandTimeoutMs: 100 }
  await using live = await LiveSync.open(options)
  live.addReader()
  for (let i = 0; i < 3; i += 1) {
    await own.command('CLIENT', 'PAUSE', 500)
    for (let j = 0; j < 10; j += 1) await live.publish()
  }
  await live.settled()
  expect(live.differences()).toEqual([])
})

test('what is repeated because its reply was lost is there once', async () => {
  await using own = await RedisServer.start()
  await using network = await FaultyNetwork.before(own.port)
  const model = newModel()
  const fence = await takeFence(model, own.settings)
  const connection = {
    mode: 'standalone',
    addresses: [{ host: '127.0.0.1', port: network.port }],
  } as const
  const options = { model, fence, connection, ...quickPublisher, beatIntervalMs: 600_000 }
  const publisher = new RedisPublisher(options)
  const writer = new RowWriter()
  for (let i = 0; i < 10; i += 1) {
    network.cutAfter(1)
    await publisher.publish(writer.delta())
  }
  await publisher.close()
  expect(network.cuts).toBeGreaterThan(5)
  expect(await own.command('XLEN', `freshet:{sync:${model}}:deltas`)).toBe(10)
})

test('a reader behind what is kept gets everything anew, and says how far it is', async () => {
  await using live = await LiveSync.open({ connection: server.settings, maxDeltas: 5 })
  const rows = new RowReader()
  const { promise: gate, resolve: release } = Promise.withResolvers<void>()
  const connection = server.settings
  const options = { model: live.model, connection, reader: 'slow', ...quickSubscriber }
  const end = new RedisSubscriber(options)
  void end.subscribe(0, async (delta, complete) => {
    if (delta.sequence > 2) await gate
    rows.apply(delta, complete)
  })
  await until('a start', () => rows.sequence === 1)
  for (let i = 0; i < 40; i += 1) await live.publish()
  await until('a lag', () => {
    const { readers, sequence, keptDeltas } = live.publisher.status()
    return keptDeltas === 5 && readers.some((one) => sequence - one.sequence > 30)
  })
  release()
  await until('the end', () => rows.sequence === live.writer.sequence)
  expect(rows.resyncs).toBe(2)
  expect(rows.rows).toEqual(live.writer.rows)
  await end.close()
  await until('nobody left', () => live.publisher.status().readers.length === 0)
})

test('what every reader has confirmed is kept no longer', async () => {
  await using live = await LiveSync.open({ connection: server.settings, snapshotMaxAgeMs: 0 })
  live.addReader()
  for (let i = 0; i < 50; i += 1) await live.publish()
  await live.settled()
  await expect.poll(() => live.publisher.status().keptDeltas, { timeout: 10_000 }).toBe(1)
})

test('a reader starts from the snapshot and what follows while there is no trainer', async () => {
  await using live = await LiveSync.open({ connection: server.settings })
  live.addReader()
  await live.settled()
  for (let i = 0; i < 5; i += 1) await live.publish()
  await live.killTrainer()
  const { rows } = live.addReader()
  await until('the rows', () => rows.sequence === live.writer.sequence)
  expect(rows.rows).toEqual(live.writer.rows)
  expect(rows.applied.length).toBeGreaterThan(5)
})

test('a trainer whose lease another one has taken publishes nothing more', async () => {
  const model = newModel()
  const connection = server.settings
  const fence = await takeFence(model, connection)
  const publisher = new RedisPublisher({ model, fence, connection, ...quickPublisher })
  const writer = new RowWriter()
  await publisher.publish(writer.delta())
  await server.command('HSET', `freshet:{sync:${model}}:lease`, 'until', 0)
  const next = await takeFence(model, connection)
  expect(next.epoch).toBeGreaterThan(fence.epoch)
  await expect(publisher.publish(writer.delta())).rejects.toThrow(code('SYNC_FENCED'))
  expect(await server.command('XLEN', `freshet:{sync:${model}}:deltas`)).toBe(1)
  await publisher.close()
})

/** What `docs/operating.md` says that a user needs. */
const permissions =
  '~freshet:* +eval +evalsha +hget +hset +hmget +hgetall +hdel +hlen +xadd +xtrim +xread +xrange +expire +pexpire +persist +pttl +time +info +ping +hello +client|setname'

test('a user with the permissions in the manual is enough', async () => {
  const password = 'not-to-be-logged'
  await server.command('ACL', 'SETUSER', 'sync', 'on', `>${password}`, ...permissions.split(' '))
  const connection = { ...server.settings, username: 'sync', password }
  await using live = await LiveSync.open({ connection, seed: 5, ...smallSync })
  live.addReader()
  for (let i = 0; i < 20; i += 1) await happen(live)
  await live.settled()
  expect(live.differences()).toEqual([])
  expect(live.publisher.status().failure).toBeUndefined()
})

test('both ends say what a server refuses', async () => {
  const model = newModel()
  const connection = { ...server.settings, username: 'nobody', password: 'wrong' }
  const fence = { epoch: 1, token: 'none' }
  const publisher = new RedisPublisher({ model, fence, connection })
  const refused = code('SYNC_REFUSED')
  await expect(publisher.publish(new RowWriter().delta())).rejects.toThrow(refused)
  const subscriber = new RedisSubscriber({ model, connection })
  await expect(subscriber.subscribe(0, () => {})).rejects.toThrow(refused)
  await publisher.close()
  await subscriber.close()
})
