/** An evaluation with parameters that come in deltas, beside one with the trainer's own. */
import { expect, test } from 'vitest'

import { Learner } from '../../src/trainer/learner.ts'
import type { TrainerModel } from '../../src/trainer/trainer-config.ts'
import { shopEvents, spec, textModel, trainerModel } from '../support/trainer.ts'

const evaluation = { everyNth: 2, warmupEvents: 300, windowExamples: 10 }

const evaluate = async (model: TrainerModel, deltaIntervalMs?: number) => {
  const learner = await Learner.create({ ...model, evaluation }, { deltaIntervalMs })
  for (const event of shopEvents(1500)) {
    learner.apply(event)
    if (learner.isFull) await learner.trainBatch()
  }
  const found = { report: learner.evaluation(), digest: await learner.digest() }
  await learner.close()
  return found
}

/** Tables that evict rows all the time, so that deltas have removals. */
const evicting = (): TrainerModel => {
  const model = trainerModel()
  const restrict = { policy: 'timestamp', numReserved: 12, trigger: 16 } as const
  const [read, item, ...others] = model.tables
  return {
    ...model,
    tables: [Object.assign(read, { restrict }), Object.assign(item, { restrict }), ...others],
  }
}

test.each([
  ['rows of their own', trainerModel()],
  ['text behind a layer', textModel()],
  ['rows that are evicted', evicting()],
  ['one table for both sides', { ...trainerModel(), spec: sharedTable() }],
])('%s: with a delta after every batch ranks are those of the trainer', async (_, model) => {
  const own = await evaluate(model)
  const late = await evaluate(model, 0)
  expect(own.report.progressive.evaluated).toBeGreaterThan(300)
  expect(late).toEqual(own)
})

test('late parameters rank worse and change nothing that is learned', async () => {
  const own = await evaluate(trainerModel())
  const never = await evaluate(trainerModel(), Number.MAX_VALUE)
  expect(never.digest).toBe(own.digest)
  expect(never.report.baselines).toEqual(own.report.baselines)
  expect(never.report.progressive.mrr10).toBeLessThan(own.report.progressive.mrr10)
})

/** What users had before is looked up where candidates are. */
function sharedTable(): TrainerModel['spec'] {
  const features = spec.query.features.map((feature) =>
    feature.kind === 'sequence' ? { ...feature, table: 'item' } : feature,
  )
  return { ...spec, query: { ...spec.query, features } }
}
