import { expect, test } from 'vitest'

import type { ServingService } from '../../src/serving/serving-service.ts'
import { catalogue, click, clicks, erased, item, Shop, until } from '../support/shop-replica.ts'

/** A shop of 60 items with some learning behind it, and a service that has followed. */
async function followed(shop: Shop): Promise<ServingService> {
  await shop.append(catalogue(60))
  await shop.append(clicks(1, 300, 60))
  const service = await shop.serve()
  await shop.train()
  await shop.settled(service)
  return service
}

test('a replica that has followed the trainer has its rows, bit by bit, no others', async () => {
  await using shop = await Shop.open()
  const early = await shop.serve()
  await shop.append(catalogue(60))
  for (let round = 0; round < 5; round += 1) {
    await shop.append(clicks(round, 150, 60))
    await shop.train()
  }
  await shop.append([
    erased('i3'),
    { kind: 'deleteUser', userId: 'u1', timestamp: 1, acceptedAt: 1 },
  ])
  await shop.train()
  const late = await shop.serve()
  for (const service of [early, late]) {
    await shop.settled(service)
    for (const [name, table] of shop.learner.tables) {
      const copy = service.replica.table(name)
      expect(copy.size).toBe(table.size)
      for await (const { keys, vectors } of table.export()) {
        const found = new Float32Array(vectors.length)
        const present = new Uint8Array(keys.length / 2)
        copy.find(keys, found, present)
        expect(found).toEqual(vectors)
        expect(present.every((one) => one === 1)).toBe(true)
      }
    }
  }
})

test('once it has settled, the index holds what the towers give now', async () => {
  await using shop = await Shop.open()
  const service = await followed(shop)
  for (let round = 2; round < 5; round += 1) {
    await shop.append(clicks(round, 100, 60))
    await shop.train()
  }
  await shop.settled(service)
  await until(() => service.liveIndex.stats().versions.max === 0)
  const { replica, liveIndex, alignment } = service
  for (const one of replica.facts.catalogue.items()) {
    const [now] = [replica.embedItems([one])]
    expect(liveIndex.vector(one.handle)?.subarray(0, -1)).toEqual(now.subarray(0, -1))
    expect(liveIndex.vector(one.handle)?.at(-1)).toBeCloseTo(now.at(-1) ?? Number.NaN, 3)
  }
  const report = await alignment.audit(new AbortController().signal)
  expect(report).toEqual({ recall10: 1, recall100: 1, structure10: 1, queries: 32, items: 60 })
  expect(alignment.last).toBe(report)
})

/** A service that embeds nothing again and whose towers have learned since, and has been asked. */
async function leftBehind(shop: Shop, items: number): Promise<ServingService> {
  await shop.append([...catalogue(items), ...clicks(1, 300, items)])
  const service = await shop.serve()
  await until(() => service.checks().every(({ ready }) => ready))
  for (let i = 0; i < 20; i += 1) await service.retriever.recommend({ userId: `u${i}`, n: 1 })
  for (let round = 2; round < 20; round += 1) await shop.append(clicks(round, 300, items))
  await shop.train()
  await until(() => service.replica.state.sequence === 2)
  return service
}

test('answers follow the towers where the index does not', async () => {
  await using shop = await Shop.open({ settings: { embedPerSecond: 0 } })
  const service = await leftBehind(shop, 60)
  const { items } = await service.retriever.recommend({ userId: 'u3', n: 5, explain: true })
  const { version } = service.replica.state
  expect(items.map(({ explanation }) => explanation?.vectorVersion)).toEqual(Array(5).fill(version))
  const report = await service.alignment.audit(new AbortController().signal)
  expect(report.recall10).toBeGreaterThan(0.95)
  expect(service.liveIndex.stats().queues.touched).toBeGreaterThan(0)
})

test('an index that is behind the towers is found out by the audit', async () => {
  await using shop = await Shop.open({ settings: { embedPerSecond: 0 } })
  const service = await leftBehind(shop, 1900)
  const report = await service.alignment.audit(new AbortController().signal)
  expect(report.queries).toBe(20)
  expect(report.recall10).toBeLessThan(0.9)
  expect(service.liveIndex.stats().queues.touched).toBeGreaterThan(0)
  const aborted = service.alignment.audit(AbortSignal.abort(new Error('enough')))
  await expect(aborted).rejects.toThrow('enough')
})

test('a click is a fact at once: the item is history and is not shown again', async () => {
  await using shop = await Shop.open()
  const service = await followed(shop)
  const { items } = await service.retriever.recommend({ userId: 'u0', n: 3 })
  const offset = await shop.append([click('u0', items[0].id)])
  expect(await service.waitFor(offset, 1000)).toBe(true)
  const again = await service.retriever.recommend({ userId: 'u0', n: 60 })
  expect(again.items.map(({ id }) => id)).not.toContain(items[0].id)
  const user = service.replica.facts.users.handleOf('u0')
  expect(service.replica.facts.users.history(user)[0].item.id).toBe(items[0].id)
})

test('freshness is measured for each stage, of every interaction', async () => {
  await using shop = await Shop.open()
  const service = await followed(shop)
  service.freshness.reset()
  await shop.append(clicks(9, 40, 60))
  await shop.train()
  await shop.settled(service)
  const { fact, parameter, index } = service.freshness.stages
  await until(() => index.count === 40)
  expect([fact.count, parameter.count, index.count]).toEqual([40, 40, 40])
  expect(fact.max).toBeLessThan(1000)
  expect(index.sum).toBeGreaterThanOrEqual(parameter.sum)
})

test('a new item can be found before anybody has clicked it, and before any training', async () => {
  await using shop = await Shop.open()
  const service = await followed(shop)
  const offset = await shop.append([item('brand-new', { features: { category: ['c1'] } })])
  await service.waitFor(offset, 1000)
  await until(() => service.liveIndex.isCaughtUp)
  const { items } = await service.retriever.similar({ itemId: 'brand-new', n: 5 })
  expect(items.map(({ id }) => Number(id.slice(1)) % 3)).toEqual([1, 1, 1, 1, 1])
  const all = await service.retriever.recommend({ userId: 'u1', n: 100 })
  expect(all.items.map(({ id }) => id)).toContain('brand-new')
})

test('a removed item is gone from answers with the event that removes it', async () => {
  await using shop = await Shop.open()
  const service = await followed(shop)
  const offset = await shop.append([erased('i1'), item('i61'), item('i62', { hidden: true })])
  await service.waitFor(offset, 1000)
  await until(() => service.liveIndex.isCaughtUp)
  for (const exact of [true, false]) {
    const { items } = await service.retriever.recommend({ userId: 'x', n: 100, exact })
    const found = items.map(({ id }) => id)
    expect(found).not.toContain('i1')
    expect(found).not.toContain('i62')
    expect(found).toContain('i61')
    expect(found).toHaveLength(60)
  }
  await expect(service.retriever.similar({ itemId: 'i1', n: 1 })).rejects.toThrow(
    expect.objectContaining({ code: 'ITEM_UNKNOWN' }),
  )
})

test('a service started from a checkpoint answers as one that folded the whole log', async () => {
  await using shop = await Shop.open()
  await followed(shop)
  const start = { facts: shop.learner.facts.serialize(), position: shop.position }
  await shop.append(clicks(5, 20, 60))
  await shop.train()
  const [whole, resumed] = [await shop.serve(), await shop.serve(start)]
  for (const service of [whole, resumed]) await shop.settled(service)
  const [a, b] = [whole, resumed].map((service) =>
    service.retriever.recommend({ userId: 'u5', n: 20, exact: true }),
  )
  const [expected, actual] = await Promise.all([a, b])
  expect(actual.items.map(({ id }) => id)).toEqual(expected.items.map(({ id }) => id))
  expect(resumed.checks().every(({ ready }) => ready)).toBe(true)
})

test('it says what it waits for, and refuses to guess before that', async () => {
  await using shop = await Shop.open()
  shop.publisher.onResync(() => [])
  await shop.append(catalogue(3))
  const service = await shop.serve()
  await until(() => service.checks()[0].ready)
  expect(service.checks().map(({ ready }) => ready)).toEqual([true, false, false])
  await expect(service.retriever.recommend({ userId: 'a', n: 1 })).rejects.toThrow(
    expect.objectContaining({ code: 'SERVING_NOT_READY', retryable: true }),
  )
})

test('when the trainer is gone it answers on, says so, and is not ready', async () => {
  await using shop = await Shop.open()
  const service = await followed(shop)
  await until(() => service.checks().every(({ ready }) => ready))
  await shop.publisher.close()
  await until(() => shop.failures.length > 0)
  expect(shop.failures).toEqual([expect.objectContaining({ code: 'SYNC_CLOSED' })])
  expect(service.checks().map(({ ready }) => ready)).toEqual([false, false, true])
  expect((await service.retriever.recommend({ userId: 'u1', n: 3 })).items).toHaveLength(3)
})

test('waiting for an offset ends with the timeout when it does not come', async () => {
  await using shop = await Shop.open()
  const service = await followed(shop)
  expect(await service.waitFor('999999', 5)).toBe(false)
  expect(await service.waitFor('0', 0)).toBe(true)
  expect(await service.waitFor('999999', 0)).toBe(false)
})

test('what is asked while everything comes anew is answered', async () => {
  await using shop = await Shop.open()
  const service = await followed(shop)
  const before = service.sync.resyncs
  // A delta that nobody can build on: the reader asks for everything.
  await shop.publisher.publish({
    sequence: 1000,
    base: 999,
    modelVersion: 1,
    watermark: { offsets: {}, acceptedAt: 0 },
    tables: [],
    publishedAt: 0,
  })
  await until(() => service.sync.resyncs > before)
  await shop.settled(service)
  expect((await service.retriever.recommend({ userId: 'u1', n: 3 })).items).toHaveLength(3)
})
