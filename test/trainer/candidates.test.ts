import { expect, test } from 'vitest'

import { ByteReader, ByteWriter } from '../../src/base/bytes.ts'
import { seededRandom } from '../../src/base/random.ts'
import { Arena } from '../../src/kernels/arena.ts'
import { Candidates } from '../../src/trainer/candidates.ts'

const halfLifeMs = 3_600_000
const start = Date.UTC(2026, 0, 1)

const create = (capacity = 64): Candidates =>
  new Candidates({
    arena: new Arena(1 << 18),
    capacity,
    dims: 2,
    hasPopularity: true,
    halfLifeMs,
  })

const handles = (subject: Candidates): number[] =>
  Array.from({ length: subject.size }, (_, slot) => subject.handle(slot))

/** Counts at a time, by handle. */
const counts = (subject: Candidates, time: number): Record<number, number> => {
  subject.decayTo(time, 0)
  return Object.fromEntries(
    handles(subject).map((handle) => [handle, subject.popularity.view[subject.slot(handle)]]),
  )
}

test('slots stay dense while items come and go', () => {
  const subject = create()
  const random = seededRandom(4)
  const expected = new Set<number>()
  for (let i = 0; i < 500; i += 1) {
    const handle = random.integer(64)
    if (random.next() < 0.5) {
      subject.add(handle)
      expected.add(handle)
    } else {
      subject.remove(handle)
      expected.delete(handle)
    }
    expect(subject.size).toBe(expected.size)
  }
  expect(handles(subject).toSorted((a, b) => a - b)).toEqual(
    [...expected].toSorted((a, b) => a - b),
  )
  for (const handle of expected) expect(subject.handle(subject.slot(handle))).toBe(handle)
})

test('a count halves with every half-life and moves with its item', () => {
  const subject = create()
  for (const handle of [3, 9, 20]) subject.add(handle)
  subject.setCount(3, 8, start)
  subject.setCount(20, 4, start)
  subject.remove(3)
  expect(counts(subject, start + 2 * halfLifeMs)).toEqual({ 9: 0, 20: 1 })
})

test('counts survive a landmark that moves by years', () => {
  const subject = create()
  subject.add(1)
  subject.add(2)
  subject.setCount(1, 100, start)
  const later = start + 1000 * halfLifeMs
  subject.setCount(2, 100, later)
  expect(counts(subject, later)).toEqual({ 1: 0, 2: expect.closeTo(100, 3) })
})

test('an item that comes back starts at nothing', () => {
  const subject = create()
  subject.add(1)
  subject.setCount(1, 5, start)
  subject.remove(1)
  subject.add(1)
  expect(counts(subject, start)).toEqual({ 1: 0 })
})

test('ordered by popularity, every item keeps what is its own', () => {
  const subject = create()
  for (let handle = 0; handle < 20; handle += 1) {
    subject.add(handle)
    subject.setCount(handle, (handle * 7) % 20, start)
  }
  const before = counts(subject, start)
  subject.reorder()
  expect(counts(subject, start)).toEqual(before)
  const values = Array.from(subject.counts.view.subarray(0, 20))
  expect(values).toEqual(values.toSorted((a, b) => b - a))
})

test('restored candidates have the same counts', () => {
  const subject = create()
  for (const handle of [5, 1, 30]) subject.add(handle)
  subject.setCount(1, 3, start)
  const writer = new ByteWriter()
  subject.serialize(writer)
  const restored = create()
  restored.load(new ByteReader(writer.finish()))
  expect(counts(restored, start)).toEqual(counts(subject, start))
})
