import { expect, test } from 'vitest'

import { systemClock } from '../../src/base/clock.ts'
import type { RecommendRequest } from '../../src/serving/recommendation.ts'
import type { ServingService } from '../../src/serving/serving-service.ts'
import {
  catalogue,
  click,
  clicks,
  item,
  plainModel,
  Shop,
  type ShopOptions,
  until,
} from '../support/shop-replica.ts'

class OpenShop implements AsyncDisposable {
  readonly shop: Shop
  readonly service: ServingService

  private constructor(shop: Shop, service: ServingService) {
    this.shop = shop
    this.service = service
  }

  /** 60 items in three categories, some learning, a service that has followed. */
  static async open(options: ShopOptions = {}): Promise<OpenShop> {
    const shop = await Shop.open(options)
    await shop.append([...catalogue(60), ...clicks(1, 300, 60)])
    const service = await shop.serve()
    await shop.train()
    await shop.settled(service)
    return new OpenShop(shop, service)
  }

  async ids(request: Partial<RecommendRequest>): Promise<string[]> {
    const { items } = await this.service.retriever.recommend({ n: 60, ...request })
    return items.map(({ id }) => id)
  }

  async fallback(request: Partial<RecommendRequest>): Promise<string | undefined> {
    return (await this.service.retriever.recommend({ n: 5, ...request })).fallback
  }

  /** Appends and waits until it is folded and embedded. */
  async happens(...events: Parameters<Shop['append']>[0]): Promise<void> {
    await this.service.waitFor(await this.shop.append(events), 1000)
    await until(() => this.service.liveIndex.isCaughtUp)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.shop[Symbol.asyncDispose]()
  }
}

/** Two crowds. */
const crowd = (i: number): string => (i % 2 === 0 ? 'x' : 'y')
const numberOf = (id: string): number => Number(id.slice(1))

test('items come best first, with scores from the towers, and attributes', async () => {
  await using shop = await OpenShop.open()
  const { replica } = shop.service
  const context = { device: 'phone' }
  const answer = await shop.service.retriever.recommend({
    userId: 'u1',
    n: 5,
    context,
    explain: true,
  })
  const scores = answer.items.map(({ score }) => score)
  expect(scores).toEqual(scores.toSorted((a, b) => b - a))
  for (const { id, score, attributes, explanation } of answer.items) {
    expect(attributes['size']).toBe(numberOf(id))
    expect((explanation?.towers ?? 0) + (explanation?.popularity ?? 0)).toBeCloseTo(score)
    expect(explanation?.vectorVersion).toBe(replica.state.version)
  }
  expect(answer.model).toEqual(replica.state)
  expect(answer.model.version).toBeGreaterThan(0)
  expect(answer.fallback).toBeUndefined()
})

test('a user is recommended what people like them clicked', async () => {
  await using shop = await OpenShop.open()
  for (let round = 2; round < 12; round += 1) {
    await shop.shop.append(clicks(round, 300, 60))
    await shop.shop.train()
  }
  await shop.shop.settled(shop.service)
  const history = ['i0', 'i3', 'i6'].map((itemId) => ({ itemId }))
  const found = await shop.ids({ history, context: { device: 'phone' }, n: 10 })
  expect(found.filter((id) => numberOf(id) % 3 === 0).length).toBeGreaterThanOrEqual(8)
})

test('what the user has had does not come back, unless it is asked for', async () => {
  await using shop = await OpenShop.open()
  const { users } = shop.service.replica.facts
  const seen = users.history(users.handleOf('u2'), 100).map((entry) => entry.item.id)
  expect(seen.length).toBeGreaterThan(3)
  const without = await shop.ids({ userId: 'u2' })
  expect(without.filter((id) => seen.includes(id))).toEqual([])
  expect(without).toHaveLength(60 - seen.length)
  expect(await shop.ids({ userId: 'u2', excludeSeen: false })).toHaveLength(60)
  const given = await shop.ids({ history: [{ itemId: 'i9' }] })
  expect(given).not.toContain('i9')
})

test('exclusions and filters hold, and an answer is full when enough items qualify', async () => {
  await using shop = await OpenShop.open()
  const excluded = await shop.ids({ userId: 'x', exclude: ['i0', 'i1', 'nothing'] })
  expect(excluded).toHaveLength(58)
  expect(excluded).not.toContain('i0')

  const c1 = await shop.ids({ userId: 'x', filter: { allow: { category: ['c1'] } } })
  expect(c1.map((id) => numberOf(id) % 3)).toEqual(Array.from({ length: 20 }, () => 1))
  const filter = { allow: { category: ['c1', 'c2'], color: ['red'] }, deny: { size: ['4', '8'] } }
  const some = await shop.ids({ userId: 'x', filter, n: 30 })
  const expected = Array.from({ length: 60 }, (_, i) => i).filter(
    (i) => i % 3 !== 0 && i % 2 === 0 && i !== 4 && i !== 8,
  )
  expect(some.map(numberOf).toSorted((a, b) => a - b)).toEqual(expected)
  expect(await shop.ids({ filter: { allow: { category: ['c9'] } } })).toEqual([])
})

test('a filter follows the catalogue', async () => {
  await using shop = await OpenShop.open()
  const filter = { allow: { color: ['green', '7'], shape: ['true'] } }
  expect(await shop.ids({ filter })).toEqual([])
  const attributes = { color: ['green', 'dark'], shape: true }
  await shop.happens(item('i5', { mode: 'patch', attributes }))
  expect(await shop.ids({ filter })).toEqual(['i5'])
  await shop.happens(item('i5', { mode: 'replace' }))
  expect(await shop.ids({ filter })).toEqual([])
})

test('what is known of a stranger stands in, and the answer says what', async () => {
  await using shop = await OpenShop.open()
  const context = { device: 'phone' }
  const features = { age: 'young' }
  const history = [{ itemId: 'i3', timestamp: 5 }, { itemId: 'i4' }]
  expect(await shop.fallback({ userId: 'u1' })).toBeUndefined()
  expect(await shop.fallback({ userId: 'stranger', history, features, context })).toBe('history')
  expect(await shop.fallback({ features, context })).toBe('features')
  expect(await shop.fallback({ userId: 'stranger', context })).toBe('context')
  expect(await shop.fallback({ userId: 'stranger' })).toBe('popularity')
  expect(await shop.fallback({ history: [{ itemId: 'nothing' }] })).toBe('popularity')
})

test.each([undefined, plainModel])(
  'popularity ranks by clicks, also in a model without it',
  async (model) => {
    await using shop = await OpenShop.open(model === undefined ? {} : { model })
    for (let i = 0; i < 60; i += 1) await shop.shop.append([click(`v${i % 7}`, 'i17')])
    await shop.happens(...Array.from({ length: 40 }, () => click('w', 'i23')))
    await until(() => {
      const { liveIndex } = shop.service
      return [17, 23].every((i) => (liveIndex.vector(i)?.at(-1) ?? 0) > 3)
    })
    expect((await shop.ids({ n: 2 })).slice(0, 2)).toEqual(['i17', 'i23'])
  },
)

test('a stranger may be shown what came last instead of what is taken most', async () => {
  await using shop = await OpenShop.open()
  const latest = { fallback: 'latest' } as const
  expect(await shop.ids({ ...latest, n: 3 })).toEqual(['i59', 'i58', 'i57'])
  expect(await shop.fallback(latest)).toBe('latest')
  const oldest = await shop.ids(latest)
  expect(oldest).toEqual(Array.from({ length: 60 }, (_, i) => `i${59 - i}`))
  await shop.happens(item('i60', { hidden: true }), item('i61'))
  expect(await shop.ids({ ...latest, n: 2, offset: 1, exclude: ['i59'] })).toEqual(['i58', 'i57'])
  expect((await shop.ids({ ...latest, n: 1 }))[0]).toBe('i61')
  const { items } = await shop.service.retriever.recommend({ ...latest, n: 1, explain: true })
  expect(items[0].explanation?.source).toBe('latest')
  expect(items[0].score).toBe(shop.service.replica.facts.catalogue.byId('i61')?.firstSeenAt)
  // Who is known is ranked for.
  expect(await shop.fallback({ ...latest, userId: 'u1' })).toBeUndefined()
})

test('what came last is spread by tags, too', async () => {
  await using shop = await OpenShop.open()
  await shop.happens(...[0, 1, 2, 3].map((i) => item(`i${i}`, { crowdingTag: crowd(i) })))
  const among = ['i0', 'i1', 'i2', 'i3']
  const spread = await shop.ids({ fallback: 'latest', among, crowding: 1 })
  expect(spread).toEqual(['i3', 'i2'])
})

test('hidden and expired items are not shown, from the moment on', async () => {
  let time = Date.now()
  const clock = { now: () => time, monotonic: () => performance.now() }
  await using shop = await OpenShop.open({ clock })
  const { retriever } = shop.service
  const expiresAt = clock.now() + 1000
  await shop.happens(item('i7', { hidden: true }), item('i8', { expiresAt }))
  expect(await shop.ids({})).not.toContain('i7')
  expect(await shop.ids({})).toContain('i8')
  time += 1000
  expect(await shop.ids({})).not.toContain('i8')
  expect((await retriever.similar({ itemId: 'i9', n: 60 })).items).toHaveLength(57)
  await shop.happens(item('i7'), item('i8', { expiresAt: clock.now() + 1 }))
  expect(await shop.ids({})).toEqual(expect.arrayContaining(['i7', 'i8']))
})

test('similar items are those of the same kind, without the item itself', async () => {
  await using shop = await OpenShop.open()
  const { items, fallback } = await shop.service.retriever.similar({
    itemId: 'i4',
    n: 5,
    exclude: ['i7'],
  })
  expect(items.map(({ id }) => numberOf(id) % 3)).toEqual([1, 1, 1, 1, 1])
  expect(items.map(({ id }) => id)).not.toContain('i4')
  expect(items.map(({ id }) => id)).not.toContain('i7')
  expect(fallback).toBeUndefined()
})

test('pages follow each other', async () => {
  await using shop = await OpenShop.open()
  // Somebody known: among equally popular items a stranger's order changes while popularity decays.
  const request = { userId: 'u2', excludeSeen: false }
  const whole = await shop.ids({ ...request, n: 30 })
  const pages = await Promise.all(
    [0, 10, 20].map((offset) => shop.ids({ ...request, n: 10, offset })),
  )
  expect(pages.flat()).toEqual(whole)
  expect(await shop.ids({ ...request, n: 10, offset: 59 })).toHaveLength(1)
})

test('numbers restrict, whether features or attributes, together with tokens', async () => {
  await using shop = await OpenShop.open()
  const numeric = { size: { gte: 10, lt: 20 } }
  const found = await shop.ids({ userId: 'x', filter: { numeric, allow: { color: ['red'] } } })
  expect(found.toSorted()).toEqual(['i10', 'i12', 'i14', 'i16', 'i18'])
  expect(await shop.ids({ userId: 'x', filter: { numeric: { price: { gt: 0 } } } })).toEqual([])
  await shop.happens(item('i10', { attributes: { size: 3 } }))
  expect(await shop.ids({ userId: 'x', filter: { numeric } })).not.toContain('i10')
})

test('of a crowd come as many as may, the best of each', async () => {
  await using shop = await OpenShop.open()
  await shop.happens(
    ...Array.from({ length: 40 }, (_, i) => item(`i${i}`, { crowdingTag: crowd(i) })),
  )
  await until(() => shop.service.liveIndex.stats().queues.touched === 0)
  const request = { userId: 'x', exact: true }
  // In one turn, so of one state.
  const [all, few] = await Promise.all([
    shop.ids(request),
    shop.ids({ ...request, n: 24, crowding: 2 }),
  ])
  const counts = new Map<string, number>()
  const expected = all.filter((id) => {
    if (numberOf(id) >= 40) return true
    const tag = crowd(numberOf(id))
    counts.set(tag, (counts.get(tag) ?? 0) + 1)
    return (counts.get(tag) ?? 0) <= 2
  })
  expect(few).toEqual(expected)
  expect(few).toHaveLength(24)
})

test('given items alone are ranked, seen ones too, unknown and hidden ones left out', async () => {
  await using shop = await OpenShop.open()
  const among = ['i3', 'i1', 'nothing', 'i2', 'i1']
  const request = { userId: 'u2', exact: true, excludeSeen: false }
  const [whole, ranked] = await Promise.all([shop.ids(request), shop.ids({ ...request, among })])
  expect(ranked).toEqual(whole.filter((id) => ['i1', 'i2', 'i3'].includes(id)))
  await shop.happens(item('i2', { hidden: true }))
  expect(await shop.ids({ userId: 'u2', excludeSeen: false, among })).not.toContain('i2')
  expect(await shop.ids({ userId: 'u2', among: [] })).toEqual([])
})

test('an explanation names what of the history an item is near to', async () => {
  await using shop = await OpenShop.open()
  const history = ['i0', 'i3', 'i4', 'i5'].map((itemId) => ({ itemId }))
  const request = { history, n: 3, explain: true, exact: true }
  const { items } = await shop.service.retriever.recommend(request)
  for (const { explanation } of items) {
    const near = explanation?.nearestHistory ?? []
    expect(explanation?.source).toBe('exact')
    expect(near).toHaveLength(3)
    const similarities = near.map(({ similarity }) => similarity)
    expect(similarities).toEqual(similarities.toSorted((a, b) => b - a))
    expect(Math.max(...similarities.map(Math.abs))).toBeLessThanOrEqual(1.000_001)
  }
})

test('the inner product of two embeddings is the score', async () => {
  await using shop = await OpenShop.open()
  const { retriever, replica } = shop.service
  const user = await retriever.embedQuery({ userId: 'u2', n: 1 })
  const { items } = await retriever.recommend({ userId: 'u2', n: 5, exact: true })
  for (const { id, score } of items) {
    const { vector } = await retriever.embedItem(id)
    const product = vector.reduce((sum, float, i) => sum + float * user.vector[i], 0)
    expect(product).toBeCloseTo(score, 4)
  }
  expect(user.fallback).toBeUndefined()
  const nobody = await retriever.embedQuery({ userId: 'nobody', n: 1 })
  expect(nobody.fallback).toBe('popularity')
  expect(nobody.vector.subarray(0, -1).every((float) => float === 0)).toBe(true)
  expect(nobody.vector).toHaveLength(replica.indexDim)
  await expect(retriever.embedItem('nothing')).rejects.toThrow(
    expect.objectContaining({ code: 'ITEM_UNKNOWN' }),
  )
})

test('many requests at once are answered as one by one', async () => {
  await using shop = await OpenShop.open()
  const requests = Array.from({ length: 40 }, (_, i) => ({
    userId: `u${i % 25}`,
    n: 1 + i,
    exact: i % 4 === 0,
    effort: i % 3 === 0 ? 1 : undefined,
    context: { device: i % 2 === 0 ? 'phone' : 'desk' },
    filter: i % 5 === 0 ? { deny: { category: ['c0'] } } : undefined,
  }))
  const { retriever } = shop.service
  const together = await Promise.all(requests.map((request) => retriever.recommend(request)))
  for (const [i, request] of requests.entries()) {
    expect(await shop.ids(request)).toEqual(together[i].items.map(({ id }) => id))
  }
})

test.each([
  ['n', { n: 0 }],
  ['n', { n: 1001 }],
  ['n', { n: 1.5 }],
  ['n', { n: Number.NaN }],
  ['offset', { offset: -1 }],
  ['effort', { effort: 2 }],
  ['effort', { effort: Number.NaN }],
  ['history', { history: Array.from({ length: 1001 }, () => ({ itemId: 'i1' })) }],
  ['history.0.timestamp', { history: [{ itemId: 'i1', timestamp: Number.NaN }] }],
  ['features.x', { features: { x: Number.POSITIVE_INFINITY } }],
  ['context.y', { context: { y: [1, Number.NaN] } }],
  ['exclude', { exclude: Array.from({ length: 10_001 }, String) }],
  [
    'filter.allow',
    { filter: { allow: Object.fromEntries(Array.from({ length: 17 }, (_, i) => [i, []])) } },
  ],
  ['among', { among: Array.from({ length: 1001 }, String) }],
  ['crowding', { crowding: 0 }],
  ['filter.numeric.size', { filter: { numeric: { size: {} } } }],
  ['filter.numeric.size', { filter: { numeric: { size: { lt: Number.NaN } } } }],
  ['filter.deny.a', { filter: { deny: { a: Array.from({ length: 1001 }, String) } } }],
])('a request that is wrong at %s is refused with the path', async (path, wrong) => {
  await using shop = await OpenShop.open()
  const code = expect.objectContaining({
    code: 'REQUEST_INVALID',
    details: expect.objectContaining({ path }),
  })
  await expect(shop.ids(wrong)).rejects.toThrow(code)
})

test('too many requests waiting are refused', async () => {
  await using shop = await OpenShop.open()
  const { retriever } = shop.service
  const all = Array.from({ length: 1100 }, () => retriever.recommend({ userId: 'a', n: 1 }))
  const settled = await Promise.allSettled(all)
  const refused = settled.filter((one) => one.status === 'rejected')
  expect(refused).toHaveLength(100)
  expect(refused[0].reason).toMatchObject({ code: 'OVERLOADED', retryable: true })
})

test('an audit asks what was asked lately', async () => {
  await using shop = await OpenShop.open({
    clock: systemClock,
    settings: { sampleEvery: 1, sampleQueries: 16 },
  })
  for (let i = 0; i < 100; i += 1) await shop.ids({ userId: `u${i % 20}`, n: 1 })
  const report = await shop.service.alignment.audit(new AbortController().signal)
  expect(report).toMatchObject({ queries: 16, recall10: 1 })
})
