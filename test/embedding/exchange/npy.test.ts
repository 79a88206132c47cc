import { readFileSync } from 'node:fs'

import fc from 'fast-check'
import { expect, test } from 'vitest'

import {
  npyDataOffset,
  npyHeader,
  type NpyType,
  parseNpyHeader,
} from '../../../src/embedding/exchange/npy.ts'

/** What NumPy wrote: see test/golden/npy.py. */
const golden = JSON.parse(readFileSync('test/golden/npy.json', 'utf8')) as {
  arrays: Record<string, string>
}

const array = (name: string) => {
  const bytes = new Uint8Array(Buffer.from(golden.arrays[name] ?? '', 'base64'))
  const offset = npyDataOffset(bytes)
  return { bytes, header: parseNpyHeader(bytes.subarray(0, offset)), data: bytes.slice(offset) }
}

test.each(['keys', 'signedKeys', 'values', 'empty', 'wide'])(
  'the header of %s is what NumPy writes, byte for byte',
  (name) => {
    const { bytes, header, data } = array(name)
    expect([...npyHeader(header)]).toEqual([...bytes.subarray(0, bytes.length - data.length)])
  },
)

test('NumPy’s elements are read as they are', () => {
  const keys = array('keys')
  expect(keys.header).toEqual({ type: '<u8', shape: [3] })
  expect([...new BigUint64Array(keys.data.buffer)]).toEqual([1n, 2n ** 63n, 2n ** 64n - 1n])
  const values = array('values')
  expect(values.header).toEqual({ type: '<f4', shape: [2, 3] })
  const floats = [0.5, -0, 3.25, 1e-40, 1e38, -2.5].map(Math.fround)
  expect([...new Float32Array(values.data.buffer)]).toEqual(floats)
})

test.each(['versionTwo', 'versionThree'])('%s of the format is read as well', (name) => {
  const { header, data } = array(name)
  expect(header).toEqual({ type: '<f4', shape: [2, 3] })
  expect(data).toEqual(array('values').data)
})

test.each([
  ['columnsFirst', /columns come first/],
  ['doubles', /<f8, not <f4/],
])('%s are refused with the reason', (name, reason) => {
  expect(() => array(name)).toThrow(reason)
})

test.each([
  [[1, 2, 3], /not a .npy file/],
  [[0x93, ...Buffer.from('NUMPX'), 1, 0, 0, 0, 0, 0], /not a .npy file/],
  [[0x93, ...Buffer.from('NUMPY'), 4, 0, 0, 0, 0, 0], /version 4/],
  [[0x93, ...Buffer.from('NUMPY'), 2, 0, 0, 0, 1, 0], /header of 65536 bytes/],
])('%j is no array', (bytes, reason) => {
  expect(() => npyDataOffset(Uint8Array.from(bytes))).toThrow(reason)
})

test('a header without a field says which', () => {
  const whole = Buffer.from(npyHeader({ type: '<f4', shape: [2, 3] })).toString('latin1')
  const without = (text: string) => Buffer.from(whole.replace(text, ''), 'latin1')
  expect(() => parseNpyHeader(without("'descr'"))).toThrow(/no descr/)
  expect(() => parseNpyHeader(without("'fortran_order'"))).toThrow(/no fortran_order/)
  expect(() => parseNpyHeader(without("'shape'"))).toThrow(/no shape/)
  expect(() => parseNpyHeader(without('2, 3'))).toThrow(/not of one or two/)
})

test('any header comes back', () => {
  const types: readonly NpyType[] = ['<f4', '<u8', '<i8']
  const shape = fc.array(fc.integer({ min: 0, max: 2 ** 48 }), { minLength: 1, maxLength: 2 })
  fc.assert(
    fc.property(fc.constantFrom(...types), shape, (type, dimensions) => {
      const bytes = npyHeader({ type, shape: dimensions })
      expect(bytes.length % 64).toBe(0)
      expect(npyDataOffset(bytes)).toBe(bytes.length)
      expect(parseNpyHeader(bytes)).toEqual({ type, shape: dimensions })
    }),
  )
})
