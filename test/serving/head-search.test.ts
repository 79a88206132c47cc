/** Queries of several heads, against scoring every item by every head. */
import { assert, constantFrom, integer, property, record } from 'fast-check'
import { expect, test } from 'vitest'

import { FlatIndex } from '../../src/ann/flat-index.ts'
import { present } from '../../src/base/assert.ts'
import { seededRandom } from '../../src/base/random.ts'
import type { ModelSpec } from '../../src/model/spec.ts'
import { searchHeads } from '../../src/serving/head-search.ts'
import { catalogue, clicks, Shop, shopModel } from '../support/shop-replica.ts'

const dim = 3
const items = 40
const k = 7

const shapes = record({
  heads: integer({ min: 1, max: 4 }),
  others: integer({ min: 1, max: 3 }),
  seed: integer({ min: 0, max: 500 }),
  /** Numbers are multiples of this, so that scores tie. */
  grid: constantFrom(1, 0.5, 0.001),
})

const dot = (a: Float32Array, b: Float32Array): number => a.reduce((sum, x, i) => sum + x * b[i], 0)

/** The best k by the best head, ties by the smaller id. */
function byHand(query: Float32Array, vectors: readonly Float32Array[], isShown: boolean[]) {
  const heads = Array.from({ length: query.length / dim }, (_, h) =>
    query.subarray(h * dim, (h + 1) * dim),
  )
  return vectors
    .map((vector, id) => ({ id, score: Math.max(...heads.map((head) => dot(head, vector))) }))
    .filter(({ id }) => isShown[id])
    .toSorted((a, b) => b.score - a.score || a.id - b.id)
    .slice(0, k)
}

test('the merged answer is that of the best heads, exactly, beside queries of another number', () => {
  assert(
    property(shapes, ({ heads, others, seed, grid }) => {
      const random = seededRandom(seed)
      const some = (n: number): Float32Array =>
        Float32Array.from({ length: n }, () => Math.round((random.next() * 4 - 2) / grid) * grid)
      const vectors = Array.from({ length: items }, () => some(dim))
      const index = new FlatIndex({ dim, exactDims: 1, capacityItems: 64, maxK: 10 })
      index.upsert(
        Int32Array.from(vectors, (_, id) => id),
        Float32Array.from(vectors.flatMap((vector) => [...vector])),
      )
      const isShown = vectors.map(() => random.next() < 0.6)
      const bitmap = new Uint32Array(2)
      for (const [id, shown] of isShown.entries()) if (shown) bitmap[id >> 5] |= 1 << (id & 31)
      const queries = [some(heads * dim), some(others * dim)]
      const asked = { vectors: queries, dim, allow: [bitmap, bitmap] }
      const found = searchHeads(index, asked, k, { exact: true })
      for (const [q, query] of queries.entries()) {
        const expected = byHand(query, vectors, isShown)
        expect([...found.ids.subarray(q * k, q * k + expected.length)]).toEqual(
          expected.map(({ id }) => id),
        )
        for (const [i, { score }] of expected.entries()) {
          expect(found.scores[q * k + i]).toBeCloseTo(score, 4)
        }
      }
    }),
    { numRuns: 60 },
  )
})

test('a model of two heads is learned, served and asked by both', async () => {
  const widened = { kind: 'dense', units: 2 * shopModel.dim, activation: 'linear' } as const
  const model: ModelSpec = {
    ...shopModel,
    query: { ...shopModel.query, layers: [...shopModel.query.layers, widened], heads: 2 },
  }
  await using shop = await Shop.open({ model })
  await shop.append([...catalogue(60), ...clicks(1, 300, 60)])
  const service = await shop.serve()
  await shop.train()
  await shop.settled(service)
  const request = { userId: 'u1', n: 20, context: { device: 'phone' }, exact: true }
  const { vector } = await service.retriever.embedQuery(request)
  const { items: found } = await service.retriever.recommend({ ...request, explain: true })
  const { indexDim, queryHeads, facts } = service.replica
  expect([queryHeads, vector.length]).toEqual([2, 2 * indexDim])
  const score = (id: string): readonly number[] => {
    const { handle } = present(facts.catalogue.byId(id), id)
    const item = present(service.liveIndex.vector(handle), id)
    return [0, 1].map((h) => dot(vector.subarray(h * indexDim, (h + 1) * indexDim), item))
  }
  expect(found).toHaveLength(20)
  const winners = new Set<number>()
  for (const { id, score: given, explanation } of found) {
    const [first, second] = score(id)
    winners.add(first > second ? 0 : 1)
    expect(given).toBeCloseTo(Math.max(first, second), 4)
    expect((explanation?.towers ?? 0) + (explanation?.popularity ?? 0)).toBeCloseTo(given, 4)
  }
  expect(winners.size).toBe(2)
  const worst = present(found.at(-1), 'the last').score
  const { users } = facts
  const had = new Set(users.history(users.handleOf('u1'), 100).map(({ item }) => item.id))
  for (const { id } of facts.catalogue.items()) {
    if (had.has(id) || found.some((one) => one.id === id)) continue
    expect(Math.max(...score(id))).toBeLessThanOrEqual(worst + 1e-4)
  }
  const similar = await service.retriever.similar({ itemId: 'i1', n: 5 })
  expect(similar.items).toHaveLength(5)
})
