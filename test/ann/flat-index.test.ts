import { array, assert, constantFrom, float, integer, property, record } from 'fast-check'
import { describe, expect, test } from 'vitest'

import { setBit } from '../../src/ann/ann-index.ts'
import { FlatIndex, type FlatIndexOptions } from '../../src/ann/flat-index.ts'
import { seededRandom } from '../../src/base/random.ts'
import { range, testAnnIndex, vectors } from '../contract/ann-index.ts'

const { fround } = Math

testAnnIndex({
  make: (shape) => new FlatIndex(shape),
  load: (bytes, shape) => FlatIndex.load(bytes, shape),
})

const indexOf = (options: Partial<FlatIndexOptions> = {}): FlatIndex =>
  new FlatIndex({ dim: 5, exactDims: 1, capacityItems: 100, maxK: 100, ...options })

const ids = (...list: number[]): Int32Array => Int32Array.from(list)

/**
 * The inner product as the index rounds it: four partial sums by dimension, added (0 + 2) + (1 +
 * 3).
 */
function innerProduct(a: Float32Array, b: Float32Array): number {
  const sums = [0, 0, 0, 0]
  for (const [d, value] of a.entries()) {
    sums[d % 4] = fround(sums[d % 4] + fround(value * b[d]))
  }
  return fround(fround(sums[0] + sums[2]) + fround(sums[1] + sums[3]))
}

/** The naive oracle: a map, sorted anew for every query. */
class Oracle {
  readonly items = new Map<number, Float32Array>()

  search(query: Float32Array, k: number, allowed: (id: number) => boolean): [number, number][] {
    return [...this.items]
      .filter(([id]) => allowed(id))
      .map(([id, vector]): [number, number] => [id, innerProduct(vector, query)])
      .toSorted(([a, x], [b, y]) => y - x || a - b)
      .slice(0, k)
  }
}

const found = (index: FlatIndex, query: Float32Array, k: number): [number, number][] => {
  const result = index.search(query, k)
  return [...result.ids].flatMap((id, i) => (id < 0 ? [] : [[id, result.scores[i]]]))
}

const bitmap = (allowed: readonly number[]): Uint32Array => {
  const words = new Uint32Array(4)
  for (const id of allowed) setBit(words, id, true)
  return words
}

const steps = array(
  record({
    kind: constantFrom('upsert', 'upsert', 'remove', 'tail'),
    ids: array(integer({ min: 0, max: 99 }), { maxLength: 20 }),
    seed: integer(),
  }),
  { maxLength: 12 },
)

/** Small integers, so that scores tie often and every code is exact. */
const coarse = (seed: number, n: number, dim: number): Float32Array => {
  const random = seededRandom(seed)
  return new Float32Array(n * dim).map(() => random.integer(5) - 2)
}

describe.each(['wasm', 'reference'] as const)(
  'the flat index on its %s kernels',
  (implementation) => {
    test.each(['f32', 'int8'] as const)(
      '%s: any history of changes answers as a sorted map does, ties by smaller id',
      (precision) => {
        const options = { precision, implementation, exactBelow: 0, dim: 5, exactDims: 1 } as const
        const changes = array(integer({ min: 0, max: 99 }), { maxLength: 100 })
        assert(
          property(
            steps,
            integer(),
            integer({ min: 1, max: 30 }),
            changes,
            (history, seed, k, allow) => {
              const index = indexOf(options)
              const oracle = new Oracle()
              for (const step of history) change(index, oracle, step)
              const query = coarse(seed, 1, 5)
              const set = new Set(allow)

              expect(found(index, query, k)).toEqual(oracle.search(query, k, () => true))
              const filtered = index.search(query, k, { allow: bitmap(allow), effort: 1 })
              const expected = oracle.search(query, k, (id) => set.has(id))
              expect([...filtered.ids].filter((id) => id >= 0)).toEqual(expected.map(([id]) => id))
              expect(index.stats().items).toBe(oracle.items.size)
            },
          ),
          { numRuns: implementation === 'wasm' ? 200 : 50 },
        )
      },
    )

    test('scores are the exact inner products, also behind a coded scan', () => {
      const index = indexOf({ dim: 17, exactDims: 0, exactBelow: 0, implementation })
      const items = vectors(1, 100, 17)
      const query = vectors(2, 1, 17)
      index.upsert(range(100), items)
      for (const [id, score] of found(index, query, 10)) {
        expect(score).toBe(innerProduct(items.subarray(id * 17, (id + 1) * 17), query))
      }
    })
  },
)

function change(
  index: FlatIndex,
  oracle: Oracle,
  step: { kind: string; ids: number[]; seed: number },
): void {
  const { dim } = index
  if (step.kind === 'remove') {
    index.remove(Int32Array.from(step.ids))
    for (const id of step.ids) oracle.items.delete(id)
  } else if (step.kind === 'tail') {
    const tails = coarse(step.seed, step.ids.length, 1)
    index.updateTail(Int32Array.from(step.ids), tails)
    for (const [i, id] of step.ids.entries()) oracle.items.get(id)?.set([tails[i]], dim - 1)
  } else {
    const rows = coarse(step.seed, step.ids.length, dim)
    index.upsert(Int32Array.from(step.ids), rows)
    for (const [i, id] of step.ids.entries()) {
      oracle.items.set(id, rows.slice(i * dim, (i + 1) * dim))
    }
  }
}

test('both implementations give the same bits', () => {
  const value = float({ noNaN: true, min: -1e6, max: 1e6 })
  assert(
    property(array(value, { minLength: 1, maxLength: 600 }), integer(), (values, seed) => {
      const items = new Float32Array(300).map((_, i) => values[i % values.length])
      const queries = vectors(seed, 3, 5)
      const [wasm, reference] = (['wasm', 'reference'] as const).map((implementation) => {
        const index = indexOf({ implementation, exactBelow: 0 })
        index.upsert(range(60), items)
        return index.search(queries, 20, { effort: 0 })
      })
      expect(wasm).toEqual(reference)
    }),
    { numRuns: 100 },
  )
})

test('a coded scan finds what an exact one finds: recall@10 of .999 and more', () => {
  const index = indexOf({ dim: 33, capacityItems: 5000, exactBelow: 0 })
  index.upsert(range(5000), vectors(3, 5000, 33))
  const queries = vectors(4, 100, 33)
  const exact = index.search(queries, 10, { exact: true })
  const coded = index.search(queries, 10)
  const hits = [...coded.ids].filter((id, i) => {
    const query = Math.floor(i / 10) * 10
    return exact.ids.subarray(query, query + 10).includes(id)
  })
  expect(hits.length / 1000).toBeGreaterThanOrEqual(0.999)
})

test('an index of tiny and of huge vectors still ranks', () => {
  const index = indexOf({ exactBelow: 0, exactDims: 0 })
  const items = new Float32Array(15)
  items.set([1e-40, 0, 0, 0, 0, 1e17, 0, 0, 0, 0, 3, 0, 0, 0, 0])
  index.upsert(ids(0, 1, 2), items)
  expect([...index.search(Float32Array.of(1, 0, 0, 0, 0), 3).ids]).toEqual([1, 2, 0])
})
