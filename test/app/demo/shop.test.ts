import { describe, expect, test } from 'vitest'

import { Shop, type ShopInteraction } from '../../../src/app/demo/shop.ts'

const open = (seed = 1) => new Shop({ seed, users: 200, items: 3000 })
const interactions = (shop: Shop, n: number): ShopInteraction[] =>
  Array.from({ length: n }, () => shop.next()).filter((event) => event.kind === 'interaction')

/** The item with the most clicks, and how many. */
const top = (events: readonly ShopInteraction[]) => {
  const counts = new Map<string, number>()
  for (const { itemId } of events) counts.set(itemId, (counts.get(itemId) ?? 0) + 1)
  return [...counts].toSorted((a, b) => b[1] - a[1])[0]
}

describe('the simulated shop', () => {
  test('is the same for the same seed', () => {
    const [a, b] = [open(), open()]
    expect(a.catalogue).toEqual(b.catalogue)
    expect(interactions(a, 500)).toEqual(interactions(b, 500))
    expect(interactions(open(2), 50)).not.toEqual(interactions(open(), 50))
  })

  test('says in an item’s title and categories what niche it is in', () => {
    const shop = open()
    const byNiche = Map.groupBy(shop.catalogue, ({ itemId }) => shop.nicheOf(itemId))
    for (const items of byNiche.values()) {
      expect(new Set(items.map(({ categories }) => categories.join())).size).toBe(1)
    }
  })

  test('has users who stay in a niche for some clicks', () => {
    const shop = open()
    const last = new Map<string, number | undefined>()
    let same = 0
    const events = interactions(shop, 5000)
    for (const { userId, itemId } of events) {
      if (last.get(userId) === shop.nicheOf(itemId)) same += 1
      last.set(userId, shop.nicheOf(itemId))
    }
    expect(same / events.length).toBeGreaterThan(0.5)
  })

  test('seldom shows a user the same item again', () => {
    const pairs = interactions(open(), 5000).map(({ userId, itemId }) => `${userId} ${itemId}`)
    expect(new Set(pairs).size / pairs.length).toBeGreaterThan(0.9)
  })

  test('gets new items and new users', () => {
    const shop = open()
    const events = Array.from({ length: 5000 }, () => shop.next())
    expect(events.filter(({ kind }) => kind === 'item').length).toBeGreaterThan(5)
    const users = events.map((event) => (event.kind === 'interaction' ? event.userId : 'user-1'))
    expect(users.some((userId) => Number(userId.slice(5)) > 200)).toBe(true)
  })

  test('has waves that come and go by the clock: with ten times the events they lift ten times as many', () => {
    const [some, many] = [400, 4_000].map((eventsPerSecond) => {
      const shop = new Shop({ seed: 1, users: 200, items: 3000, eventsPerSecond })
      // Twenty seconds, of which a wave has ten until it is half as high.
      return top(interactions(shop, 20 * eventsPerSecond))[1]
    })
    expect(many / some).toBeGreaterThan(5)
    expect(many / some).toBeLessThan(20)
  })

  test('has waves: some item is far ahead for a while, another one later', () => {
    const shop = open()
    const [early, later] = [top(interactions(shop, 3000)), top(interactions(shop, 30_000))]
    expect(early[1]).toBeGreaterThan(20)
    expect(later[0]).not.toBe(early[0])
  })

  test('can name an item of a niche', () => {
    const shop = open()
    expect(shop.nicheOf(shop.itemIn(3)?.itemId ?? '')).toBe(3)
    expect(shop.nicheOf('none')).toBeUndefined()
  })
})
