import * as fc from 'fast-check'
import { expect, test } from 'vitest'

import { decodeDelta, encodeDelta } from '../../src/sync/delta-codec.ts'
import type { Delta } from '../../src/sync/delta.ts'

const natural = fc.maxSafeNat()
const float32s = (count: number): fc.Arbitrary<Float32Array> =>
  fc
    .array(fc.float({ noNaN: true }), { minLength: count, maxLength: count })
    .map((values) => Float32Array.from(values))

const keys = (n: number): fc.Arbitrary<Uint32Array> =>
  fc
    .array(fc.integer({ min: 0, max: 2 ** 32 - 1 }), { minLength: 2 * n, maxLength: 2 * n })
    .map((words) => Uint32Array.from(words))

const table = fc
  .record({
    n: fc.nat(5),
    removed: fc.nat(5),
    dim: fc.integer({ min: 1, max: 5 }),
    table: fc.string(),
  })
  .chain(({ n, removed, dim, table: name }) =>
    fc.record({
      table: fc.constant(name),
      dim: fc.constant(dim),
      keys: keys(n),
      vectors: float32s(n * dim),
      removed: keys(removed),
    }),
  )

const delta: fc.Arbitrary<Delta> = fc.record(
  {
    sequence: natural,
    base: natural,
    modelVersion: natural,
    publishedAt: natural,
    watermark: fc.record({
      offsets: fc.dictionary(fc.nat(9).map(String), fc.string()),
      acceptedAt: natural,
    }),
    tables: fc.array(table, { maxLength: 3 }),
    weights: float32s(7),
  },
  { requiredKeys: ['sequence', 'base', 'modelVersion', 'publishedAt', 'watermark', 'tables'] },
)

test('a delta is the same after being bytes', () => {
  fc.assert(
    fc.property(delta, (value) => {
      expect(decodeDelta(encodeDelta(value))).toEqual({ ...value })
    }),
  )
})

test('a flipped bit or a missing end is found, never a wrong delta', () => {
  fc.assert(
    fc.property(delta, fc.nat(), fc.nat(7), (value, at, bit) => {
      const bytes = encodeDelta(value)
      const flipped = bytes.slice()
      flipped[at % bytes.length] ^= 1 << bit
      const damaged = expect.objectContaining({ code: 'SYNC_DELTA_DAMAGED' })
      expect(() => decodeDelta(flipped)).toThrow(damaged)
      expect(() => decodeDelta(bytes.subarray(0, at % bytes.length))).toThrow(damaged)
    }),
  )
})
