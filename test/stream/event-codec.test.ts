import * as fc from 'fast-check'
import { expect, test } from 'vitest'

import { ByteWriter } from '../../src/base/bytes.ts'
import { EventDecoder, EventEncoder } from '../../src/stream/event-codec.ts'
import type { Event } from '../../src/stream/event.ts'
import { anyEvent, interaction } from '../support/events.ts'

const encoder = new EventEncoder()
const decoder = new EventDecoder()
const encode = (events: readonly Event[]): Uint8Array => {
  const writer = new ByteWriter(0)
  encoder.encode(writer, events)
  return writer.finish()
}

const outcome = (action: () => unknown): unknown => {
  try {
    return action()
  } catch (error) {
    return error
  }
}

test('every event comes back as it was', () => {
  fc.assert(
    fc.property(fc.array(anyEvent, { maxLength: 12 }), (events) => {
      expect(decoder.decode(encode(events), events.length)).toStrictEqual(events)
    }),
  )
})

test('a block says the same however often it is read, and knows nothing of the one before', () => {
  fc.assert(
    fc.property(fc.array(anyEvent), fc.array(anyEvent), (first, second) => {
      const blocks = [encode(first), encode(second)]
      expect(new EventDecoder().decode(blocks[1], second.length)).toStrictEqual(second)
      expect(decoder.decode(blocks[0], first.length)).toStrictEqual(first)
    }),
    { numRuns: 30 },
  )
})

test('damaged bytes throw or give events, and read nothing outside the block', () => {
  fc.assert(
    fc.property(
      fc.array(anyEvent, { minLength: 1, maxLength: 5 }),
      fc.nat(),
      fc.integer({ min: 1, max: 255 }),
      (events, at, flip) => {
        const bytes = encode(events)
        bytes[at % bytes.length] ^= flip
        expect(outcome(() => decoder.decode(bytes, events.length).length)).toSatisfy(
          (result) =>
            result === events.length || result instanceof RangeError || result instanceof TypeError,
        )
      },
    ),
  )
})

test('a block cut short or with bytes too many throws', () => {
  const bytes = encode([interaction({ context: { device: 'phone' } })])
  for (let length = 0; length < bytes.length; length += 1) {
    expect(() => decoder.decode(bytes.subarray(0, length), 1)).toThrow(RangeError)
  }
  expect(() => decoder.decode(Uint8Array.of(...bytes, 0), 1)).toThrow('1 bytes too many')
})

test('unknown kinds, names, tags and nesting beyond the limit are refused', () => {
  expect(() => decoder.decode(Uint8Array.of(16 | 32 | 6, 0), 1)).toThrow('unknown kind')
  const bytes = encode([interaction()])
  const type = bytes.length - 'click'.length - 2
  bytes[type] = 9
  expect(() => decoder.decode(bytes, 1)).toThrow('name 9 is unknown')
  const nested = encode([
    {
      kind: 'item',
      mode: 'patch',
      itemId: 'i',
      timestamp: 0,
      acceptedAt: 0,
      attributes: { a: [] },
    },
  ])
  const bomb = Uint8Array.of(
    ...nested.subarray(0, -2),
    ...Array.from({ length: 198 }, (_, i) => (i % 2 === 0 ? 6 : 1)),
  )
  expect(() => decoder.decode(bomb, 1)).toThrow('nested too deeply')
})

test('what repeats is written once', () => {
  const context = { device: 'phone', country: 'de' }
  const one = encode([interaction({ context })]).length
  const hundred = encode(Array.from({ length: 100 }, () => interaction({ context }))).length
  expect(hundred).toBeLessThan(one * 50)
})
