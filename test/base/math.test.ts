import * as fc from 'fast-check'
import { expect, test } from 'vitest'

import { cosTurns, exp, exp2, ln, powerOfTwo, sinTurns } from '../../src/base/math.ts'

/** Difference in units of the last place of the expected value. */
const ulps = (value: number, expected: number): number =>
  Math.abs(value - expected) / Math.max(Math.abs(expected) * 2 ** -52, 2 ** -1074)

test('exp2 is within two units in the last place of the platform', () => {
  fc.assert(
    fc.property(fc.double({ min: -1_021, max: 1_023, noNaN: true }), (x) => {
      expect(ulps(exp2(x), 2 ** x)).toBeLessThanOrEqual(2)
    }),
    { numRuns: 2_000 },
  )
})

test('exp2 of a whole number is exact, and has the limits of a double', () => {
  for (let n = -1_022; n <= 1_023; n += 1) {
    expect(exp2(n)).toBe(2 ** n)
    expect(powerOfTwo(n)).toBe(2 ** n)
  }
  expect([exp2(-1_100), exp2(-Infinity), exp2(1_024), exp2(Infinity)]).toEqual([
    0,
    0,
    Infinity,
    Infinity,
  ])
  expect([powerOfTwo(-1_023), powerOfTwo(1_024), exp2(NaN)]).toEqual([0, Infinity, NaN])
})

test('ln is within two units in the last place of the platform', () => {
  fc.assert(
    fc.property(fc.double({ min: 5e-324, noNaN: true, noDefaultInfinity: true }), (x) => {
      expect(ulps(ln(x), Math.log(x))).toBeLessThanOrEqual(2)
    }),
    { numRuns: 2_000 },
  )
})

test('ln near 1 loses nothing, and has the limits of a double', () => {
  for (let k = 1; k < 200; k += 1) {
    const x = 1 + k * 2 ** -50
    expect(ulps(ln(x), Math.log(x))).toBeLessThanOrEqual(2)
  }
  expect([ln(1), ln(0), ln(-1), ln(NaN), ln(Infinity)]).toEqual([0, -Infinity, NaN, NaN, Infinity])
})

test('exp undoes ln', () => {
  fc.assert(
    fc.property(fc.double({ min: 1e-200, max: 1e200, noNaN: true }), (x) => {
      expect(exp(ln(x)) / x).toBeCloseTo(1, 12)
    }),
  )
})

const bits = (x: number): string => Buffer.from(Float64Array.of(x).buffer).toString('hex')

test('bits are those recorded: they are part of every saved state', () => {
  expect([0.1, -3.7, 100.3].map((x) => bits(exp2(x)))).toMatchInlineSnapshot(`
    [
      "640625eefb25f13f",
      "2883ff7bc4b2b33f",
      "1e83ff7bc4b23346",
    ]
  `)
  expect([0.2, 3, 1e-300].map((x) => bits(ln(x)))).toMatchInlineSnapshot(`
    [
      "338dedf741c0f9bf",
      "0b03ad7aea93f13f",
      "b57ff847349685c0",
    ]
  `)
})

test('sines and cosines of turns are those of the platform to 1e-14', () => {
  fc.assert(
    fc.property(fc.double({ min: -3, max: 3, noNaN: true }), (x) => {
      expect(Math.abs(sinTurns(x) - Math.sin(2 * Math.PI * x))).toBeLessThan(1e-14)
      expect(Math.abs(cosTurns(x) - Math.cos(2 * Math.PI * x))).toBeLessThan(1e-14)
    }),
    { numRuns: 2_000 },
  )
  expect([sinTurns(0), cosTurns(0.25), sinTurns(7)]).toEqual([0, 0, 0])
})
