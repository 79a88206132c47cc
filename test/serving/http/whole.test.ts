/** The server over the real log, replica and index, by sockets: what a client can rely on. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { expect, test } from 'vitest'

import { systemClock } from '../../../src/base/clock.ts'
import type { ServerDependencies } from '../../../src/serving/http/dependencies.ts'
import { factsReaders } from '../../../src/serving/http/facts-readers.ts'
import { HttpServer } from '../../../src/serving/http/server.ts'
import type { HttpSettings } from '../../../src/serving/http/settings.ts'
import type { ServingService } from '../../../src/serving/serving-service.ts'
import { FileLog } from '../../../src/stream/files/file-log.ts'
import { nodeLogFiles } from '../../../src/stream/files/log-files.ts'
import { memoryDependencies } from '../../support/http-service.ts'
import { catalogue, clicks, Shop } from '../../support/shop-replica.ts'

interface Answer {
  readonly status: number
  readonly headers: Headers
  // eslint-disable-next-line typescript/no-explicit-any
  readonly body: any
}

class Client implements AsyncDisposable {
  readonly server: HttpServer

  constructor(dependencies: ServerDependencies, settings: Partial<HttpSettings> = {}) {
    this.server = new HttpServer({ port: 0, ...settings }, dependencies)
  }

  async start(): Promise<this> {
    await this.server.start(new AbortController().signal)
    return this
  }

  async call(method: string, path: string, value?: unknown): Promise<Answer> {
    const body = value === undefined ? null : JSON.stringify(value)
    const headers = body === null ? {} : { 'content-type': 'application/json' }
    const answer = await fetch(this.server.address + path, { method, headers, body })
    return { status: answer.status, headers: answer.headers, body: await answer.json() }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.drain()
    await this.server.stop()
  }
}

const connect = (shop: Shop, serving: ServingService): Promise<Client> =>
  new Client({
    ...memoryDependencies(systemClock).dependencies,
    log: shop.log,
    readers: {
      ...factsReaders(() => serving.replica.facts),
      recommender: serving.retriever,
      visibility: serving,
    },
    health: serving,
  }).start()

const click = (userId: string, itemId: string) => ({ userId, itemId, type: 'click' })

const idsOf = ({ body }: Answer): string[] => body.items.map(({ id }: { id: string }) => id)

test('a click changes what its user is recommended, before any training', async () => {
  await using shop = await Shop.open()
  await shop.append([...catalogue(60), ...clicks(1, 300, 60)])
  const serving = await shop.serve()
  await shop.train()
  await shop.settled(serving)
  await using client = await connect(shop, serving)

  const before = await client.call('GET', '/v1/recommendations/u1?n=5')
  expect(before.body).not.toHaveProperty('fallback')
  expect(before.body.items[0].attributes).toHaveProperty('color')
  const [first = ''] = idsOf(before)
  const { body } = await client.call('POST', '/v1/events', click('u1', first))
  const after = await client.call('GET', `/v1/recommendations/u1?n=5&minSequence=${body.offset}`)
  expect(idsOf(after)).not.toContain(first)
  expect(after.body.model).toEqual(before.body.model)

  await shop.train()
  await shop.settled(serving)
  const later = await client.call('GET', '/v1/recommendations/u1?n=5')
  expect(later.body.model.version).toBeGreaterThan(before.body.model.version)
  expect(later.body.model.watermark.offsets).toEqual({ 0: String(Number(body.offset) + 1) })
})

test('what is written can be read at once, whatever its name', async () => {
  await using shop = await Shop.open()
  const serving = await shop.serve()
  await using client = await connect(shop, serving)
  for (const id of ['plain', 'a/b', '😀', 'x y?z']) {
    const path = `/v1/items/${encodeURIComponent(id)}`
    expect((await client.call('PUT', path, { attributes: { id } })).body.visible).toBe(true)
    expect((await client.call('GET', path)).body.attributes).toEqual({ id })
    await client.call('POST', '/v1/events', click('u', id))
    const { body } = await client.call('GET', '/v1/users/u')
    expect(body.history[0].itemId).toBe(id)
    expect((await client.call('DELETE', path)).body.visible).toBe(true)
    expect((await client.call('GET', path)).status).toBe(404)
  }
})

test('without parameters there is no answer yet, and readiness says so', async () => {
  await using shop = await Shop.open()
  const serving = await shop.serve()
  await using client = await connect(shop, serving)
  await client.call('PUT', '/v1/items/i', {})
  const early = await client.call('GET', '/health/ready')
  expect(early.body.checks.map(({ name }: { name: string }) => name)).toEqual([
    'facts',
    'parameters',
    'index',
  ])
  await shop.train()
  await shop.settled(serving)
  await expect
    .poll(async () => (await client.call('GET', '/health/ready')).status, { timeout: 5_000 })
    .toBe(200)
  expect(idsOf(await client.call('GET', '/v1/recommendations/nobody'))).toEqual(['i'])
})

test('filters, similar items and nonsense reach the retriever and come back with codes', async () => {
  await using shop = await Shop.open()
  await shop.append([...catalogue(60), ...clicks(1, 300, 60)])
  const serving = await shop.serve()
  await shop.train()
  await shop.settled(serving)
  await using client = await connect(shop, serving)

  const red = await client.call('GET', '/v1/recommendations/u1?n=100&allow=color:red')
  expect(red.body.items.length).toBeGreaterThan(0)
  for (const { attributes } of red.body.items) expect(attributes.color).toBe('red')
  const similar = await client.call('GET', '/v1/items/i0/similar?n=3&exclude=i3')
  expect(idsOf(similar)).toHaveLength(3)
  expect(idsOf(similar)).not.toContain('i0')
  expect(idsOf(similar)).not.toContain('i3')
  const explained = await client.call('POST', '/v1/recommendations', { n: 1, explain: true })
  expect(explained.body.items[0].explanation).toHaveProperty('towers')
  expect(explained.body.fallback).toBe('popularity')

  expect((await client.call('GET', '/v1/items/none/similar')).body.error.code).toBe('ITEM_UNKNOWN')
  const many = Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`n${i}`, ['x']]))
  const refused = await client.call('POST', '/v1/recommendations', { filter: { allow: many } })
  expect([refused.status, refused.body.error.code]).toEqual([400, 'REQUEST_INVALID'])
})

test('with a full disk nothing is acknowledged, and what was acknowledged is there afterwards', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'freshet-http-'))
  let isFull = false
  const files: typeof nodeLogFiles = {
    ...nodeLogFiles,
    open: async (path) => {
      const file = await nodeLogFiles.open(path)
      return {
        write: (bytes, position) => {
          const full = Object.assign(new Error('no space left on device'), { code: 'ENOSPC' })
          return isFull ? Promise.reject(full) : file.write(bytes, position)
        },
        sync: () => file.sync(),
        truncate: (length) => file.truncate(length),
        close: () => file.close(),
      }
    },
  }
  const log = await FileLog.open({ directory, fsync: 'always', files })
  const { dependencies } = memoryDependencies(systemClock)
  try {
    await using client = await new Client({ ...dependencies, log }).start()
    expect((await client.call('POST', '/v1/events', click('u', 'a'))).status).toBe(202)
    isFull = true
    const refused = await client.call('POST', '/v1/events', click('u', 'b'))
    expect([refused.status, refused.body.error.code]).toEqual([503, 'LOG_DISK_FULL'])
    expect(refused.headers.get('retry-after')).toBe('1')
    isFull = false
    expect((await client.call('POST', '/v1/events', click('u', 'c'))).body.offset).toBe('1')
  } finally {
    await log.close()
  }
  const again = await FileLog.open({ directory, fsync: 'always' })
  const signal = new AbortController().signal
  const [batch] = await again.read(await again.start(), { maxEvents: 10, waitMs: 0, signal })
  expect(batch?.events).toMatchObject([{ itemId: 'a' }, { itemId: 'c' }])
  await again.close()
  await rm(directory, { recursive: true })
})
