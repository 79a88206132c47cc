/**
 * Partitions take turns in another order in every process. Facts of a user are of one partition;
 * an item that is deleted while it is clicked is of two.
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

test('a click on an item that another process has seen deleted makes it known again', () => {
  const partitions = [[interaction({ itemId: 'a' })], [remove('a')]]
  expect(known(folded(partitions, [0, 1]))).toEqual([])
  expect(known(folded(partitions, [1, 0]))).toEqual(['a'])
})

test('all processes agree again when the deletion is repeated after the clicks', () => {
  const property = fc.property(streams, ({ clicks, items, turns, others }) => {
    const all = [turns, others].map((order) => folded([clicks, items], order))
    for (const facts of all) {
      for (const id of ids) facts.apply(remove(id))
      facts.apply(interaction({ itemId: 'b' }))
    }
    const [first, second] = all
    expect(known(first)).toEqual(['b'])
    expect(known(second)).toEqual(['b'])
    for (const user of ['u', 'v']) {
      const [seen, also] = all.map(({ users, catalogue }) => {
        const handle = users.handleOf(user)
        return handle < 0 ? [] : [...users.seen(handle)].map((of) => catalogue.byHandle(of)?.id)
      })
      expect(seen).toEqual(also)
    }
  })
  fc.assert(property)
})
