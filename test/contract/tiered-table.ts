/** What a table must do that has few of its rows in memory; run over every row store. */
import { expect, test } from 'vitest'

import { seededRandom, type Random } from '../../src/base/random.ts'
import { MemoryTable } from '../../src/embedding/memory/memory-table.ts'
import type { TableSpec } from '../../src/embedding/table-spec.ts'
import type { TieredTable } from '../../src/embedding/tiered/tiered-table.ts'
import { adagrad, step, tableSpec } from '../support/tables.ts'

const learning = { rate: 0.05, gradients: 'sum' } as const
const moments = { beta1: 0.9, beta2: 0.999, epsilon: 1e-7 }
const rmsprop = { rho: 0.9, momentum: 0.5, centered: true, epsilon: 1e-7 }
const ftrl = { initialAccumulator: 0.1, l1: 0.01, l2: 0.01, beta: 0 }

const base: TableSpec = tableSpec({
  dim: 5,
  capacityRows: 300,
  restrict: { policy: 'frequency', numReserved: 180, trigger: 250 },
})

/** A batch of distinct keys among 500, few of them often. */
function batchOf(random: Random, most: number): Uint32Array {
  const ids = new Set<number>()
  for (let i = 0; i < most; i += 1) ids.add(Math.floor(500 * random.next() ** 3))
  return Uint32Array.from([...ids].flatMap((id) => [id * 7919 + 1, id % 3]))
}

const floats = (random: Random, n: number): Float32Array =>
  Float32Array.from({ length: n }, () => random.next() - 0.5)

/** One operation on a table; what it answers. */
async function operate(table: MemoryTable | TieredTable, seed: number, n: number) {
  const { spec } = table
  const random = seededRandom(seed, n)
  const keys = batchOf(random, 40)
  const count = keys.length / 2
  const vectors = new Float32Array(count * spec.dim)
  const kind = random.integer(10)
  if (kind < 5) {
    await table.findOrInsert(keys, vectors, step(n))
    const occurrences = Uint32Array.from({ length: count }, () => 1 + random.integer(3))
    await table.applyGradients(keys, floats(random, vectors.length), occurrences, step(n))
  } else if (kind === 5) {
    await table.assign(keys, floats(random, vectors.length), step(n))
  } else if (kind === 6) {
    return table.erase(keys.subarray(0, 16))
  } else if (kind === 7) {
    const exists = Uint8Array.from({ length: count }, () => random.integer(2))
    const [oldVectors, newVectors] = [
      floats(random, vectors.length),
      floats(random, vectors.length),
    ]
    await table.accumulate(keys, { oldVectors, newVectors, exists }, step(n))
  } else if (kind === 8) {
    return table.restrict({ policy: 'frequency', numReserved: 150, trigger: 240 })
  } else {
    const present = new Uint8Array(count)
    await table.find(keys, vectors, present)
    return [vectors, present]
  }
  return vectors
}

const rowsOf = async (table: MemoryTable | TieredTable): Promise<Map<string, number[]>> => {
  const { spec } = table
  const rows = new Map<string, number[]>()
  for await (const { keys, vectors } of table.export()) {
    for (let i = 0; i < keys.length / 2; i += 1) {
      const vector = vectors.subarray(i * spec.dim, (i + 1) * spec.dim)
      rows.set(`${keys[2 * i]},${keys[2 * i + 1]}`, [...vector])
    }
  }
  return rows
}

/** Every optimizer of rows, with and without a longest length. */
const kinds: readonly (readonly [string, Partial<TableSpec>])[] = [
  ['adagrad', {}],
  ['sgd', { optimizer: { kind: 'sgd', rate: 0.1, gradients: 'sum' } }],
  ['momentum', { optimizer: { ...learning, kind: 'momentum', momentum: 0.9, nesterov: true } }],
  ['adagradDecay', { optimizer: { ...adagrad, kind: 'adagradDecay', decay: 0.7, decaySteps: 5 } }],
  ['adam', { optimizer: { ...learning, ...moments, kind: 'adam' } }],
  ['adam, maxNorm', { optimizer: { ...learning, ...moments, kind: 'adam' }, maxNorm: 0.6 }],
  ['lazyAdam', { optimizer: { ...learning, ...moments, kind: 'lazyAdam' } }],
  ['rmsprop', { optimizer: { ...learning, ...rmsprop, kind: 'rmsprop' } }],
  ['ftrl, maxNorm', { optimizer: { ...learning, ...ftrl, kind: 'ftrl' }, maxNorm: 0.6 }],
]

/**
 * What a table must do whose rows are not all in memory, beyond the contract of tables: be like one
 * in memory, bit for bit, through sequences of all verbs.
 */
export function testTieredTable(
  open: (spec: TableSpec, memoryRows: number) => Promise<TieredTable>,
  turns: number,
): void {
  test.each(kinds)('%s: all verbs answer as those of a table in memory', async (_, changes) => {
    const spec = { ...base, ...changes }
    const seed = kinds.findIndex(([, some]) => some === changes) + 1
    const memory = new MemoryTable(spec)
    const table = await open(spec, 48 + 8 * seed)
    for (let n = 1; n <= turns; n += 1) {
      expect(await operate(table, seed, n)).toEqual(await operate(memory, seed, n))
      expect(table.size).toBe(memory.size)
      if (n % 10 !== 0) continue
      expect(await table.digest()).toBe(memory.digest())
      expect(table.takeChanges()).toEqual(memory.takeChanges())
    }
    expect(await rowsOf(table)).toEqual(await rowsOf(memory))
    const { rows, admitted, refused, evicted } = memory.stats()
    expect(table.stats()).toMatchObject({ rows, admitted, refused, evicted })
    const { tier } = table.stats()
    expect(tier.fetched).toBeGreaterThan(0.6 * turns)
    expect(tier.flushes).toBeGreaterThan(turns / 30)
    expect(tier.cachedRows).toBeLessThanOrEqual(tier.memoryRows)
  })

  test('rows past their time to live leave as they do in memory, without being read', async () => {
    const restrict = { policy: 'timestamp', numReserved: 250, trigger: 280, ttlMs: 5_000 } as const
    const spec = { ...base, restrict }
    const memory = new MemoryTable(spec)
    const table = await open(spec, 60)
    let removed = 0
    for (let n = 1; n <= 40; n += 1) {
      const keys = batchOf(seededRandom(7, n), 20)
      const vectors = new Float32Array((keys.length / 2) * spec.dim)
      for (const one of [memory, table]) await one.findOrInsert(keys, vectors, step(n))
      const { fetched } = table.stats().tier
      const gone = table.restrictSome(restrict)
      expect(gone).toEqual(memory.restrictSome(restrict))
      expect(table.stats().tier.fetched).toBe(fetched)
      removed += gone.length / 2
    }
    expect(removed).toBeGreaterThan(100)
    expect(await table.digest()).toBe(memory.digest())
  })
}
