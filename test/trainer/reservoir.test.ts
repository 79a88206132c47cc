import { expect, test } from 'vitest'

import { present } from '../../src/base/assert.ts'
import type { Event } from '../../src/stream/event.ts'
import type { Example } from '../../src/stream/example.ts'
import { defaultFactsOptions, type Eviction, Facts } from '../../src/stream/facts/facts.ts'
import { Learner } from '../../src/trainer/learner.ts'
import { type ReplayOptions, Reservoir } from '../../src/trainer/reservoir.ts'
import { shopEvents, spec, trainerModel } from '../support/trainer.ts'

const options: ReplayOptions = { examples: 20, reservoirExamples: 60 }

/** Facts and a reservoir that have seen the events in batches of 16. */
function lived(events: readonly Event[], reservoir = new Reservoir(options, spec)) {
  const facts = new Facts({ ...defaultFactsOptions, maxLateMs: Infinity, maxUsers: 30 })
  let [examples, removed]: [Example[], Eviction[]] = [[], []]
  const taught: Example[] = []
  const gone = new Set<string>()
  const follow = (): void => {
    reservoir.follow(examples, removed)
    taught.push(...examples)
    facts.release()
    ;[examples, removed] = [[], []]
  }
  for (const event of events) {
    const outcome = facts.apply(event)
    removed.push(...outcome.evicted)
    if (outcome.kind === 'userRemoved') {
      removed.push({ of: 'user', handle: outcome.handle, id: outcome.id })
      gone.add(outcome.id)
    }
    if (outcome.kind === 'example') examples.push(outcome.example)
    if (examples.length === 16) follow()
  }
  follow()
  return { facts, reservoir, taught, gone }
}

const named = (examples: readonly Example[]) =>
  examples.map(({ query, item, user, type }) => [
    query.userId,
    item.id,
    user,
    type,
    query.timestamp,
    query.context,
    query.history.map(({ item: past, timestamp }) => [past.id, timestamp]),
  ])

test('what is drawn was taught lately, and by the step alone', () => {
  const { facts, reservoir, taught } = lived(shopEvents(400))
  const known = taught.filter(({ isRepeat }) => !isRepeat).slice(-options.reservoirExamples)
  const times = new Set(known.map(({ query }) => query.timestamp))
  const drawn = new Set<number>()
  for (let step = 1; step <= 60; step += 1) {
    const examples = reservoir.draw(facts, step)
    expect(named(reservoir.draw(facts, step))).toEqual(named(examples))
    expect(examples.length).toBeLessThanOrEqual(options.examples)
    for (const { query } of examples) {
      expect(times).toContain(query.timestamp)
      drawn.add(query.timestamp)
    }
  }
  // All that are still there, sooner or later.
  expect(drawn.size).toBeGreaterThan(30)
  expect(reservoir.size).toBe(options.reservoirExamples)
})

test('nothing of a deleted user or item comes back', () => {
  const events = shopEvents(600)
  const before = lived(events)
  const [one] = before.reservoir.draw(before.facts, 1)
  const past = before.reservoir
    .draw(before.facts, 2)
    .flatMap(({ query }) => query.history.map(({ item }) => item.id))
  const { timestamp, acceptedAt } = events[events.length - 1]
  const at = { timestamp, acceptedAt }
  const deletions: Event[] = [
    { kind: 'deleteUser', userId: one.query.userId, ...at },
    { kind: 'deleteItem', itemId: past[0], ...at },
    // A user of the same name is another one.
    { kind: 'interaction', userId: one.query.userId, itemId: past[1], type: 'click', ...at },
  ]
  const { facts, reservoir } = lived([...events, ...deletions])
  const own: string[] = []
  for (let step = 1; step <= 100; step += 1) {
    for (const { query, item } of reservoir.draw(facts, step)) {
      expect([item.id, ...query.history.map((entry) => entry.item.id)]).not.toContain(past[0])
      if (query.userId === one.query.userId) own.push(item.id)
    }
  }
  expect(new Set(own)).toEqual(new Set([past[1]]))
})

test('a saved reservoir draws the same; a smaller one keeps the newest', () => {
  const { facts, reservoir } = lived(shopEvents(500))
  const [{ chunks }] = reservoir.parts()
  const bytes = present([...chunks][0], 'bytes')
  const restored = new Reservoir(options, spec)
  restored.load(bytes)
  for (let step = 1; step <= 20; step += 1) {
    expect(named(restored.draw(facts, step))).toEqual(named(reservoir.draw(facts, step)))
  }
  const small = new Reservoir({ examples: 50, reservoirExamples: 10 }, spec)
  small.load(bytes)
  const newest = small.draw(facts, 1).map(({ query }) => query.timestamp)
  const all = Array.from({ length: 60 }, (_, step) => reservoir.draw(facts, step)).flat()
  const older = all.filter(({ query }) => !newest.includes(query.timestamp))
  expect(newest.length).toBeGreaterThan(3)
  expect(Math.max(...older.map(({ query }) => query.timestamp))).toBeLessThanOrEqual(
    Math.max(...newest),
  )
  expect(small.size).toBe(10)
})

test('a batch that the guard refuses is not taught once more', async () => {
  const learner = await Learner.create(
    trainerModel({ replay: { examples: 8, reservoirExamples: 100 } }),
  )
  const sizes: number[] = []
  for (const event of shopEvents(200)) {
    learner.apply(event)
    if (!learner.isFull) continue
    if (sizes.length === 4) learner.model.load(learner.model.weights().fill(NaN))
    await learner.trainBatch()
    const part = learner.serialize().parts.find(({ name }) => name === 'reservoir')
    const chunks = [...(part?.chunks ?? [])]
    sizes.push(chunks[0]?.length ?? 0)
  }
  await learner.close()
  expect(sizes[3]).toBeGreaterThan(sizes[0])
  expect(sizes.length).toBeGreaterThan(5)
  // Smaller it may become, where a user leaves.
  for (const size of sizes.slice(4)) expect(size).toBeLessThanOrEqual(sizes[3])
})
