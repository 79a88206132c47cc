import * as fc from 'fast-check'
import kafkajs from 'kafkajs'
import { describe, expect, test } from 'vitest'

import type { Event } from '../../../src/stream/event.ts'
import { comparePlaces, parsePlace, placeText } from '../../../src/stream/kafka/kafka-offset.ts'
import { partitionOf } from '../../../src/stream/kafka/kafka-partitioner.ts'
import {
  acceptanceOf,
  decodeMessage,
  encodeEvent,
  maxMessageValues,
} from '../../../src/stream/kafka/kafka-wire.ts'
import { interaction } from '../../support/events.ts'

const options = { now: 2_000, maxFutureMs: 1_000 }
const decode = (text: string) => decodeMessage(Buffer.from(text), options)

test('an event comes back as it was, accepted when its message was sent', () => {
  const events: Event[] = [
    interaction({ eventId: 'e/1', context: { device: 'phone' }, acceptedAt: 2_000 }),
    { kind: 'deleteUser', userId: 'ü/ä', timestamp: 1_500, acceptedAt: 2_000 },
    { kind: 'impression', userId: 'u', itemIds: ['a', 'b'], timestamp: 1, acceptedAt: 2_000 },
  ]
  for (const event of events) {
    for (const writtenAt of [2_000, 1_800_000_000_000]) {
      const message = encodeEvent(event, writtenAt)
      expect(message.timestamp).toBe(String(writtenAt))
      const now = acceptanceOf(message)
      expect(decodeMessage(Buffer.from(message.value), { ...options, now })).toEqual([{ event }])
    }
  }
})

test('the key is the user, or the item where there is no user', () => {
  expect(encodeEvent(interaction({ userId: 'u', itemId: 'i' }), 0).key).toBe('u')
  const common = { timestamp: 1, acceptedAt: 1 }
  expect(encodeEvent({ kind: 'deleteItem', itemId: 'i', ...common }, 0).key).toBe('i')
})

describe('a message that holds no events', () => {
  const many = JSON.stringify(Array.from({ length: maxMessageValues + 1 }, () => 1))
  test.each([
    ['', 'the message is empty'],
    ['nothing', 'the message is not JSON'],
    ['{"a":\n"', 'the message is not JSON, and none of its lines is'],
    ['[]', 'the message is an empty list'],
    [many, 'the message has 10001 values, more than 10000'],
  ])('%.20s', (text, problem) => {
    expect(decode(text)).toEqual({ problem })
  })

  test('also without a value, or in another encoding, or without a time', () => {
    expect(decodeMessage(null, options)).toEqual({ problem: 'the message is empty' })
    const latin = Buffer.from([0x22, 0xe4, 0x22])
    expect(decodeMessage(latin, options)).toEqual({ problem: 'the message is not UTF-8' })
    const timeless = decodeMessage(Buffer.from('{}'), { ...options, now: -1 })
    expect(timeless).toEqual({ problem: 'the message has no time' })
  })
})

test('one bad line or value does not reject its neighbours', () => {
  const good = '{"userId":"u","itemId":"i","type":"click"}'
  for (const text of [`${good}\n{\n${good}`, `[${good},{},${good}]`]) {
    const decoded = decode(text)
    const kinds = Array.isArray(decoded) ? decoded.map((value) => Object.keys(value)[0]) : []
    expect(kinds).toEqual(['event', 'error', 'event'])
  }
})

test('keys go where the Java client puts them', () => {
  const partitioner = kafkajs.Partitioners.DefaultPartitioner()
  const place = (key: string, count: number) =>
    partitioner({
      topic: 't',
      partitionMetadata: Array.from({ length: count }, (_, partitionId) => ({
        partitionErrorCode: 0,
        partitionId,
        leader: 1,
        replicas: [1],
        isr: [1],
      })),
      message: { key, value: '' },
    })
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.integer({ min: 1, max: 50 }), (key, count) => {
      fc.pre(key.length > 0)
      expect(partitionOf(key, count)).toBe(place(key, count))
    }),
  )
})

test('offsets order as the events do, whatever their digits', () => {
  const ascending = ['3:9', '3:9.1', '3:9.10', '3:10', '3:10.2', '3:100']
  for (let i = 1; i < ascending.length; i += 1) {
    expect(comparePlaces(ascending[i - 1], ascending[i])).toBeLessThan(0)
    expect(comparePlaces(ascending[i], ascending[i - 1])).toBeGreaterThan(0)
  }
  expect(comparePlaces('5', '3:5')).toBe(0)
  expect(comparePlaces('', '3:0')).toBeLessThan(0)
  for (const text of ascending) {
    expect(placeText(3, parsePlace(text) ?? { offset: 0, index: 0 })).toBe(text)
  }
  for (const text of ['', 'x', '3:', '3:1.', '-1', '1e3']) expect(parsePlace(text)).toBeUndefined()
})
