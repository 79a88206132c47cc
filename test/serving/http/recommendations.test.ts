import { afterAll, beforeAll, expect, test } from 'vitest'

import { openHttp } from '../../support/http-service.ts'
import type { HttpUnderTest } from '../../support/http-service.ts'

let http: HttpUnderTest

beforeAll(async () => {
  http = await openHttp()
  await http.call('POST', '/v1/items', [
    { id: 'a/b', attributes: { title: 'A' } },
    { id: 'b' },
    { id: 'c' },
  ])
  await http.call('POST', '/v1/events', [
    { userId: 'u', itemId: 'b', type: 'click' },
    { userId: 'v', itemId: 'c', type: 'click' },
    { userId: 'w', itemId: 'c', type: 'click' },
  ])
})

afterAll(() => http[Symbol.asyncDispose]())

const ids = (body: { items: { id: string }[] }): string[] => body.items.map(({ id }) => id)

test('a user is recommended what it has not had, with the model that chose it', async () => {
  const { status, body } = await http.call('GET', '/v1/recommendations/u?n=5')
  expect(status).toBe(200)
  expect(body.items).toEqual([
    { id: 'c', score: 2, attributes: {} },
    { id: 'a/b', score: 0, attributes: { title: 'A' } },
  ])
  expect(body.model).toMatchObject({ version: 7, sequence: 3, watermark: { offsets: { 0: '6' } } })
  expect(body).not.toHaveProperty('fallback')
  expect(body.requestId).toMatch(/^[0-9a-f]{12}-/)
})

test('a user that nobody knows is no error: the answer says what stood in', async () => {
  const { status, body } = await http.call('GET', '/v1/recommendations/nobody%2F%F0%9F%98%80')
  expect([status, body.fallback]).toEqual([200, 'popularity'])
})

test('anybody may ask without a user', async () => {
  expect(ids((await http.call('GET', '/v1/recommendations?n=1')).body)).toEqual(['c'])
  expect(ids((await http.call('GET', '/v1/recommendations?n=1&userId=v')).body)).toEqual(['b'])
})

test('everything in a query string reaches the retriever', async () => {
  const query =
    'n=7&offset=2&allow=category:a&allow=category:b:c&allow=brand:x&deny=category:z&exclude=p' +
    '&exclude=q%2Fr&excludeSeen=false&effort=0.25&exact=true&explain=true&minSequence=3' +
    '&numeric=price:lte:20&numeric=price:gt:-1.5&numeric=a:b:eq:3&crowding=2'
  expect((await http.call('GET', `/v1/recommendations/u?${query}`)).status).toBe(200)
  expect(http.service.requests.at(-1)).toEqual({
    userId: 'u',
    n: 7,
    offset: 2,
    filter: {
      allow: { category: ['a', 'b:c'], brand: ['x'] },
      deny: { category: ['z'] },
      numeric: { price: { lte: 20, gt: -1.5 }, 'a:b': { eq: 3 } },
    },
    exclude: ['p', 'q/r'],
    crowding: 2,
    excludeSeen: false,
    effort: 0.25,
    exact: true,
    explain: true,
  })
})

test('everything in a body reaches the retriever', async () => {
  const request = {
    userId: 'u',
    features: { age: 7, tags: ['a'] },
    history: [{ itemId: 'b', type: 'click', timestamp: 5 }, { itemId: 'zzz' }],
    context: { device: 'phone' },
    n: 3,
    offset: 1,
    filter: {
      allow: { category: ['a'] },
      deny: { category: ['b'] },
      numeric: { price: { gte: 1, lt: 2 } },
    },
    exclude: ['c'],
    among: ['a/b', 'b'],
    crowding: 1,
    excludeSeen: false,
    effort: 0.5,
    exact: true,
    explain: false,
  }
  const { status } = await http.call('POST', '/v1/recommendations', { ...request, minSequence: 5 })
  expect(status).toBe(200)
  expect(http.service.requests.at(-1)).toEqual(request)
})

test('a body may be empty but for its braces', async () => {
  expect((await http.call('POST', '/v1/recommendations', {})).status).toBe(200)
  expect(http.service.requests.at(-1)?.n).toBe(10)
})

test('an answer that needs an event waits for it, within bounds', async () => {
  const { status, headers, body } = await http.call('GET', '/v1/recommendations/u?minSequence=99')
  expect(status).toBe(503)
  expect(headers['retry-after']).toBe('1')
  expect(body.error).toMatchObject({ code: 'OFFSET_NOT_VISIBLE', details: { offset: '99' } })
})

test.each([
  'n=0',
  'n=-1',
  'n=1001',
  'n=99999999999999999999',
  'n=1e3',
  'n=0x10',
  'n=NaN',
  'n=Infinity',
  'n=1.5',
  'n=',
  'n=%201',
  'n=ten',
  'n=1&n=2',
  'offset=-1',
  'offset=10001',
  'effort=1.01',
  'effort=-0.1',
  'exact=1',
  'excludeSeen=yes',
  'minSequence=abc',
  'minSequence=-1',
  'allow=nocolon',
  'numeric=price:20',
  'numeric=price:near:20',
  'numeric=price:lt:1e3',
  'crowding=0',
  'nn=1',
  '__proto__=1',
  `exclude=${'x'.repeat(257)}`,
  'exclude=',
])('a query with %s is refused with its path', async (query) => {
  for (const url of ['/v1/recommendations/u', '/v1/recommendations']) {
    const { status, body } = await http.call('GET', `${url}?${query}`)
    const name = query.split('=')[0] ?? ''
    expect([status, body.error.code]).toEqual([400, 'REQUEST_INVALID'])
    expect(body.error.details).toMatchObject({ in: 'query' })
    expect(String(body.error.details['path']).split('.')[0]).toBe(name)
  }
})

test.each<[string, string]>([
  ['{"n": -1}', 'n'],
  ['{"n": 0}', 'n'],
  ['{"n": 1001}', 'n'],
  ['{"n": 1e300}', 'n'],
  ['{"n": 1e999}', 'n'],
  ['{"n": 1.5}', 'n'],
  ['{"n": "5"}', 'n'],
  ['{"n": null}', 'n'],
  ['{"n": [5]}', 'n'],
  ['{"userId": ""}', 'userId'],
  ['{"userId": 7}', 'userId'],
  ['{"userId": "\\ud800"}', 'userId'],
  ['{"history": [{"itemId": 7}]}', 'history.0.itemId'],
  ['{"history": [{}]}', 'history.0.itemId'],
  ['{"history": [{"itemId": "a", "odd": 1}]}', 'history.0.odd'],
  ['{"features": {"a": {}}}', 'features.a'],
  ['{"features": {"a": 1e999}}', 'features.a'],
  ['{"context": []}', 'context'],
  ['{"filter": {"allow": {"c": "a"}}}', 'filter.allow.c'],
  ['{"filter": {"odd": 1}}', 'filter.odd'],
  ['{"filter": {"numeric": {"p": {}}}}', 'filter.numeric.p'],
  ['{"filter": {"numeric": {"p": {"lt": "1"}}}}', 'filter.numeric.p.lt'],
  ['{"among": "a"}', 'among'],
  ['{"crowding": 0}', 'crowding'],
  ['{"exclude": "a"}', 'exclude'],
  ['{"effort": 2}', 'effort'],
  ['{"odd": 1}', 'odd'],
  ['[]', 'body'],
  ['7', 'body'],
  ['', 'body'],
])('a body %s is refused at %s', async (text, path) => {
  const { status, body } = await http.call('POST', '/v1/recommendations', text)
  expect([status, body.error.code, body.error.details['path']]).toEqual([
    400,
    'REQUEST_INVALID',
    path,
  ])
})

test.each([
  ['POST', '/v1/rank', '{}', 'items: is missing'],
  ['POST', '/v1/rank', '', 'body: is missing'],
  ['POST', '/v1/recommendations', '{"history": [{}]}', 'history.0.itemId: is missing'],
  ['POST', '/v1/recommendations', '{"n": null}', 'n: Invalid input: expected number'],
  ['GET', '/v1/recommendations/ada?n=1&n=2', undefined, 'n: is given more than once'],
] as const)('%s %s of %s is told %s', async (method, path, text, reason) => {
  const { body } = await http.call(method, path, text)
  expect(body.error.message).toContain(`the request is invalid at ${reason}`)
})

test('similar items are without the item, and unknown for an unknown item', async () => {
  const { status, body } = await http.call('GET', '/v1/items/c/similar?n=2')
  expect(status).toBe(200)
  expect(ids(body)).toEqual(['b', 'a/b'])
  const unknown = await http.call('GET', '/v1/items/zzz/similar')
  expect([unknown.status, unknown.body.error.code]).toEqual([404, 'ITEM_UNKNOWN'])
})

test('many are answered at once, in order, and one that is wrong refuses the call', async () => {
  const requests = [{ userId: 'u', n: 1 }, { userId: 'nobody', n: 2 }, {}]
  const { status, body } = await http.call('POST', '/v1/recommendations/batch', { requests })
  expect(status).toBe(200)
  expect(body.answers.map(ids)).toEqual([['c'], ['c', 'b'], ['c', 'b', 'a/b']])
  expect(body.answers[1].fallback).toBe('popularity')
  const wrong = { requests: [{}, { n: 0 }] }
  const refused = await http.call('POST', '/v1/recommendations/batch', wrong)
  expect([refused.status, refused.body.error.details['path']]).toEqual([400, 'requests.1.n'])
  const many = { requests: Array.from({ length: 101 }, () => ({})) }
  expect((await http.call('POST', '/v1/recommendations/batch', many)).status).toBe(400)
  expect((await http.call('POST', '/v1/recommendations/batch', { requests: [] })).status).toBe(400)
})

test('a session is a history without a user', async () => {
  const events = [{ itemId: 'b', type: 'view' }, { itemId: 'c' }]
  const session = { events, n: 2, context: { device: 'phone' } }
  const { status } = await http.call('POST', '/v1/sessions/recommendations', session)
  expect(status).toBe(200)
  expect(http.service.requests.at(-1)).toEqual({
    history: events,
    n: 2,
    context: { device: 'phone' },
  })
  const named = await http.call('POST', '/v1/sessions/recommendations', { ...session, userId: 'u' })
  expect([named.status, named.body.error.details['path']]).toEqual([400, 'userId'])
  const empty = await http.call('POST', '/v1/sessions/recommendations', { events: [] })
  expect([empty.status, empty.body.error.details['path']]).toEqual([400, 'events'])
})

test('given items are ranked exactly, all of them, seen or not', async () => {
  const asked = { userId: 'u', items: ['b', 'a/b'], minSequence: '3' }
  expect((await http.call('POST', '/v1/rank', asked)).status).toBe(200)
  expect(http.service.requests.at(-1)).toEqual({
    userId: 'u',
    among: ['b', 'a/b'],
    n: 2,
    exact: true,
    excludeSeen: false,
  })
  const none = await http.call('POST', '/v1/rank', { userId: 'u', items: [] })
  expect([none.status, none.body.error.details['path']]).toEqual([400, 'items'])
})

test('vectors of users and items can be had, in two forms', async () => {
  const user = await http.call('GET', '/v1/users/u/embedding?minSequence=3')
  expect([user.status, user.body.id, user.body.vector]).toEqual([200, 'u', [1]])
  expect(user.body.model.version).toBe(7)
  const item = await http.call('GET', '/v1/items/a%2Fb/embedding')
  expect([item.body.id, item.body.vector]).toEqual(['a/b', [0]])
  const unknown = await http.call('GET', '/v1/items/zzz/embedding')
  expect([unknown.status, unknown.body.error.code]).toEqual([404, 'ITEM_UNKNOWN'])

  const predict = '/v1/models/user_model:predict'
  const instances = ['u', { user_id: 'v' }, { userId: 'w' }]
  const { status, body } = await http.call('POST', predict, { instances })
  expect([status, body]).toEqual([200, { predictions: [[1], [1], [1]] }])
  expect(http.service.requests.slice(-3).map(({ userId }) => userId)).toEqual(['u', 'v', 'w'])
  expect((await http.call('POST', predict, { instances: [7] })).status).toBe(400)
  expect((await http.call('POST', '/v1/models/user_modelx', { instances })).status).toBe(404)
  const document = await http.call('GET', '/openapi.json')
  expect(Object.keys(document.body.paths)).toContain(predict)
})

test('the plain form has titles, or ids where there are none', async () => {
  const { status, body } = await http.call('GET', '/recommend/u?n=2')
  expect([status, body]).toEqual([200, { user_id: 'u', recommendations: ['c', 'A'] }])
  expect((await http.call('GET', '/recommend/u?n=0')).status).toBe(400)
})
