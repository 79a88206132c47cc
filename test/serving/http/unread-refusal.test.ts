import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

import { expect, test } from 'vitest'

import { systemClock } from '../../../src/base/clock.ts'
import { HttpServer } from '../../../src/serving/http/server.ts'
import { memoryDependencies } from '../../support/http-service.ts'

const get = (path: string, ...headers: readonly string[]): string =>
  [`GET ${path} HTTP/1.1`, 'host: localhost', ...headers, '', ''].join('\r\n')

const click = JSON.stringify({ userId: 'u', itemId: 'i', type: 'click' })
const post = (body: string): string =>
  'POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n' +
  `content-length: ${body.length}\r\n\r\n${body}`

/** One connection whose answers are taken one by one. */
class Caller {
  readonly #socket: Socket
  #received = ''

  constructor(address: string) {
    this.#socket = connect(Number(new URL(address).port), '127.0.0.1').setEncoding('latin1')
  }

  async ask(...texts: readonly string[]): Promise<{ head: string; body: string }> {
    for (const text of texts) this.#socket.write(text)
    for (;;) {
      const answer = /^(.*?content-length: (\d+).*?\r\n)\r\n/is.exec(this.#received)
      const end = answer === null ? Infinity : answer[0].length + Number(answer[2])
      if (answer !== null && this.#received.length >= end) {
        const body = this.#received.slice(answer[0].length, end)
        this.#received = this.#received.slice(end)
        return { head: answer[1] ?? '', body }
      }
      const [chunk] = (await once(this.#socket, 'data')) as [string]
      this.#received += chunk
    }
  }

  [Symbol.dispose](): void {
    this.#socket.destroy()
  }
}

/** A server with as many requests under way as it takes: one, which `finish` ends. */
async function busyServer() {
  const { service, dependencies } = memoryDependencies(systemClock)
  const server = new HttpServer({ port: 0, maxConcurrent: 1, drainMs: 2_000 }, dependencies)
  await server.start(new AbortController().signal)
  const durable = Promise.withResolvers<void>()
  service.gate = durable.promise
  const blocking = new Caller(server.address)
  const blocked = blocking.ask(post(click))
  const caller = new Caller(server.address)
  await expect
    .poll(async () => (await caller.ask(get('/metrics'))).body)
    .toContain('freshet_http_in_flight_requests 2')
  const finish = async (): Promise<void> => {
    durable.resolve()
    await blocked
  }
  const stop = async (): Promise<void> => {
    await finish()
    blocking[Symbol.dispose]()
    caller[Symbol.dispose]()
    await server.stop()
  }
  return { server, caller, finish, [Symbol.asyncDispose]: stop }
}

/** Only the parser's answers say how long a connection is kept. */
const wasParsed = ({ head }: { head: string }): boolean => /keep-alive/i.test(head)

/** Asks until an answer comes from before the parser: the connection is watched from then on. */
async function watched(caller: Caller): Promise<void> {
  await expect
    .poll(async () => wasParsed(await caller.ask(get('/v1/recommendations/u'))))
    .toBe(false)
}

test('who is refused again is told the same, without being parsed', async () => {
  await using busy = await busyServer()
  const parsed = await busy.caller.ask(get('/v1/recommendations/u', 'x-request-id: mine'))
  expect(wasParsed(parsed)).toBe(true)
  await watched(busy.caller)
  const unread = await busy.caller.ask(get('/v1/recommendations/u', 'X-Request-ID: mine'))
  expect(unread.body).toBe(parsed.body)
  expect(unread.body).toContain('"requestId":"mine"')
  expect(unread.head).toMatch(/^HTTP\/1\.1 503 .*\r\nretry-after: 1\r\n/s)
  const { body } = await busy.caller.ask(get('/metrics?x=1'))
  const refused = Number(/refused_requests_total\{code="OVERLOADED"\} (\d+)/.exec(body)?.[1])
  expect(refused).toBeGreaterThanOrEqual(3)
})

test('a connection that was refused is answered as ever once there is room', async () => {
  await using busy = await busyServer()
  await watched(busy.caller)
  await busy.finish()
  const answer = await busy.caller.ask(get('/v1/recommendations/u?n=1'))
  expect([answer.head.slice(0, 12), wasParsed(answer)]).toEqual(['HTTP/1.1 200', true])
})

test.each([
  ['a request with a body', post(click)],
  ['a request that says that a body comes', get('/v1/recommendations/u', 'Content-Length : 4')],
  ['a request in two pieces', get('/v1/recommendations/u').slice(0, -2)],
  ['two requests at once', get('/v1/items/a') + get('/v1/items/b')],
  ['a request that ends the connection', get('/v1/items/a', 'Connection: close')],
])('%s is left to the parser, and all that come after it', async (_, text) => {
  await using busy = await busyServer()
  await watched(busy.caller)
  const rest = text.endsWith('\r\n\r\n') || text.includes(click) ? [] : ['\r\n']
  const answer = await busy.caller.ask(text, ...rest)
  expect(answer.head).toMatch(/^HTTP\/1\.1 (503|400)/)
  expect(/connection: (keep-alive|close)/i.test(answer.head)).toBe(true)
})

test('what looks like a request in a body is none', async () => {
  await using busy = await busyServer()
  await watched(busy.caller)
  const inner = get('/v1/recommendations/smuggled')
  const whole = post(inner)
  const head = whole.slice(0, whole.indexOf(inner))
  const refused = await busy.caller.ask(head)
  expect(wasParsed(refused)).toBe(true)
  // The body comes after its answer; only the request behind it is answered.
  const next = await busy.caller.ask(inner, get('/health/live', 'x-request-id: behind'))
  expect(next.head).toMatch(/^HTTP\/1\.1 200/)
})
