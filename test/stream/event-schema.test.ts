import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'

import { eventLimits, parseEvent } from '../../src/stream/event-schema.ts'
import { anyEvent } from '../support/events.ts'

const now = 1_700_000_000_000
const options = { now, maxFutureMs: 1_000 }
const parse = (value: unknown) => parseEvent(value, options)
const click = { userId: 'u', itemId: 'i', type: 'click' }

test('an interaction needs no kind and is accepted now', () => {
  expect(parse(click)).toEqual({
    event: { kind: 'interaction', ...click, timestamp: now, acceptedAt: now },
  })
})

test('every kind of event is parsed with all its fields', () => {
  const times = { timestamp: now - 5, acceptedAt: now }
  const context = { device: 'phone', age: 3.5, tags: ['a', 'b'], vector: [1, 2] }
  const events = [
    { kind: 'interaction', ...click, ...times, eventId: 'e', weight: 0, context },
    {
      kind: 'item',
      mode: 'patch',
      itemId: 'i/😀',
      ...times,
      features: context,
      attributes: { url: 'x', nested: [{ a: null, b: true, c: -0.5 }] },
      hidden: false,
      expiresAt: now + 1e9,
      crowdingTag: 'shoes',
    },
    { kind: 'user', mode: 'replace', userId: 'u', ...times, features: {} },
    { kind: 'deleteItem', itemId: 'i', ...times },
    { kind: 'deleteUser', userId: 'u', ...times },
    { kind: 'impression', userId: 'u', itemIds: ['a', 'b'], ...times },
  ]
  for (const event of events) expect(parse(event)).toEqual({ event })
})

test('an upsert replaces unless it says patch', () => {
  expect(parse({ kind: 'item', itemId: 'i' })).toMatchObject({ event: { mode: 'replace' } })
  expect(parse({ kind: 'user', userId: 'u' })).toMatchObject({ event: { mode: 'replace' } })
})

test('fields that are unknown or undefined are kept out, the time of acceptance too', () => {
  const parsed = parse({ ...click, colour: 'red', acceptedAt: 5, weight: undefined })
  expect(parsed).toStrictEqual({
    event: { kind: 'interaction', ...click, timestamp: now, acceptedAt: now },
  })
})

/** An interaction in which anything may be missing or amiss. */
const nearlyAnInteraction = fc.record(
  {
    kind: fc.constantFrom('interaction', 'user', 7, undefined),
    userId: fc.oneof(fc.string({ unit: 'binary', maxLength: 300 }), fc.integer()),
    itemId: fc.string({ maxLength: 100 }),
    type: fc.oneof(fc.constant('click'), fc.string({ unit: 'grapheme', maxLength: 80 })),
    eventId: fc.string({ maxLength: 300 }),
    timestamp: fc.oneof(fc.integer(), fc.double(), fc.constant('2020-01-01T00:00:00Z')),
    weight: fc.oneof(fc.double(), fc.constantFrom(0, 1, 1e6, 1e7, '1')),
    context: fc.oneof(
      fc.dictionary(fc.string(), fc.oneof(fc.string(), fc.double(), fc.array(fc.string()))),
      fc.constantFrom(null, [], 'x'),
    ),
  },
  { requiredKeys: [] },
)

test('an interaction in which nothing is wrong is what the schema says that it is', () => {
  fc.assert(
    fc.property(nearlyAnInteraction, (value) => {
      // A field that nobody knows is for the schema, which leaves it out.
      expect(parse(value)).toStrictEqual(parse({ ...value, unknown: 1 }))
    }),
    { numRuns: 2_000 },
  )
})

const timeOf = (timestamp: unknown): unknown => {
  const parsed = parse({ ...click, timestamp })
  return 'event' in parsed ? parsed.event.timestamp : parsed.error.path
}

test('times are RFC 3339 with any offset, or whole milliseconds', () => {
  expect(timeOf('2020-01-01T00:00:00Z')).toBe(1_577_836_800_000)
  expect(timeOf('2020-01-01T02:00:00.250+02:00')).toBe(1_577_836_800_250)
  expect(timeOf(0)).toBe(0)
  for (const wrong of ['yesterday', '2020-01-01', '2020-13-01T00:00:00Z', 1.5, -1, NaN, null, {}]) {
    expect(timeOf(wrong)).toBe('timestamp')
  }
})

test('a time beyond the allowed skew is rejected with its own code', () => {
  expect(parse({ ...click, timestamp: now + 1_000 })).toHaveProperty('event')
  expect(parse({ ...click, timestamp: now + 1_001 })).toMatchObject({
    error: { code: 'EVENT_IN_FUTURE', path: 'timestamp' },
  })
})

const long = 'é'.repeat(eventLimits.idBytes / 2)
const deep = (levels: number): unknown => (levels === 0 ? 1 : { a: deep(levels - 1) })
const fields = (n: number) => Object.fromEntries(Array.from({ length: n }, (_, i) => [`f${i}`, i]))

describe('what is wrong is named by its path:', () => {
  test.each<[string, unknown, string]>([
    ['no object', 'click', 'event'],
    ['an array', [], 'event'],
    ['null', null, 'event'],
    ['an unknown kind', { kind: 'constructor' }, 'kind'],
    ['no user', { itemId: 'i', type: 'click' }, 'userId'],
    ['an empty id', { ...click, userId: '' }, 'userId'],
    ['a number for an id', { ...click, itemId: 7 }, 'itemId'],
    ['an id that is too long', { ...click, itemId: `${long}x` }, 'itemId'],
    ['half a character', { ...click, userId: '\ud800' }, 'userId'],
    ['a type that is too long', { ...click, type: 'x'.repeat(65) }, 'type'],
    ['an empty event id', { ...click, eventId: '' }, 'eventId'],
    ['a negative weight', { ...click, weight: -1 }, 'weight'],
    ['a weight that is no number', { ...click, weight: NaN }, 'weight'],
    ['a huge weight', { ...click, weight: 1e7 }, 'weight'],
    ['a context that is no object', { ...click, context: 'x' }, 'context'],
    ['an object as a feature', { ...click, context: { a: {} } }, 'context.a'],
    ['null as a feature', { ...click, context: { a: null } }, 'context.a'],
    ['an infinite feature', { ...click, context: { a: Infinity } }, 'context.a'],
    ['a mixed list', { ...click, context: { a: ['x', 1] } }, 'context.a'],
    ['a list that is too long', { ...click, context: { a: Array(4_097).fill(1) } }, 'context.a'],
    ['a text that is too long', { ...click, context: { a: 'x'.repeat(8_193) } }, 'context.a'],
    ['a nameless feature', { ...click, context: { '': 1 } }, 'context.'],
    ['__proto__', { ...click, context: JSON.parse('{"__proto__": 1}') }, 'context.__proto__'],
    ['too many features', { ...click, context: fields(257) }, 'context'],
    ['an unknown mode', { kind: 'item', itemId: 'i', mode: 'merge' }, 'mode'],
    ['hidden that is no boolean', { kind: 'item', itemId: 'i', hidden: 1 }, 'hidden'],
    ['attributes that are no object', { kind: 'item', itemId: 'i', attributes: [] }, 'attributes'],
    ['deep attributes', { kind: 'item', itemId: 'i', attributes: deep(17) }, 'attributes'],
    ['many attributes', { kind: 'item', itemId: 'i', attributes: fields(4_096) }, 'attributes'],
    ['a function', { kind: 'item', itemId: 'i', attributes: { a: () => 1 } }, 'attributes'],
    [
      'undefined inside',
      { kind: 'item', itemId: 'i', attributes: { a: [undefined] } },
      'attributes',
    ],
    ['NaN inside', { kind: 'item', itemId: 'i', attributes: { a: [NaN] } }, 'attributes'],
    [
      'half a character inside',
      { kind: 'item', itemId: 'i', attributes: { a: '\udc00' } },
      'attributes',
    ],
    [
      'a nameless attribute',
      { kind: 'item', itemId: 'i', attributes: { b: { '': 1 } } },
      'attributes',
    ],
    ['no items', { kind: 'impression', userId: 'u', itemIds: [] }, 'itemIds'],
    [
      'too many items',
      { kind: 'impression', userId: 'u', itemIds: Array(1_001).fill('i') },
      'itemIds',
    ],
    ['a bad item', { kind: 'impression', userId: 'u', itemIds: ['a', ''] }, 'itemIds.1'],
  ])('%s', (_, value, path) => {
    const parsed = parse(value)
    expect(parsed).toMatchObject({ error: { code: 'EVENT_INVALID', path } })
    expect('error' in parsed && parsed.error.message.length > 5).toBe(true)
  })
})

test('ids of exactly the limit, in bytes of UTF-8, are fine', () => {
  expect(parse({ ...click, userId: long })).toHaveProperty('event')
  expect(parse({ kind: 'item', itemId: 'i', attributes: deep(16) })).toHaveProperty('event')
})

test('nothing makes it throw', () => {
  fc.assert(
    fc.property(fc.oneof(fc.anything(), anyEvent, fc.object({ maxDepth: 2 })), (value) => {
      const parsed = parse(value)
      expect('event' in parsed || parsed.error.path.length > 0).toBe(true)
    }),
    { numRuns: 300 },
  )
})
