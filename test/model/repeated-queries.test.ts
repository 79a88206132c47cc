import { expect, test } from 'vitest'

import { seededRandom } from '../../src/base/random.ts'
import { Arena } from '../../src/kernels/arena.ts'
import { KeyDeduper } from '../../src/kernels/key-deduper.ts'
import { KeyHasher } from '../../src/kernels/key-hasher.ts'
import { ThreadPool } from '../../src/kernels/thread-pool.ts'
import { QueryEncoder } from '../../src/model/encoder.ts'
import type { QueryInput } from '../../src/model/inputs.ts'
import { ItemKeys } from '../../src/model/item-keys.ts'
import { layOutModel } from '../../src/model/memory-layout.ts'
import { planModel } from '../../src/model/plan.ts'
import { mayRepeat, RepeatedQueries } from '../../src/model/repeated-queries.ts'
import type { FeatureSpec, ModelSpec } from '../../src/model/spec.ts'
import { WasmEngine } from '../../src/model/wasm-engine.ts'
import { mixedSpec, repeatedSpec, someBatch } from './fixtures.ts'

const most = 40

/** Tastes, which are of several keys, and an age, which is of none. */
const features: readonly FeatureSpec[] = [
  { kind: 'id', name: 'user', table: 'users' },
  { kind: 'categories', name: 'tastes', field: 'tastes', table: 'device', combine: 'sum' },
  { kind: 'numeric', name: 'age', field: 'age', transform: 'linear', offset: 0, scale: 1 },
]

const withFeatures = (spec: ModelSpec, query: readonly FeatureSpec[]): ModelSpec => ({
  ...spec,
  query: { ...spec.query, features: query },
})

const tried = (spec: ModelSpec): boolean => mayRepeat(planModel(spec).query, spec.query)

function someoneOf(seed: number): QueryInput[] {
  const random = seededRandom(seed)
  const tastes = [[], ['a'], ['a', 'b'], ['b', 'a'], ['b']]
  return Array.from({ length: most }, (_, b) => ({
    userId: random.next() < 0.2 ? undefined : `user ${random.integer(4)}`,
    userFeatures: {
      tastes: tastes[random.integer(tastes.length)],
      ...(random.next() < 0.5 ? { age: random.integer(2) } : {}),
    },
    history: [],
    context: {},
    timestamp: b,
  }))
}

function prepared(people: readonly QueryInput[]) {
  const spec = withFeatures(repeatedSpec(), features)
  const plan = planModel(spec)
  const { query, lookups } = layOutModel(new Arena(1 << 22), plan, {
    maxQueries: most,
    maxItems: 1,
  })
  const hasher = new KeyHasher({ maxKeys: 100 * most })
  const itemKeys = new ItemKeys(plan.candidate, spec.seed, hasher)
  const encoder = new QueryEncoder([query], { hasher, itemKeys, modelSeed: spec.seed }, most)
  for (const lookup of lookups) lookup.begin()
  encoder.encode(people)
  const deduper = new KeyDeduper({ maxKeys: 100 * most })
  for (const lookup of lookups) lookup.dedupe(deduper)
  return {
    repeated: new RepeatedQueries(query, most),
    width: query.plan.width,
    inputs: query.inputs,
  }
}

test.each([1, 2, 3])('queries share a row where nothing tells them apart: seed %d', (seed) => {
  const people = someoneOf(seed)
  const { repeated, inputs } = prepared(people)
  repeated.share(inputs, people.length)
  const named = people.map(({ userId, userFeatures }) => JSON.stringify([userId, userFeatures]))
  const rows = [...new Set(named)]
  expect(repeated.rows).toBe(rows.length)
  expect(repeated.rows).toBeLessThan(most)
  expect([...repeated.rowOf]).toEqual(named.map((name) => rows.indexOf(name)))
})

test('rows are gathered in front, and their gradients go back to the first of each', () => {
  const people = someoneOf(4)
  const { repeated, width } = prepared(people)
  // Each query's inputs are its own number, wherever they come to lie.
  const values = Float32Array.from({ length: most * width }, (_, i) => Math.floor(i / width))
  expect(repeated.share(values, people.length)).toBe(repeated)
  const { rows } = repeated
  const rowOf = [...repeated.rowOf]
  const front = Array.from({ length: rows * width }, (_, i) => {
    return rowOf.indexOf(Math.floor(i / width))
  })
  expect([...values.subarray(0, rows * width)]).toEqual(front)
  const gradients = values.map((_, i) => Math.floor(i / width) + 1)
  repeated.spread(gradients)
  const expected = rowOf.flatMap((row, b) =>
    Array.from({ length: width }, () => (rowOf.indexOf(row) === b ? row + 1 : 0)),
  )
  expect([...gradients]).toEqual(expected)
})

test('queries that all differ keep their rows', () => {
  const { repeated } = prepared(someoneOf(5))
  const before = Float32Array.of(1, 2, 3)
  const inputs = before.slice()
  expect(repeated.share(inputs, 1)).toBe(undefined)
  expect(inputs).toEqual(before)
})

test('they are looked for where neither history, nor time, nor chance tells them apart', () => {
  const spec = withFeatures(repeatedSpec(), features)
  const time: FeatureSpec = { kind: 'time', name: 'hour', periodsMs: [86_400_000], harmonics: 1 }
  const dropout = { kind: 'dropout', rate: 0.5 } as const
  const dropped = { ...spec, query: { ...spec.query, layers: [dropout, ...spec.query.layers] } }
  expect(tried(spec)).toBe(true)
  expect(tried(mixedSpec())).toBe(false)
  expect(tried(withFeatures(spec, [...features, time]))).toBe(false)
  expect(tried(withFeatures(spec, [...features, { ...time, field: 'born' }]))).toBe(true)
  expect(tried(dropped)).toBe(false)
})

test('a step on shared rows is the step on a row for each query', async () => {
  const [batch, columns, rows] = [9, 11, 3]
  const plan = planModel(repeatedSpec())
  const arena = new Arena(1 << 22)
  const memory = layOutModel(arena, plan, { maxQueries: batch, maxItems: columns })
  const pool = await ThreadPool.create(arena, { threads: 1 })
  if (memory.engine === undefined) throw new Error('the built-in engine has its memory here')
  const engine = new WasmEngine(memory.engine, pool, plan)
  const random = seededRandom(1)
  const matrix = (n: number, width: number): Float32Array =>
    Float32Array.from({ length: n * width }, () => random.normal())
  const { width } = plan.query
  const few = matrix(rows, width)
  const candidates = matrix(columns, plan.candidate.width)
  const rowOf = Int32Array.from({ length: batch }, (_, b) => (b * b) % rows)
  const each = Float32Array.from({ length: batch * width }, (_, i) => {
    return few[rowOf[Math.floor(i / width)] * width + (i % width)]
  })
  const rest = {
    ...someBatch(batch, columns),
    batch,
    columns,
    candidates,
    popularityWeights: new Float32Array(0),
    pull: 1,
    temperature: 0.5,
    l2: 0.1,
  }
  const own = engine.step({ ...rest, queries: each })
  const expected = {
    loss: own.loss,
    candidates: own.candidateGradients.slice(0, candidates.length),
    squared: own.squaredGradient(),
    queries: new Float64Array(rows * width),
  }
  for (let i = 0; i < each.length; i += 1) {
    const at = rowOf[Math.floor(i / width)] * width + (i % width)
    expected.queries[at] += own.queryGradients[i]
  }
  const step = engine.step({ ...rest, queries: few, shared: { rows, rowOf } })
  expect(step.loss).toBe(expected.loss)
  expect(step.candidateGradients.slice(0, candidates.length)).toEqual(expected.candidates)
  expect(step.squaredGradient()).toBeCloseTo(expected.squared, 5)
  for (const [i, gradient] of expected.queries.entries()) {
    expect(step.queryGradients[i]).toBeCloseTo(gradient, 5)
  }
  await pool.close()
})
