/** What is read right from the bytes is what the schema would have made of them. */
import fc from 'fast-check'
import { expect, test } from 'vitest'

import { decodeMessage } from '../../../src/stream/kafka/kafka-wire.ts'
import { PlainInteractions } from '../../../src/stream/kafka/plain-interactions.ts'

const options = { now: 1_700_000_000_000, maxFutureMs: 60_000 }

const text = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 12 }),
  fc.string({ unit: 'grapheme-ascii', minLength: 1, maxLength: 100 }),
  fc.constantFrom('a', 'b', '', '}', '{', '"', '\\', 'é', '\u0000', '__proto__'),
)
const scalar = fc.oneof(text, fc.double(), fc.integer(), fc.boolean(), fc.constant(null))
const contexts = fc.oneof(
  fc.dictionary(text, fc.oneof(scalar, fc.array(scalar, { maxLength: 3 })), { maxKeys: 4 }),
  fc.constantFrom({ os: '1', region: '2' }, { os: '1', region: '3' }, {}),
  scalar,
)
const time = fc.oneof(
  fc.integer({ min: options.now - 1e9, max: options.now + 70_000 }),
  fc.constantFrom(0, 1e15, 1e21, -1, '2023-01-01T00:00:00Z'),
  scalar,
)
const value = fc
  .record(
    {
      kind: fc.constantFrom('interaction', 'item', 'user'),
      userId: text,
      itemId: text,
      type: text,
      timestamp: time,
      eventId: text,
      weight: fc.oneof(fc.double({ min: -1, max: 2e6 }), scalar),
      context: contexts,
      other: scalar,
    },
    { requiredKeys: ['userId', 'itemId', 'type'] },
  )
  .chain((fields) => fc.shuffledSubarray(Object.entries(fields), { minLength: 3 }))
  .map((entries) => Object.fromEntries(entries))
const written = fc.tuple(value, fc.boolean()).map(([fields, isSpaced]) => {
  const json = JSON.stringify(fields)
  return isSpaced ? json.replaceAll(/(?<=")[:,]/g, '$& ') : json
})

const asRead = (plain: PlainInteractions, json: string) => plain.read(Buffer.from(json), options)

test('an interaction that is read is the one that decoding gives', () => {
  const plain = new PlainInteractions()
  const property = fc.property(written, (json) => {
    // Twice: what is kept from the first time may not differ.
    for (const event of [asRead(plain, json), asRead(plain, json)]) {
      if (event === undefined) continue
      expect(decodeMessage(Buffer.from(json), options)).toEqual([{ event }])
    }
  })
  fc.assert(property, { numRuns: 2_000 })
})

test('bytes that are no whole value are left to decoding', () => {
  const plain = new PlainInteractions()
  const context = { os: '1', country: 'x' }
  const whole = JSON.stringify({ userId: 'u', itemId: 'i', type: 'click', timestamp: 5, context })
  expect(asRead(plain, whole)?.context).toEqual(context)
  for (let i = 0; i < whole.length; i += 1) {
    expect(asRead(plain, whole.slice(0, i))).toBeUndefined()
    const without = whole.slice(0, i) + whole.slice(i + 1)
    const event = asRead(plain, without)
    if (event === undefined) continue
    expect(decodeMessage(Buffer.from(without), options)).toEqual([{ event }])
  }
  for (const more of [' ', ',', '}', '\n{}', '{}']) {
    expect(asRead(plain, whole + more)).toBeUndefined()
  }
})

test('what nearly all clients send is plain, in any order of its fields', () => {
  const plain = new PlainInteractions()
  const fields = {
    type: 'click',
    weight: 0.5,
    context: { os: 'linux', hour: 13.5 },
    eventId: '4a1',
    kind: 'interaction',
    userId: 'u1',
    timestamp: 1_699_999_999_999,
    itemId: 'i1',
  } as const
  const event = asRead(plain, JSON.stringify(fields))
  expect(event).toEqual({ ...fields, acceptedAt: options.now })
  const again = asRead(plain, JSON.stringify({ ...fields, userId: 'u2' }))
  expect(again?.context).toBe(event?.context)
  const untimed = asRead(plain, '{"userId": "u", "itemId": "i", "type": "view"}')
  expect(untimed).toMatchObject({ timestamp: options.now })
})
