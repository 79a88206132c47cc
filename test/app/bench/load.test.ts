import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'

import { afterEach, describe, expect, test } from 'vitest'

import { Latencies } from '../../../src/app/bench/latencies.ts'
import { openLoop } from '../../../src/app/bench/open-loop.ts'
import { RawHttpClient } from '../../../src/app/bench/raw-http.ts'
import { systemClock } from '../../../src/base/clock.ts'

describe('latencies', () => {
  test('quantiles are of what was added', () => {
    const latencies = new Latencies()
    for (let i = 2000; i > 0; i -= 1) latencies.add(i)
    latencies.addError()
    expect(latencies.report(10)).toEqual({
      p50Ms: 1000,
      p99Ms: 1980,
      p999Ms: 1998,
      maxMs: 2000,
      rate: 200,
      errors: 1,
      requests: 2001,
    })
  })

  test('of nothing they are 0, and beyond the bound nothing is kept', () => {
    expect(new Latencies().report(1).p99Ms).toBe(0)
    const few = new Latencies(2)
    for (let i = 0; i < 5; i += 1) few.add(i)
    expect(few.count).toBe(2)
  })
})

describe('the client', () => {
  const closers: (() => void)[] = []
  afterEach(() => {
    for (const close of closers.splice(0)) close()
  })
  const serve = async (listener: RequestListener, limits = {}) => {
    const server = createServer(listener).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const client = new RawHttpClient(`http://127.0.0.1:${port}`, {
      maxConnections: 2,
      maxQueued: 100,
      ...limits,
    })
    closers.push(
      () => client.close(),
      () => void server.close(),
    )
    return client
  }

  test('sends bodies and reads answers, many at once over few connections', async () => {
    const sockets = new Set<unknown>()
    const client = await serve((request, response) => {
      sockets.add(request.socket)
      let body = ''
      request.on('data', (text) => (body += String(text)))
      request.on('end', () => {
        const answer = Buffer.from(`${request.method} ${request.url} ${body} é`)
        response.writeHead(202, { 'content-length': answer.length }).end(answer)
      })
    })
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) => client.request('POST', `/x/${i}`, `{"i":${i}}`)),
    )
    const [status, body] = [answers[7]?.status, answers[7]?.body]
    expect([status, body]).toEqual([202, 'POST /x/7 {"i":7} é'])
    expect(sockets.size).toBe(2)
  })

  test('a broken connection is an error, and the next request gets a new one', async () => {
    let broken = false
    const client = await serve((request, response) => {
      if (broken) response.writeHead(200, { 'content-length': 2 }).end('ok')
      else request.socket.destroy()
      broken = true
    })
    await expect(client.request('GET', '/')).rejects.toThrow(/closed|reset/)
    const { status, body } = await client.request('GET', '/')
    expect([status, body]).toEqual([200, 'ok'])
  })

  test('what would wait behind too many is refused at once', async () => {
    const client = await serve(() => undefined, { maxConnections: 1, maxQueued: 0 })
    void client.request('GET', '/').catch(() => undefined)
    await expect(client.request('GET', '/')).rejects.toThrow(/too many/)
  })
})

test('open-loop load keeps its rate, counts errors and stops when told', async () => {
  const latencies = new Latencies()
  const stream = {
    ratePerSecond: 500,
    latencies,
    send: (index: number) =>
      index % 10 === 0 ? Promise.reject(new Error('no')) : Promise.resolve(index % 10 !== 1),
  }
  const abort = new AbortController()
  await openLoop([stream], { seconds: 0.2, clock: systemClock, signal: abort.signal })
  expect(latencies.count + latencies.errors).toBeGreaterThan(50)
  expect(latencies.errors).toBeGreaterThanOrEqual(20)
  abort.abort()
  await openLoop([stream], { seconds: 100, clock: systemClock, signal: abort.signal })
})
