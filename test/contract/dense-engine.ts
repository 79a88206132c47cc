/**
 * What every dense engine must do, seen through the model that it computes. An engine's test calls
 * this with a way to make a model on it; the gradients of the built-in one are held to slopes in
 * gradients.test.ts, those of others to the built-in one's.
 */
import { expect, test } from 'vitest'

import type { LayerSpec, ModelSpec } from '../../src/model/spec.ts'
import type { StepBatch, StepResult } from '../../src/model/step-batch.ts'
import type { TwoTower, TwoTowerOptions } from '../../src/model/two-tower.ts'
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
} from '../model/fixtures.ts'

export type MakeModel = (spec: ModelSpec, options: TwoTowerOptions) => Promise<TwoTower>

const queries = 9
const columns = 11
const items = someItems(columns)
const people = someQueries(queries, items)

const withLoss = (spec: ModelSpec, loss: Partial<ModelSpec['loss']>): ModelSpec => ({
  ...spec,
  loss: { ...spec.loss, ...loss },
})

const dropped = (rate: number): LayerSpec => ({ kind: 'dropout', rate })

function droppedSpec(): ModelSpec {
  const spec = mixedSpec()
  const dense = { kind: 'dense', units: 6, activation: 'tanh' } as const
  return {
    ...spec,
    query: { ...spec.query, layers: [dropped(0.2), dense, dropped(0.6)] },
    candidate: { ...spec.candidate, layers: [dense, dropped(0.4), dense] },
  }
}

/** Every layer, feature and loss that there is. */
export const engineSpecs: readonly (readonly [string, ModelSpec])[] = [
  ['the stream recipe', streamSpec()],
  ['every kind of feature and layer', mixedSpec()],
  ['cross layers, layer norm, tanh', crossSpec()],
  ['dropout', droppedSpec()],
  ['ids alone with a penalty', plainSpec(5, { l2: 0.1 })],
  ['ids alone, three hard negatives', plainSpec(5, { hardNegatives: 3 })],
  ['ids alone, more hard negatives than columns', plainSpec(5, { hardNegatives: 99 })],
  ['ids alone, sigmoid', plainSpec(5, { kind: 'sigmoid' })],
  ['ids alone, sigmoid of two hard negatives', plainSpec(5, { kind: 'sigmoid', hardNegatives: 2 })],
  ['ids alone, BPR of two hard negatives', plainSpec(5, { kind: 'bpr', hardNegatives: 2 })],
  ['the stream recipe by BPR', withLoss(streamSpec(), { kind: 'bpr' })],
  ['several heads of a query', headsSpec()],
  ['several heads, three hard negatives', withLoss(headsSpec(), { hardNegatives: 3 })],
  ['queries that are the same', repeatedSpec()],
  ['the sum of a batch', withLoss(streamSpec(), { reduction: 'sum' })],
  ['several heads by BPR', withLoss(headsSpec(), { kind: 'bpr' })],
]

export interface Stepped {
  readonly model: TwoTower
  readonly result: StepResult
  /** Of all rows, table by table. */
  readonly gradients: readonly Float32Array[]
  readonly tables: readonly string[]
}

/** A step on everything at random, the zero starts too. */
export async function stepped(
  make: MakeModel,
  spec: ModelSpec,
  batch: StepBatch = someBatch(queries, columns),
): Promise<Stepped> {
  const model = await make(spec, limits(queries, columns))
  model.load(model.weights().map((value, i) => value + Math.sin(i + 1) / 4))
  return step(model, batch)
}

function step(model: TwoTower, batch: StepBatch): Stepped {
  const lookups = model.prepareStep(people, items)
  fillRows(lookups)
  const result = model.step(batch)
  const gradients = lookups.map((lookup) => lookup.gradients.slice())
  return { model, result, gradients, tables: lookups.map(({ table }) => table) }
}

function embedded(model: TwoTower): { q: Float32Array; c: Float32Array } {
  fillRows(model.prepareQueries(people))
  const q = model.embedQueries().slice()
  fillRows(model.prepareItems(items))
  return { q, c: model.embedItems().slice() }
}

/** The largest difference, relative above 1. */
export function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length)
  let most = 0
  for (let i = 0; i < a.length; i += 1) {
    const difference = Math.abs(a[i] - b[i]) / Math.max(1, Math.abs(b[i]))
    // Also what is no number is a difference.
    if (!(difference <= most)) most = difference
  }
  return most
}

const numbers = ({ result }: Stepped): readonly number[] => {
  const { loss, weight, gradientNorm, rowGradientNorm } = result
  return [loss, weight, gradientNorm, rowGradientNorm]
}

const withState = { optimizerState: true }

/** `makeOther`: models on another engine, with which this one agrees. */
export function denseEngineContract(make: MakeModel, makeOther: MakeModel): void {
  test.each(engineSpecs)('a step is the other engine’s: %s', async (_, spec) => {
    const mine = await stepped(make, spec)
    const other = await stepped(makeOther, spec)
    for (const [i, gradients] of mine.gradients.entries()) {
      expect(distance(gradients, other.gradients[i])).toBeLessThan(1e-4)
    }
    expect(distance(numbers(mine), numbers(other))).toBeLessThan(1e-4)
    mine.model.update()
    other.model.update()
    const weights = mine.model.weights(withState)
    expect(distance(weights, other.model.weights(withState))).toBeLessThan(1e-4)
    await Promise.all([mine.model.close(), other.model.close()])
  })

  test.each(engineSpecs)('queries that go ahead change no bit of a step: %s', async (_, spec) => {
    const whole = await stepped(make, spec)
    const model = await make(spec, limits(queries, columns))
    model.load(whole.model.weights())
    // What was begun and is not wanted leaves nothing.
    fillRows(model.prepareStepQueries(people.slice(0, 4)))
    model.beginQueries()
    const ofQueries = model.prepareStepQueries(people)
    fillRows(ofQueries)
    model.beginQueries()
    const ofCandidates = model.prepareStepCandidates(items)
    fillRows(ofCandidates)
    const result = model.step(someBatch(queries, columns))
    const parts = [...ofQueries, ...ofCandidates]
    expect(new Set(parts.map(({ table }) => table))).toEqual(new Set(whole.tables))
    for (const { table, gradients } of parts) {
      expect(gradients).toEqual(whole.gradients[whole.tables.indexOf(table)])
    }
    expect(result).toEqual(whole.result)
    await Promise.all([model.close(), whole.model.close()])
  })

  test.each([
    ['one head', streamSpec()],
    ['several', headsSpec()],
  ])('pairs are pushed apart as by the other engine: %s', async (_, spec) => {
    const pushes = {
      pairs: Int32Array.of(0, 3, 4, 3, 4, 7, 8, 1),
      weights: Float32Array.of(1, 0.5, 2, 1),
    }
    const batch = { ...someBatch(queries, columns), pushes }
    const mine = await stepped(make, spec, batch)
    const other = await stepped(makeOther, spec, batch)
    for (const [i, gradients] of mine.gradients.entries()) {
      expect(distance(gradients, other.gradients[i])).toBeLessThan(1e-4)
    }
    expect(distance(numbers(mine), numbers(other))).toBeLessThan(1e-4)
    const without = await stepped(make, spec)
    expect(distance(mine.gradients[0], without.gradients[0])).toBeGreaterThan(1e-3)
    await Promise.all([mine, other, without].map(({ model }) => model.close()))
  })

  test('of equal heads the first learns', async () => {
    const declared = headsSpec()
    const spec = { ...declared, query: { ...declared.query, normalize: false } }
    const learn = async (from: MakeModel): Promise<Float32Array> => {
      const model = await from(spec, limits(queries, columns))
      await using _ = closing(model)
      model.load(model.weights().fill(0))
      step(model, someBatch(queries, columns))
      model.update()
      return model.weights()
    }
    const [mine, other] = [await learn(make), await learn(makeOther)]
    expect(distance(mine, other)).toBeLessThan(1e-4)
    // The last layer's weights by the second and the third head, and its bias.
    const ofThirds = [0, 1, 2].map((head) =>
      mine
        .slice(-24)
        .subarray(8 * head, 8 * head + 8)
        .some((value) => value !== 0),
    )
    expect(ofThirds).toEqual([true, false, false])
  })

  // What columns are corrected by is 0 to 3.
  test.each([0, 3, -3, -20, -200])(
    'nothing is masked, and own positives are corrected by %d: a step is the other engine’s',
    async (correction) => {
      const targetCorrections = new Float32Array(queries).fill(correction)
      const masked = new Int32Array(0)
      const batch = { ...someBatch(queries, columns), targetCorrections, masked }
      const mine = await stepped(make, streamSpec(), batch)
      const other = await stepped(makeOther, streamSpec(), batch)
      for (const [i, gradients] of mine.gradients.entries()) {
        expect(distance(gradients, other.gradients[i])).toBeLessThan(1e-4)
      }
      expect(distance(numbers(mine), numbers(other))).toBeLessThan(1e-4)
      await Promise.all([mine, other].map(({ model }) => model.close()))
    },
  )

  test('a step changes no weights, an update does, and only once', async () => {
    const { model } = await stepped(make, mixedSpec())
    await using _ = closing(model)
    const before = model.weights(withState)
    step(model, someBatch(queries, columns))
    expect(model.weights(withState)).toEqual(before)
    model.update()
    const after = model.weights(withState)
    expect(after).not.toEqual(before)
    model.update()
    expect(model.weights(withState)).toEqual(after)
  })

  test('where no query has a target nothing is learned', async () => {
    const batch = someBatch(queries, columns)
    const targets = new Int32Array(queries).fill(-1)
    const empty = new Int32Array(0)
    const given = { ...batch, targets, pulls: empty, masked: empty }
    const { model, result, gradients } = await stepped(make, mixedSpec(), given)
    await using _ = closing(model)
    expect([result.loss, result.weight, result.gradientNorm]).toEqual([0, 0, 0])
    expect(gradients.every((all) => all.every((value) => value === 0))).toBe(true)
  })

  test('a loss beyond what a probability can say is a number', async () => {
    const batch = someBatch(queries, columns)
    const targetCorrections = new Float32Array(queries).fill(-200)
    const given = { ...batch, targetCorrections }
    const { model, result } = await stepped(make, plainSpec(5), given)
    await using _ = closing(model)
    expect(result.loss).toBeGreaterThan(190)
    expect(result.loss).toBeLessThan(220)
  })

  test('what is not a number shows in the result and reaches no weight', async () => {
    const { model } = await stepped(make, mixedSpec())
    await using _ = closing(model)
    const before = model.weights(withState)
    const lookups = model.prepareStep(people, items)
    for (const { rows } of lookups) rows.fill(NaN)
    const { loss, gradientNorm } = model.step(someBatch(queries, columns))
    expect([Number.isFinite(loss), Number.isFinite(gradientNorm)]).toEqual([false, false])
    expect(model.weights(withState)).toEqual(before)
  })

  test('training goes on from what was saved, on either engine', async () => {
    const { model } = await stepped(make, crossSpec())
    model.update()
    const saved = model.weights(withState)
    const learn = async (from: MakeModel): Promise<Float32Array> => {
      const again = await from(crossSpec(), limits(queries, columns))
      await using _ = closing(again)
      again.load(saved)
      step(again, someBatch(queries, columns, 2))
      again.update()
      return again.weights(withState)
    }
    step(model, someBatch(queries, columns, 2))
    model.update()
    const straight = model.weights(withState)
    expect(distance(await learn(make), straight)).toBeLessThan(1e-6)
    expect(distance(await learn(makeOther), straight)).toBeLessThan(1e-4)
    await model.close()
  })

  const embeddedSpecs = engineSpecs.filter(([, { query }], i) => i < 3 || query.heads !== undefined)

  test.each(embeddedSpecs)('vectors are the other engine’s: %s', async (_, spec) => {
    const [mine, other] = [
      await make(spec, limits(queries, columns)),
      await makeOther(spec, limits(queries, columns)),
    ]
    expect(mine.weights()).toEqual(other.weights())
    const [a, b] = [embedded(mine), embedded(other)]
    expect(distance(a.q, b.q)).toBeLessThan(1e-5)
    expect(distance(a.c, b.c)).toBeLessThan(1e-5)
    fillRows(mine.prepareQueries(people.slice(0, 2)))
    const few = mine.embedQueries().slice()
    expect(distance(few, a.q.subarray(0, few.length))).toBeLessThan(1e-6)
    await Promise.all([mine.close(), other.close()])
  })

  test('an array shorter than its batch is a programmer’s error', async () => {
    const { model } = await stepped(make, mixedSpec())
    await using _ = closing(model)
    model.prepareStep(people, items)
    expect(() => model.step(someBatch(queries - 1, columns))).toThrow('as long as the batch')
  })
}

const closing = (model: TwoTower): AsyncDisposable => ({
  [Symbol.asyncDispose]: () => model.close(),
})
