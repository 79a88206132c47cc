/**
 * Partitions take turns in another order in every process. Facts of a user are of one partition;
 * an item that is deleted while it is clicked is of two, and all agree on whether it is there.
 */
import * as fc from 'fast-check'
import { expect, test } from 'vitest'

import type { Event, ItemUpsert } from '../../../src/stream/event.ts'
import { Facts } from '../../../src/stream/facts/facts.ts'
import { interaction } from '../../support/events.ts'

const ids = ['a', 'b', 'c']
const time = { timestamp: 1_000, acceptedAt: 1_000 }
const click = fc
  .tuple(fc.constantFrom('u', 'v'), fc.constantFrom(...ids))
  .map(([userId, itemId]): Event => interaction({ userId, itemId }))
const upsert = fc.record<ItemUpsert>({
  kind: fc.constant('item'),
  mode: fc.constant('replace'),
  itemId: fc.constantFrom(...ids),
  features: fc.record({ price: fc.integer() }),
  timestamp: fc.constant(1_000),
  acceptedAt: fc.constant(1_000),
})
const remove = (itemId: string): Event => ({ kind: 'deleteItem', itemId, ...time })
const removal = fc.constantFrom(...ids).map(remove)

/** Each partition in its own order, by turns: which is next. */
function folded(partitions: readonly (readonly Event[])[], turns: readonly number[]): Facts {
  const facts = new Facts()
  const left = partitions.map((events) => [...events])
  for (const turn of turns) {
    const event = left[turn % left.length].shift()
    if (event !== undefined) facts.apply(event)
  }
  for (const event of left.flat()) facts.apply(event)
  return facts
}

const known = ({ catalogue }: Facts): readonly string[] =>
  ids.filter((id) => catalogue.byId(id) !== undefined)

const streams = fc.record({
  clicks: fc.array(click, { maxLength: 8 }),
  items: fc.array(fc.oneof(upsert, removal), { maxLength: 8 }),
  turns: fc.array(fc.nat({ max: 1 }), { maxLength: 20 }),
  others: fc.array(fc.nat({ max: 1 }), { maxLength: 20 }),
})

test('a click that is folded after the deletion brings no item back', () => {
  const partitions = [[interaction({ itemId: 'a' })], [remove('a')]]
  for (const turns of [
    [0, 1],
    [1, 0],
  ]) {
    const facts = folded(partitions, turns)
    expect(known(facts)).toEqual([])
    expect(facts.users.handleOf('u')).toBeGreaterThanOrEqual(0)
    facts.apply(interaction({ itemId: 'a', acceptedAt: 500_000 }))
    expect(known(facts)).toEqual([])
  }
})

test('a description brings it back, and so does a click a week later', () => {
  const facts = folded([[remove('a'), remove('b')]], [])
  const week = 7 * 24 * 3_600_000
  facts.apply(interaction({ itemId: 'a', acceptedAt: 1_000 + week - 1 }))
  facts.apply({ kind: 'item', mode: 'replace', itemId: 'b', features: {}, ...time })
  expect(known(facts)).toEqual(['b'])
  facts.apply(interaction({ itemId: 'a', acceptedAt: 1_000 + week }))
  expect(known(facts)).toEqual(['a', 'b'])
})

test('all processes agree on which items there are, whoever took which turns', () => {
  const property = fc.property(streams, ({ clicks, items, turns, others }) => {
    const [first, second] = [turns, others].map((order) => folded([clicks, items], order))
    expect(known(first)).toEqual(known(second))
    for (const user of ['u', 'v']) {
      expect(first.users.handleOf(user) < 0).toBe(second.users.handleOf(user) < 0)
    }
  })
  fc.assert(property)
})
