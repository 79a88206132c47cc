import { Readable } from 'node:stream'

import * as fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'

import { ServiceError } from '../../../src/base/errors.ts'
import { noon, openHttp } from '../../support/http-service.ts'
import type { HttpUnderTest } from '../../support/http-service.ts'

/** For tests that leave nothing behind. */
let shared: HttpUnderTest

beforeAll(async () => {
  shared = await openHttp()
})

afterAll(() => shared[Symbol.asyncDispose]())

const click = { userId: 'u', itemId: 'i', type: 'click' }
const ndjson = { 'content-type': 'application/x-ndjson' }

test('one event is accepted, stamped with the time of acceptance', async () => {
  await using http = await openHttp()
  const answer = await http.call('POST', '/v1/events', click)
  expect(answer).toMatchObject({ status: 202, body: { accepted: 1, rejected: [], offset: '0' } })
  expect(http.service.events).toEqual([
    { ...click, kind: 'interaction', timestamp: noon, acceptedAt: noon },
  ])
})

test('one bad event of a list rejects none of its neighbours', async () => {
  await using http = await openHttp()
  const list = [click, { ...click, userId: 7 }, 'nonsense', click]
  const { status, body } = await http.call('POST', '/v1/events', list)
  expect(status).toBe(202)
  expect(body).toMatchObject({
    accepted: 2,
    rejected: [
      { index: 1, code: 'EVENT_INVALID', path: 'userId' },
      { index: 2, code: 'EVENT_INVALID', path: 'event' },
    ],
    offset: '1',
  })
  expect(http.service.events).toHaveLength(2)
})

test('a list of which nothing is accepted has no offset', async () => {
  await using http = await openHttp()
  const { status, body } = await http.call('POST', '/v1/events', [1])
  expect(status).toBe(202)
  expect(body).toMatchObject({ accepted: 0, rejected: [{ index: 0 }] })
  expect(body).not.toHaveProperty('offset')
})

test('an empty list is accepted, and nothing is appended', async () => {
  await using http = await openHttp()
  expect((await http.call('POST', '/v1/events', [])).body).toEqual({ accepted: 0, rejected: [] })
})

test('a single event that is no good is answered as an error with its path', async () => {
  await using http = await openHttp()
  const { status, body } = await http.call('POST', '/v1/events', { ...click, itemId: '' })
  expect(status).toBe(400)
  expect(body.error).toMatchObject({ code: 'EVENT_INVALID', details: { path: 'itemId' } })
  expect(body.error.requestId).not.toBe('')
})

test('an event too far in the future is rejected', async () => {
  await using http = await openHttp({ futureSkewMs: 1_000 })
  const { body } = await http.call('POST', '/v1/events', [
    { ...click, timestamp: noon + 1_000 },
    { ...click, timestamp: noon + 1_001 },
  ])
  expect(body).toMatchObject({ accepted: 1, rejected: [{ index: 1, code: 'EVENT_IN_FUTURE' }] })
})

test('every kind of event is taken', async () => {
  await using http = await openHttp()
  const { body } = await http.call('POST', '/v1/events', [
    { kind: 'interaction', ...click },
    { kind: 'item', itemId: 'i', features: { category: ['a'] }, attributes: { title: 'T' } },
    { kind: 'user', userId: 'u', features: { age: 7 } },
    { kind: 'impression', userId: 'u', itemIds: ['i'] },
    { kind: 'deleteItem', itemId: 'i' },
    { kind: 'deleteUser', userId: 'u' },
  ])
  expect(body).toMatchObject({ accepted: 6, rejected: [] })
})

test('NDJSON is taken line by line, blank lines aside', async () => {
  await using http = await openHttp()
  const text = `${JSON.stringify(click)}\r\n\n  \nnot json\n[1]\n${JSON.stringify(click)}`
  const { status, body } = await http.call('POST', '/v1/events', text, ndjson)
  expect(status).toBe(202)
  expect(body).toMatchObject({
    accepted: 2,
    rejected: [
      { index: 1, code: 'BODY_INVALID' },
      { index: 2, code: 'EVENT_INVALID' },
    ],
    offset: '1',
  })
})

test('NDJSON larger than the limit of a JSON body is taken', async () => {
  await using http = await openHttp({ bodyLimitBytes: 1_000 })
  const text = `${JSON.stringify(click)}\n`.repeat(5_000)
  const { body } = await http.call('POST', '/v1/events', text, ndjson)
  expect(body).toMatchObject({ accepted: 5_000, offset: '4999' })
})

test('NDJSON over its limit says how many events stand', async () => {
  await using http = await openHttp({ ndjsonLimitBytes: 300_000 })
  const line = `${JSON.stringify(click)}\n`
  const stream = Readable.from(Array.from({ length: 100 }, () => Buffer.from(line.repeat(100))))
  const answer = await http.app.inject({
    method: 'POST',
    url: '/v1/events',
    headers: ndjson,
    payload: stream,
  })
  const { error } = answer.json<{ error: { code: string; details: Record<string, unknown> } }>()
  expect(answer.statusCode).toBe(413)
  expect(error.code).toBe('BODY_TOO_LARGE')
  expect(error.details['accepted']).toBe(http.service.events.length)
  expect(http.service.events.length).toBeGreaterThan(0)
})

test('a line of NDJSON over the limit of a body is refused', async () => {
  await using http = await openHttp({ bodyLimitBytes: 100 })
  const text = `"${'x'.repeat(200)}"\n`
  const { status, body } = await http.call('POST', '/v1/events', text, ndjson)
  expect(status).toBe(413)
  expect(body.error).toMatchObject({ code: 'BODY_TOO_LARGE', details: { limit: 100 } })
})

test('more lines of NDJSON than are taken at once are refused', async () => {
  await using http = await openHttp({ maxEventsPerRequest: 2 })
  const text = '1\n'.repeat(21)
  const { status, body } = await http.call('POST', '/v1/events', text, ndjson)
  expect(status).toBe(400)
  expect(body.error.message).toContain('more than 20 lines')
})

test('rejected events are listed up to a bound, and the rest counted', async () => {
  await using http = await openHttp({ maxEventsPerRequest: 20_000 })
  const { body } = await http.call('POST', '/v1/events', '1\n'.repeat(10_005), ndjson)
  expect(body.rejected).toHaveLength(10_000)
  expect(body.unlisted).toBe(5)
})

test('NDJSON is refused where it makes no sense', async () => {
  await using http = await openHttp()
  const { status, body } = await http.call('PUT', '/v1/items/i', '{}', ndjson)
  expect(status).toBe(415)
  expect(body.error.code).toBe('MEDIA_TYPE_UNSUPPORTED')
})

test('more events than are taken at once are refused, none appended', async () => {
  await using http = await openHttp({ maxEventsPerRequest: 2 })
  const { status, body } = await http.call('POST', '/v1/events', [click, click, click])
  expect(status).toBe(400)
  expect(body.error).toMatchObject({ code: 'REQUEST_INVALID', details: { path: 'body' } })
  expect(http.service.events).toHaveLength(0)
})

test('the answer comes when the events are durable, not before', async () => {
  await using http = await openHttp()
  const durable = Promise.withResolvers<void>()
  http.service.gate = durable.promise
  let answered = false
  const answer = http.call('POST', '/v1/events', click).then((value) => {
    answered = true
    return value
  })
  await new Promise((resolve) => setImmediate(resolve))
  expect(answered).toBe(false)
  durable.resolve()
  expect((await answer).status).toBe(202)
})

test('with a full disk the answer is 503 with Retry-After', async () => {
  await using http = await openHttp()
  http.service.failure = new ServiceError('OVERLOADED', { reason: 'disk full' })
  const { status, headers, body } = await http.call('POST', '/v1/events', click)
  expect(status).toBe(503)
  expect(headers['retry-after']).toBe('1')
  expect(body.error.code).toBe('OVERLOADED')
})

test('an idempotency key makes a repeated request count once', async () => {
  await using http = await openHttp()
  const key = { 'idempotency-key': 'order-42' }
  const list = [click, { ...click, eventId: 'mine' }]
  await http.call('POST', '/v1/events', list, key)
  await http.call('POST', '/v1/events', list, key)
  const ids = http.service.events.map(({ eventId }) => eventId)
  expect(ids[0]).toMatch(/^order-42#0#[0-9a-f]{1,16}$/)
  expect(ids).toEqual([ids[0], 'mine', ids[0], 'mine'])
  expect(http.service.facts.interactions).toBe(2)
})

test('another event under an idempotency key that was used is not taken for the first', async () => {
  await using http = await openHttp()
  const key = { 'idempotency-key': 'order-42' }
  await http.call('POST', '/v1/events', click, key)
  await http.call('POST', '/v1/events', { ...click, itemId: 'j' }, key)
  expect(http.service.facts.interactions).toBe(2)
  await http.call('PUT', '/v1/items/one', { features: {} }, key)
  await http.call('PUT', '/v1/items/two', { features: {} }, key)
  expect((await http.call('GET', '/v1/items/two')).status).toBe(200)
})

test('an idempotency key changes nothing about what is rejected and why', async () => {
  await using http = await openHttp()
  const key = { 'idempotency-key': 'k'.repeat(200) }
  const nonsense = `nonsense\n[1]\n${JSON.stringify(click)}\n`
  const one = async (headers: Record<string, string>): Promise<unknown> => [
    (await http.call('POST', '/v1/events', nonsense, { ...ndjson, ...headers })).body.rejected,
    (await http.call('POST', '/v1/items', [{ id: '' }, { id: 'i' }], headers)).body.rejected,
  ]
  const bare = await one({})
  expect(bare).toMatchObject([[{ code: 'BODY_INVALID' }, {}], [{ path: 'id' }]])
  expect(await one(key)).toEqual(bare)
})

test('an idempotency key that is no visible ASCII is refused', async () => {
  await using http = await openHttp()
  const { status, body } = await http.call('POST', '/v1/events', click, {
    'idempotency-key': 'a b',
  })
  expect(status).toBe(400)
  expect(body.error.details['path']).toBe('idempotency-key')
})

test.each([
  ['text', 'nonsense'],
  ['a number', '7'],
  ['null', 'null'],
  ['cut off', '{"userId":'],
  ['NaN', '{"weight": NaN}'],
  ['no UTF-8', Buffer.from([0x22, 0xff, 0xfe, 0x22])],
  ['nothing', ''],
  ['too deep', '['.repeat(100_000)],
  ['deep and whole', '['.repeat(50) + ']'.repeat(50)],
  ['a prototype', '{"__proto__": {"polluted": true}, "userId": "u"}'],
  ['a hidden prototype', '{"context": {"\\u005f_proto__": {"polluted": true}}}'],
])('a body that is %s is refused with a code', async (_, body) => {
  const answer = await shared.call('POST', '/v1/events', body)
  expect(answer.status).toBe(400)
  expect(answer.body.error.code).toMatch(/^(BODY|REQUEST|EVENT)_INVALID$/)
  expect(shared.service.events).toHaveLength(0)
  expect(({} as Record<string, unknown>)['polluted']).toBeUndefined()
})

test('brackets within strings are no depth', async () => {
  await using http = await openHttp()
  const context = { text: '[{"'.repeat(200), path: 'a\\' }
  expect((await http.call('POST', '/v1/events', { ...click, context })).status).toBe(202)
})

test('whatever comes as an event, each is either appended or rejected with a code', async () => {
  await using http = await openHttp()
  // A body that names a prototype is refused whole: see above.
  const nonsense = fc
    .oneof(fc.jsonValue(), almostAnEvent())
    .filter((value) => !JSON.stringify(value).includes('__proto__'))
  await fc.assert(
    fc.asyncProperty(fc.oneof(nonsense, fc.array(nonsense, { maxLength: 5 })), async (value) => {
      const before = http.service.events.length
      const { status, body } = await http.call('POST', '/v1/events', value)
      const appended = http.service.events.length - before
      const sent = Array.isArray(value) ? value.length : 1
      const rejected: unknown[] = status === 202 ? body.rejected : [body.error]
      expect(status).toBe(appended === 0 && !Array.isArray(value) ? 400 : 202)
      expect(appended + rejected.length).toBe(sent)
      for (const rejection of rejected) {
        expect(rejection).toMatchObject({ code: expect.stringMatching(/_INVALID$|_IN_FUTURE$/) })
      }
    }),
    { numRuns: 150 },
  )
  expect(http.service.lines).toEqual([])
}, 20_000)

test('whatever bytes come, the answer is an error with a code or 202, and never 500', async () => {
  await using http = await openHttp()
  const types = fc.constantFrom('application/json', 'application/x-ndjson')
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), types, async (bytes, type) => {
      const body = Buffer.from(bytes)
      const { status } = await http.call('POST', '/v1/events', body, { 'content-type': type })
      expect([202, 400]).toContain(status)
    }),
    { numRuns: 150 },
  )
}, 20_000)

/** Objects with the names of events' fields and values of every kind. */
function almostAnEvent(): fc.Arbitrary<unknown> {
  const value = fc.oneof(
    fc.constantFrom<unknown>('interaction', 'item', 'click', '', null, true, -1, 1e300, [], {}),
    fc.string({ unit: 'binary', maxLength: 20 }),
    fc.double(),
    fc.dictionary(fc.string({ maxLength: 5 }), fc.jsonValue({ maxDepth: 2 }), { maxKeys: 3 }),
    fc.array(fc.string({ maxLength: 3 }), { maxLength: 3 }),
  )
  const names = [
    'kind',
    'eventId',
    'userId',
    'itemId',
    'itemIds',
    'type',
    'timestamp',
    'weight',
    'context',
    'features',
    'attributes',
    'hidden',
    'expiresAt',
    'mode',
  ]
  const fields = Object.fromEntries(names.map((name) => [name, value]))
  return fc.record(fields, { requiredKeys: [] })
}
