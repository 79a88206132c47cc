import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

import { expect, test } from 'vitest'

import { FreshetClient } from '../../src/client/freshet-client.ts'

/** A host between client and service, which does what it likes. */
class Host implements AsyncDisposable {
  readonly requests: IncomingMessage[] = []
  readonly #server
  readonly #answers: ((response: ServerResponse) => void)[]

  private constructor(answers: ((response: ServerResponse) => void)[]) {
    this.#answers = answers
    this.#server = createServer((request, response) => {
      this.requests.push(request)
      request.resume()
      const answer = this.#answers.length > 1 ? this.#answers.shift() : this.#answers[0]
      request.on('end', () => answer?.(response))
    })
  }

  static async open(...answers: ((response: ServerResponse) => void)[]): Promise<Host> {
    const host = new Host(answers)
    await new Promise<void>((resolve) => host.#server.listen(0, '127.0.0.1', resolve))
    return host
  }

  client(options: Partial<ConstructorParameters<typeof FreshetClient>[0]> = {}): FreshetClient {
    const { port } = this.#server.address() as AddressInfo
    return new FreshetClient({ baseUrl: `http://127.0.0.1:${port}/shop/`, ...options })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

const json =
  (status: number, body: unknown, headers: Record<string, string> = {}) =>
  (response: ServerResponse): void =>
    void response.writeHead(status, headers).end(JSON.stringify(body))

const busy = json(
  503,
  { error: { code: 'OVERLOADED', message: 'busy', details: { a: 1 }, requestId: 'r' } },
  { 'retry-after': '0' },
)
const written = json(200, { id: 'a', offset: '1', visible: true })
const cut = (response: ServerResponse): void => void response.destroy()

test('what may pass is tried again, a write under one key', async () => {
  await using host = await Host.open(busy, cut, written)
  expect(await host.client().putItem('a/b', {})).toMatchObject({ offset: '1' })
  expect(host.requests.map(({ url }) => url)).toEqual(
    Array.from({ length: 3 }, () => '/shop/v1/items/a%2Fb'),
  )
  const keys = new Set(host.requests.map(({ headers }) => headers['idempotency-key']))
  expect(keys.size).toBe(1)
  await host.client().putItem('c', {})
  expect(host.requests.at(-1)?.headers['idempotency-key']).not.toBe([...keys][0])
})

test('tries end, with the error that the service gave', async () => {
  await using host = await Host.open(busy)
  await expect(host.client({ retries: 2 }).recommend({})).rejects.toMatchObject({
    name: 'FreshetError',
    status: 503,
    code: 'OVERLOADED',
    message: 'busy',
    details: { a: 1 },
    requestId: 'r',
  })
  expect(host.requests).toHaveLength(3)
})

test('what will not pass is not tried again', async () => {
  const refused = json(400, { error: { code: 'REQUEST_INVALID', message: 'n' } })
  await using host = await Host.open(refused)
  await expect(host.client().recommend({ n: 0 })).rejects.toMatchObject({ code: 'REQUEST_INVALID' })
  expect(host.requests).toHaveLength(1)
})

test('an answer that is not the API’s is an error, and so is none', async () => {
  await using host = await Host.open((response) => response.writeHead(418).end('<html>'))
  await expect(host.client().status()).rejects.toMatchObject({ status: 418, code: 'UNKNOWN' })
  const nobody = new FreshetClient({ baseUrl: 'http://127.0.0.1:1', retries: 0 })
  await expect(nobody.status()).rejects.toMatchObject({ status: 0, code: 'UNREACHABLE' })
})

test('a host that does not answer is given up, and an abort ends everything', async () => {
  await using host = await Host.open(() => {})
  // Counted where they leave: on a slow machine not all arrive in time.
  let tries = 0
  const counted: typeof fetch = (...request) => {
    tries += 1
    return fetch(...request)
  }
  const slow = host.client({ timeoutMs: 50, retries: 1, fetch: counted })
  await expect(slow.status()).rejects.toMatchObject({ code: 'UNREACHABLE' })
  expect(tries).toBe(2)
  const abort = new AbortController()
  const asked = host.client({ signal: abort.signal, retries: 1_000 }).status()
  setTimeout(() => abort.abort(), 20)
  await expect(asked).rejects.toMatchObject({ code: 'UNREACHABLE' })
})

test('the key is sent', async () => {
  await using host = await Host.open(json(200, { at: 1 }))
  await host.client({ apiKey: 'secret' }).status()
  expect(host.requests[0].headers.authorization).toBe('Bearer secret')
})
