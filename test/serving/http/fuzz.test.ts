/** The routes under drawn requests and abused sockets: what `npm run fuzz` does to a whole service, in short. */
import { hash } from 'node:crypto'

import { afterAll, beforeAll, expect, test } from 'vitest'

import { systemClock } from '../../../src/base/clock.ts'
import { HttpServer } from '../../../src/serving/http/server.ts'
import { attacks, runAttacks } from '../../simulation/fuzz/attacks.ts'
import { fuzz } from '../../simulation/fuzz/fuzz-run.ts'
import { memoryDependencies } from '../../support/http-service.ts'

const keys = { read: 'reads', write: 'writes', admin: 'administers' }
const requestTimeoutMs = 400
const { dependencies, scheduler, service } = memoryDependencies(systemClock)
const server = new HttpServer(
  {
    port: 0,
    requestTimeoutMs,
    visibilityWaitMs: 1,
    apiKeys: (['read', 'write', 'admin'] as const).map((scope) => ({
      name: scope,
      sha256: hash('sha256', keys[scope]),
      scopes: [scope],
    })),
  },
  dependencies,
)

beforeAll(async () => {
  scheduler.define('restrict', () => Promise.resolve({}))
  await server.start(new AbortController().signal)
})

afterAll(() => server.stop())

test('every answer to right, spoiled and junk requests is one that is documented', async () => {
  const known = ['item-1', 'user-1', 'restrict']
  const { address } = server
  const options = { address, seed: 5, requests: 2_000, concurrency: 8, keys, known }
  const report = await fuzz(options)
  expect(report.faults).toEqual([])
  expect(report.requests).toBe(2_000)
  expect(report.operations).toBeGreaterThan(25)
  // Much of what is right is answered well, so the handlers are reached, not the gate alone.
  expect(report.rightAnswered).toBeGreaterThan(report.right / 3)
  expect(service.events.length).toBeGreaterThan(50)
  expect(service.lines.filter(({ level }) => level === 'error')).toEqual([])
  expect(Object.hasOwn(Object.prototype, 'polluted')).toBe(false)
})

test('abused sockets are answered or closed, and nothing comes of it', async () => {
  const list = attacks(keys.write, requestTimeoutMs)
  expect(await runAttacks(server.address, list, 50 * requestTimeoutMs)).toEqual([])
  expect((await fetch(`${server.address}/health/live`)).status).toBe(200)
})
