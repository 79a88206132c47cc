import { expect, test } from 'vitest'

import { ByteReader, ByteWriter } from '../../src/base/bytes.ts'
import { seededRandom } from '../../src/base/random.ts'
import { SamplingBias } from '../../src/trainer/sampling-bias.ts'

const observeAll = (bias: SamplingBias, items: readonly number[]): void => {
  for (const item of items) bias.observe(item)
}

test('an item that comes every k-th time has probability 1 / k', () => {
  const bias = new SamplingBias({ rate: 0.1 })
  for (let i = 0; i < 2000; i += 1) bias.observe(i % 4 === 0 ? 7 : 1000 + i)
  expect(bias.probability(7)).toBeCloseTo(1 / 4, 2)
})

test('the estimates of independent draws approach their probabilities', () => {
  const bias = new SamplingBias({ rate: 0.01, cells: 1024 })
  const random = seededRandom(5)
  const shares = [0.5, 0.3, 0.15, 0.05]
  for (let i = 0; i < 50_000; i += 1) {
    const x = random.next()
    bias.observe(x < 0.5 ? 0 : x < 0.8 ? 1 : x < 0.95 ? 2 : 3)
  }
  for (const [item, share] of shares.entries()) {
    expect(bias.probability(item) / share).toBeGreaterThan(0.7)
    expect(bias.probability(item) / share).toBeLessThan(1.4)
  }
})

test('what was never seen has one over the initial gap', () => {
  expect(new SamplingBias({ initialGap: 500 }).probability(3)).toBe(1 / 500)
})

test('what is no longer seen becomes improbable by itself', () => {
  const bias = new SamplingBias()
  observeAll(
    bias,
    Array.from({ length: 500 }, () => 1),
  )
  const before = bias.probability(1)
  observeAll(
    bias,
    Array.from({ length: 5000 }, () => 2),
  )
  expect(bias.probability(1)).toBeLessThan(before / 100)
})

test('a collision under one hash function is outvoted by the other', () => {
  const one = new SamplingBias({ cells: 8, hashes: 1, rate: 0.5 })
  const two = new SamplingBias({ cells: 8, hashes: 4, rate: 0.5 })
  const items = Array.from({ length: 4000 }, (_, i) => i % 12)
  observeAll(one, items)
  observeAll(two, items)
  const mean = (bias: SamplingBias): number =>
    items.slice(0, 12).reduce((sum, item) => sum + bias.probability(item), 0)
  expect(mean(two)).toBeLessThanOrEqual(mean(one))
})

test('a restored estimator goes on bit by bit', () => {
  const bias = new SamplingBias({ cells: 64 })
  observeAll(bias, [1, 2, 3, 1, 2, 1])
  const writer = new ByteWriter()
  bias.serialize(writer)
  const restored = new SamplingBias({ cells: 64 })
  restored.load(new ByteReader(writer.finish()))
  for (const subject of [bias, restored]) observeAll(subject, [3, 2, 9, 1])
  expect([1, 2, 3, 9, 4].map((item) => restored.probability(item))).toEqual(
    [1, 2, 3, 9, 4].map((item) => bias.probability(item)),
  )
  expect(restored.examples).toBe(10)
})

test('an estimator of another size refuses saved state', () => {
  const writer = new ByteWriter()
  new SamplingBias({ cells: 64 }).serialize(writer)
  const other = new SamplingBias({ cells: 128 })
  expect(() => other.load(new ByteReader(writer.finish()))).toThrow(RangeError)
})
