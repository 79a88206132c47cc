import { describe, expect, test } from 'vitest'

import { type Answers, type Background, InlineBackground } from '../../src/ann/background.ts'
import type { IndexSite } from '../../src/ann/index-memory.ts'
import { PartitionedIndex, type PartitionedIndexOptions } from '../../src/ann/partitioned-index.ts'
import { seededRandom } from '../../src/base/random.ts'
import { range, settle, testAnnIndex, vectors } from '../contract/ann-index.ts'

/** A tree from the first item on. */
const treed = { flatBelow: 0, leavesFor: () => 32 } as const

describe.each(['wasm', 'reference'] as const)('on its %s kernels', (implementation) => {
  testAnnIndex({
    make: (shape) => new PartitionedIndex({ ...shape, ...treed, implementation }),
    load: (bytes, shape) => PartitionedIndex.load(bytes, { ...shape, ...treed, implementation }),
  })
})

/** Points around a hundred centres, and a popularity behind each. */
function points(seed: number, n: number, dim: number): Float32Array {
  const centres = vectors(7, 100, dim)
  const random = seededRandom(seed)
  return new Float32Array(n * dim).map((_, i) => {
    const centre = (Math.imul(Math.floor(i / dim), 2_654_435_761) >>> 8) % 100
    return i % dim === dim - 1
      ? -Math.log(random.next())
      : centres[centre * dim + (i % dim)] + 0.7 * random.normal()
  })
}

const dim = 17
const indexOf = (options: Partial<PartitionedIndexOptions> = {}): PartitionedIndex =>
  new PartitionedIndex({ dim, exactDims: 1, capacityItems: 20_000, maxK: 100, ...options })

function recallOf(index: PartitionedIndex, queries: Float32Array): number {
  const exact = index.search(queries, 10, { exact: true })
  const found = index.search(queries, 10)
  const hits = [...found.ids].filter((id, i) => {
    const query = Math.floor(i / 10) * 10
    return exact.ids.subarray(query, query + 10).includes(id)
  })
  return hits.length / found.ids.length
}

const ask = (index: PartitionedIndex, queries: Float32Array): void => {
  for (let at = 0; at < queries.length; at += dim) index.search(queries.subarray(at, at + dim), 10)
}

test('both implementations give the same bits', () => {
  const [wasm, reference] = (['wasm', 'reference'] as const).map((implementation) => {
    const index = indexOf({ ...treed, capacityItems: 250, implementation })
    index.upsert(range(250), points(1, 250, dim))
    index.maintain(2_000)
    index.upsert(range(120), points(2, 120, dim))
    index.remove(range(40))
    settle(index)
    return { found: index.search(points(3, 20, dim), 20, { effort: 0.3 }), stats: index.stats() }
  })
  expect(wasm).toEqual(reference)
  expect(wasm.stats.kind).toBe('tree')
})

test('the effort that it chooses holds the recall, under popularity, drift and growth', () => {
  const index = indexOf({ flatBelow: 1_000 })
  const queries = points(4, 1_024, dim)
  index.upsert(range(8_000), points(1, 8_000, dim))
  expect(index.stats().kind).toBe('flat-f32')
  ask(index, queries)
  settle(index)
  expect(index.stats().kind).toBe('tree')
  expect(recallOf(index, queries)).toBeGreaterThan(0.955)
  for (let wave = 0; wave < 4; wave += 1) {
    const ids = range(8_000).filter((id) => id % 4 === wave)
    index.upsert(ids, points(10 + wave, ids.length, dim))
    index.maintain(2_000)
  }
  settle(index)
  expect(recallOf(index, queries)).toBeGreaterThan(0.955)
  index.upsert(range(20_000), points(20, 20_000, dim))
  settle(index)
  expect(index.stats().tree?.grown).toBe(2)
  expect(recallOf(index, queries)).toBeGreaterThan(0.955)
})

test('however easy its queries are, a search scans no fewer members than there are leaves', () => {
  const index = indexOf({ flatBelow: 1_000 })
  // Of 320 kinds: the best leaf has the ten that are nearest. Leaves have room for more than they
  // hold, which counts.
  const kinds = vectors(1, 320, dim)
  const items = vectors(2, 8_000, dim).map((value, i) => {
    const kind = Math.floor(i / dim) % 320
    return kinds[kind * dim + (i % dim)] + 0.001 * value
  })
  index.upsert(range(8_000), items)
  ask(index, items.slice(0, 1_024 * dim))
  settle(index)
  const { leaves = 0, effort = 0, recall } = index.stats().tree ?? {}
  expect(recall).toBeGreaterThan(0.97)
  expect(leaves ** effort * (8_000 / leaves)).toBeGreaterThan(0.7 * leaves)
})

test('queries of another kind have the effort chosen anew, though no vector changes', () => {
  const index = indexOf({ flatBelow: 1_000 })
  const items = points(1, 8_000, dim)
  index.upsert(range(8_000), items)
  const own = items.slice(0, 1_024 * dim)
  ask(index, own)
  settle(index)
  const before = index.stats().tree?.effort ?? 1
  const others = vectors(5, 1_024, dim)
  ask(index, others)
  settle(index)
  expect(index.stats().tree?.effort).toBeGreaterThan(before)
  expect(recallOf(index, others)).toBeGreaterThan(0.955)
})

test('a tree that was grown before anything was asked gives way once towers and users speak', () => {
  const index = indexOf({ flatBelow: 1_000 })
  index.upsert(range(8_000), points(1, 8_000, dim))
  settle(index)
  const moved = range(3_000)
  index.upsert(moved, points(2, moved.length, dim))
  settle(index)
  expect(index.stats().tree?.grown).toBe(1)
  const queries = points(4, 1_024, dim)
  ask(index, queries)
  settle(index)
  expect(index.stats().tree?.grown).toBe(2)
  // That one knew what is asked: as many changes are no reason for another.
  index.upsert(moved, points(3, moved.length, dim))
  ask(index, queries)
  settle(index)
  expect(index.stats().tree?.grown).toBe(2)
})

test('it goes back to a scan when most items have left', () => {
  const index = indexOf({ flatBelow: 1_000 })
  index.upsert(range(3_000), points(1, 3_000, dim))
  settle(index)
  expect(index.stats().kind).toBe('tree')
  index.remove(range(2_600))
  // At once: what is left may all be in a few leaves.
  expect(index.stats().kind).toBe('flat-f32')
  expect(recallOf(index, points(4, 20, dim))).toBe(1)
  settle(index)
  expect(index.stats().kind).toBe('flat-f32')
  expect(recallOf(index, points(4, 20, dim))).toBe(1)
})

test('a tree that most items have left holds the recall until the next one has grown', () => {
  const index = indexOf({ flatBelow: 500, leavesFor: () => 256 })
  const queries = points(4, 1_024, dim)
  index.upsert(range(20_000), points(1, 20_000, dim))
  ask(index, queries)
  settle(index)
  index.remove(range(20_000).filter((id) => id % 16 !== 0))
  expect(index.stats().kind).toBe('tree')
  expect(recallOf(index, queries)).toBeGreaterThan(0.955)
})

test('what has become popular far from all others is found by those to whom it is near', () => {
  const index = indexOf({ flatBelow: 1_000, leavesFor: () => 64 })
  index.upsert(range(4_000), points(1, 4_000, dim))
  settle(index)
  const hot = range(4)
  // Each along an axis of its own, far beyond the centres.
  const far = new Float32Array(hot.length * dim)
  for (const id of hot) {
    far[id * dim + id] = 9
    far[id * dim + dim - 1] = 10 + id
    index.upsert(Int32Array.of(id), far.subarray(id * dim, (id + 1) * dim))
  }
  const queries = new Float32Array(far)
  for (const id of hot) {
    queries[id * dim + ((id + 1) % 16)] = -3
    queries[id * dim + dim - 1] = 0.1
  }
  const found = index.search(queries, 1, { effort: 0.1 })
  expect(found).toEqual(index.search(queries, 1, { exact: true }))
  expect(found.ids).toEqual(hot)
})

/** As it is by default, and where it has laid its memory. */
function inlineWithSites(): { readonly background: Background; readonly sites: IndexSite[] } {
  const sites: IndexSite[] = []
  const inline = new InlineBackground()
  const background: Background = {
    open: (site) => {
      sites.push(site)
      inline.open(site)
    },
    begin: (order) => inline.begin(order),
    step: () => inline.step(),
    take: () => inline.take(),
  }
  return { background, sites }
}

test('from nothing to thousands and back recall holds all along, and memory is given back', () => {
  const { background, sites } = inlineWithSites()
  const index = indexOf({ flatBelow: 500, background })
  const [most, least, step] = [8_000, 200, 50]
  const [items, queries] = [points(1, most, dim), points(4, 256, dim)]
  const kinds: string[] = []
  let leastRecall = 1
  const look = (): void => {
    ask(index, queries.subarray(0, 16 * dim))
    index.maintain(step * 64)
    const { kind, items: size } = index.stats()
    if (kinds.at(-1) !== kind) kinds.push(kind)
    if (size % 400 === 0) leastRecall = Math.min(leastRecall, recallOf(index, queries))
  }
  for (let size = 0; size < most; size += step) {
    const ids = range(step).map((id) => size + id)
    index.upsert(ids, items.subarray(size * dim, (size + step) * dim))
    look()
  }
  for (let size = most; size > least; size -= step) {
    index.remove(range(step).map((id) => size - step + id))
    look()
  }
  expect(leastRecall).toBeGreaterThan(0.95)
  settle(index)
  expect(kinds).toEqual(['flat-f32', 'tree', 'flat-f32'])
  expect(recallOf(index, queries)).toBe(1)
  expect(sites).toHaveLength(2)
  expect(sites[1].memory).not.toBe(sites[0].memory)
})

test('what is left of a large catalogue moves to a memory of its own', () => {
  const { background, sites } = inlineWithSites()
  const index = indexOf({ flatBelow: 400, background })
  index.upsert(range(4_000), points(1, 4_000, dim))
  settle(index)
  expect(index.stats().kind).toBe('tree')
  index.remove(range(4_000).filter((id) => id % 21 !== 0))
  // What changes meanwhile is taken along.
  for (let step = 0; sites.length === 1 && step < 10_000; step += 1) {
    index.upsert(Int32Array.of(1), points(5, 1, dim))
    index.remove(Int32Array.of(21 * 3))
    index.updateTail(Int32Array.of(21 * 180), Float32Array.of(7))
    index.maintain(1)
  }
  expect(sites[1].memory).not.toBe(sites[0].memory)
  const left = range(4_000).filter((id) => id % 21 === 0 && id !== 63)
  expect(index.stats().items).toBe(left.length + 1)
  const [first, all] = [points(5, 1, dim), points(1, 4_000, dim)]
  expect(index.vector(1)).toEqual(first)
  expect(index.vector(21 * 180)?.at(-1)).toBe(7)
  for (const id of left.filter((some) => some !== 21 * 180)) {
    expect(index.vector(id)).toEqual(all.slice(id * dim, (id + 1) * dim))
  }
  index.upsert(range(4_000), points(1, 4_000, dim))
  settle(index)
  expect(index.stats()).toMatchObject({ kind: 'tree', items: 4_000 })
  const queries = points(3, 20, dim)
  const exact = index.search(queries, 50, { exact: true })
  expect(index.search(queries, 50, { effort: 1 })).toEqual(exact)
})

test('a tree that is no better than the one before it is thrown away', () => {
  let leaves = 256
  const index = indexOf({ flatBelow: 1_000, leavesFor: () => leaves })
  const queries = points(4, 1_024, dim)
  index.upsert(range(9_000), points(1, 9_000, dim))
  ask(index, queries)
  settle(index)
  const before = index.stats().tree
  expect(before).toMatchObject({ leaves: 256, grown: 1, rejected: 0 })
  // Of few leaves one has to look into most.
  leaves = 32
  index.rebuild()
  settle(index)
  expect(index.stats().tree).toMatchObject({ leaves: 256, grown: 1, rejected: 1 })
  expect(recallOf(index, queries)).toBeGreaterThan(0.955)
})

test('changes while a tree grows are in it when it takes over', () => {
  const index = indexOf({ flatBelow: 100 })
  index.upsert(range(4_000), points(1, 4_000, dim))
  for (let step = 0; index.stats().kind !== 'tree'; step += 1) {
    index.upsert(Int32Array.of(step % 4_000), points(50 + step, 1, dim))
    index.remove(Int32Array.of((step * 7) % 4_000))
    index.maintain(128)
  }
  const queries = points(3, 50, dim)
  const all = index.search(queries, 100, { effort: 1 })
  expect(all.ids.every((id) => id < 0 || index.has(id))).toBe(true)
  expect(index.search(queries, 10, { effort: 1 }).ids.length).toBe(500)
})

test('a rebuild that is asked for grows one more tree, or has nothing to do', () => {
  const index = indexOf({ ...treed, capacityItems: 500 })
  index.upsert(range(400), points(1, 400, dim))
  settle(index)
  const before = index.stats().tree?.grown ?? 0
  expect(index.isRebuilding).toBe(false)
  index.rebuild()
  expect(index.isRebuilding).toBe(true)
  settle(index)
  expect(index.isRebuilding).toBe(false)
  const { grown = 0, rejected = 0 } = index.stats().tree ?? {}
  expect(grown + rejected).toBe(before + 1)

  const flat = indexOf({ flatBelow: 1_000, capacityItems: 500 })
  flat.upsert(range(400), points(1, 400, dim))
  flat.rebuild()
  settle(flat)
  expect(flat.isRebuilding).toBe(false)
})

test('where all vectors turn, no leaf takes most of them', () => {
  const [items, leaves] = [4_000, 64]
  const index = indexOf({ flatBelow: 0, leavesFor: () => leaves, capacityItems: items })
  const random = seededRandom(12)
  /** A unit vector within the first half of the dimensions, or the second. */
  const unit = (half: number, at: (d: number) => number): number[] => {
    const row = Array.from({ length: dim }, (_, d) => (d >> 3 === half ? at(d) : 0))
    const length = Math.hypot(...row)
    return row.map((x) => x / length)
  }
  // Tight groups in one half, and a few vectors scattered over the other: their mean is near to all
  // of that half.
  const centres = vectors(11, leaves, dim)
  const few = range(items).reduce<number[]>((all, id) => {
    const centre = (id % leaves) * dim
    const tight = (d: number): number => centres[centre + d] + 0.02 * random.normal()
    all.push(...(id % leaves === 0 ? unit(1, () => random.normal()) : unit(0, tight)))
    return all
  }, [])
  index.upsert(range(items), Float32Array.from(few))
  settle(index)
  for (let round = 0; round < 3; round += 1) {
    for (let id = 0; id < items; id += 1) {
      const turned = Float32Array.from(unit(1, () => random.normal()))
      index.upsert(Int32Array.of(id), turned)
    }
  }
  expect(index.stats().tree?.largestLeaf).toBeLessThan((20 * items) / leaves)
})

test('a tree that takes much effort is tried again, ever more seldom', () => {
  const index = indexOf({ flatBelow: 500, capacityItems: 4_000 })
  const ids = range(2_000)
  const queries = vectors(9, 512, dim)
  // No structure: whatever tree there is has to look into most of its leaves.
  const tried = Array.from(range(8), (seed) => {
    index.upsert(ids, vectors(seed + 1, ids.length, dim))
    ask(index, queries)
    settle(index)
    const { grown = 0, rejected = 0, effort = 0 } = index.stats().tree ?? {}
    expect(effort).toBeGreaterThan(0.4)
    return grown + rejected
  })
  expect(tried).toEqual([1, 1, 1, 2, 2, 2, 2, 2])
})

/** Has something happen whenever exact answers are there and nobody has looked at them yet. */
class Meanwhile extends InlineBackground {
  happen = (): void => {}

  override take(): Answers | undefined {
    const answers = super.take()
    if (answers !== undefined && answers.length > 0) this.happen()
    return answers
  }
}

test('vectors that change between exact answers and the tree are no fault of the tree', () => {
  const background = new Meanwhile()
  const index = indexOf({ flatBelow: 1_000, background })
  const count = 4_000
  const items = points(1, count, dim)
  index.upsert(range(count), items)
  const queries = points(4, 1_024, dim)
  ask(index, queries)
  settle(index)
  const before = index.stats().tree
  // One vector in seven goes to another's place, and so on.
  let turn = 0
  background.happen = () => {
    turn += 1
    const ids = range(count).filter((id) => id % 7 === turn % 7)
    const rows = new Float32Array(ids.length * dim)
    for (const [i, id] of ids.entries()) {
      const from = ((id + 700 * turn) % count) * dim
      rows.set(items.subarray(from, from + dim), i * dim)
    }
    index.upsert(ids, rows)
  }
  ask(index, queries)
  // Some audits' worth.
  for (let i = 0; i < 4_000; i += 1) index.maintain(64)
  const after = index.stats().tree
  expect(turn).toBeGreaterThan(40)
  expect(after?.recall).toBeGreaterThan(0.96)
  expect(after?.effort).toBeLessThan((before?.effort ?? 0) + 0.1)
})
