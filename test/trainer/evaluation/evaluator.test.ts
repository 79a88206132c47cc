/** The fast evaluation against the obvious one: embed everything anew and sort it out with a loop. */
import { expect, test } from 'vitest'

import type { ModelSpec } from '../../../src/model/spec.ts'
import type { Lookup } from '../../../src/model/table-lookup.ts'
import type { Example } from '../../../src/stream/example.ts'
import { Facts } from '../../../src/stream/facts/facts.ts'
import { type EvaluationOptions, Evaluator } from '../../../src/trainer/evaluation/evaluator.ts'
import { meanRank, RankingMetrics } from '../../../src/trainer/evaluation/ranking-metrics.ts'
import { Learner } from '../../../src/trainer/learner.ts'
import type { TrainerModel } from '../../../src/trainer/trainer-config.ts'
import { shopEvents, textModel, trainerModel } from '../../support/trainer.ts'

function fill({ tables }: Learner, lookups: readonly Lookup[]): void {
  for (const { table, keys, rows } of lookups) void tables.get(table)!.find(keys, rows)
}

/** Rows of the items' vectors, fetched and embedded now; popularity is left out. */
function embed(learner: Learner, handles: readonly number[]): Float32Array[] {
  const { model, facts } = learner
  const items = handles.flatMap((handle) => facts.catalogue.byHandle(handle) ?? [])
  return items.map((item) => {
    fill(learner, model.prepareItems([item]))
    return model.embedItems().slice()
  })
}

function embedQuery(learner: Learner, { query }: Example): Float32Array {
  fill(learner, learner.model.prepareQueries([query]))
  return learner.model.embedQueries().slice()
}

/** By the best of the query's heads, popularity left out. */
function bestProduct(query: Float32Array, item: Float32Array, { dim, query: tower }: ModelSpec) {
  const heads = tower.heads ?? 1
  const each = query.length / heads
  const products = Array.from({ length: heads }, (_, h) =>
    item.subarray(0, dim).reduce((sum, x, k) => sum + x * query[h * each + k], 0),
  )
  return Math.max(...products)
}

const rankOf = (scores: ReadonlyMap<number, number>, example: Example): number => {
  const { handle } = example.item
  const target = scores.get(handle)
  if (target === undefined || example.seen.includes(handle)) return Infinity
  const rivals = [...scores].filter(([one]) => one !== handle && !example.seen.includes(one))
  const above = rivals.filter(([, score]) => score > target).length
  return meanRank(above, rivals.filter(([, score]) => score === target).length)
}

/** What the catalogue was before the batch at hand. */
interface Before {
  readonly handles: readonly number[]
  readonly vectors: readonly Float32Array[]
  /** Counts relative to each other: of interactions decayed by hand. */
  readonly counts: ReadonlyMap<number, number>
}

const halfLifeMs = 3_600_000
const start = shopEvents(1)[0].timestamp

/** Runs a learner and ranks every due example by brute force beside it. */
async function compare(model: TrainerModel, events: number) {
  const learner = await Learner.create(model)
  const popularity = model.spec.score.popularity
  const due = new Evaluator(model.evaluation)
  const byModel = new RankingMetrics()
  const byCount = new RankingMetrics()
  const clicks: { handle: number; time: number }[] = []
  let batch: Example[] = []
  let before: Before = { handles: [], vectors: [], counts: new Map() }
  const evaluate = (): void => {
    const { time } = learner.facts
    for (const example of due.dueOf(batch, 0)) {
      const query = embedQuery(learner, example)
      const scores = new Map<number, number>()
      const counts = new Map<number, number>()
      for (const [i, handle] of before.handles.entries()) {
        const count = (before.counts.get(handle) ?? 0) * 2 ** (-(time - start) / halfLifeMs)
        let score = bestProduct(query, before.vectors[i], model.spec)
        if (popularity) score += query[model.spec.dim] * Math.log(count + popularity.smoothing)
        scores.set(handle, Math.round(score * 1e4))
        counts.set(handle, Math.round(count * 1e6))
      }
      byModel.add(rankOf(scores, example))
      byCount.add(rankOf(counts, example))
    }
  }
  for (const event of shopEvents(events)) {
    const outcome = learner.apply(event)
    if (outcome.kind === 'example') {
      batch.push(outcome.example)
      clicks.push({ handle: outcome.example.item.handle, time: event.timestamp })
    }
    if (outcome.kind === 'itemRemoved' && outcome.handle >= 0) {
      clicks.splice(0, clicks.length, ...clicks.filter(({ handle }) => handle !== outcome.handle))
    }
    if (!learner.isFull) continue
    evaluate()
    await learner.trainBatch()
    batch = []
    const handles = [...learner.facts.catalogue.items()]
      .filter(({ hidden }) => !hidden)
      .map(({ handle }) => handle)
    const counts = new Map<number, number>()
    for (const { handle, time } of clicks) {
      counts.set(handle, (counts.get(handle) ?? 0) + 2 ** ((time - start) / halfLifeMs))
    }
    before = { handles, vectors: embed(learner, handles), counts }
  }
  await learner.close()
  return { fast: learner.evaluation(), byModel: byModel.report(), byCount: byCount.report() }
}

function fiveHeads(): TrainerModel {
  const model = trainerModel()
  const { query, dim } = model.spec
  const layers = [...query.layers, { kind: 'dense', units: 5 * dim, activation: 'linear' } as const]
  return { ...model, spec: { ...model.spec, query: { ...query, layers, heads: 5 } } }
}

test.each([
  ['items of their own rows, embedded again one by one', trainerModel()],
  ['items behind a layer, embedded again whole', textModel()],
  ['queries of five heads', fiveHeads()],
])('ranks are those of brute force: %s', async (_, model) => {
  const { fast, byModel, byCount } = await compare(model, 700)
  expect(byModel.evaluated).toBeGreaterThan(200)
  expect(fast.progressive.evaluated).toBe(byModel.evaluated)
  for (const name of ['hr1', 'hr5', 'hr10', 'hr20', 'ndcg10', 'mrr10'] as const) {
    expect(fast.progressive[name]).toBeCloseTo(byModel[name], 2)
    expect(fast.baselines.recentlyPopular[name]).toBeCloseTo(byCount[name], 2)
  }
})

test('a model of NaN finds nothing, and the report says why', async () => {
  const evaluation = { everyNth: 1, warmupEvents: 0, windowExamples: 1000 }
  const learner = await Learner.create(trainerModel({ evaluation }))
  for (const event of shopEvents(300)) {
    learner.apply(event)
    if (!learner.isFull) continue
    learner.model.load(learner.model.weights().fill(NaN))
    await learner.trainBatch()
  }
  const { progressive, baselines } = learner.evaluation()
  await learner.close()
  expect(progressive).toMatchObject({ hr100: 0, mrr100: 0, ndcg100: 0 })
  expect(progressive.notFinite).toBeGreaterThan(50)
  expect(baselines.recentlyPopular.hr10).toBeGreaterThan(0)
  expect(baselines.recentlyPopular.notFinite).toBe(0)
})

function examplesOf(events: number): readonly Example[] {
  const facts = new Facts()
  return shopEvents(events).flatMap((event) => {
    const outcome = facts.apply(event)
    return outcome.kind === 'example' ? [outcome.example] : []
  })
}

test('every nth example is due, after the warm-up', () => {
  const examples = examplesOf(20)
  const dueOf = (options: Partial<EvaluationOptions>, items = 10): readonly number[] => {
    const evaluator = new Evaluator({
      everyNth: 3,
      warmupEvents: 0,
      windowExamples: 1,
      ...options,
    })
    return evaluator.dueOf(examples, items).map(({ index }) => index)
  }
  expect(dueOf({ warmupEvents: 5 })).toEqual([6, 9, 12, 15])
  expect(dueOf({ everyNth: 0 })).toEqual([])
  expect(dueOf({ blockExamples: 2 })).toEqual([0, 1, 6, 7, 12, 13])
  // Six examples stand for 60 items, and twice as many for more.
  expect(dueOf({ blockExamples: 2, itemsPerExample: 10 }, 60)).toEqual([0, 1, 6, 7, 12, 13])
  expect(dueOf({ blockExamples: 2, itemsPerExample: 10 }, 61)).toEqual([0, 1, 12, 13])
})

test('where a catalogue is dear, a block is ranked with the batch that has the most of it', () => {
  const examples = examplesOf(30).filter(({ index }) => index < 20)
  const evaluator = new Evaluator({
    everyNth: 1,
    blockExamples: 8,
    itemsPerExample: 10,
    warmupEvents: 0,
    windowExamples: 1,
  })
  const dueOf = (items: number, from: number, to: number): number[] =>
    evaluator.dueOf(examples.slice(from, to), items).map(({ index }) => index)
  // Every block of eight is due, and of a larger catalogue every other.
  expect(dueOf(80, 5, 11)).toEqual([5, 6, 7, 8, 9, 10])
  expect(dueOf(81, 0, 5)).toEqual([0, 1, 2, 3, 4])
  expect(dueOf(81, 5, 13)).toEqual([])
  expect(dueOf(81, 6, 9)).toEqual([6, 7])
  expect(dueOf(81, 12, 20)).toEqual([16, 17, 18, 19])
})

test('cohorts overlap as they should', async () => {
  const learner = await Learner.create(
    trainerModel({ evaluation: { everyNth: 1, warmupEvents: 0, windowExamples: 50 } }),
  )
  for (const event of shopEvents(500)) {
    learner.apply(event)
    if (learner.isFull) await learner.trainBatch()
  }
  const { cohorts, progressive, window } = learner.evaluation()
  const hours = learner.evaluationHours()
  await learner.close()
  expect(cohorts.newItem.evaluated).toBeGreaterThan(20)
  expect(cohorts.newUser.evaluated).toBeLessThanOrEqual(cohorts.cold.evaluated)
  expect(cohorts.warm.evaluated + cohorts.cold.evaluated).toBeLessThanOrEqual(progressive.evaluated)
  expect(cohorts.fresh.evaluated).toBeGreaterThan(0)
  expect(window.model.evaluated).toBe(50)
  const ranked = hours.reduce((sum, { model }) => sum + model.evaluated, 0)
  expect(ranked).toBe(progressive.evaluated)
  const found = hours.reduce((sum, { model }) => sum + model.hr10 * model.evaluated, 0)
  expect(found / ranked).toBeCloseTo(progressive.hr10)
  expect(hours.every(({ loss }) => loss > 0)).toBe(true)
})
