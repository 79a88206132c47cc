import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'

import type { Event, ItemUpsert, UserUpsert } from '../../../src/stream/event.ts'
import type { Example } from '../../../src/stream/example.ts'
import { Facts, type FactsOptions, type Outcome } from '../../../src/stream/facts/facts.ts'
import { interaction } from '../../support/events.ts'

const click = (userId: string, itemId: string, timestamp = 1_000, rest = {}) =>
  interaction({ userId, itemId, timestamp, acceptedAt: timestamp, ...rest })

const item = (itemId: string, fields: Partial<ItemUpsert> = {}): ItemUpsert => ({
  kind: 'item',
  mode: 'replace',
  itemId,
  timestamp: 1_000,
  acceptedAt: 1_000,
  ...fields,
})

const user = (userId: string, fields: Partial<UserUpsert> = {}): UserUpsert => ({
  kind: 'user',
  mode: 'replace',
  userId,
  timestamp: 1_000,
  acceptedAt: 1_000,
  ...fields,
})

const deleteItem = (itemId: string): Event => ({
  kind: 'deleteItem',
  itemId,
  timestamp: 1_000,
  acceptedAt: 1_000,
})
const deleteUser = (userId: string): Event => ({
  kind: 'deleteUser',
  userId,
  timestamp: 1_000,
  acceptedAt: 1_000,
})

const folded = (events: readonly Event[], options: Partial<FactsOptions> = {}): Facts => {
  const facts = new Facts(options)
  for (const event of events) facts.apply(event)
  return facts
}

const exampleOf = (outcome: Outcome): Example => {
  if (outcome.kind !== 'example') throw new Error(`${outcome.kind} is no example`)
  return outcome.example
}

const historyOf = (facts: Facts, id: string): string[] =>
  facts.users.history(facts.users.handleOf(id)).map((entry) => entry.item.id)

const seenOf = (facts: Facts, id: string): (string | undefined)[] =>
  Array.from(facts.users.seen(facts.users.handleOf(id)), (at) => facts.catalogue.byHandle(at)?.id)

describe('an example', () => {
  test('shows the world before its event', () => {
    const facts = folded([
      user('u', { features: { age: 30 } }),
      click('u', 'a', 1_000),
      click('u', 'b', 2_000, { type: 'like' }),
    ])
    const context = { device: 'phone' }
    const example = exampleOf(facts.apply(click('u', 'c', 3_000, { context, weight: 2 })))
    expect(example).toMatchObject({
      index: 2,
      query: { userId: 'u', userFeatures: { age: 30 }, context, timestamp: 3_000 },
      item: { id: 'c', firstSeenAt: 3_000, features: {}, hidden: false, expiresAt: Infinity },
      type: 'click',
      weight: 2,
      isNewItem: true,
      itemInteractions: 0,
      itemPopularity: 0,
      isRepeat: false,
      isNewUser: false,
      acceptedAt: 3_000,
    })
    expect(
      example.query.history.map((entry) => [entry.item.id, entry.timestamp, entry.type]),
    ).toEqual([
      ['b', 2_000, 'like'],
      ['a', 1_000, 'click'],
    ])
    expect(Array.from(example.seen)).toEqual([0, 1])
  })

  test('stays as it was whatever comes later', () => {
    const facts = folded([click('u', 'a')])
    const example = exampleOf(facts.apply(click('u', 'b')))
    const before = structuredClone(example)
    for (const event of [
      click('u', 'a'),
      click('u', 'c'),
      item('b', { features: { x: 1 } }),
      deleteUser('u'),
    ]) {
      facts.apply(event)
    }
    expect(structuredClone(example)).toEqual(before)
  })

  test('tells a repeat, a new user and a known item', () => {
    const facts = folded([item('a', { features: { title: 'A' } })])
    const first = exampleOf(facts.apply(click('u', 'a')))
    expect(first).toMatchObject({
      isNewItem: false,
      itemInteractions: 0,
      isNewUser: true,
      isRepeat: false,
    })
    const second = exampleOf(facts.apply(click('u', 'a')))
    expect(second).toMatchObject({ itemInteractions: 1, isNewUser: false, isRepeat: true })
    expect(second.itemPopularity).toBe(1)
  })

  test('has a history of distinct items, bounded, the newest first', () => {
    const facts = folded(
      ['a', 'b', 'c', 'a', 'd', 'b'].map((id, i) => click('u', id, i * 1_000)),
      { historyLength: 3 },
    )
    const example = exampleOf(facts.apply(click('u', 'e', 9_000)))
    expect(example.query.history.map((entry) => entry.item.id)).toEqual(['b', 'd', 'a'])
    expect(example.query.history.map((entry) => entry.timestamp)).toEqual([5_000, 4_000, 3_000])
    expect(facts.users.history(example.user, 10).map((entry) => entry.item.id)).toEqual([
      'e',
      'b',
      'd',
      'a',
      'c',
    ])
  })

  test('is not made of what came too late, which is folded all the same', () => {
    const facts = folded([click('u', 'a', 100_000)], { maxLateMs: 50_000 })
    expect(facts.apply(click('u', 'b', 50_000)).kind).toBe('example')
    expect(facts.apply(click('u', 'c', 49_999))).toMatchObject({
      kind: 'interaction',
      item: { id: 'c' },
      isNewItem: true,
    })
    expect(seenOf(facts, 'u')).toEqual(['a', 'b', 'c'])
    expect(facts.time).toBe(100_000)
    expect([facts.events, facts.interactions]).toEqual([3, 3])
  })

  test('is left out where nobody learns', () => {
    const facts = new Facts({ examples: false })
    expect(facts.apply(click('u', 'a'))).toEqual({
      kind: 'interaction',
      item: facts.catalogue.byId('a'),
      user: 0,
      isNewItem: true,
      evicted: [],
    })
  })
})

describe('the catalogue', () => {
  test('replaces what an upsert does not name, and keeps it in a patch', () => {
    const facts = new Facts()
    const full = {
      features: { title: 'A', price: 3 },
      attributes: { url: '/a' },
      hidden: true,
      expiresAt: 5_000,
      crowdingTag: 'shoes',
    }
    expect(facts.apply(item('a', full))).toMatchObject({ kind: 'item', isNewItem: true })
    facts.apply(item('a', { mode: 'patch', features: { price: 4 }, hidden: false }))
    expect(facts.catalogue.byId('a')).toMatchObject({
      ...full,
      features: { title: 'A', price: 4 },
      hidden: false,
    })
    facts.apply(item('a', { features: { title: 'B' } }))
    expect(facts.catalogue.byId('a')).toMatchObject({
      features: { title: 'B' },
      attributes: {},
      hidden: false,
      expiresAt: Infinity,
      crowdingTag: undefined,
    })
  })

  test('gives a new revision when the features change, and only then', () => {
    const facts = folded([item('a', { features: { x: 1 } }), item('b')])
    const revision = () => facts.catalogue.byId('a')?.revision
    const first = revision()
    facts.apply(item('a', { mode: 'patch', hidden: true, attributes: { y: 1 } }))
    facts.apply(click('u', 'a'))
    expect(revision()).toBe(first)
    facts.apply(item('a', { mode: 'patch', features: { x: 2 } }))
    expect(revision()).not.toBe(first)
    const revisions = [...facts.catalogue.items()].map((each) => each.revision)
    expect(new Set(revisions).size).toBe(2)
  })

  test('lists pages in order of handles, and what has expired', () => {
    const facts = folded(
      ['a', 'b', 'c', 'd', 'e'].map((id, i) => item(id, { expiresAt: 1_000 * (i + 1) })),
    )
    facts.apply(deleteItem('b'))
    facts.apply(deleteItem('e'))
    const first = facts.catalogue.list(0, 2)
    expect(first.items.map(({ id }) => id)).toEqual(['a', 'c'])
    const second = facts.catalogue.list(first.cursor ?? -1, 2)
    expect(second.items.map(({ id }) => id)).toEqual(['d'])
    expect(second.cursor).toBeUndefined()
    expect(facts.catalogue.expired(3_000, 10).map(({ id }) => id)).toEqual(['a', 'c'])
    expect(facts.catalogue.expired(3_000, 1)).toHaveLength(1)
    expect(facts.catalogue.lastTouchedAt(0)).toBe(1_000)
  })

  test('forgets a deleted item, also when its handle is given to another', () => {
    const facts = folded([click('u', 'a'), click('u', 'b'), click('u', 'c')])
    expect(facts.apply(deleteItem('b'))).toEqual({
      kind: 'itemRemoved',
      handle: 1,
      id: 'b',
      evicted: [],
    })
    expect(facts.catalogue.byId('b')).toBeUndefined()
    expect(historyOf(facts, 'u')).toEqual(['c', 'a'])
    expect(
      Array.from({ length: facts.catalogue.activeSize }, (_, i) => facts.catalogue.active(i)),
    ).toEqual([0, 2])
    // Not reused before the batch is over ...
    facts.apply(click('v', 'd'))
    expect(facts.catalogue.byId('d')?.handle).toBe(3)
    facts.release()
    facts.apply(click('v', 'e'))
    expect(facts.catalogue.byId('e')).toMatchObject({ handle: 1 })
    // ... and then it is nothing that the user had.
    expect(seenOf(facts, 'u')).toEqual(['a', 'c'])
    expect(facts.users.hasSeen(facts.users.handleOf('u'), 1)).toBe(false)
    expect(facts.catalogue.interactions(1)).toBe(1)
    facts.apply(item('b'))
    const again = exampleOf(facts.apply(click('u', 'b')))
    expect(again).toMatchObject({ isNewItem: false, isRepeat: false, itemInteractions: 0 })
  })

  test('lets the longest untouched item leave when it is full', () => {
    const facts = folded([item('a'), item('b'), item('c'), click('u', 'a')], { maxItems: 3 })
    expect(facts.apply(item('d'))).toMatchObject({ evicted: [{ of: 'item', handle: 1, id: 'b' }] })
    expect(facts.apply(click('u', 'e'))).toMatchObject({
      evicted: [{ of: 'item', handle: 2, id: 'c' }],
    })
    expect([...facts.catalogue.items()].map(({ id }) => id)).toEqual(['a', 'd', 'e'])
    expect(facts.catalogue.size).toBe(3)
    expect(facts.catalogue.handleLimit).toBe(5)
    expect(facts.catalogue.handleCapacity).toBeGreaterThan(facts.catalogue.handleLimit)
  })

  test('a deletion of what facts do not know is told on: others may know it', () => {
    const facts = new Facts()
    expect(facts.apply(deleteItem('a'))).toMatchObject({ kind: 'itemRemoved', handle: -1, id: 'a' })
    expect(facts.apply(deleteUser('u'))).toMatchObject({ kind: 'userRemoved', handle: -1, id: 'u' })
  })
})

describe('activity', () => {
  const hour = 3_600_000

  test('lasts for the window after the last interaction or description, in stream time', () => {
    const events = [click('u', 'a', 0), click('u', 'b', hour), item('c', { timestamp: hour })]
    const facts = folded(events, { activeWindowMs: 2 * hour })
    const active = () =>
      Array.from(
        { length: facts.catalogue.activeSize },
        (_, i) => facts.catalogue.byHandle(facts.catalogue.active(i))?.id,
      )
    expect(active()).toEqual(['a', 'b', 'c'])
    facts.apply(click('v', 'd', 2 * hour))
    expect(active()).toEqual(['a', 'b', 'c', 'd'])
    facts.apply(click('v', 'd', 2 * hour + 1))
    expect(active()).toEqual(['d', 'b', 'c'])
    facts.apply(click('v', 'a', 2 * hour + 1))
    expect(active()).toEqual(['d', 'b', 'c', 'a'])
    facts.apply(item('b', { timestamp: 8 * hour }))
    expect(active()).toEqual(['b'])
    facts.apply(click('v', 'd', 9 * hour))
    expect(active()).toEqual(['b', 'd'])
    expect([0, 2, 3].map((handle) => facts.catalogue.isActive(handle))).toEqual([
      false,
      false,
      true,
    ])
  })
})

describe('popularity', () => {
  test('halves every half-life, and logarithms are smoothed', () => {
    const facts = folded([click('u', 'a', 0), click('v', 'a', 0), click('v', 'b', 1_000)], {
      popularityHalfLifeMs: 1_000,
    })
    const handles = Int32Array.of(0, 1)
    const out = new Float32Array(2)
    facts.catalogue.decayedCounts(handles, 1_000, out)
    expect(Array.from(out)).toEqual([1, 1])
    facts.catalogue.decayedCounts(handles, 2_000, out)
    expect(Array.from(out)).toEqual([0.5, 0.5])
    expect(facts.catalogue.totalCount(1_000)).toBe(2)
    facts.catalogue.logPopularity(handles, { time: 1_000, smoothing: 1 }, out)
    expect(Array.from(out)).toEqual([Math.fround(Math.LN2), Math.fround(Math.LN2)])
  })

  test('settled, it leaves out the batch at hand', () => {
    const facts = folded([click('u', 'a', 0), click('u', 'b', 0)])
    facts.release()
    facts.apply(click('v', 'a', 0))
    facts.apply(click('w', 'c', 0))
    const log = (settled: boolean): number[] => {
      const out = new Float32Array(3)
      facts.catalogue.logPopularity(Int32Array.of(0, 1, 2), { time: 0, smoothing: 1, settled }, out)
      return Array.from(out, (value) => Math.round(Math.exp(value)) - 1)
    }
    expect(log(true)).toEqual([1, 1, 0])
    expect(log(false)).toEqual([2, 1, 1])
    facts.release()
    expect(log(true)).toEqual([2, 1, 1])
  })
})

describe('users', () => {
  test('keep features, replaced or patched', () => {
    const facts = folded([user('u', { features: { a: 1, b: 2 } })])
    const features = () => facts.users.features(facts.users.handleOf('u'))
    facts.apply(user('u', { mode: 'patch', features: { b: 3 } }))
    expect(features()).toEqual({ a: 1, b: 3 })
    facts.apply(user('u', { mode: 'patch' }))
    expect(features()).toEqual({ a: 1, b: 3 })
    facts.apply(user('u'))
    expect(features()).toEqual({})
  })

  test('remember a bounded number of items, the oldest forgotten first', () => {
    const ids = Array.from({ length: 40 }, (_, i) => `i${i}`)
    const facts = folded(
      ids.map((id) => click('u', id)),
      { seenPerUser: 10 },
    )
    expect(seenOf(facts, 'u')).toEqual(ids.slice(30))
    facts.apply(click('u', 'i33'))
    expect(seenOf(facts, 'u')).toEqual([...ids.slice(30, 33), ...ids.slice(34), 'i33'])
  })

  test('leave, the longest inactive first, when there are too many or too many entries', () => {
    const facts = folded([click('u', 'a'), click('v', 'a'), click('u', 'b')], { maxUsers: 2 })
    expect(facts.apply(click('w', 'a'))).toMatchObject({ evicted: [{ of: 'user', id: 'v' }] })
    expect(facts.users.size).toBe(2)
    expect(facts.users.handleOf('v')).toBe(-1)

    const entries = folded([click('u', 'a'), click('v', 'a'), click('v', 'b')], {
      maxHistoryEntries: 3,
    })
    expect(entries.apply(click('v', 'c'))).toMatchObject({ evicted: [{ of: 'user', id: 'u' }] })
    expect(entries.users.historyEntries).toBe(3)
    // Alone a user may have more.
    expect(entries.apply(click('v', 'd'))).toMatchObject({ evicted: [] })
  })

  test('leave after their retention; an impression keeps them', () => {
    const facts = folded([click('u', 'a', 0), click('v', 'a', 0)], { userRetentionMs: 1_000 })
    const impression: Event = {
      kind: 'impression',
      userId: 'u',
      itemIds: ['a'],
      timestamp: 800,
      acceptedAt: 800,
    }
    expect(facts.apply(impression)).toEqual({ kind: 'none', evicted: [] })
    expect(facts.apply({ ...impression, userId: 'stranger' }).kind).toBe('none')
    expect(facts.users.size).toBe(2)
    const outcome = facts.apply({ ...impression, timestamp: 1_500, acceptedAt: 1_500 })
    expect(outcome).toMatchObject({ kind: 'none', evicted: [{ of: 'user', id: 'v' }] })
    expect(facts.users.lastActiveAt(facts.users.handleOf('u'))).toBe(1_500)
  })

  test('are erased whole; who comes back is new', () => {
    const facts = folded([user('u', { features: { a: 1 } }), click('u', 'a'), click('v', 'b')])
    expect(facts.apply(deleteUser('u'))).toMatchObject({ kind: 'userRemoved', handle: 0, id: 'u' })
    facts.release()
    const example = exampleOf(facts.apply(click('u', 'c')))
    expect(example).toMatchObject({
      isNewUser: true,
      user: 0,
      query: { userFeatures: {}, history: [] },
    })
    expect(facts.users.id(0)).toBe('u')
    expect(facts.users.historyEntries).toBe(2)
  })

  test('have interaction types beyond the 255th remembered as other', () => {
    const facts = folded(
      Array.from({ length: 300 }, (_, i) => click('u', `i${i}`, 0, { type: `type-${i}` })),
    )
    const types = facts.users
      .history(0, 300)
      .map((entry) => entry.type)
      .toReversed()
    expect(types.slice(0, 255)).toEqual(Array.from({ length: 255 }, (_, i) => `type-${i}`))
    expect(new Set(types.slice(255))).toEqual(new Set(['other']))
  })
})

test('an event with an id seen before changes nothing', () => {
  const facts = new Facts({ dedupeWindowMs: 1_000 })
  expect(facts.apply(click('u', 'a', 0, { eventId: 'x' })).kind).toBe('example')
  const before = facts.digest()
  expect(facts.apply(click('u', 'b', 500, { eventId: 'x' })).kind).toBe('duplicate')
  expect(facts.interactions).toBe(1)
  expect(facts.catalogue.byId('b')).toBeUndefined()
  expect(facts.digest()).not.toBe(before) // the number of events
  expect(facts.apply(click('u', 'b', 2_000, { eventId: 'x' })).kind).toBe('example')
})

test('an item that had become inactive is active again after a restore', () => {
  const day = 24 * 3_600_000
  const facts = folded([click('u', 'a', 0), click('u', 'b', 0), click('u', 'c', 2 * day)])
  const restored = Facts.load(facts.serialize())
  for (const each of [facts, restored]) {
    expect(each.catalogue.activeSize).toBe(1)
    each.apply(click('v', 'b', 2 * day))
    each.apply(click('v', 'd', 2 * day))
    each.apply(click('v', 'a', 2 * day))
    expect(Array.from({ length: 4 }, (_, i) => each.catalogue.active(i))).toEqual([2, 1, 3, 0])
  }
})

const ids = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'é/😀']
const arbitraryEvent: fc.Arbitrary<Event> = fc
  .record({
    kind: fc.constantFrom(
      'click',
      'click',
      'click',
      'click',
      'item',
      'user',
      'dropItem',
      'dropUser',
    ),
    user: fc.constantFrom(...ids),
    item: fc.constantFrom(...ids),
    time: fc.integer({ min: 0, max: 20 }).map((n) => n * 400_000),
    mode: fc.constantFrom('replace' as const, 'patch' as const),
    features: fc.dictionary(fc.constantFrom('x', 'y'), fc.oneof(fc.integer(), fc.string())),
    eventId: fc.option(fc.constantFrom('1', '2', '3'), { nil: undefined }),
  })
  .map((drawn) => eventOf(drawn))

interface Drawn {
  readonly kind: string
  readonly user: string
  readonly item: string
  readonly time: number
  readonly mode: 'replace' | 'patch'
  readonly features: Record<string, string | number>
  readonly eventId: string | undefined
}

function eventOf({
  kind,
  user: userId,
  item: itemId,
  time,
  mode,
  features,
  eventId,
}: Drawn): Event {
  const rest = { ...(eventId === undefined ? {} : { eventId }), timestamp: time, acceptedAt: time }
  if (kind === 'click') return click(userId, itemId, time, rest)
  if (kind === 'item') return item(itemId, { mode, features, ...rest })
  if (kind === 'user') return user(userId, { mode, features, ...rest })
  if (kind === 'dropItem') return { ...deleteItem(itemId), ...rest }
  return { ...deleteUser(userId), ...rest }
}

const tight: Partial<FactsOptions> = {
  maxItems: 5,
  maxUsers: 4,
  historyLength: 3,
  seenPerUser: 6,
  maxHistoryEntries: 9,
  userRetentionMs: 6_000_000,
  activeWindowMs: 1_500_000,
  popularityHalfLifeMs: 1_000,
  dedupeWindowMs: 2_000_000,
}

test('saved and loaded at any points, facts are those of a run never interrupted', () => {
  fc.assert(
    fc.property(
      fc.array(arbitraryEvent, { maxLength: 60 }),
      fc.array(fc.nat({ max: 60 }), { maxLength: 5 }),
      fc.array(fc.nat({ max: 60 }), { maxLength: 10 }),
      (events, restarts, releases) => {
        const whole = new Facts(tight)
        let pieces = new Facts(tight)
        for (const [i, event] of events.entries()) {
          if (restarts.includes(i)) pieces = Facts.load(pieces.serialize(), tight)
          if (releases.includes(i)) {
            whole.release()
            pieces.release()
          }
          expect(pieces.apply(event)).toEqual(whole.apply(event))
        }
        expect(pieces.serialize()).toEqual(whole.serialize())
        expect(pieces.digest()).toBe(whole.digest())
      },
    ),
    { numRuns: 300 },
  )
})

test('facts have the same bytes however often they were saved before', () => {
  fc.assert(
    fc.property(
      fc.array(arbitraryEvent, { maxLength: 60 }),
      fc.array(fc.nat({ max: 60 }), { maxLength: 10 }),
      (events, saves) => {
        const saved = new Facts(tight)
        const never = new Facts(tight)
        for (const [i, event] of events.entries()) {
          if (saves.includes(i)) saved.serialize()
          saved.apply(event)
          never.apply(event)
          if (i % 7 === 0) {
            saved.release()
            never.release()
          }
        }
        expect(saved.serialize()).toEqual(never.serialize())
      },
    ),
    { numRuns: 300 },
  )
})

const long = '.'.repeat(90)
const veryLong = (i: number) => ({ title: String(i).padEnd(40_000, '.') })

test('facts that are saved in steps have the same bytes, of the moment at which saving began', () => {
  const facts = new Facts()
  for (let i = 0; i < 6_000; i += 1) facts.apply(item(`i${i}`, { features: { long } }))
  const bytes = facts.serialize().slice()
  const pieces = facts.save()
  facts.apply(item('i1', { hidden: true }))
  const [saved, ...rest] = [...pieces].filter((piece) => piece !== undefined)
  expect(saved).toEqual(bytes)
  expect(rest).toEqual([])
  expect([...facts.save()].length).toBeGreaterThan(1)
})

test('items that change again and again, and far more than is kept, are saved as they are', () => {
  const often = new Facts()
  often.apply(item('calm', { features: { title: 'calm' } }))
  for (let i = 0; i < 100; i += 1) often.apply(item(`i${i % 3}`, { features: veryLong(i) }))
  const loaded = Facts.load(often.serialize())
  for (let i = 0; i < 3; i += 1) {
    expect(loaded.catalogue.byId(`i${i}`)?.features).toEqual(
      often.catalogue.byId(`i${i}`)?.features,
    )
  }
  for (const facts of [often, loaded]) facts.apply(item('i1', { features: { title: 'new' } }))
  expect(loaded.serialize()).toEqual(often.serialize())
})

test('facts stay within their bounds and agree with themselves', () => {
  fc.assert(
    fc.property(fc.array(arbitraryEvent, { maxLength: 80 }), (events) => {
      const facts = new Facts(tight)
      for (const event of events) {
        facts.apply(event)
        facts.release()
        const { catalogue, users } = facts
        expect(catalogue.size).toBeLessThanOrEqual(5)
        expect(users.size).toBeLessThanOrEqual(4)
        for (const each of catalogue.items()) {
          expect(catalogue.byId(each.id)).toBe(each)
          expect(catalogue.byHandle(each.handle)).toBe(each)
        }
        const active = Array.from({ length: catalogue.activeSize }, (_, i) => catalogue.active(i))
        expect(new Set(active).size).toBe(active.length)
        for (const handle of active) expect(catalogue.isActive(handle)).toBe(true)
        for (const id of ids) {
          const handle = users.handleOf(id)
          if (handle < 0) continue
          const seen = Array.from(users.seen(handle))
          expect(seen.length).toBeLessThanOrEqual(6)
          expect(users.history(handle, 99).map((entry) => entry.item.handle)).toEqual(
            seen.toReversed(),
          )
        }
      }
    }),
    { numRuns: 100 },
  )
})

describe('loading', () => {
  const options = { popularityHalfLifeMs: 1_000 }
  const saved = folded([click('u', 'a'), item('b', { features: { x: 'y' } }), user('v')], options)

  test('refuses damaged bytes', () => {
    const bytes = saved.serialize()
    for (let at = 0; at < bytes.length; at += 1) {
      const broken = Uint8Array.from(bytes)
      broken[at] ^= 1
      expect(() => Facts.load(broken, options)).toThrow(
        expect.objectContaining({ code: 'FACTS_DAMAGED' }),
      )
    }
    expect(() => Facts.load(bytes.subarray(0, 9), options)).toThrow('too short')
  })

  test('refuses what does not fit the options, and names it', () => {
    const bytes = saved.serialize()
    const load = (changes: Partial<FactsOptions>) => () =>
      Facts.load(bytes, { ...options, ...changes })
    expect(load({ popularityHalfLifeMs: 2_000 })).toThrow('popularityHalfLifeMs')
    expect(load({ maxItems: 1 })).toThrow('maxItems')
    expect(load({ maxUsers: 1 })).toThrow('maxUsers')
    expect(load({ historyLength: 5 })().digest()).toBe(saved.digest())
  })
})
