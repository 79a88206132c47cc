import * as fc from 'fast-check'
import { expect, test } from 'vitest'

import { digestBytes, digestWords } from '../../src/base/digest.ts'

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
