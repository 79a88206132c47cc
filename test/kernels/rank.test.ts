import { array, assert, boolean, constantFrom, integer, property, record } from 'fast-check'
import { expect, test } from 'vitest'

import { seededRandom } from '../../src/base/random.ts'
import { Arena } from '../../src/kernels/arena.ts'
import { loadKernels } from '../../src/kernels/kernels.ts'
import { ThreadPool } from '../../src/kernels/thread-pool.ts'

interface Shape {
  readonly items: number
  readonly dims: number
  readonly queries: number
  readonly heads: number
  readonly hasPopularity: boolean
  readonly seed: number
  /** Values are multiples of this, so that ties happen. */
  readonly grid: number
}

const shapes = record({
  items: integer({ min: 0, max: 45 }),
  dims: integer({ min: 1, max: 9 }),
  queries: integer({ min: 1, max: 9 }),
  heads: integer({ min: 1, max: 5 }),
  hasPopularity: boolean(),
  seed: integer({ min: 0, max: 1000 }),
  grid: constantFrom(1, 0.25, 0.001),
})

/** A candidate set and queries in a fresh arena, and what the ranking kernels make of them. */
function prepare({ items, dims, queries, heads, hasPopularity, seed, grid }: Shape) {
  const arena = new Arena(1 << 22)
  const random = seededRandom(seed)
  const value = (): number => Math.round((random.next() * 4 - 2) / grid) * grid
  const stride = dims + 1
  const slots = Math.ceil(items / 8) * 8
  const pairs = Math.ceil(dims / 2)
  const kept = arena.floats(slots * dims)
  const [codes, numbers] = [arena.ints(slots * pairs), arena.ints(slots * 3)]
  const popularity = arena.floats(slots)
  const descriptor = arena.words(6)
  const vectors = arena.floats(items * stride)
  const rows = arena.floats(queries * heads * stride)
  const targets = arena.ints(queries)
  const offsets = arena.ints(queries + 1)
  const excluded = arena.ints(queries * items)
  const order = arena.ints(items)
  const ownCodes = arena.ints(queries * heads * (1 + pairs))
  const out = arena.ints(2 * queries)
  for (const view of [vectors.view, rows.view]) view.forEach((_, i) => (view[i] = value()))
  for (let q = 0; q < queries * heads; q += 1) {
    const first = q - (q % heads)
    rows.view[q * stride + dims] = rows.view[first * stride + dims]
  }
  for (let i = 0; i < items; i += 1) popularity.view[i] = value() * 5
  for (let i = 0; i < items; i += 1) order.view[i] = i
  for (let q = 0; q < queries; q += 1) targets.view[q] = random.integer(items + 1) - 1
  let length = 0
  for (let q = 0; q < queries; q += 1) {
    for (let i = 0; i < items; i += 1) {
      if (i === targets.view[q] || random.next() < 0.7) continue
      excluded.view[length] = i
      length += 1
    }
    offsets.view[q + 1] = length
  }
  descriptor.view.set([
    kept.address,
    codes.address,
    numbers.address,
    hasPopularity ? popularity.address : 0,
    dims,
    items,
  ])
  const asked = [rows.address, stride, heads] as const
  const base = [out.address, descriptor.address, ...asked, targets.address] as const
  return {
    arena,
    out: out.view,
    pack: [descriptor.address, order.address, vectors.address, stride, items] as const,
    rank: [...base, ownCodes.address] as const,
    exclude: [...base, offsets.address, excluded.address] as const,
    queries,
    vectors: vectors.view,
    rows: rows.view,
    kept: kept.view,
  }
}

const ranked = (
  shape: Shape,
  implementation: 'wasm' | 'reference',
  change: (subject: ReturnType<typeof prepare>) => void = () => {},
) => {
  const subject = prepare(shape)
  change(subject)
  const kernels = loadKernels(subject.arena, { implementation })
  kernels.packCandidates(...subject.pack)
  kernels.rankTargets(...subject.rank, 0, subject.queries)
  const all = [...subject.out]
  kernels.rankExcluded(...subject.exclude, 0, subject.queries)
  return { all, left: [...subject.out], kept: [...subject.kept] }
}

test('ranks are those of the reference, which skips nothing, ties and exclusions included', () => {
  assert(
    property(shapes, (shape) => {
      expect(ranked(shape, 'wasm')).toEqual(ranked(shape, 'reference'))
    }),
  )
})

test.each([
  { dims: 16, heads: 1 },
  { dims: 61, heads: 1 },
  { dims: 7, heads: 3 },
])('candidates are given up without changing a count: %j', ({ dims, heads }) => {
  // Of several blocks, with ties.
  const shape = { items: 1501, dims, queries: 70, heads, hasPopularity: true, seed: 3, grid: 0.25 }
  expect(ranked(shape, 'wasm')).toEqual(ranked(shape, 'reference'))
})

test.each([
  { heads: 1, spread: 1e-7 },
  { heads: 1, spread: 1e-5 },
  { heads: 3, spread: 1e-3 },
])('candidates as good as alike are told apart by their scores: %j', ({ heads, spread }) => {
  const shape = {
    items: 600,
    dims: 61,
    queries: 9,
    heads,
    hasPopularity: false,
    seed: 7,
    grid: 1e-5,
  }
  const blend = ({ vectors }: ReturnType<typeof prepare>): void => {
    // Around one vector, less far from each other than codes or sums in another order can tell.
    const first = vectors.slice(0, shape.dims + 1)
    vectors.forEach((x, i) => (vectors[i] = first[i % first.length] * (1 + spread * x)))
  }
  expect(ranked(shape, 'wasm', blend)).toEqual(ranked(shape, 'reference', blend))
})

test('candidates and queries of any length are ranked by their scores', () => {
  const lengths = array(constantFrom(0, 1e-42, 1e-25, 1e-18, 1, 1e14, 1e18, 1e30), { minLength: 1 })
  assert(
    property(shapes, lengths, lengths, (shape, ofItems, ofQueries) => {
      const stretch = ({ vectors, rows }: ReturnType<typeof prepare>): void => {
        const floats = shape.dims + 1
        vectors.forEach((x, i) => {
          vectors[i] = x * ofItems[Math.floor(i / floats) % ofItems.length]
        })
        rows.forEach((x, i) => {
          const isWeight = i % floats === shape.dims
          rows[i] = isWeight ? x : x * ofQueries[Math.floor(i / floats) % ofQueries.length]
        })
      }
      expect(ranked(shape, 'wasm', stretch)).toEqual(ranked(shape, 'reference', stretch))
    }),
  )
})

test('a target without a finite score equals nothing; rivals without one are not above', () => {
  const broken = record({ at: integer({ min: 0, max: 400 }), value: constantFrom(NaN, Infinity) })
  assert(
    property(shapes, array(broken, { maxLength: 4 }), (shape, breaks) => {
      const spoil = ({ vectors }: ReturnType<typeof prepare>): void => {
        for (const { at, value } of breaks) {
          if (vectors.length > 0) vectors[at % vectors.length] = value
        }
      }
      expect(ranked(shape, 'wasm', spoil)).toEqual(ranked(shape, 'reference', spoil))
    }),
  )
  const shape = { items: 9, dims: 2, queries: 4, heads: 2, hasPopularity: false, seed: 1, grid: 1 }
  const { left } = ranked(shape, 'wasm', ({ vectors }) => void vectors.fill(NaN))
  expect(left).toEqual([0, 0, 0, 0, 0, 0, 0, 0])
})

test('a query without target counts nothing', () => {
  const subject = prepare({
    items: 20,
    dims: 4,
    queries: 3,
    heads: 1,
    hasPopularity: false,
    seed: 1,
    grid: 1,
  })
  const kernels = loadKernels(subject.arena)
  kernels.packCandidates(...subject.pack)
  new Int32Array(subject.arena.memory.buffer, subject.rank[5], 3).fill(-1)
  kernels.rankTargets(...subject.rank, 0, 3)
  expect([...subject.out]).toEqual([0, 0, 0, 0, 0, 0])
})

test('ranks do not depend on how the queries are split over threads', async () => {
  const shape = {
    items: 300,
    dims: 8,
    queries: 30,
    heads: 1,
    hasPopularity: true,
    seed: 9,
    grid: 0.25,
  }
  const subject = prepare(shape)
  const pool = await ThreadPool.create(subject.arena, { threads: 2 })
  pool.kernels.packCandidates(...subject.pack)
  pool.run('rankTargets', [...subject.rank], shape.queries)
  await pool.close()
  expect([...subject.out]).toEqual(ranked(shape, 'wasm').all)
})

test('countAbove counts as its reference, in one block or in several that differ', () => {
  const numbers = array(integer({ min: -3, max: 3 }), { maxLength: 40 })
  const limits = array(integer({ min: -4, max: 7 }), { maxLength: 5 })
  assert(
    property(numbers, limits, constantFrom(1, 20), (some, thresholds, times) => {
      const { length } = some
      const values = Array.from({ length: length * times }, (_, i) => some[i % length] + (i >> 8))
      const counts = (['wasm', 'reference'] as const).map((implementation) => {
        const arena = new Arena(1 << 17)
        const [x, limit] = [arena.floats(values.length), arena.floats(thresholds.length)]
        const out = arena.ints(2 * thresholds.length)
        x.view.set(values)
        limit.view.set(thresholds)
        const kernels = loadKernels(arena, { implementation })
        const counted = [x.address, values.length] as const
        const bounds = arena.floats(2 * Math.ceil(values.length / 256))
        kernels.boundBlocks(bounds.address, ...counted)
        const operands = [...counted, bounds.address, limit.address] as const
        kernels.countAbove(out.address, ...operands, 0, thresholds.length)
        return { counts: Array.from(out.view), bounds: Array.from(bounds.view) }
      })
      const expected = thresholds.flatMap((threshold) => [
        values.filter((value) => value > threshold).length,
        values.filter((value) => value === threshold).length,
      ])
      expect(counts[0].counts).toEqual(expected)
      expect(counts[1]).toEqual(counts[0])
    }),
  )
})
