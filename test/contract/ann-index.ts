/**
 * What every index must do, with the flat one as the oracle. An index's test calls this with a way
 * to make one that is small enough to be exact when it spends all it can (effort 1); what is
 * special to the index it tests itself.
 */
import { array, assert, constantFrom, integer, property, record } from 'fast-check'
import { expect, test } from 'vitest'

import { type AnnIndex, type SearchResult, setBit } from '../../src/ann/ann-index.ts'
import { FlatIndex } from '../../src/ann/flat-index.ts'
import { seededRandom } from '../../src/base/random.ts'

interface IndexShape {
  readonly dim: number
  readonly exactDims: number
  readonly capacityItems: number
  readonly maxK: number
}

export interface IndexUnderTest {
  readonly make: (shape: IndexShape) => AnnIndex
  readonly load: (bytes: Uint8Array, shape: IndexShape) => AnnIndex
}

const small: IndexShape = { dim: 5, exactDims: 1, capacityItems: 100, maxK: 100 }

/** n vectors of seeded normal numbers. */
export const vectors = (seed: number, n: number, dim: number): Float32Array => {
  const random = seededRandom(seed)
  return new Float32Array(n * dim).map(() => random.normal())
}

/** Small integers, so that scores tie often. */
const coarse = (seed: number, n: number, dim: number): Float32Array => {
  const random = seededRandom(seed)
  return new Float32Array(n * dim).map(() => random.integer(5) - 2)
}

const ids = (...list: number[]): Int32Array => Int32Array.from(list)
export const range = (n: number): Int32Array => Int32Array.from({ length: n }, (_, i) => i)

const bitmap = (allowed: readonly number[]): Uint32Array => {
  const words = new Uint32Array(4)
  for (const id of allowed) setBit(words, id, true)
  return words
}

const anIds = array(integer({ min: 0, max: 99 }), { maxLength: 20 })
const histories = array(
  record({
    kind: constantFrom('upsert', 'upsert', 'upsert', 'remove', 'tail', 'maintain'),
    ids: anIds,
    seed: integer(),
  }),
  { maxLength: 20 },
)

function change(index: AnnIndex, step: { kind: string; ids: number[]; seed: number }): void {
  const list = Int32Array.from(step.ids)
  if (step.kind === 'remove') index.remove(list)
  else if (step.kind === 'tail') {
    index.updateTail(list, coarse(step.seed, list.length, index.exactDims))
  } else if (step.kind === 'upsert') {
    index.upsert(list, coarse(step.seed, list.length, index.dim))
  } else index.maintain(step.ids.length * 100)
}

/** Until there is nothing left to do. */
export function settle(index: AnnIndex): void {
  for (let i = 0; i < 10_000; i += 1) if (index.maintain(1_000) === 0) return
  throw new Error('an index that is left alone comes to rest')
}

export function testAnnIndex({ make, load }: IndexUnderTest): void {
  test('any history of changes answers as the flat index does, ties by smaller id', () => {
    assert(
      property(
        histories,
        integer(),
        integer({ min: 1, max: 30 }),
        anIds,
        (steps, seed, k, some) => {
          const [index, oracle] = [make(small), new FlatIndex(small)]
          for (const step of steps) for (const each of [index, oracle]) change(each, step)
          const query = coarse(seed, 1, 5)
          for (const options of [{}, { allow: bitmap(some) }]) {
            const wanted = oracle.search(query, k, { ...options, exact: true })
            expect(index.search(query, k, { ...options, exact: true })).toEqual(wanted)
            expect(index.search(query, k, { ...options, effort: 1 })).toEqual(wanted)
          }
          expect(index.stats().items).toBe(oracle.stats().items)
          expect(index.serialize()).toEqual(oracle.serialize())
        },
      ),
      { numRuns: 150 },
    )
  })

  test('at any effort scores are exact, best first, no id is twice or shut out or gone', () => {
    const effort = integer({ min: 0, max: 4 })
    assert(
      property(histories, integer(), effort, anIds, (steps, seed, quarter, some) => {
        const [index, oracle] = [make(small), new FlatIndex(small)]
        for (const step of steps) for (const each of [index, oracle]) change(each, step)
        const query = vectors(seed, 1, 5)
        const allow = bitmap(some)
        const found = index.search(query, 10, { effort: quarter / 4, allow })
        const all = oracle.search(query, 100, { exact: true, allow })
        const scores = new Map([...all.ids].map((id, i) => [id, all.scores[i]]))
        const got = [...found.ids].filter((id) => id >= 0)
        expect(got).toHaveLength(Math.min(10, [...all.ids].filter((id) => id >= 0).length))
        expect(new Set(got).size).toBe(got.length)
        expect([...found.scores.subarray(0, got.length)]).toEqual(got.map((id) => scores.get(id)))
        const order = got.toSorted((a, b) => (scores.get(b) ?? 0) - (scores.get(a) ?? 0) || a - b)
        expect(got).toEqual(order)
      }),
      { numRuns: 150 },
    )
  })

  test('an upsert is visible to the next search, and a removal too', () => {
    const index = make(small)
    index.upsert(range(90), vectors(1, 90, 5))
    settle(index)
    index.upsert(ids(95), Float32Array.of(9, 9, 9, 9, 9))
    const query = Float32Array.of(1, 1, 1, 1, 1)
    expect(index.search(query, 1, { effort: 0 }).ids[0]).toBe(95)
    index.remove(ids(95))
    expect([...index.search(query, 100, { effort: 1 }).ids]).not.toContain(95)
  })

  test('a changed tail counts in the next search', () => {
    const index = make(small)
    index.upsert(range(90), vectors(1, 90, 5))
    settle(index)
    index.updateTail(ids(7, 98), Float32Array.of(50, 60))
    expect(index.search(Float32Array.of(0, 0, 0, 0, 1), 1, { effort: 1 }).ids[0]).toBe(7)
    expect(index.vector(7)?.[4]).toBe(50)
    expect(index.has(98)).toBe(false)
  })

  test('many queries at once answer as one by one, each with its own filter', () => {
    const index = make(small)
    index.upsert(range(100), vectors(5, 100, 5))
    settle(index)
    const queries = vectors(6, 20, 5)
    const allow = Array.from({ length: 20 }, (_, i) => bitmap([i, i + 20, i + 40, i + 60, i + 80]))
    const together = index.search(queries, 4, { allow })
    const alone = Array.from({ length: 20 }, (_, i) =>
      index.search(queries.slice(i * 5, i * 5 + 5), 4, { allow: allow[i] }),
    )
    for (const [i, result] of alone.entries()) {
      expect(together.ids.subarray(i * 4, i * 4 + 4)).toEqual(result.ids)
    }
  })

  test('what is left of k stays empty: id -1, score -Infinity', () => {
    const index = make(small)
    index.upsert(ids(7), vectors(1, 1, 5))
    settle(index)
    const { ids: got, scores } = index.search(vectors(2, 1, 5), 3)
    expect([...got]).toEqual([7, -1, -1])
    expect([...scores.subarray(1)]).toEqual([-Infinity, -Infinity])
  })

  test('deleting the five best lets the next five move up', () => {
    const index = make(small)
    index.upsert(range(100), vectors(8, 100, 5))
    settle(index)
    const query = vectors(9, 1, 5)
    const before = index.search(query, 10, { effort: 1 })
    index.remove(before.ids.slice(0, 5))
    expect([...index.search(query, 5, { effort: 1 }).ids]).toEqual([...before.ids.subarray(5)])
  })

  test('a vector can be read back, and a removed one is gone', () => {
    const index = make(small)
    const items = vectors(1, 2, 5)
    index.upsert(ids(3, 99), items)
    expect(index.vector(99)).toEqual(items.slice(5))
    index.remove(ids(99, 50))
    expect(index.vector(99)).toBeUndefined()
    expect(index.has(3)).toBe(true)
    expect(index.stats().items).toBe(1)
  })

  test('what is invalid is refused and changes nothing', () => {
    const index = make(small)
    const good = vectors(1, 2, 5)
    const bad = good.slice()
    bad[7] = Number.NaN
    for (const attempt of [
      () => index.upsert(ids(1, 2), bad),
      () => index.upsert(ids(1, 2), bad.fill(Infinity)),
      () => index.upsert(ids(1), good),
      () => index.updateTail(ids(1), Float32Array.of(1e30)),
      () => index.search(bad, 1),
      () => index.search(good.subarray(0, 7), 1),
    ]) {
      expect(attempt).toThrow(expect.objectContaining({ code: 'INDEX_VECTOR_INVALID' }))
    }
    const attempt = (): void => index.upsert(ids(1, 128), good)
    expect(attempt).toThrow(expect.objectContaining({ code: 'INDEX_FULL' }))
    expect(index.stats().items).toBe(0)
  })

  test('tiny and huge vectors side by side still rank', () => {
    const index = make({ ...small, exactDims: 0 })
    const items = new Float32Array(15)
    items.set([1e-40, 0, 0, 0, 0, 1e17, 0, 0, 0, 0, 3, 0, 0, 0, 0])
    index.upsert(ids(0, 1, 2), items)
    settle(index)
    const found: SearchResult = index.search(Float32Array.of(1, 0, 0, 0, 0), 3, { effort: 1 })
    expect([...found.ids]).toEqual([1, 2, 0])
  })

  test('bytes bring back the same index, and damage is found', () => {
    const index = make(small)
    index.upsert(ids(4, 70, 2), vectors(1, 3, 5))
    const bytes = index.serialize()
    const again = load(bytes, small)
    const query = vectors(2, 1, 5)
    expect(again.search(query, 5)).toEqual(index.search(query, 5))
    expect(again.serialize()).toEqual(bytes)

    const damaged = expect.objectContaining({ code: 'INDEX_DAMAGED' })
    expect(() => load(bytes.subarray(0, -1), small)).toThrow(damaged)
    expect(() => load(bytes.subarray(0, 6), small)).toThrow(damaged)
    expect(() => load(bytes, { ...small, exactDims: 2 })).toThrow(damaged)
    for (const at of [0, 4, 40]) {
      const other = bytes.slice()
      other[at] ^= 1
      expect(() => load(other, small)).toThrow(damaged)
    }
  })
}
