import { expect, test, vi } from 'vitest'

import type { ItemInput, QueryInput } from '../../src/model/inputs.ts'
import type { ModelSpec } from '../../src/model/spec.ts'
import type { Lookup } from '../../src/model/table-lookup.ts'
import { TwoTower, type StepStage, type TwoTowerOptions } from '../../src/model/two-tower.ts'
import {
  fillRows,
  limits,
  mixedSpec,
  plainSpec,
  someBatch,
  someItems,
  someQueries,
  streamSpec,
  weightedSpec,
} from './fixtures.ts'
import { keyText, learnedFrom, Twin } from './twin.ts'

// Threads on a machine that has other work.
vi.setConfig({ testTimeout: 30_000 })

const specs: [string, ModelSpec][] = [
  ['the stream recipe', streamSpec()],
  ['every kind of feature and layer', mixedSpec()],
  ['histories weighted in every way, vectors, times', weightedSpec()],
]

/** What a step needs, queries first, and their tower begun. */
function prepareAhead(
  model: TwoTower,
  queries: readonly QueryInput[],
  items: readonly ItemInput[],
): readonly Lookup[] {
  const ofQueries = model.prepareStepQueries(queries)
  fillRows(ofQueries)
  model.beginQueries()
  return [...ofQueries, ...model.prepareStepCandidates(items)]
}

/** Some steps of training on rows that stay as they are: everything that comes out of them. */
async function trained(
  spec: ModelSpec,
  options: TwoTowerOptions,
  { steps = 3, isAhead = false }: { readonly steps?: number; readonly isAhead?: boolean } = {},
): Promise<unknown[]> {
  const model = await TwoTower.create(spec, options)
  const items = someItems(options.maxItems)
  const outcome: unknown[] = []
  for (let step = 0; step < steps; step += 1) {
    const queries = someQueries(options.maxQueries - step, items, step)
    const columns = items.slice(step)
    const lookups = isAhead
      ? prepareAhead(model, queries, columns)
      : model.prepareStep(queries, columns)
    fillRows(lookups)
    outcome.push(model.step(someBatch(queries.length, columns.length, step)))
    const named = lookups.map(({ table, gradients }) => [table, Array.from(gradients)] as const)
    outcome.push(Object.fromEntries(named))
    model.update()
  }
  outcome.push([...model.weights({ optimizerState: true })])
  await model.close()
  return outcome
}

test.each(specs)('wasm and its reference give the same bits: %s', async (_, spec) => {
  const reference = await trained(spec, { ...limits(11, 13), implementation: 'reference' })
  expect(await trained(spec, limits(11, 13))).toEqual(reference)
})

test.each(specs)('the number of threads leaves no trace: %s', async (_, spec) => {
  const steps = 2
  const limit = limits(301, 260)
  const alone = await trained(spec, limit, { steps })
  expect(await trained(spec, { ...limit, threads: 2 }, { steps, isAhead: true })).toEqual(alone)
  expect(await trained(spec, { ...limit, threads: 3 }, { steps })).toEqual(alone)
})

test.each(specs)(
  'a model that was saved between two steps goes on to the same bits: %s',
  async (_, spec) => {
    const items = someItems(10)
    const step = (model: TwoTower, seed: number): void => {
      const queries = someQueries(8, items, seed)
      fillRows(model.prepareStep(queries, items))
      model.step(someBatch(8, 10, seed))
      model.update()
    }
    const first = await TwoTower.create(spec, limits(8, 10))
    step(first, 1)
    const saved = first.weights({ optimizerState: true })
    step(first, 2)
    const second = await TwoTower.create({ ...spec, seed: spec.seed }, limits(20, 20))
    second.load(saved)
    step(second, 2)
    const state = { optimizerState: true }
    expect(second.weights(state)).toEqual(first.weights(state))
    expect(first.weights(state)).not.toEqual(saved)
  },
)

test('weights alone are taken with a fresh optimizer; others are refused', async () => {
  const model = await TwoTower.create(streamSpec(), limits(4, 4))
  const fresh = model.weights({ optimizerState: true })
  const weights = model.weights()
  expect(fresh.subarray(0, weights.length)).toEqual(weights)
  model.load(weights.map((value) => value + 1))
  expect(model.weights()).toEqual(weights.map((value) => value + 1))
  expect(model.weights({ optimizerState: true }).subarray(weights.length)).toEqual(
    fresh.subarray(weights.length),
  )
  expect(() => model.load(weights.subarray(1))).toThrow(
    expect.objectContaining({ code: 'WEIGHTS_INVALID' }),
  )
})

test('step moves no weight, update does, once', async () => {
  const items = someItems(6)
  const model = await TwoTower.create(streamSpec(), limits(5, 6))
  fillRows(model.prepareStep(someQueries(5, items), items))
  const before = model.weights()
  model.step(someBatch(5, 6))
  expect(model.weights()).toEqual(before)
  model.update()
  const after = model.weights()
  expect(after).not.toEqual(before)
  model.update()
  expect(model.weights()).toEqual(after)
})

test.each(specs)('embeddings score as the loss does: %s', async (_, spec) => {
  const items = someItems(9)
  const queries = someQueries(7, items)
  const model = await TwoTower.create(spec, limits(7, 9))
  const popularity = Float32Array.from(items, (_item, j) => j / 3)
  const lookups = model.prepareStep(queries, items)
  fillRows(lookups)
  const learned = learnedFrom(lookups, model.weights())
  const expected = new Twin(spec, queries, items).scores(learned, popularity)

  fillRows(model.prepareQueries(queries))
  const q = Float32Array.from(model.embedQueries())
  fillRows(model.prepareItems(items))
  const v = Float32Array.from(model.embedItems(popularity))
  const width = model.outputDim
  expect(width).toBe(spec.dim + (spec.score.popularity === undefined ? 0 : 1))
  for (const [b, line] of expected.entries()) {
    for (const [j, score] of line.entries()) {
      let sum = 0
      for (let k = 0; k < width; k += 1) sum += q[b * width + k] * v[j * width + k]
      expect(sum).toBeCloseTo(score, 4)
    }
  }
})

test('an embedding depends neither on its neighbours nor on the number of threads', async () => {
  const items = someItems(300)
  const one = await TwoTower.create(mixedSpec(), limits(1, 1))
  const many = await TwoTower.create(mixedSpec(), { ...limits(1, 300), threads: 2 })
  fillRows(many.prepareItems(items))
  const together = Float32Array.from(many.embedItems())
  for (const i of [0, 1, 299]) {
    fillRows(one.prepareItems([items[i]]))
    expect(one.embedItems()).toEqual(together.subarray(i * 6, (i + 1) * 6))
  }
  await many.close()
})

const keysOf = (lookups: readonly Lookup[], table: string): string[] => {
  const keys = lookups.find((lookup) => lookup.table === table)?.keys ?? new Uint32Array(0)
  return Array.from({ length: keys.length / 2 }, (_, i) => keyText(keys, i))
}

const queryOf = (userId: string | undefined): QueryInput => ({
  userId,
  userFeatures: {},
  history: [],
  context: {},
  timestamp: 5,
})

test('a lookup names each key once, with how often it occurs', async () => {
  const [item] = someItems(1)
  const model = await TwoTower.create(plainSpec(2), limits(3, 2))
  const [users, items] = model.prepareStep([queryOf('a'), queryOf('b'), queryOf('a')], [item])
  expect(users).toMatchObject({ table: 'user', dim: 2, usedBy: 'query' })
  expect([...users.occurrences]).toEqual([2, 1])
  expect(users.rows.length).toBe(4)
  expect(users.gradients.length).toBe(4)
  expect(items).toMatchObject({ table: 'item', usedBy: 'candidate' })
  expect([...items.occurrences]).toEqual([1])
})

test('rows that both towers use are one lookup, and their gradients one sum', async () => {
  const model = await TwoTower.create(mixedSpec(), limits(3, 4))
  const items = someItems(4)
  const lookups = model.prepareStep(someQueries(3, items), items)
  expect(lookups.map(({ table, usedBy }) => [table, usedBy])).toEqual([
    ['items', 'both'],
    ['words', 'both'],
    ['genres', 'both'],
    ['users', 'both'],
  ])
})

test('a query without user, history and context needs the row of its gap alone', async () => {
  const model = await TwoTower.create(streamSpec(), limits(1, 1))
  const lookups = model.prepareQueries([queryOf(undefined)])
  expect(lookups.map(({ table, keys }) => [table, keys.length / 2])).toEqual([
    ['gap', 1],
    ['gap-weight', 1],
  ])
  fillRows(lookups)
  expect(model.embedQueries().every(Number.isFinite)).toBe(true)
})

test('an item’s keys are those that its vector needs; its rows those of its id', async () => {
  const model = await TwoTower.create(mixedSpec(), limits(2, 2))
  const [item] = someItems(1)
  const needed = model
    .prepareItems([item])
    .map(({ table }) => keysOf(model.prepareItems([item]), table))
  const keys = model.itemKeys(item).map((part) => {
    return Array.from({ length: part.keys.length / 2 }, (_, i) => keyText(part.keys, i))
  })
  expect(keys.filter((list) => list.length > 0)).toEqual(needed)
  const own = model.itemRows(item.id)
  expect(own.map(({ table }) => table)).toEqual(['items'])
  expect(keysOf(model.prepareItems([item]), 'items')).toEqual([keyText(own[0].keys, 0)])
})

test('what a deletion erases: the rows of the id, in every table that has them', async () => {
  const model = await TwoTower.create(streamSpec(), limits(2, 2))
  expect(model.userRows('u').map(({ table }) => table)).toEqual(['user'])
  expect(model.itemRows('i').map(({ table }) => table)).toEqual(['out', 'in'])
  expect(model.userRows('u')).toEqual(model.userRows('u'))
  expect(model.userRows('u')).not.toEqual(model.userRows('v'))
})

test('the keys of an item follow its revision', async () => {
  const model = await TwoTower.create(mixedSpec(), limits(1, 1))
  const [item] = someItems(1)
  const titled = (revision: number, title: string): ItemInput => ({
    ...item,
    revision,
    features: { title },
  })
  const words = (input: ItemInput): string[] => keysOf(model.prepareItems([input]), 'words')
  const before = words(titled(1, 'one two'))
  expect(before.length).toBe(3)
  expect(words(titled(1, 'not looked at'))).toEqual(before)
  expect(words(titled(2, 'two'))).toEqual([before[1]])
})

test('nothing to embed is no error', async () => {
  const model = await TwoTower.create(streamSpec(), limits(2, 2))
  expect(model.prepareQueries([])).toEqual([])
  expect(model.embedQueries()).toHaveLength(0)
  expect(model.prepareItems([])).toEqual([])
  expect(model.embedItems()).toHaveLength(0)
})

test('a target that is no column is refused', async () => {
  const items = someItems(2)
  const model = await TwoTower.create(plainSpec(2), limits(3, 2))
  fillRows(model.prepareStep(someQueries(3, items), items))
  const targets = Int32Array.of(0, 2, 1)
  expect(() => model.step({ ...someBatch(3, 2), targets })).toThrow('a column of the batch')
})

test('batches larger than what was reserved are refused', async () => {
  const model = await TwoTower.create(plainSpec(2), limits(2, 2))
  const items = someItems(3)
  expect(() => model.prepareItems(items)).toThrow('reserved')
  expect(() => model.prepareQueries(someQueries(3, items))).toThrow('reserved')
})

test('the stages of a step are told in their order', async () => {
  const stages: StepStage[] = []
  const items = someItems(3)
  const model = await TwoTower.create(plainSpec(2), {
    ...limits(2, 3),
    onStage: (stage) => stages.push(stage),
  })
  fillRows(model.prepareStep(someQueries(2, items), items))
  model.step(someBatch(2, 3))
  const changes = stages.filter((stage, i) => stage !== stages[i - 1])
  expect(changes).toEqual(['keys', 'idle', 'forward', 'loss', 'backward', 'idle'])
})

test('a candidate tower without dense weights is told apart', async () => {
  const plain = await TwoTower.create(streamSpec(), limits(1, 1))
  const layered = await TwoTower.create(mixedSpec(), limits(1, 1))
  expect([plain.candidateIsStatic, layered.candidateIsStatic]).toEqual([true, false])
})
