import { expect, test } from 'vitest'

import { Batcher } from '../../src/stream/batcher.ts'
import type { Example } from '../../src/stream/example.ts'
import { Facts } from '../../src/stream/facts/facts.ts'
import { interactions } from '../support/events.ts'

const examples = (n: number): Example[] => {
  const facts = new Facts()
  return interactions(n).flatMap((event) => {
    const outcome = facts.apply(event)
    return outcome.kind === 'example' ? [outcome.example] : []
  })
}

test('a batch is full with its last example, and taken in order', () => {
  const batcher = new Batcher({ maxExamples: 3, maxAgeMs: Infinity })
  const [a, b, c, d] = examples(4)
  expect([a, b, c].map((example) => batcher.add(example, 0))).toEqual([false, false, true])
  expect(() => batcher.add(d, 0)).toThrow('the batch is full')
  expect(batcher.take()).toEqual([a, b, c])
  expect(batcher.size).toBe(0)
  expect(batcher.add(d, 0)).toBe(false)
  expect(batcher.take()).toEqual([d])
})

test('a batch is due when its first example has waited long enough', () => {
  const batcher = new Batcher({ maxExamples: 10, maxAgeMs: 50 })
  const [a, b, c] = examples(3)
  expect(batcher.dueAt).toBe(Infinity)
  expect(batcher.isDue(1e15)).toBe(false)
  batcher.add(a, 100)
  batcher.add(b, 140)
  expect([batcher.dueAt, batcher.isDue(149), batcher.isDue(150)]).toEqual([150, false, true])
  batcher.take()
  batcher.add(c, 170)
  expect(batcher.dueAt).toBe(220)
})

test('a batch without room for an example is a mistake', () => {
  expect(() => new Batcher({ maxExamples: 0, maxAgeMs: 1 })).toThrow('at least one')
})
