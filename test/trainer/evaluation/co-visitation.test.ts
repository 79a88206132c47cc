import { expect, test } from 'vitest'

import { ByteReader, ByteWriter } from '../../../src/base/bytes.ts'
import { CoVisitation } from '../../../src/trainer/evaluation/co-visitation.ts'

const start = Date.UTC(2026, 0, 1)
const hour = 3_600_000

const boosts = (subject: CoVisitation, history: number[], time: number): Record<number, number> => {
  const { handles, values, size } = subject.boosts(history, time)
  return Object.fromEntries(Array.from({ length: size }, (_, k) => [handles[k], values[k]]))
}

test('an item boosts what users went to from it, by how often', () => {
  const subject = new CoVisitation()
  for (let i = 0; i < 30; i += 1) subject.observe(1, i % 3 === 0 ? 2 : 3, start)
  const found = boosts(subject, [1], start)
  expect(Object.keys(found)).toEqual(['2', '3'])
  expect(found[3] / found[2]).toBeCloseTo(2, 6)
  expect(boosts(subject, [2], start)).toEqual({})
})

test('the newest item of a history counts most, and boosts add up', () => {
  const subject = new CoVisitation()
  for (let i = 0; i < 10; i += 1) {
    subject.observe(1, 5, start)
    subject.observe(2, 5, start)
  }
  const [first, second] = [boosts(subject, [1], start)[5], boosts(subject, [9, 2], start)[5]]
  expect(second).toBeLessThan(first)
  expect(boosts(subject, [1, 2], start)[5]).toBeCloseTo(first + second, 12)
})

test('old transitions give way to new ones', () => {
  const subject = new CoVisitation()
  for (let i = 0; i < 20; i += 1) subject.observe(1, 2, start)
  for (let i = 0; i < 5; i += 1) subject.observe(1, 3, start + 48 * hour)
  const found = boosts(subject, [1], start + 48 * hour)
  expect(found[3]).toBeGreaterThan(found[2])
})

test('transitions survive years of decay without overflow', () => {
  const subject = new CoVisitation()
  subject.observe(1, 2, start)
  subject.observe(1, 3, start + 50_000 * hour)
  const found = boosts(subject, [1], start + 50_000 * hour)
  expect(found[2]).toBeUndefined()
  expect(found[3]).toBeGreaterThan(0)
})

test('successors are bounded: the weakest gives way', () => {
  const subject = new CoVisitation()
  for (let to = 10; to < 200; to += 1) {
    for (let i = 0; i < (to === 10 ? 5 : 1); i += 1) subject.observe(1, to, start + to)
  }
  const found = boosts(subject, [1], start)
  expect(Object.keys(found)).toHaveLength(64)
  expect(found[10]).toBeGreaterThan(found[199])
})

test('a handle given to another item inherits nothing, in either direction', () => {
  const subject = new CoVisitation()
  subject.observe(1, 2, start)
  subject.observe(2, 3, start)
  subject.forget(2)
  expect(boosts(subject, [1, 2], start)).toEqual({})
  subject.observe(1, 2, start)
  expect(Object.keys(boosts(subject, [1], start))).toEqual(['2'])
})

test('a restored baseline gives the same boosts', () => {
  const subject = new CoVisitation()
  for (let i = 0; i < 500; i += 1) subject.observe(i % 7, (i * i) % 300, start + i * hour)
  subject.forget(3)
  const writer = new ByteWriter()
  subject.serialize(writer)
  const restored = new CoVisitation()
  restored.load(new ByteReader(writer.finish()))
  const time = start + 500 * hour
  for (const one of [subject, restored]) one.observe(1, 299, time)
  expect(boosts(restored, [1, 2, 3], time)).toEqual(boosts(subject, [1, 2, 3], time))
})
