import { expect, test } from 'vitest'

import { seededRandom } from '../../src/base/random.ts'

const draws = (count: number, ...seeds: number[]): number[] => {
  const random = seededRandom(...seeds)
  return Array.from({ length: count }, () => random.next())
}

test('the same seeds give the same numbers, other seeds others', () => {
  expect(draws(100, 1, 2)).toEqual(draws(100, 1, 2))
  expect(draws(3, 1, 2)).not.toEqual(draws(3, 2, 1))
  expect(draws(3, 2 ** 40)).not.toEqual(draws(3, 0))
})

test('the numbers of a seed are these on every machine', () => {
  expect(draws(2, 42).map((value) => Math.round(value * 2 ** 32))).toMatchInlineSnapshot(`
    [
      3292315440,
      968404367,
    ]
  `)
})

test('uniform draws fill the unit interval evenly', () => {
  const buckets = new Uint32Array(10)
  for (const value of draws(100_000, 7)) buckets[Math.floor(value * 10)] += 1
  for (const count of buckets) expect(Math.abs(count - 10_000)).toBeLessThan(500)
})

test('integers stay below their bound; normal draws have mean 0 and variance 1', () => {
  const random = seededRandom(3)
  let [sum, squares] = [0, 0]
  for (let i = 0; i < 50_000; i += 1) {
    const integer = random.integer(7)
    expect(integer >= 0 && integer < 7 && Number.isInteger(integer)).toBe(true)
    const value = random.normal()
    sum += value
    squares += value * value
  }
  expect(Math.abs(sum / 50_000)).toBeLessThan(0.02)
  expect(Math.abs(squares / 50_000 - 1)).toBeLessThan(0.03)
})
