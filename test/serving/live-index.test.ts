import { expect, test } from 'vitest'

import { FlatIndex } from '../../src/ann/flat-index.ts'
import { ManualClock } from '../../src/base/clock.ts'
import { seededRandom } from '../../src/base/random.ts'
import { IndexWorker } from '../../src/serving/index-worker.ts'
import { LiveIndex } from '../../src/serving/live-index.ts'
import { Replica } from '../../src/serving/replica.ts'
import { defaultServingSettings } from '../../src/serving/serving-settings.ts'
import { versionSpread } from '../../src/serving/version-spread.ts'
import type { Event } from '../../src/stream/event.ts'
import type { Delta } from '../../src/sync/delta.ts'
import { catalogue, click, erased, item, shopModel, shopTables } from '../support/shop-replica.ts'

const now = Date.now()

/** A live index that is told everything by hand. */
class Bench implements AsyncDisposable {
  readonly replica: Replica
  readonly index: FlatIndex
  readonly live: LiveIndex

  private constructor(replica: Replica) {
    this.replica = replica
    this.index = new FlatIndex({ dim: replica.indexDim, exactDims: 1, capacityItems: 2048 })
    this.live = new LiveIndex(replica, this.index, now)
  }

  static async open(maxItems = 1000): Promise<Bench> {
    const options = { model: shopModel, tables: shopTables, facts: { maxItems } }
    return new Bench(await Replica.create(options, { 0: '0' }))
  }

  happen(...events: Event[]): void {
    const offsets = events.map((_, i) => String(i))
    const batch = { partition: 0, events, offsets, next: String(events.length) }
    for (const [i, { acceptedAt }] of events.entries()) {
      this.live.react(this.replica.fold(batch, i), now, acceptedAt)
    }
    this.replica.finish(batch)
  }

  /** A new model version that has learned up to `acceptedAt`, with no change in any row. */
  version(modelVersion: number, acceptedAt = 0): void {
    const stamp = { publishedAt: 0, watermark: { offsets: {}, acceptedAt } }
    const delta: Delta = { sequence: modelVersion, base: 1, modelVersion, tables: [], ...stamp }
    for (const handles of this.replica.apply(delta, true)) this.live.touch(handles)
  }

  versions(...ids: string[]): number[] {
    return ids.map((id) => this.live.versionOf(this.handle(id)))
  }

  handle(id: string): number {
    return this.replica.facts.catalogue.byId(id)?.handle ?? -1
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.replica.close()
  }
}

const everything = { items: 10_000, swept: 10_000, popularities: 0 }

test('touched items are embedded first, then those that were longest ago', async () => {
  await using bench = await Bench.open()
  bench.happen(...catalogue(20))
  expect(bench.live.isCaughtUp).toBe(false)
  expect(bench.live.work(everything).items).toBe(20)
  expect(bench.live.isCaughtUp).toBe(true)

  bench.version(7)
  bench.live.touch(Int32Array.of(bench.handle('i9'), bench.handle('i4'), bench.handle('i9')))
  expect(bench.live.work({ items: 2, swept: 1000, popularities: 0 }).items).toBe(2)
  expect(bench.versions('i9', 'i4', 'i0')).toEqual([7, 7, 0])
  expect(bench.live.drainedMark).toEqual({ ahead: 2, behind: 0 })
  expect(bench.live.work({ items: 3, swept: 1000, popularities: 0 }).items).toBe(3)
  expect(bench.versions('i0', 'i1', 'i2', 'i3')).toEqual([7, 7, 7, 0])
  bench.version(8)
  expect(bench.live.work({ items: 2, swept: 1000, popularities: 0 }).items).toBe(2)
  expect(bench.versions('i0', 'i3', 'i4', 'i5')).toEqual([7, 8, 7, 8])
  expect(bench.live.stats().versions).toMatchObject({ max: 8, behind: 18 })
})

test('of touched items those come first that events were about since the parameters before', async () => {
  await using bench = await Bench.open()
  bench.happen(...catalogue(40))
  bench.live.work(everything)
  bench.version(7, now + 1_000)
  bench.happen(click('u', 'i30', { acceptedAt: now + 2_000 }))
  bench.live.touch(Int32Array.from({ length: 40 }, (_, i) => i))
  expect(bench.live.touchedMark).toEqual({ ahead: 1, behind: 39 })
  expect(bench.live.stats().queues.touched).toBe(40)
  bench.live.work({ items: 1, swept: 0, popularities: 0 })
  expect(bench.versions('i0', 'i30')).toEqual([0, 7])
  expect(bench.live.drainedMark).toEqual({ ahead: 1, behind: 0 })

  // Waiting already is no reason to wait on.
  bench.version(8, now + 3_000)
  bench.happen(click('u', 'i39', { acceptedAt: now + 4_000 }))
  bench.live.touch(Int32Array.of(bench.handle('i30'), bench.handle('i39')))
  bench.live.work({ items: 1, swept: 0, popularities: 0 })
  expect(bench.versions('i0', 'i30', 'i39')).toEqual([0, 7, 8])
  bench.live.work(everything)
  expect(bench.live.stats().queues.touched).toBe(0)
  expect(bench.live.stats().embedded).toBe(40 + 1 + 40)
})

test('a search embeds no more than may be among the best, once it knows how scores drift', async () => {
  await using bench = await Bench.open()
  bench.happen(...catalogue(200))
  bench.live.work(everything)
  const query = new Float32Array(bench.replica.indexDim).fill(1)
  const embeddedBy = (version: number): number => {
    bench.version(version)
    const before = bench.live.stats().embedded
    bench.live.search(query, 3, {})
    return bench.live.stats().embedded - before
  }
  expect(embeddedBy(100)).toBe(26)
  for (let version = 200; version < 1000; version += 100) embeddedBy(version)
  // Nothing has moved: the best of all suffice.
  expect(embeddedBy(1000)).toBe(16)
})

test('what a search has embedded is not embedded again until it changes or all others have been', async () => {
  await using bench = await Bench.open()
  bench.happen(...catalogue(200))
  bench.live.work(everything)
  bench.version(7)
  bench.live.touch(Int32Array.from({ length: 200 }, (_, i) => i))
  const query = new Float32Array(bench.replica.indexDim).fill(1)
  const found = [...bench.live.search(query, 3, {}).ids]
  const fresh = bench.live.stats().embedded - 200
  expect(fresh).toBeGreaterThan(10)
  expect(found.map((handle) => bench.live.versionOf(handle))).toEqual([7, 7, 7])
  const budget = { items: 200, swept: 0, popularities: 0 }
  expect(bench.live.work(budget).items).toBe(200 - fresh)
  expect(bench.live.drainedMark).toEqual({ ahead: 200, behind: 0 })

  bench.version(8)
  bench.live.search(query, 3, {})
  const left = 200 - (bench.live.stats().embedded - 400)
  expect(bench.live.work({ items: left, swept: left, popularities: 0 }).swept).toBe(left)
  expect(bench.live.stats().versions).toEqual({ p50: 0, p99: 0, max: 0, behind: 0 })
})

test('a flood of touched items holds up neither new ones nor the sweep', async () => {
  await using bench = await Bench.open()
  bench.happen(...catalogue(400))
  bench.live.work(everything)
  bench.version(2)
  bench.live.touch(Int32Array.from({ length: 300 }, (_, i) => i))
  bench.happen(...Array.from({ length: 50 }, (_, i) => item(`new${i}`)))
  bench.live.work({ items: 40, swept: 1000, popularities: 0 })
  const { queues } = bench.live.stats()
  expect(queues.new).toBe(40)
  expect(queues.touched).toBe(280)
  expect(queues.sweep).toBe(400 - 30)
})

test('a click moves the popularity of its item alone, and the others follow in turn', async () => {
  await using bench = await Bench.open()
  bench.happen(...catalogue(10))
  bench.live.work(everything)
  const popularity = (id: string): number => bench.live.vector(bench.handle(id))?.at(-1) ?? 0
  const before = popularity('i3')
  bench.happen(click('u', 'i3'), click('v', 'i3'))
  bench.live.work({ items: 0, swept: 1000, popularities: 0 })
  expect(popularity('i3')).toBeCloseTo(Math.log(2.2), 2)
  expect(popularity('i3')).toBeGreaterThan(before)
  // Ten hours later nothing is left of it.
  bench.happen(click('w', 'i4', { timestamp: now + 36_000_000 }))
  bench.live.work({ items: 0, swept: 1000, popularities: 10 })
  expect(popularity('i3')).toBeCloseTo(Math.log(0.2), 1)
})

test('what is removed or evicted leaves index, tokens and queues', async () => {
  await using bench = await Bench.open(10)
  bench.happen(...catalogue(10))
  bench.live.work(everything)
  const gone = bench.handle('i2')
  bench.happen(click('u', 'i9'), erased('i2'))
  expect(bench.live.has(gone)).toBe(false)
  // Full: the longest untouched leaves.
  bench.happen(item('a'), item('b'))
  bench.live.work(everything)
  expect(bench.index.stats().items).toBe(10)
  expect(bench.handle('i0')).toBe(-1)
  const bitmap = new Uint32Array(bench.live.visible.length).fill(0xffff_ffff)
  const color = ['red', 'blue']
  bench.live.narrow({ allow: { color } }, bitmap, new Uint32Array(bitmap.length))
  const left = [...bench.replica.facts.catalogue.items()].filter(
    ({ handle }) => ((bitmap[handle >> 5] >>> (handle & 31)) & 1) === 1,
  )
  expect(left.map(({ id }) => id).toSorted()).toEqual([
    'i1',
    'i3',
    'i4',
    'i5',
    'i6',
    'i7',
    'i8',
    'i9',
  ])
})

test('a handle given to another item has nothing of the first', async () => {
  await using bench = await Bench.open(10)
  bench.happen(...catalogue(10))
  bench.live.work(everything)
  const handle = bench.handle('i1')
  const before = bench.live.vector(handle)
  bench.happen(erased('i1'))
  bench.happen(item('other', { features: { category: ['c7'] } }))
  expect(bench.handle('other')).toBe(handle)
  expect(bench.live.has(handle)).toBe(false)
  bench.live.work(everything)
  expect(bench.live.vector(handle)).not.toEqual(before)
})

test('renewing embeds everything once more, at the pace of the sweep', async () => {
  await using bench = await Bench.open()
  bench.happen(...catalogue(10))
  bench.live.work(everything)
  const { embedded } = bench.live.stats()
  bench.live.renewAll()
  expect(bench.live.toRenew).toBe(10)
  expect(bench.live.work({ ...everything, swept: 4 }).swept).toBe(4)
  expect(bench.live.toRenew).toBe(6)

  bench.happen(erased('i9'))
  bench.live.work(everything)
  expect(bench.live.toRenew).toBe(0)
  expect(bench.live.stats().embedded - embedded).toBe(9)
})

test('a worker keeps to its rate, but not while nobody is served yet', async () => {
  await using bench = await Bench.open()
  bench.happen(...catalogue(900))
  const clock = new ManualClock()
  const settings = { ...defaultServingSettings, embedPerSecond: 150 }
  const worker = new IndexWorker(bench.live, clock, settings)
  expect(worker.slice({ hurry: false })).toBe(0)
  clock.advance(100)
  expect(worker.slice({ hurry: false })).toBe(15)
  expect(worker.isBehind).toBe(false)
  clock.advance(60_000)
  expect(worker.slice({ hurry: false })).toBe(64)
  expect(worker.isBehind).toBe(true)
  expect(worker.slice({ hurry: false })).toBe(64)
  // Another slice of that size is not allowed yet.
  expect(worker.isBehind).toBe(false)
  expect(worker.slice({ hurry: false })).toBe(22)
  expect(worker.slice({ hurry: false })).toBe(0)
  expect(worker.slice({ hurry: true })).toBe(64)
})

test('the spread of versions counts vectors; of many an even sample speaks for all', () => {
  const random = seededRandom(1)
  const ages = Array.from({ length: 100_000 }, (_, i) => (i % 5 === 0 ? -1 : random.integer(100)))
  const behind = ages.filter((age) => age > 0).length
  const spread = versionSpread(ages.length, (handle) => ages[handle])
  expect(spread.max).toBe(99)
  expect(spread.behind / behind).toBeCloseTo(1, 1)
  const few = versionSpread(1_000, (handle) => ages[handle])
  expect(few.behind).toBe(ages.slice(0, 1_000).filter((age) => age > 0).length)
  expect(spread.p50).toBeCloseTo(50, -1)
  expect(spread.p99).toBeGreaterThan(95)
  expect(versionSpread(0, () => 0)).toEqual({ p50: 0, p99: 0, max: 0, behind: 0 })
})
