import { expect, test } from 'vitest'

import { outOfVocabularyKey } from '../../src/base/keys.ts'
import type { Event } from '../../src/stream/event.ts'
import type { LearnerOptions } from '../../src/trainer/learner-parts.ts'
import { Learner } from '../../src/trainer/learner.ts'
import type { TrainerModel } from '../../src/trainer/trainer-config.ts'
import { admittingModel, shopEvents, textModel, trainerModel } from '../support/trainer.ts'

const create = async (model: TrainerModel, options: LearnerOptions = {}) => {
  const learner = await Learner.create(model, options)
  return Object.assign(learner, { [Symbol.asyncDispose]: () => learner.close() })
}

/** Folds events, training whenever a batch is full; returns the losses. */
async function feed(learner: Learner, events: readonly Event[]): Promise<number[]> {
  const losses: number[] = []
  for (const event of events) {
    learner.apply(event)
    if (learner.isFull) losses.push((await learner.trainBatch()).loss)
  }
  return losses
}

const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length

const models = {
  'ids and popularity': trainerModel,
  'text behind a layer': textModel,
  'rows to be earned': admittingModel,
}

/** Numbers of the context by what the stream has shown of them, behind a dense layer. */
function measuringModel(): TrainerModel {
  const { spec, ...model } = textModel()
  const { query, dim } = spec
  const number = { kind: 'numeric', field: 'battery', offset: 0, scale: 1 } as const
  const features = [
    ...query.features,
    { ...number, name: 'level', transform: 'zscore' },
    { ...number, name: 'step', transform: 'quantile', buckets: 4 },
  ] as const
  const layers = [{ kind: 'dense', units: dim, activation: 'linear' }] as const
  return { ...model, spec: { ...spec, query: { ...query, combine: 'concat', features, layers } } }
}

const numbered = (events: readonly Event[]): readonly Event[] =>
  events.map((event, i) => {
    if (event.kind !== 'interaction') return event
    return { ...event, context: { ...event.context, battery: (i * 37) % 101 } }
  })

const repeatable = {
  ...models,
  'numbers measured as they flow': measuringModel,
  'examples taught once more': () =>
    trainerModel({ replay: { examples: 9, reservoirExamples: 120 } }),
}

test.each(Object.entries(models))('%s: the loss falls as tastes are learned', async (_, model) => {
  await using learner = await create(model())
  const losses = await feed(learner, shopEvents(6000))
  expect(mean(losses.slice(-40))).toBeLessThan(mean(losses.slice(5, 45)) - 0.1)
  expect(learner.guard.trips).toBe(0)
})

test('tastes make the model rank better than popularity alone', async () => {
  await using learner = await create(
    trainerModel({ evaluation: { everyNth: 2, warmupEvents: 3000, windowExamples: 10 } }),
  )
  await feed(learner, shopEvents(8000))
  const { progressive, baselines } = learner.evaluation()
  expect(progressive.evaluated).toBeGreaterThan(1000)
  expect(progressive.mrr10).toBeGreaterThan(baselines.recentlyPopular.mrr10 * 1.2)
})

test.each(Object.entries(repeatable))(
  '%s: the same bits for any number of threads',
  async (_, model) => {
    const states = []
    for (const threads of [1, 2]) {
      await using learner = await create(model(), { threads })
      await feed(learner, numbered(shopEvents(600)))
      states.push([await learner.digest(), learner.evaluation()])
    }
    expect(states[1]).toEqual(states[0])
  },
)

test('a catalogue large enough to be ranked by another thread while this one trains: the same ranks', async () => {
  const items = Array.from({ length: 5_000 }, (_, i): Event => {
    const time = shopEvents(1)[0].timestamp
    return {
      kind: 'item',
      mode: 'patch',
      itemId: `other-${i}`,
      timestamp: time,
      acceptedAt: time,
    }
  })
  const model = trainerModel({
    facts: { ...trainerModel().facts, maxItems: 6_000 },
    batch: { maxExamples: 64, maxAgeMs: 20 },
    evaluation: { everyNth: 1, warmupEvents: 0, windowExamples: 100 },
  })
  const reports = []
  for (const threads of [1, 2]) {
    await using learner = await create(model, { threads })
    await feed(learner, [...items, ...shopEvents(700)])
    reports.push([learner.evaluation(), await learner.digest()])
  }
  expect(reports[1]).toEqual(reports[0])
  expect(reports[0][0]).toMatchObject({ progressive: { evaluated: 8 * 64, notFinite: 0 } })
})

test('pauses in the middle of an evaluation change nothing but when it ends', async () => {
  const states = []
  let pauses = 0
  const breathe = async (): Promise<void> => {
    pauses += 1
  }
  for (const options of [{}, { breathe }]) {
    await using learner = await create(textModel(), options)
    await feed(learner, shopEvents(400))
    states.push([await learner.digest(), learner.evaluation()])
  }
  expect(pauses).toBeGreaterThan(10)
  expect(states[1]).toEqual(states[0])
})

test('the same bits from the kernels and from their twins', async () => {
  const states = []
  for (const kernels of ['wasm', 'reference'] as const) {
    await using learner = await create(trainerModel(), { kernels })
    await feed(learner, shopEvents(200))
    states.push([await learner.digest(), learner.evaluation()])
  }
  expect(states[1]).toEqual(states[0])
})

/** Folds events until the end of the first batch that ends with the event `from` or a later one. */
async function trainedFrom(learner: Learner, events: readonly Event[], from: number) {
  for (const [at, event] of events.entries()) {
    learner.apply(event)
    if (!learner.isFull) continue
    await learner.trainBatch()
    if (at >= from) return at
  }
  throw new Error('too few events')
}

/** As a checkpoint gives it back. */
const savedParts = (learner: Learner): ReadonlyMap<string, readonly Uint8Array[]> =>
  new Map(
    learner
      .serialize()
      .parts.map(({ name, chunks }) => [name, [...chunks].filter((chunk) => chunk !== undefined)]),
  )

test.each(Object.entries(repeatable))(
  '%s: a restored learner goes on bit by bit',
  async (_, model) => {
    const events = numbered(shopEvents(900))
    await using learner = await create(model())
    const at = 1 + (await trainedFrom(learner, events, 500))
    const parts = savedParts(learner)
    await using restored = await create(model(), { threads: 2 })
    restored.load((part) => parts.get(part) ?? [])
    expect(await restored.digest()).toBe(await learner.digest())
    for (const subject of [learner, restored]) await feed(subject, events.slice(at))
    expect(await restored.digest()).toBe(await learner.digest())
    expect(restored.evaluation()).toEqual(learner.evaluation())
    expect(restored.acceptedAt).toBe(learner.acceptedAt)
  },
)

test('a state that is read while batches go on is the state of its moment', async () => {
  const events = shopEvents(960)
  await using learner = await create(trainerModel())
  await feed(learner, events.slice(0, 480))
  await learner.trainBatch()
  const digest = await learner.digest()
  const { parts } = learner.serialize()
  const read = new Map<string, Uint8Array[]>()
  for (const { name, chunks } of parts) {
    await feed(learner, events.slice(480 + 80 * read.size, 560 + 80 * read.size))
    read.set(
      name,
      [...chunks].filter((chunk) => chunk !== undefined),
    )
  }
  expect(await learner.digest()).not.toBe(digest)
  await using restored = await create(trainerModel())
  restored.load((part) => read.get(part) ?? [])
  expect(await restored.digest()).toBe(digest)
})

test('evaluation may be switched on and off over a restart', async () => {
  const evaluation = { everyNth: 2, warmupEvents: 40, windowExamples: 100 }
  const silent = { ...evaluation, everyNth: 0 }
  const events = shopEvents(960)
  const digests = []
  for (const [before, after] of [
    [silent, evaluation],
    [evaluation, silent],
  ]) {
    await using first = await create(trainerModel({ evaluation: before }))
    await feed(first, events.slice(0, 480))
    await first.trainBatch()
    const parts = savedParts(first)
    await using second = await create(trainerModel({ evaluation: after }))
    second.load((part) => parts.get(part) ?? [])
    await feed(second, events.slice(480))
    digests.push(await second.digest())
    expect(second.evaluation().progressive.evaluated).toBeGreaterThan(100)
    expect(second.evaluation().progressive.hr10).toBeGreaterThan(0.1)
  }
  expect(digests[1]).toBe(digests[0])
})

test('how a state came about does not show in its digest, and every part of it does', async () => {
  await using one = await create(trainerModel())
  await using other = await create(trainerModel())
  await feed(one, shopEvents(320))
  await feed(other, shopEvents(320))
  expect(await other.digest()).toBe(await one.digest())
  other.apply({ kind: 'user', mode: 'patch', userId: 'new', timestamp: 1, acceptedAt: 1 })
  expect(await other.digest()).not.toBe(await one.digest())
})

const click = (userId: string, itemId: string, timestamp: number, weight = 1): Event => ({
  kind: 'interaction',
  userId,
  itemId,
  type: 'click',
  timestamp,
  acceptedAt: timestamp,
  weight,
})

test('the rows of a deleted user and a deleted item are gone after the batch', async () => {
  await using learner = await create(trainerModel())
  const rows = (): number[] =>
    ['user', 'item', 'read'].map((name) => learner.tables.get(name)!.size)
  for (let i = 0; i < 8; i += 1) learner.apply(click('a', `x${i}`, 1000 + i))
  await learner.trainBatch()
  const before = rows()
  learner.apply({ kind: 'deleteUser', userId: 'a', timestamp: 2000, acceptedAt: 2000 })
  learner.apply({ kind: 'deleteItem', itemId: 'x0', timestamp: 2000, acceptedAt: 2000 })
  await learner.trainBatch()
  expect(rows()).toEqual([before[0] - 1, before[1] - 1, before[2] - 1])
  await learner.trainBatch()
})

test('a batch that makes no sense changes no row and no weight', async () => {
  await using learner = await create(trainerModel())
  const events = shopEvents(320)
  await feed(learner, events)
  await learner.trainBatch()
  const last = events.at(-1)!.timestamp
  const weights = learner.model.weights({ optimizerState: true })
  const vectors = new Float32Array(8)
  const [{ keys }] = learner.model.itemRows('item-1')
  await learner.tables.get('item')!.find(keys, vectors)
  const [user, item] = ['user-1', 'item-1']
  for (let i = 0; i < 3; i += 1) learner.apply(click(`${user}${i}`, item, last + i, Infinity))
  const { trip } = await learner.trainBatch()
  expect(trip?.reason).toBe('lossNotFinite')
  expect(learner.model.weights({ optimizerState: true })).toEqual(weights)
  const after = new Float32Array(8)
  await learner.tables.get('item')!.find(keys, after)
  expect(after).toEqual(vectors)
})

test('tables keep within their bounds by themselves, and on command', async () => {
  await using learner = await create(trainerModel())
  await feed(learner, shopEvents(2000))
  const rows = (name: string): number => learner.tables.get(name)!.size
  expect(rows('read')).toBeLessThanOrEqual(50)
  await learner.trainBatch()
  const before = rows('read')
  expect(await learner.restrict('read', { numReserved: 5, trigger: 5 })).toBe(before - 5)
  expect(rows('read')).toBe(5)
  expect(await learner.restrict()).toBe(0)
})

test('until a key has earned its row it shares one, also in evaluation', async () => {
  await using learner = await create(admittingModel())
  await feed(learner, shopEvents(64))
  const stats = learner.tableStats().find(({ name }) => name === 'read')
  expect(stats?.admission).toMatchObject({ falsePositiveRate: 0 })
  expect(stats?.admission?.refused).toBeGreaterThan(0)
  const unknown = learner.model.itemRows('never-seen').find(({ table }) => table === 'item')
  const [own, shared] = [new Float32Array(8), new Float32Array(8)]
  await learner.tables.get('item')!.find(unknown!.keys, own)
  await learner.tables.get('item')!.find(outOfVocabularyKey, shared)
  expect(own).toEqual(shared)
})

test('duplicates are not learned from twice', async () => {
  await using learner = await create(trainerModel())
  const event = { ...click('a', 'x', 1000), eventId: 'once' }
  learner.apply(event)
  learner.apply(event)
  expect(learner.pending).toBe(1)
})
