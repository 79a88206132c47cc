import * as fc from 'fast-check'
import { expect, test } from 'vitest'

import { ByteReader, ByteWriter } from '../../src/base/bytes.ts'
import { StringInterner } from '../../src/base/interner.ts'

test('strings come back whatever was decoded before, however small the cache', () => {
  const interner = new StringInterner(4)
  const text = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 60 }),
    fc.constantFrom('a', 'b', 'ab', ''),
  )
  fc.assert(
    fc.property(fc.array(text), (texts) => {
      for (const expected of texts) {
        const bytes = new TextEncoder().encode(`<${expected}>`)
        expect(interner.decode(bytes, 1, bytes.length - 2)).toBe(expected)
      }
    }),
    { numRuns: 300 },
  )
})

test('what is no UTF-8 is refused, also where ASCII of the same length was met', () => {
  const interner = new StringInterner(1)
  expect(interner.decode(Uint8Array.of(0x61, 0x62), 0, 2)).toBe('ab')
  expect(() => interner.decode(Uint8Array.of(0xff, 0xfe), 0, 2)).toThrow(TypeError)
  expect(() => interner.decode(new Uint8Array(50).fill(0xff), 0, 50)).toThrow(TypeError)
})

test('a reader given an interner reads the same strings', () => {
  const bytes = new ByteWriter().string('phone').string('€').string('phone').finish()
  const reader = new ByteReader(bytes, new StringInterner(8))
  expect([reader.string(), reader.string(), reader.string()]).toEqual(['phone', '€', 'phone'])
  expect(() =>
    new ByteReader(Uint8Array.of(2, 0xc3, 0x28), new StringInterner(8)).string(),
  ).toThrow(TypeError)
})
