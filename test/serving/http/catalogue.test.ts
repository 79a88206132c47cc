import { afterAll, beforeAll, expect, test } from 'vitest'

import { noon, openHttp } from '../../support/http-service.ts'
import type { HttpUnderTest } from '../../support/http-service.ts'

/** For tests that leave nothing behind. */
let shared: HttpUnderTest

beforeAll(async () => {
  shared = await openHttp()
})

afterAll(() => shared[Symbol.asyncDispose]())

const path = (id: string): string => `/v1/items/${encodeURIComponent(id)}`

test('an item that was put is there at once', async () => {
  await using http = await openHttp()
  const item = {
    features: { category: ['a', 'b'], price: 9.5 },
    attributes: { title: { en: 'T' } },
  }
  const written = await http.call('PUT', '/v1/items/i', item)
  expect(written).toMatchObject({ status: 200, body: { id: 'i', offset: '0', visible: true } })
  expect(await http.call('GET', '/v1/items/i')).toMatchObject({
    status: 200,
    body: { id: 'i', ...item, hidden: false, firstSeenAt: noon, lastTouchedAt: noon },
  })
})

test('a read that needs a write of another process waits for it, within bounds', async () => {
  await using http = await openHttp()
  await http.call('PUT', '/v1/items/i', {})
  await http.call('PUT', '/v1/users/u', {})
  for (const read of ['items/i', 'users/u']) {
    expect((await http.call('GET', `/v1/${read}?minSequence=1`)).status).toBe(200)
    const { status, body } = await http.call('GET', `/v1/${read}?minSequence=99`)
    expect([status, body.error.code]).toEqual([503, 'OFFSET_NOT_VISIBLE'])
    expect((await http.call('GET', `/v1/${read}?minSequence=0:1,soon`)).status).toBe(400)
  }
})

test('put replaces, patch changes the named fields', async () => {
  await using http = await openHttp()
  await http.call('PUT', '/v1/items/i', { features: { a: 1, b: 2 }, attributes: { t: 1 } })
  await http.call('PATCH', '/v1/items/i', { features: { a: 3 } })
  expect((await http.call('GET', '/v1/items/i')).body.features).toEqual({ a: 3, b: 2 })
  await http.call('PUT', '/v1/items/i', { features: { c: 4 } })
  expect((await http.call('GET', '/v1/items/i')).body).toMatchObject({
    features: { c: 4 },
    attributes: {},
  })
})

test.each(['a/b', '😀', 'ä ö', 'a%2Fb', 'x?y#z', '\u0000', 'é'.repeat(128), '%', ':id', '*'])(
  'an item may be called %j',
  async (id) => {
    expect((await shared.call('PUT', path(id), {})).body).toMatchObject({ id })
    expect((await shared.call('GET', path(id))).body).toMatchObject({ id })
    expect((await shared.call('GET', `${path(id)}/similar`)).status).toBe(200)
    await shared.call('DELETE', path(id))
    expect((await shared.call('GET', path(id))).status).toBe(404)
  },
)

test.each([
  ['257 bytes', 'x'.repeat(257), 400],
  ['258 bytes in 129 characters', 'é'.repeat(129), 400],
  ['nothing', '', 400],
])('an item may not be called with %s', async (_, id, status) => {
  const answer = await shared.call('PUT', path(id), {})
  expect(answer.status).toBe(status)
  expect(answer.body.error.code).toBe('REQUEST_INVALID')
})

test('a path that is not percent-encoded UTF-8 is refused', async () => {
  for (const bad of ['%ff', '%E0%A4%A', '%zz']) {
    const { status, body, headers } = await shared.call('GET', `/v1/items/${bad}`)
    expect([bad, status, body.error.code]).toEqual([bad, 400, 'HTTP_MALFORMED'])
    expect(headers['x-content-type-options']).toBe('nosniff')
  }
})

test('an item that is not there is 404, and deleting it is no error', async () => {
  await using http = await openHttp()
  expect((await http.call('GET', '/v1/items/none')).body.error).toMatchObject({
    code: 'ITEM_UNKNOWN',
    details: { itemId: 'none' },
  })
  expect((await http.call('DELETE', '/v1/items/none')).status).toBe(200)
})

test.each([
  [{ features: { a: true } }, 'features.a'],
  [{ features: { a: null } }, 'features.a'],
  [{ features: 'a' }, 'features'],
  [{ attributes: [] }, 'attributes'],
  [{ hidden: 'yes' }, 'hidden'],
  [{ expiresAt: 'tomorrow' }, 'expiresAt'],
  [{ itemId: 'other' }, 'itemId'],
  [{ kind: 'deleteUser' }, 'kind'],
  [[], 'body'],
  [undefined, 'body'],
])('an item that is %j is refused at %s', async (body, at) => {
  const before = shared.service.events.length
  const answer = await shared.call('PUT', '/v1/items/i', body)
  expect(answer.status).toBe(400)
  expect(answer.body.error.details['path']).toBe(at)
  expect(shared.service.events).toHaveLength(before)
})

test('a write that is durable but not yet visible says so', async () => {
  await using http = await openHttp()
  http.service.paused = true
  const { status, body } = await http.call('PUT', '/v1/items/i', {})
  expect([status, body.visible]).toEqual([200, false])
})

test('a put with an idempotency key that is repeated counts once', async () => {
  await using http = await openHttp()
  const key = { 'idempotency-key': 'k' }
  await http.call('PUT', '/v1/items/i', { features: { a: 1 } }, key)
  await http.call('PUT', '/v1/items/i', { features: { a: 2 } })
  await http.call('PUT', '/v1/items/i', { features: { a: 1 } }, key)
  expect((await http.call('GET', '/v1/items/i')).body.features).toEqual({ a: 2 })
})

test('many items are put at once', async () => {
  await using http = await openHttp()
  const items = Array.from({ length: 250 }, (_, i) => ({ id: `i${i}`, features: { n: i } }))
  const { status, body } = await http.call('POST', '/v1/items', items)
  expect(status).toBe(202)
  expect(body).toEqual({ accepted: 250, rejected: [], offset: '249' })
  expect(http.service.facts.catalogue.size).toBe(250)
})

test('one bad item of many is refused by its place', async () => {
  await using http = await openHttp()
  const { status, body } = await http.call('POST', '/v1/items', [
    { id: 'a' },
    { id: 'b', features: { x: {} } },
    { id: 'c', price: 7 },
  ])
  expect(status).toBe(202)
  expect(body).toMatchObject({
    accepted: 1,
    rejected: [
      { index: 1, path: 'features.x' },
      { index: 2, path: 'price' },
    ],
  })
})

test('the catalogue is walked page by page, each item once', async () => {
  await using http = await openHttp()
  const items = Array.from({ length: 25 }, (_, i) => ({ id: `i${i}` }))
  await http.call('POST', '/v1/items', items)
  const seen: string[] = []
  let cursor: string | undefined
  do {
    const query = cursor === undefined ? '' : `&cursor=${cursor}`
    const { body } = await http.call('GET', `/v1/items?limit=10${query}`)
    seen.push(...body.items.map(({ id }: { id: string }) => id))
    cursor = body.next
  } while (cursor !== undefined)
  expect(seen.toSorted()).toEqual(items.map(({ id }) => id).toSorted())
})

test.each([
  'limit=0',
  'limit=1001',
  'limit=x',
  'limit=NaN',
  'limit=1&limit=2',
  'cursor=x',
  'odd=1',
])('a page with %s is refused', async (query) => {
  const { status, body } = await shared.call('GET', `/v1/items?${query}`)
  expect(status).toBe(400)
  expect(body.error.details['path']).toBe(query.split('=')[0])
})

test('a user that was put is there at once, with what it had', async () => {
  await using http = await openHttp()
  await http.call('PUT', '/v1/users/u%2F1', { features: { age: 7 } })
  await http.call('POST', '/v1/events', { userId: 'u/1', itemId: 'i', type: 'click' })
  expect((await http.call('GET', '/v1/users/u%2F1')).body).toEqual({
    id: 'u/1',
    features: { age: 7 },
    history: [{ itemId: 'i', type: 'click', timestamp: noon }],
    seen: 1,
  })
  await http.call('PATCH', '/v1/users/u%2F1', { features: { city: 'x' } })
  expect((await http.call('GET', '/v1/users/u%2F1')).body.features).toEqual({ age: 7, city: 'x' })
})

test('a user that was deleted is gone', async () => {
  await using http = await openHttp()
  await http.call('PUT', '/v1/users/u', {})
  expect((await http.call('DELETE', '/v1/users/u')).body.visible).toBe(true)
  expect((await http.call('GET', '/v1/users/u')).body.error).toMatchObject({
    code: 'USER_UNKNOWN',
    details: { userId: 'u' },
  })
})

const idsOf = (body: { items: { id: string }[] }) => body.items.map(({ id }) => id)

test('items are searched by id and title, page by page', async () => {
  await using http = await openHttp()
  const many = Array.from({ length: 30 }, (_, i) => ({
    id: `searched-${i}`,
    ...(i % 3 === 0 ? { attributes: { title: `Red Lamp ${i}` } } : {}),
    ...(i % 3 === 1 ? { features: { title: `blue lamp ${i}` } } : {}),
  }))
  await http.call('POST', '/v1/items', many)
  const red = await http.call('GET', '/v1/items?search=red%20LAMP&limit=1000')
  expect(idsOf(red.body)).toEqual(many.filter((_, i) => i % 3 === 0).map(({ id }) => id))
  const byId = await http.call('GET', '/v1/items?search=SEARCHED-29')
  expect(idsOf(byId.body)).toEqual(['searched-29'])
  const walked: string[] = []
  let cursor = ''
  for (let pages = 0; pages < 100; pages += 1) {
    const { body } = await http.call('GET', `/v1/items?search=lamp&limit=3${cursor}`)
    expect(body.items.length).toBeLessThanOrEqual(3)
    walked.push(...idsOf(body))
    if (body.next === undefined) break
    cursor = `&cursor=${body.next}`
  }
  expect(walked).toEqual(many.filter((_, i) => i % 3 !== 2).map(({ id }) => id))
  expect((await http.call('GET', '/v1/items?search=')).status).toBe(400)
})

test('users that were active last come first', async () => {
  await using http = await openHttp()
  for (const userId of ['early', 'middle', 'late', 'early']) {
    await http.call('POST', '/v1/events', { userId, itemId: 'x', type: 'click' })
  }
  const { status, body } = await http.call('GET', '/v1/users?limit=3')
  expect(status).toBe(200)
  expect(body.users.map(({ id }: { id: string }) => id)).toEqual(['early', 'late', 'middle'])
  expect(body.users[0].lastActiveAt).toBeGreaterThan(0)
  expect((await http.call('GET', '/v1/users?limit=0')).status).toBe(400)
})

const named = (body: { users: { id: string }[] }): string[] => body.users.map(({ id }) => id)

test('users come page by page, also while they go on being active', async () => {
  await using http = await openHttp()
  const click = (userId: string, timestamp: number) =>
    http.call('POST', '/v1/events', { userId, itemId: 'x', type: 'click', timestamp })
  const users = Array.from({ length: 7 }, (_, i) => `user-${i}`)
  for (const [i, userId] of users.entries()) await click(userId, 1_000 + i)
  const page = async (query: string) => (await http.call('GET', `/v1/users?limit=3${query}`)).body
  const first = await page('')
  expect(named(first)).toEqual(['user-6', 'user-5', 'user-4'])
  const second = await page(`&cursor=${first.next}`)
  expect(named(second)).toEqual(['user-3', 'user-2', 'user-1'])
  // Where a page ended has moved to the front meanwhile.
  await click('user-4', 2_000)
  expect(named(await page(`&cursor=${first.next}`))).toEqual(named(second))
  const last = await page(`&cursor=${second.next}`)
  expect(named(last)).toEqual(['user-0'])
  expect(last.next).toBeUndefined()
  expect((await http.call('GET', '/v1/users?cursor=x')).body.error).toMatchObject({
    code: 'REQUEST_INVALID',
    details: { path: 'cursor' },
  })
})
