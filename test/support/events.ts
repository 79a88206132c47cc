/** Events for tests: a plain interaction to vary, and arbitrary ones of every kind. */
import * as fc from 'fast-check'

import type { Event, Interaction, Json } from '../../src/stream/event.ts'

export const interaction = (fields: Partial<Interaction> = {}): Interaction => ({
  kind: 'interaction',
  userId: 'u',
  itemId: 'i',
  type: 'click',
  timestamp: 1_000,
  acceptedAt: 1_000,
  ...fields,
})

/** n interactions, a second apart, that no two of are equal. */
export const interactions = (n: number, from = 0): Interaction[] =>
  Array.from({ length: n }, (_, i) =>
    interaction({
      userId: `user-${(from + i) % 7}`,
      itemId: `item-${from + i}`,
      timestamp: (from + i) * 1_000,
      acceptedAt: (from + i) * 1_000,
    }),
  )

const wellFormed = fc.string({ unit: 'binary', maxLength: 40 })
const id = fc.oneof(
  fc.string({ unit: 'binary', minLength: 1, maxLength: 60 }),
  fc.integer({ min: 1, max: 30 }).map((n) => `id-${n}`),
)
const name = fc.oneof(fc.constantFrom('device', 'country', '__proto__', '7', ''), wellFormed)
const number = fc.oneof(fc.integer(), fc.double({ noNaN: true }), fc.constant(-0))
const feature = fc.oneof(wellFormed, number, fc.array(wellFormed), fc.array(number))
const features = fc.dictionary(name, feature, { maxKeys: 5, noNullPrototype: true })
const json = fc.jsonValue({ maxDepth: 3 }) as fc.Arbitrary<Json>
const time = fc.oneof(
  fc.integer({ min: 0, max: 2_000_000_000_000 }),
  fc.integer({ min: 1_700_000_000_000, max: 1_700_000_001_000 }),
  fc.double({ min: -1e15, max: 1e15, noNaN: true }),
)

const common = { timestamp: time, acceptedAt: time }
const optional = <Fields extends object>(required: Fields, rest: Fields): fc.Arbitrary<Fields> =>
  fc.record(
    { ...rest, ...required, ...common },
    {
      noNullPrototype: true,
      requiredKeys: [...Object.keys(required), ...Object.keys(common)] as never,
    },
  ) as fc.Arbitrary<Fields>

/** Any event that the types allow, whether or not a client could send it. */
export const anyEvent = fc.oneof(
  optional<object>(
    { kind: fc.constant('interaction'), userId: id, itemId: id, type: id },
    { eventId: id, weight: number, context: features },
  ),
  optional<object>(
    { kind: fc.constant('item'), itemId: id, mode: fc.constantFrom('replace', 'patch') },
    {
      eventId: id,
      features,
      attributes: fc.dictionary(name, json, { maxKeys: 4, noNullPrototype: true }),
      hidden: fc.boolean(),
      expiresAt: number,
      crowdingTag: id,
    },
  ),
  optional<object>(
    { kind: fc.constant('user'), userId: id, mode: fc.constantFrom('replace', 'patch') },
    { eventId: id, features },
  ),
  optional<object>({ kind: fc.constant('deleteItem'), itemId: id }, { eventId: id }),
  optional<object>({ kind: fc.constant('deleteUser'), userId: id }, { eventId: id }),
  optional<object>(
    { kind: fc.constant('impression'), userId: id, itemIds: fc.array(id) },
    { eventId: id },
  ),
) as fc.Arbitrary<Event>
