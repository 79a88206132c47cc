import { createHash } from 'node:crypto'

import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { isLoopback, isLoopbackHost } from '../../../src/serving/http/api-keys.ts'
import type { ApiKey, Scope } from '../../../src/serving/http/settings.ts'
import { openHttp } from '../../support/http-service.ts'
import type { HttpUnderTest } from '../../support/http-service.ts'

const apiKey = (name: string, scopes: Scope[], more: Partial<ApiKey> = {}): ApiKey => ({
  name,
  sha256: createHash('sha256').update(`secret-of-${name}`).digest('hex'),
  scopes,
  ...more,
})

const bearer = (name: string) => ({ authorization: `Bearer secret-of-${name}` })

const keys = [apiKey('reader', ['read']), apiKey('writer', ['write']), apiKey('boss', ['admin'])]

describe('with keys', () => {
  let http: HttpUnderTest

  beforeAll(async () => {
    http = await openHttp({ apiKeys: keys })
  })

  afterAll(() => http[Symbol.asyncDispose]())

  test.each([
    ['reader', 'GET', '/v1/recommendations/u', 200],
    ['reader', 'GET', '/metrics', 200],
    ['reader', 'POST', '/v1/events', 403],
    ['reader', 'GET', '/v1/admin/jobs', 403],
    ['writer', 'POST', '/v1/events', 202],
    ['writer', 'PUT', '/v1/items/i', 200],
    ['writer', 'GET', '/v1/items', 403],
    ['boss', 'GET', '/v1/admin/jobs', 200],
    ['boss', 'GET', '/v1/items', 403],
  ] as const)('%s may or may not %s %s: %i', async (name, method, url, status) => {
    const body = method === 'POST' ? [] : {}
    const answer = await http.call(method, url, method === 'GET' ? undefined : body, bearer(name))
    expect(answer.status).toBe(status)
    expect(answer.text.includes('SCOPE_MISSING')).toBe(status === 403)
  })

  test('without a key, or with a wrong one, only what is open to all is answered', async () => {
    const none = await http.call('GET', '/v1/items')
    expect([none.status, none.body.error.code]).toEqual([401, 'KEY_REQUIRED'])
    expect(none.headers['www-authenticate']).toContain('Bearer')
    for (const authorization of [
      'Bearer wrong',
      `Bearer ${'x'.repeat(5_000)}`,
      `Bearer ${keys[0]?.sha256}`,
    ]) {
      const wrong = await http.call('GET', '/v1/items', undefined, { authorization })
      expect([wrong.status, wrong.body.error.code]).toEqual([401, 'KEY_INVALID'])
    }
    const basic = await http.call('GET', '/v1/items', undefined, { authorization: 'Basic eDp5' })
    expect(basic.body.error.code).toBe('KEY_REQUIRED')
    for (const url of ['/health/live', '/health/ready', '/openapi.json']) {
      expect((await http.call('GET', url)).status).toBe(200)
    }
  })

  test('a key may come in X-API-Key', async () => {
    const header = { 'x-api-key': 'secret-of-reader' }
    expect((await http.call('GET', '/v1/items', undefined, header)).status).toBe(200)
  })

  test('a key is asked for before the body is looked at', async () => {
    expect((await http.call('POST', '/v1/events', 'nonsense')).status).toBe(401)
  })

  test('any host name is answered', async () => {
    const headers = { ...bearer('reader'), host: 'shop.example.com' }
    expect((await http.call('GET', '/v1/items', undefined, headers)).status).toBe(200)
  })
})

describe('without keys', () => {
  test('only loopback host names are answered: no web page can rebind its own', async () => {
    await using http = await openHttp()
    const answer = await http.call('GET', '/health/live', undefined, { host: 'evil.example.com' })
    expect([answer.status, answer.body.error.code]).toEqual([403, 'HOST_FORBIDDEN'])
    for (const host of ['localhost', 'localhost:8080', '127.0.0.1:1', '[::1]:80', 'a.localhost']) {
      expect((await http.call('GET', '/health/live', undefined, { host })).status).toBe(200)
    }
  })
})

describe('rates', () => {
  test('a key over its rate is told when to come again, and others are not affected', async () => {
    const slow = apiKey('slow', ['read'], { ratePerSecond: 0.5, rateBurst: 2 })
    await using http = await openHttp({ apiKeys: [slow, ...keys] })
    const get = (name: string) => http.call('GET', '/v1/items', undefined, bearer(name))
    expect((await get('slow')).status).toBe(200)
    expect((await get('slow')).status).toBe(200)
    const refused = await get('slow')
    expect([refused.status, refused.body.error.code]).toEqual([429, 'RATE_LIMITED'])
    expect(refused.headers['retry-after']).toBe('2')
    expect((await get('reader')).status).toBe(200)
    await new Promise((resolve) => setImmediate(resolve))
    http.clock.advance(2_000)
    expect((await get('slow')).status).toBe(200)
    expect((await get('slow')).status).toBe(429)
  })

  test('a rate for all holds without keys too, but not for health', async () => {
    await using http = await openHttp({ ratePerSecond: 1, rateBurst: 1 })
    expect((await http.call('GET', '/v1/items')).status).toBe(200)
    expect((await http.call('GET', '/v1/items')).status).toBe(429)
    expect((await http.call('GET', '/health/live')).status).toBe(200)
  })
})

test('every answer has the security headers and a request id', async () => {
  await using http = await openHttp()
  for (const url of ['/health/live', '/v1/items', '/nope', '/v1/recommendations/u?n=0']) {
    const { headers } = await http.call('GET', url)
    expect(headers).toMatchObject({
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
      'cache-control': 'no-store',
    })
    expect(headers['x-request-id']).toMatch(/^\w+-\w+$/)
    expect(headers).not.toHaveProperty('x-powered-by')
  }
})

test('a harmless request id of the client is kept, any other replaced', async () => {
  await using http = await openHttp()
  const idFor = async (id: string): Promise<unknown> =>
    (await http.call('GET', '/health/live', undefined, { 'x-request-id': id })).headers[
      'x-request-id'
    ]
  expect(await idFor('trace-1:a.b')).toBe('trace-1:a.b')
  expect(await idFor('a b"')).not.toBe('a b"')
  expect(await idFor('x'.repeat(65))).not.toBe('x'.repeat(65))
})

test('a form, as a web page could send without asking, is refused', async () => {
  await using http = await openHttp()
  for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data']) {
    const { status, body } = await http.call('POST', '/v1/events', '{}', { 'content-type': type })
    expect([status, body.error.code]).toEqual([415, 'MEDIA_TYPE_UNSUPPORTED'])
  }
})

test('addresses that only this machine can reach are known', () => {
  const loopback = ['localhost', '127.0.0.1', '127.9.9.9', '::1', '[::1]']
  const reachable = [
    '0.0.0.0',
    '::',
    '192.168.0.1',
    'localhost.example.com',
    '',
    '127.0.0.1.nip.io',
  ]
  expect(loopback.filter((host) => !isLoopback(host))).toEqual([])
  expect(reachable.filter((host) => isLoopback(host))).toEqual([])
  expect(isLoopbackHost(undefined)).toBe(true)
})
