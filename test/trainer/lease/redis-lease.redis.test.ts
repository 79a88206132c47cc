/** The lease in Redis: what every store must do, and two processes of which one is stopped. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

import { afterAll, beforeAll, expect, test } from 'vitest'

import { seededRandom } from '../../../src/base/random.ts'
import { RedisPublisher } from '../../../src/sync/redis/redis-publisher.ts'
import { RedisSubscriber } from '../../../src/sync/redis/redis-subscriber.ts'
import { acquireLease, type Lease } from '../../../src/trainer/lease/lease.ts'
import { RedisLeaseStore } from '../../../src/trainer/lease/redis-lease.ts'
import { testLeaseStore } from '../../contract/lease-store.ts'
import type { LeaseHolderTask } from '../../simulation/lease-holder-process.ts'
import { RowReader, RowWriter } from '../../support/parameters.ts'
import { RedisServer, until } from '../../support/redis-server.ts'
import { newModel, quickPublisher, quickSubscriber } from '../../support/redis-sync.ts'

let server: RedisServer
beforeAll(async () => {
  server = await RedisServer.start({ appendOnly: true })
})
afterAll(async () => {
  await server.stop()
})

const code = (name: string): unknown => expect.objectContaining({ code: name })
const leaseKey = (model: string): string => `freshet:{sync:${model}}:lease`

testLeaseStore(() => {
  const model = newModel()
  const store = new RedisLeaseStore({ model, connection: server.settings })
  return {
    store,
    expire: async (ms) => {
      await server.command('HINCRBY', leaseKey(model), 'until', -ms)
    },
    [Symbol.asyncDispose]: () => store.close(),
  }
})

test('epochs grow over a server that has lost everything', async () => {
  await using own = await RedisServer.start()
  const store = new RedisLeaseStore({ model: newModel(), connection: own.settings })
  const request = { holder: 'a', ttlMs: 5_000 }
  const first = await store.acquire({ ...request, token: 'a' })
  await own.command('FLUSHALL')
  const second = await store.acquire({ ...request, token: 'b' })
  expect(second.isGranted && second.epoch).toBeGreaterThan(first.isGranted ? first.epoch : 0)
  // And what the server has lost can be renewed, unless it was given to another one.
  const fence = { epoch: first.isGranted ? first.epoch : 0, token: 'a' }
  expect(await store.renew(fence, 5_000)).toBe(false)
  await own.command('FLUSHALL')
  expect(await store.renew(fence, 5_000)).toBe(true)
  await store.close()
})

test('a lease lasts over a restart of the server', async () => {
  await using own = await RedisServer.start({ appendOnly: true, config: ['appendfsync always'] })
  const store = new RedisLeaseStore({ model: newModel(), connection: own.settings })
  const lease = await acquireLease({ store, holder: 'a', ttlMs: 600 })
  await own.kill()
  await until('an expiry', () => !lease.isCurrent)
  await own.start()
  await until('a renewal', () => lease.isCurrent)
  expect(lease.lost.aborted).toBe(false)
  await lease.release()
  await store.close()
})

test('a refusal ends a lease, and the wait for one', async () => {
  const connection = { ...server.settings, username: 'nobody', password: 'wrong' }
  const store = new RedisLeaseStore({ model: newModel(), connection })
  const refused = code('LEASE_REFUSED')
  await expect(acquireLease({ store, holder: 'a' })).rejects.toThrow(refused)
  await store.close()
})

/** A process that takes the lease and publishes. */
class Holder implements AsyncDisposable {
  readonly lines: string[] = []
  readonly #child
  readonly #gone: Promise<unknown>

  constructor(model: string) {
    const file = join(import.meta.dirname, '../../simulation/lease-holder-process.ts')
    const task: LeaseHolderTask = { model, connection: server.settings }
    const child = spawn(process.execPath, [file, JSON.stringify(task)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    createInterface({ input: child.stdout }).on('line', (line) => this.lines.push(line))
    this.#child = child
    this.#gone = once(child, 'exit')
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.signal('SIGKILL')
    await this.#gone
  }
}

const streamOf = async (model: string): Promise<number> =>
  Number(await server.command('XLEN', `freshet:{sync:${model}}:deltas`))

/**
 * How long the lease was free, by the server's clock: an epoch is the moment when it was granted. A
 * holder that is gone has it for 5 s at most; with another 5 s a standby trains within 10.
 */
async function freeMs(model: string, take: () => Promise<Lease>) {
  const name = `freshet:{sync:${model}}:lease`
  const end = Number(await server.command('HGET', name, 'until'))
  const lease = await take()
  return { lease, ms: lease.epoch - end }
}
const freeLimitMs = 5_000

test('a standby takes over from a stopped holder within 10 s, which publishes no more', async () => {
  const model = newModel()
  const connection = server.settings
  await using holder = new Holder(model)
  await until('a delta', async () => (await streamOf(model)) > 0)
  const store = new RedisLeaseStore({ model, connection })
  const holders: string[] = []
  const onWait = (other: string): unknown => holders.push(other)
  const waiting = acquireLease({ store, holder: 'standby', onWait })
  await until('a standby', () => holders.length > 0)
  holder.signal('SIGSTOP')
  const { lease, ms } = await freeMs(model, () => waiting)
  const publisher = new RedisPublisher({ model, connection, fence: lease.fence, ...quickPublisher })
  const writer = new RowWriter()
  const reader = new RowReader()
  publisher.onResync(() => writer.snapshot())
  const subscriber = new RedisSubscriber({ model, connection, ...quickSubscriber })
  void subscriber.subscribe(0, (...delta) => reader.apply(...delta))
  await publisher.publish(writer.delta())
  holder.signal('SIGCONT')
  const random = seededRandom(3)
  await until('a refusal', async () => {
    writer.change(random)
    await publisher.publish(writer.delta())
    return holder.lines.length > 1
  })
  await until('the reader there', () => reader.sequence === writer.sequence)
  expect(reader.rows).toEqual(writer.rows)
  expect(holder.lines[1]).toBe('refused SYNC_FENCED')
  expect(Number(holder.lines[0].split(' ')[1])).toBeLessThan(lease.epoch)
  expect(ms).toBeLessThan(freeLimitMs)
  await Promise.all([subscriber.close(), publisher.close(), lease.release()])
  await store.close()
})

test('a standby takes over from a killed holder within 10 s', async () => {
  const model = newModel()
  await using holder = new Holder(model)
  await until('a delta', async () => (await streamOf(model)) > 0)
  holder.signal('SIGKILL')
  const store = new RedisLeaseStore({ model, connection: server.settings })
  const { lease, ms } = await freeMs(model, () => acquireLease({ store, holder: 'standby' }))
  expect(ms).toBeLessThan(freeLimitMs)
  await lease.release()
  await store.close()
})
