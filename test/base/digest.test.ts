import * as fc from 'fast-check'
import { expect, test } from 'vitest'

import { digestBytes, digestInSteps, digestWords } from '../../src/base/digest.ts'

test('a digest depends on every bit and on the length', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 1, maxLength: 40 }),
      fc.nat(),
      fc.nat(),
      (bytes, at, bit) => {
        const changed = Uint8Array.from(bytes)
        changed[at % bytes.length] ^= 1 << (bit % 8)
        expect(digestBytes(changed)).not.toBe(digestBytes(bytes))
        expect(digestBytes(Uint8Array.of(...bytes, 0))).not.toBe(digestBytes(bytes))
      },
    ),
  )
})

test('a digest does not depend on where the bytes lie', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), fc.nat({ max: 9 }), (bytes, shift) => {
      const moved = new Uint8Array(bytes.length + shift)
      moved.set(bytes, shift)
      expect(digestBytes(moved.subarray(shift))).toBe(digestBytes(bytes))
    }),
  )
})

test('both halves spread: a hundred thousand small inputs do not collide', () => {
  const lows = new Set<number>()
  const highs = new Set<number>()
  const whole = new Set<bigint>()
  const input = new Uint32Array(2)
  for (let i = 0; i < 100_000; i += 1) {
    input[0] = i
    const bytes = new Uint8Array(input.buffer)
    const [low, high] = digestWords(bytes)
    lows.add(low)
    highs.add(high)
    whole.add(digestBytes(bytes))
  }
  expect(whole.size).toBe(100_000)
  // Of 100,000 random 32-bit numbers about one pair is equal.
  expect(Math.min(lows.size, highs.size)).toBeGreaterThan(99_980)
})

test('digests are those recorded: they are part of every saved state', () => {
  const text = new TextEncoder().encode('freshet')
  expect([digestBytes(text), digestBytes(new Uint8Array(0))]).toMatchInlineSnapshot(`
    [
      1884192415550262914n,
      10988224699982262843n,
    ]
  `)
})

test('in steps of any size it is the same, with a pause after each', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 60 }),
      fc.integer({ min: 1, max: 5 }),
      (bytes, words) => {
        const steps = digestInSteps(bytes, 4 * words)
        let pauses = 0
        let step = steps.next()
        for (; step.done !== true; step = steps.next()) pauses += 1
        expect(step.value).toEqual(digestWords(bytes))
        expect(pauses).toBe(Math.ceil((bytes.length >>> 2) / words))
      },
    ),
  )
})

test('checksums that lie on disks stay what they are', () => {
  const bytes = Uint8Array.from({ length: 1_001 }, (_, i) => (7 * i) % 251)
  expect(digestBytes(bytes).toString(16)).toBe('f5328311b8f89377')
  expect(digestBytes(new Uint8Array(0)).toString(16)).toBe('987e0425829db23b')
})
