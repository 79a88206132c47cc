import { array, assert, double, float, nat, oneof, property, string, tuple } from 'fast-check'
import { expect, test } from 'vitest'

import { ByteReader, ByteWriter } from '../../src/base/bytes.ts'

const field = oneof(
  tuple(nat(0xff)).map(([value]) => ['uint8', value] as const),
  tuple(nat(0xffffffff)).map(([value]) => ['uint32', value] as const),
  tuple(float({ noNaN: true })).map(([value]) => ['float32', value] as const),
  tuple(double({ noNaN: true })).map(([value]) => ['float64', value] as const),
  tuple(nat(Number.MAX_SAFE_INTEGER)).map(([value]) => ['varint', value] as const),
  tuple(string({ unit: 'binary', maxLength: 300 })).map(([value]) => ['string', value] as const),
)

test('what is written is read back in the same order, and nothing is left', () => {
  assert(
    property(array(field, { maxLength: 50 }), (fields) => {
      const writer = new ByteWriter(1)
      for (const [kind, value] of fields) {
        if (kind === 'string') writer.string(value)
        else writer[kind](value)
      }
      const reader = new ByteReader(writer.finish())
      expect(fields.map(([kind]) => reader[kind]())).toEqual(fields.map(([, value]) => value))
      expect(reader.remaining).toBe(0)
    }),
  )
})

test('a reader never reads past its end', () => {
  assert(
    property(array(field, { minLength: 1, maxLength: 10 }), nat(), (fields, cut) => {
      const writer = new ByteWriter()
      for (const [kind, value] of fields) {
        if (kind === 'string') writer.string(value)
        else writer[kind](value)
      }
      const bytes = writer.finish()
      const reader = new ByteReader(bytes.subarray(0, cut % bytes.length))
      expect(() => {
        for (const [kind] of fields) reader[kind]()
      }).toThrow(RangeError)
    }),
  )
})

test('a typed array comes back aligned, whatever stood before it', () => {
  const writer = new ByteWriter(4).uint8(7).array(new Float32Array([1.5, -2, 0]))
  const reader = new ByteReader(writer.peek())
  reader.uint8()
  expect(new Float32Array(reader.array())).toEqual(new Float32Array([1.5, -2, 0]))
})

test('the first words of an array are written as its bytes lie in memory', () => {
  for (const all of [
    Int32Array.of(-1, 2, 7),
    Uint32Array.of(4_294_967_295, 0, 7),
    Float32Array.of(1.5, -0, 7),
  ]) {
    const written = new ByteWriter(4).uint8(7).words(all, 2).finish()
    expect(written).toEqual(new ByteWriter().uint8(7).array(all.subarray(0, 2)).finish())
  }
})

test('a length written later overwrites its placeholder; a reset writer starts again', () => {
  const writer = new ByteWriter().uint32(0).string('abc')
  writer.setUint32(0, writer.length)
  expect(new ByteReader(writer.finish()).uint32()).toBe(8)
  expect(writer.reset().length).toBe(0)
})

test('a varint of more bytes than any integer has is refused', () => {
  expect(() => new ByteReader(new Uint8Array(12).fill(0xff)).varint()).toThrow(RangeError)
})
