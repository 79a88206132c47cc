import * as fc from 'fast-check'
import { expect, test } from 'vitest'

import { ByteReader, ByteWriter } from '../../../src/base/bytes.ts'
import { DedupeWindow } from '../../../src/stream/facts/dedupe.ts'

const saved = (window: DedupeWindow): Uint8Array => {
  const writer = new ByteWriter()
  window.write(writer)
  return writer.finish()
}

test('an id counts once within the window, and again after it', () => {
  const window = new DedupeWindow({ windowMs: 100, maxIds: 10 })
  expect(window.admit('a', 1_000)).toBe(true)
  expect(window.admit('a', 1_100)).toBe(false)
  expect(window.admit('b', 1_100)).toBe(true)
  expect(window.admit('a', 1_101)).toBe(true)
  expect(window.size).toBe(2)
})

test('time that goes back is taken as the newest known', () => {
  const window = new DedupeWindow({ windowMs: 100, maxIds: 10 })
  window.admit('a', 1_000)
  expect(window.admit('b', 500)).toBe(true)
  expect(window.admit('b', 1_050)).toBe(false)
  expect(window.admit('a', 0)).toBe(false)
})

test('beyond the number of ids the oldest is forgotten', () => {
  const window = new DedupeWindow({ windowMs: Infinity, maxIds: 3 })
  for (const id of ['a', 'b', 'c', 'd']) expect(window.admit(id, 0)).toBe(true)
  expect(window.admit('b', 0)).toBe(false)
  expect(window.admit('a', 0)).toBe(true)
  expect(window.size).toBe(3)
})

/** The specification: a list of ids and times. */
class PlainWindow {
  readonly #ids: { id: string; time: number }[] = []
  #clock = -Infinity
  readonly #options: { windowMs: number; maxIds: number }

  constructor(options: { windowMs: number; maxIds: number }) {
    this.#options = options
  }

  admit(id: string, time: number): boolean {
    this.#clock = Math.max(this.#clock, time)
    const oldest = this.#clock - this.#options.windowMs
    while (this.#ids[0] !== undefined && this.#ids[0].time < oldest) this.#ids.shift()
    if (this.#ids.some((known) => known.id === id)) return false
    if (this.#ids.length === this.#options.maxIds) this.#ids.shift()
    this.#ids.push({ id, time: this.#clock })
    return true
  }
}

test('it admits what a plain list would, through growth, forgetting and restarts', () => {
  fc.assert(
    fc.property(
      fc.record({
        windowMs: fc.integer({ min: 1, max: 300 }),
        maxIds: fc.integer({ min: 1, max: 200 }),
      }),
      fc.array(
        fc.record({ id: fc.nat({ max: 250 }), step: fc.nat({ max: 3 }), restart: fc.boolean() }),
        {
          minLength: 300,
          maxLength: 600,
          size: 'max',
        },
      ),
      (options, visits) => {
        const plain = new PlainWindow(options)
        let window = new DedupeWindow(options)
        let time = 0
        for (const [i, { id, step, restart }] of visits.entries()) {
          time += step
          if (restart && i % 10 === 0) {
            const bytes = saved(window)
            window = new DedupeWindow(options)
            window.read(new ByteReader(bytes))
            if (!Buffer.from(saved(window)).equals(bytes)) throw new Error('saved differently')
          }
          expect(window.admit(`id-${id}`, time)).toBe(plain.admit(`id-${id}`, time))
        }
      },
    ),
    { numRuns: 40 },
  )
})

test('a hundred thousand distinct ids are all admitted', () => {
  const window = new DedupeWindow({ windowMs: Infinity, maxIds: 1_000_000 })
  let admitted = 0
  for (let i = 0; i < 100_000; i += 1) admitted += window.admit(`event-${i}`, i) ? 1 : 0
  expect(admitted).toBe(100_000)
  expect(window.size).toBe(100_000)
})
