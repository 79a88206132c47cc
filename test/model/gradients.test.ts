import { expect, test, vi } from 'vitest'

import type { ModelSpec } from '../../src/model/spec.ts'
import type { StepBatch } from '../../src/model/step-batch.ts'
import type { Lookup } from '../../src/model/table-lookup.ts'
import { TwoTower } from '../../src/model/two-tower.ts'
import {
  crossSpec,
  fillRows,
  headsSpec,
  limits,
  mixedSpec,
  plainSpec,
  repeatedSpec,
  someBatch,
  someItems,
  someQueries,
  streamSpec,
  weightedSpec,
} from './fixtures.ts'
import { keyText, learnedFrom, Twin } from './twin.ts'

// Hundreds of slopes, each of the whole objective twice.
vi.setConfig({ testTimeout: 120_000 })

const queries = 9
const columns = 11

/**
 * A model with everything at random, the zero starts too, so that no gradient is zero by chance.
 */
async function stepped(spec: ModelSpec, batch: StepBatch) {
  const items = someItems(columns)
  const people = someQueries(queries, items)
  const model = await TwoTower.create(spec, limits(queries, columns))
  const weights = model.weights()
  for (const [i, value] of weights.entries()) weights[i] = value + Math.sin(i + 1) / 4
  model.load(weights)
  const lookups = model.prepareStep(people, items)
  fillRows(lookups)
  const result = model.step(batch)
  const learned = learnedFrom(lookups, weights)
  const twin = new Twin(spec, people, items)
  return { model, result, lookups, learned, twin, fixed: twin.outputs(learned).q }
}

/** The slope of the twin's objective along one learned number. */
function slope(
  { twin, learned, fixed }: Awaited<ReturnType<typeof stepped>>,
  batch: StepBatch,
  place: { readonly values: Float64Array; readonly index: number },
): number {
  const { values, index } = place
  const h = 1e-5
  const at = values[index]
  values[index] = at + h
  const above = twin.objective(learned, batch, fixed)
  values[index] = at - h
  const below = twin.objective(learned, batch, fixed)
  values[index] = at
  return (above - below) / (2 * h)
}

const pushes = { pairs: Int32Array.of(4, 2, 4, 3, 1, 3), weights: Float32Array.of(1, 0.5, 2) }

/** With pushes where the model knows them: from a query without a positive, and from another. */
const batchOf = ({ loss }: ModelSpec): StepBatch => ({
  ...someBatch(queries, columns),
  ...(loss.negativeTypes && { pushes }),
})

const divisorOf = (batch: StepBatch, spec: ModelSpec): number =>
  spec.loss.reduction === 'sum' ? 1 : weightOf(batch, spec)

const weightOf = (
  { weights, targets, pulls, pushes: pushed }: StepBatch,
  spec: ModelSpec,
): number =>
  (pushed?.weights ?? new Float32Array(0)).reduce((sum, weight) => sum + weight, 0) +
  weights.reduce((sum, weight, b) => sum + (targets[b] < 0 ? 0 : weight), 0) +
  (spec.loss.newItemPull > 0 ? pulls.length / 2 : 0)

const withLoss = (spec: ModelSpec, loss: Partial<ModelSpec['loss']>): ModelSpec => ({
  ...spec,
  loss: { ...spec.loss, ...loss },
})
const variants: [string, ModelSpec][] = [
  ['the stream recipe', streamSpec()],
  ['every kind of feature and layer', mixedSpec()],
  ['cross layers, layer norm, tanh', crossSpec()],
  ['histories weighted in every way, vectors, times', weightedSpec()],
  ['ids alone with a penalty', plainSpec(5, { l2: 0.1 })],
  ['ids alone, three hard negatives', plainSpec(5, { hardNegatives: 3 })],
  ['ids alone, sigmoid', plainSpec(5, { kind: 'sigmoid' })],
  ['ids alone, BPR of two hard negatives', plainSpec(5, { kind: 'bpr', hardNegatives: 2 })],
  ['what is disliked', withLoss(weightedSpec(), { negativeTypes: { dislike: 1 } })],
  ['several heads of a query', headsSpec(4)],
  ['queries that are the same', repeatedSpec()],
  ['the sum of a batch', withLoss(crossSpec(), { reduction: 'sum', negativeTypes: { skip: 1 } })],
  ['the stream recipe by BPR', withLoss(streamSpec(), { kind: 'bpr' })],
]

test.each(variants)('gradients of rows are the slopes of the objective: %s', async (_, spec) => {
  const batch = batchOf(spec)
  const subject = await stepped(spec, batch)
  const check = ({ table, keys, gradients, dim }: Lookup): void => {
    const mean = spec.tables.find(({ name }) => name === table)?.optimizer.gradients === 'mean'
    const factor = mean ? divisorOf(batch, spec) : 1
    for (let i = 0; i < gradients.length; i += 1) {
      const values = subject.learned.rows.get(table)!.get(keyText(keys, Math.floor(i / dim)))!
      const expected = slope(subject, batch, { values, index: i % dim }) / factor
      expect(Math.abs(gradients[i] - expected)).toBeLessThan(2e-4 * (1 + Math.abs(expected)))
    }
  }
  for (const lookup of subject.lookups) check(lookup)
  expect(subject.lookups.length).toBe(spec.tables.length)
})

test.each(variants)('dense weights move against the slopes of the mean: %s', async (_, given) => {
  // Adagrad from an accumulator of zero moves every weight by rate g / sqrt(g g + epsilon).
  const epsilon = 1e-2
  const spec: ModelSpec = {
    ...given,
    denseOptimizer: { kind: 'adagrad', rate: 1, initialAccumulator: 0, epsilon },
  }
  const batch = batchOf(spec)
  const subject = await stepped(spec, batch)
  const before = subject.model.weights()
  subject.model.update()
  const after = subject.model.weights()
  const divisor = divisorOf(batch, spec)
  let squares = 0
  for (let i = 0; i < before.length; i += 1) {
    const g = slope(subject, batch, { values: subject.learned.weights, index: i }) / divisor
    squares += g * g
    expect(Math.abs(before[i] - after[i] - g / Math.sqrt(g * g + epsilon))).toBeLessThan(3e-4)
  }
  expect(subject.result.gradientNorm).toBeCloseTo(Math.sqrt(squares), 4)
})

test.each(variants)('the loss is the weighted mean of the cross-entropy: %s', async (_, spec) => {
  const batch = batchOf(spec)
  const { twin, learned, result } = await stepped(spec, batch)
  const losses = twin.losses(learned, batch)
  const trained = losses.flatMap((loss, b) => (batch.targets[b] < 0 ? [] : [{ loss, b }]))
  const weight = trained.reduce((sum, { b }) => sum + batch.weights[b], 0)
  const sum = trained.reduce((total, { loss, b }) => total + loss * batch.weights[b], 0)
  expect(result.loss).toBeCloseTo(sum / weight, 5)
  expect(result.weight).toBeCloseTo(weight, 5)
})
