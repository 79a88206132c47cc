import { once } from 'node:events'
import { connect } from 'node:net'

import { expect, test } from 'vitest'

import { systemClock } from '../../../src/base/clock.ts'
import { HttpServer } from '../../../src/serving/http/server.ts'
import type { HttpSettings } from '../../../src/serving/http/settings.ts'
import { memoryDependencies } from '../../support/http-service.ts'
import type { DependenciesUnderTest } from '../../support/http-service.ts'

const signal = new AbortController().signal
const click = JSON.stringify({ userId: 'u', itemId: 'i', type: 'click' })
const json = { 'content-type': 'application/json' }

interface ServerUnderTest extends DependenciesUnderTest, AsyncDisposable {
  readonly server: HttpServer
}

async function startServer(settings: Partial<HttpSettings> = {}): Promise<ServerUnderTest> {
  const parts = memoryDependencies(systemClock)
  const server = new HttpServer({ port: 0, drainMs: 2_000, ...settings }, parts.dependencies)
  await server.start(signal)
  return { ...parts, server, [Symbol.asyncDispose]: () => server.stop() }
}

const post = (server: HttpServer, body: string | Buffer): Promise<Response> =>
  fetch(`${server.address}/v1/events`, { method: 'POST', headers: json, body })

const codeOf = async (answer: Response): Promise<string> =>
  ((await answer.json()) as { error: { code: string } }).error.code

/** Sends bytes as they are and returns everything that comes back until the connection closes. */
async function raw(server: HttpServer, text: string | Buffer): Promise<string> {
  const socket = connect(Number(new URL(server.address).port), '127.0.0.1')
  socket.setEncoding('utf8')
  let received = ''
  socket.on('data', (chunk: string) => (received += chunk))
  socket.on('error', () => {})
  socket.write(text)
  await once(socket, 'close')
  return received
}

test('it listens where it says, and not after it has stopped', async () => {
  await using subject = await startServer()
  const { address } = subject.server
  expect(address).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/)
  expect((await fetch(`${address}/health/live`)).status).toBe(200)
  await subject.server.drain()
  await subject.server.stop()
  await expect(fetch(`${address}/health/live`)).rejects.toThrow('fetch failed')
})

test('queries that differ are told apart, whatever stands before them', async () => {
  await using subject = await startServer({ maxEventLoopDelayMs: 10_000 })
  const { service, server } = subject
  const paths = ['u', 'u?n=2', 'u#n=3', 'u', 'u?n=2', 'u?n=1001', 'u?n=1001', 'u#n=3']
  const lines = paths.map((path, i) => {
    const last = i === paths.length - 1 ? 'connection: close\r\n' : ''
    return `GET /v1/recommendations/${path} HTTP/1.1\r\nhost: localhost\r\n${last}\r\n`
  })
  const answers = await raw(server, lines.join(''))
  const statuses = [...answers.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => Number(status))
  expect(statuses).toEqual([200, 200, 200, 200, 200, 400, 400, 200])
  expect(service.requests.map(({ n }) => n)).toEqual([10, 2, 3, 10, 2, 3])
})

test.each(['0.0.0.0', '::', '192.0.2.1'])(
  'without keys it refuses to listen on %s, and says why',
  async (host) => {
    const server = new HttpServer({ port: 0, host }, memoryDependencies().dependencies)
    await expect(server.start(signal)).rejects.toMatchObject({
      code: 'HTTP_KEYS_REQUIRED',
      details: { host },
    })
    await server.stop()
  },
)

test('with keys it listens for others too', async () => {
  const apiKeys = [{ name: 'a', sha256: '0'.repeat(64), scopes: ['read' as const] }]
  await using subject = await startServer({ host: '0.0.0.0', apiKeys })
  const { port } = new URL(subject.server.address)
  expect((await fetch(`http://127.0.0.1:${port}/v1/items`)).status).toBe(401)
})

test('a port that is taken is an error that names it', async () => {
  await using subject = await startServer()
  const port = Number(new URL(subject.server.address).port)
  const second = new HttpServer({ port }, memoryDependencies().dependencies)
  await expect(second.start(signal)).rejects.toMatchObject({
    code: 'HTTP_PORT_BUSY',
    details: { port },
  })
  await second.stop()
})

test('a host name that is no address of this machine is an error', async () => {
  const apiKeys = [{ name: 'a', sha256: '0'.repeat(64), scopes: ['read' as const] }]
  const server = new HttpServer(
    { port: 0, host: '192.0.2.1', apiKeys },
    memoryDependencies().dependencies,
  )
  await expect(server.start(signal)).rejects.toMatchObject({ code: 'HTTP_ADDRESS_INVALID' })
  await server.stop()
})

test('a body of 2 MB is answered 413, also when it is still being sent', async () => {
  await using subject = await startServer()
  const answer = await post(subject.server, 'x'.repeat(2_000_000))
  expect([answer.status, await codeOf(answer)]).toEqual([413, 'BODY_TOO_LARGE'])
  const chunked = await fetch(`${subject.server.address}/v1/events`, {
    method: 'POST',
    headers: json,
    body: new Blob(['[', ' '.repeat(3_000_000), ']']).stream(),
    duplex: 'half',
  })
  expect([chunked.status, await codeOf(chunked)]).toEqual([413, 'BODY_TOO_LARGE'])
  expect(subject.service.events).toHaveLength(0)
})

test('a body without end is cut off', async () => {
  await using subject = await startServer({ bodyLimitBytes: 1_000 })
  const head = 'POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n'
  const body = `content-length: 100000000\r\n\r\n${'x'.repeat(100_000)}`
  expect(await raw(subject.server, head + body)).toContain('413')
})

test('a client that goes away in the middle of its body leaves nothing behind', async () => {
  await using subject = await startServer()
  const socket = connect(Number(new URL(subject.server.address).port), '127.0.0.1')
  socket.on('error', () => {})
  socket.write('POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n')
  socket.write('content-length: 100\r\n\r\n[')
  await once(socket, 'connect')
  socket.destroy()
  expect((await post(subject.server, click)).status).toBe(202)
  expect(subject.service.events).toHaveLength(1)
})

test.each([
  ['nonsense', 'nonsense\r\n\r\n', 'HTTP/1.1 400', 'HTTP_MALFORMED'],
  [
    'endless headers',
    `GET / HTTP/1.1\r\nhost: localhost\r\nx: ${'y'.repeat(100_000)}\r\n\r\n`,
    'HTTP/1.1 431',
    'HEADERS_TOO_LARGE',
  ],
  [
    'two lengths',
    'POST /v1/events HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx',
    'HTTP/1.1 400',
    'HTTP_MALFORMED',
  ],
])('what is no HTTP request, %s, is answered with a code', async (_, text, status, code) => {
  await using subject = await startServer()
  const answer = await raw(subject.server, text)
  expect(answer).toContain(status)
  expect(answer).toContain(code)
})

test('an id in raw UTF-8 is refused, saying what to do', async () => {
  await using subject = await startServer()
  const answer = await raw(subject.server, 'GET /v1/items/😀 HTTP/1.1\r\nhost: localhost\r\n\r\n')
  expect(answer).toContain('HTTP/1.1 400')
  expect(answer).toContain('must be percent-encoded')
})

test('what is too much is turned away before the framework, what is urgent is not', async () => {
  await using subject = await startServer({ maxConcurrent: 1 })
  const durable = Promise.withResolvers<void>()
  subject.service.gate = durable.promise
  const first = post(subject.server, click)
  await expect.poll(() => metric(subject.server, 'in_flight')).toBe(2)
  const refused = await post(subject.server, click)
  expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '1'])
  expect(await refused.json()).toEqual({
    error: {
      code: 'OVERLOADED',
      message: 'too much at once (requests under way): try again',
      details: { reason: 'requests under way' },
      requestId: expect.stringMatching(/^[\w-]+$/) as string,
    },
  })
  const { address } = subject.server
  for (const path of ['/health/live', '/openapi.json', '/docs', '/metrics?x=1']) {
    expect((await fetch(address + path)).status).toBe(200)
  }
  durable.resolve()
  expect((await first).status).toBe(202)
  expect(subject.service.events).toHaveLength(1)
})

test('a handler that does not answer in time is answered for, the body read or not', async () => {
  await using subject = await startServer({ requestTimeoutMs: 50 })
  subject.service.gate = new Promise(() => {})
  const answer = await post(subject.server, click)
  expect([answer.status, await codeOf(answer)]).toEqual([503, 'OVERLOADED'])
})

test('a stop answers what was begun, and then closes', async () => {
  await using subject = await startServer()
  const durable = Promise.withResolvers<void>()
  subject.service.gate = durable.promise
  const answer = post(subject.server, click)
  await expect.poll(async () => await metric(subject.server, 'in_flight')).toBe(2)
  const drained = subject.server.drain()
  durable.resolve()
  expect((await answer).status).toBe(202)
  await drained
  expect(subject.service.events).toHaveLength(1)
})

test('a stop does not wait for ever', async () => {
  await using subject = await startServer({ drainMs: 50 })
  subject.service.gate = new Promise(() => {})
  const answer = post(subject.server, click).catch((error: unknown) => error)
  await expect.poll(async () => await metric(subject.server, 'in_flight')).toBe(2)
  await subject.server.drain()
  expect(await answer).toBeInstanceOf(TypeError)
})

test('a server that was never started stops', async () => {
  const server = new HttpServer({}, memoryDependencies().dependencies)
  await server.drain()
  await server.stop()
  expect(server.address).toBe('')
})

/** Requests under way, the asking one included. */
async function metric(server: HttpServer, name: string): Promise<number> {
  const text = await (await fetch(`${server.address}/metrics`)).text()
  const line = text.split('\n').find((one) => one.startsWith(`freshet_http_${name}`))
  return Number(line?.split(' ')[1])
}
