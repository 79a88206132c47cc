import { expect, test } from 'vitest'

import { seededRandom } from '../../src/base/random.ts'
import { Arena } from '../../src/kernels/arena.ts'
import { ThreadPool } from '../../src/kernels/thread-pool.ts'
import { planModel } from '../../src/model/plan.ts'
import { layOutEngine, WasmEngine } from '../../src/model/wasm-engine.ts'
import { mixedSpec, someBatch } from './fixtures.ts'

const limits = { maxQueries: 6, maxItems: 7 }

async function made() {
  const plan = planModel(mixedSpec())
  const arena = new Arena(1 << 24)
  const memory = layOutEngine(arena, plan, limits)
  const pool = await ThreadPool.create(arena, { threads: 1 })
  const { query, candidate } = memory
  return { engine: new WasmEngine(memory, pool, plan), query, candidate, plan }
}

const random = seededRandom(1)
const matrix = (floats: number): Float32Array =>
  Float32Array.from({ length: floats }, () => random.normal())

test('inputs from anywhere give what inputs in the engine’s memory give', async () => {
  const { engine, query, candidate, plan } = await made()
  const queries = matrix(6 * plan.query.width)
  const candidates = matrix(7 * plan.candidate.width)
  const rest = {
    ...someBatch(6, 7),
    batch: 6,
    columns: 7,
    popularityWeights: new Float32Array(0),
    pull: 1,
    temperature: 1,
    l2: 0,
  }
  const copied = engine.step({ ...rest, queries, candidates })
  const first = [copied.loss, ...copied.queryGradients, ...copied.candidateGradients]
  query.input.view.set(queries)
  candidate.input.view.set(candidates)
  const inputs = { queries: query.input.view, candidates: candidate.input.view }
  const placed = engine.step({ ...rest, ...inputs })
  expect([placed.loss, ...placed.queryGradients, ...placed.candidateGradients]).toEqual(first)
  expect(engine.kind).toBe('wasm')
})

test('an array shorter than its batch is a programmer’s error', async () => {
  const { engine, plan } = await made()
  const batch = { ...someBatch(5, 7), batch: 6, columns: 7 }
  const step = () =>
    engine.step({
      ...batch,
      queries: matrix(6 * plan.query.width),
      candidates: matrix(7 * plan.candidate.width),
      popularityWeights: new Float32Array(0),
      pull: 0,
      temperature: 1,
      l2: 0,
    })
  expect(step).toThrow('as long as the batch')
})
