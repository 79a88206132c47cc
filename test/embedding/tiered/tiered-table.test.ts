import { describe, expect, test } from 'vitest'

import { seededRandom, type Random } from '../../../src/base/random.ts'
import { MemoryTable } from '../../../src/embedding/memory/memory-table.ts'
import type { TableSpec } from '../../../src/embedding/table-spec.ts'
import type { TieredTable } from '../../../src/embedding/tiered/tiered-table.ts'
import { testEmbeddingTable } from '../../contract/embedding-table.ts'
import { randomKeys, step, tableSpec } from '../../support/tables.ts'
import { tieredTable } from '../../support/tiered.ts'

describe.each([4, 1000])('with %i rows in memory', (memoryRows) => {
  testEmbeddingTable((spec) => Promise.resolve(tieredTable(spec, { memoryRows }).table))
})

const spec: TableSpec = tableSpec({
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
  const rows = new Map<string, number[]>()
  for await (const { keys, vectors } of table.export()) {
    for (let i = 0; i < keys.length / 2; i += 1) {
      const vector = vectors.subarray(i * spec.dim, (i + 1) * spec.dim)
      rows.set(`${keys[2 * i]},${keys[2 * i + 1]}`, [...vector])
    }
  }
  return rows
}

test.each([1, 2, 3, 4, 5, 6])(
  'answers, rows and changes are those of a table in memory, seed %i',
  async (seed) => {
    const memory = new MemoryTable(spec)
    const { table } = tieredTable(spec, { memoryRows: 48 + 16 * seed })
    for (let n = 1; n <= 150; n += 1) {
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
    expect(tier.fetched).toBeGreaterThan(100)
    expect(tier.flushes).toBeGreaterThan(5)
    expect(tier.cachedRows).toBeLessThanOrEqual(tier.memoryRows)
  },
)

test('a table that fits in memory whole needs no room, however much has changed', async () => {
  const whole = tableSpec({ capacityRows: 64 })
  const { table } = tieredTable(whole, { memoryRows: 64, saved: () => undefined })
  const memory = new MemoryTable(whole)
  const vectors = new Float32Array(200)
  for (const one of [table, memory]) {
    for (let n = 1; n < 9; n += 1) await one.findOrInsert(randomKeys(n, 100), vectors, step(n))
  }
  expect(table.size).toBe(64)
  expect(await table.digest()).toBe(memory.digest())
})

test('a table of which too much has changed says so, and goes on after a flush', async () => {
  const { table } = tieredTable(tableSpec({ capacityRows: 64 }), {
    memoryRows: 16,
    saved: () => undefined,
  })
  await table.assign(randomKeys(1, 16), new Float32Array(32), step(1))
  const more = async (): Promise<void> =>
    await table.assign(randomKeys(2, 8), new Float32Array(16), step(2))
  await expect(more()).rejects.toMatchObject({ code: 'ROW_CACHE_FULL' })
  await table.flush(1)
  await more()
  expect(table.size).toBe(24)
})

test('rows that are sent for ahead are taken if they are still right', async () => {
  const { table } = tieredTable(tableSpec({ capacityRows: 64 }), { memoryRows: 16 })
  const [first, second] = [randomKeys(1, 16), randomKeys(2, 16)]
  await table.assign(first, new Float32Array(32).fill(1), step(1))
  await table.assign(second, new Float32Array(32).fill(2), step(2))
  table.prefetch(first)
  const found = new Float32Array(32)
  await table.find(first, found)
  expect(found).toEqual(new Float32Array(32).fill(1))
  expect(table.stats().tier).toMatchObject({ fetched: 16, prefetched: 8 })
  // Changed between sending and taking, and back in the store meanwhile.
  table.prefetch(second)
  await table.assign(second, new Float32Array(32).fill(3), step(3))
  await table.find(first, found)
  await table.find(second, found)
  expect(found).toEqual(new Float32Array(32).fill(3))
})
