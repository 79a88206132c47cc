import { describe, expect, test } from 'vitest'

import { seededRandom } from '../../../src/base/random.ts'
import { MemoryTable } from '../../../src/embedding/memory/memory-table.ts'
import { restrictWhenFull } from '../../../src/embedding/restrict/restrict.ts'
import type { OptimizerSpec, TableSpec } from '../../../src/embedding/table-spec.ts'
import { testEmbeddingTable } from '../../contract/embedding-table.ts'
import { idsOf, keysOf, randomKeys, range, step, tableSpec } from '../../support/tables.ts'

describe('in WebAssembly', () => {
  testEmbeddingTable((spec) => Promise.resolve(new MemoryTable(spec)))
})

describe('in three memories', () => {
  testEmbeddingTable((spec) => Promise.resolve(new MemoryTable(spec, { shards: 3 })))
})

describe('in the reference twins', () => {
  testEmbeddingTable((spec) =>
    Promise.resolve(new MemoryTable(spec, { implementation: 'reference' })),
  )
})

/** The initial vectors of n random keys. */
function initialVectors(changes: Partial<TableSpec>, n: number, seed = 1): Float32Array {
  const table = new MemoryTable(tableSpec({ dim: 32, ...changes }))
  const vectors = new Float32Array(n * 32)
  table.find(randomKeys(seed, n), vectors)
  return vectors
}

function moments(values: Float32Array): { mean: number; deviation: number } {
  const mean = values.reduce((sum, x) => sum + x, 0) / values.length
  const variance = values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / values.length
  return { mean, deviation: Math.sqrt(variance) }
}

describe('initializers', () => {
  test('zeros and constant are what they say', () => {
    expect(new Set(initialVectors({ initializer: { kind: 'zeros' } }, 10))).toEqual(new Set([0]))
    const constant = initialVectors({ initializer: { kind: 'constant', value: 0.25 } }, 10)
    expect(new Set(constant)).toEqual(new Set([0.25]))
  })

  test('uniform fills its range evenly', () => {
    const values = initialVectors({ initializer: { kind: 'uniform', min: -1, max: 3 } }, 4000)
    const { mean, deviation } = moments(values)
    expect(mean).toBeCloseTo(1, 1)
    expect(deviation).toBeCloseTo(4 / Math.sqrt(12), 1)
    expect(values.every((x) => x >= -1 && x <= 3)).toBe(true)
  })

  test('normal has its mean, its deviation and a fair share of tails', () => {
    const values = initialVectors({ initializer: { kind: 'normal', mean: 2, std: 0.5 } }, 4000)
    const { mean, deviation } = moments(values)
    expect(mean).toBeCloseTo(2, 2)
    expect(deviation).toBeCloseTo(0.5, 2)
    const beyond = values.filter((x) => Math.abs(x - 2) > 1).length / values.length
    expect(beyond).toBeCloseTo(0.0455, 2)
  })

  test('truncated normal ends at two deviations', () => {
    const values = initialVectors(
      { initializer: { kind: 'truncatedNormal', mean: 0, std: 1 } },
      4000,
    )
    expect(values.every((x) => Math.abs(x) <= 2)).toBe(true)
    expect(Math.abs(moments(values).deviation - 0.88)).toBeLessThan(0.01)
  })

  test('vectors depend on the key and the seed alone, and differ between keys', () => {
    const initializer = { kind: 'normal', mean: 0, std: 1 } as const
    const vectors = initialVectors({ initializer }, 100)
    expect(initialVectors({ initializer, capacityRows: 7, name: 'other' }, 100)).toEqual(vectors)
    expect(initialVectors({ initializer, seed: 1 }, 100)).not.toEqual(vectors)
    expect(new Set(vectors).size).toBeGreaterThan(900)
    const [a, b] = [vectors.subarray(0, 32), vectors.subarray(32, 64)]
    expect(a.filter((x, i) => x === b[i]).length).toBeLessThan(3)
  })
})

type Accumulating = Extract<OptimizerSpec, { initialAccumulator: number; epsilon: number }> & {
  readonly kind: 'adagrad' | 'adagradDecay'
}

/** One weight, one gradient per version, in double precision. */
function expected(optimizer: Accumulating, gradients: readonly number[]): number {
  let [weight, accumulator] = [0, optimizer.initialAccumulator]
  for (const [i, gradient] of gradients.entries()) {
    const version = i + 1
    if (optimizer.kind === 'adagradDecay' && i > 0 && version % optimizer.decaySteps === 0) {
      accumulator = Math.max(accumulator * optimizer.decay, optimizer.initialAccumulator)
    }
    accumulator += gradient * gradient
    weight -= (optimizer.rate * gradient) / Math.sqrt(accumulator + optimizer.epsilon)
  }
  return weight
}

describe('optimizers', () => {
  const common = {
    rate: 0.05,
    initialAccumulator: 0.1,
    epsilon: 1e-7,
    gradients: 'sum',
  } as const
  const gradients = [0.5, -0.25, 1, 0.125, -2, 0.75, 0.3, -0.1, 0.9, 0.4]

  test.each([
    { kind: 'adagrad', ...common },
    { kind: 'adagradDecay', ...common, decay: 0.9, decaySteps: 3 },
  ] satisfies Accumulating[])('$kind follows its formula for ten steps', (optimizer) => {
    const table = new MemoryTable(tableSpec({ dim: 1, optimizer, initializer: { kind: 'zeros' } }))
    const weight = new Float32Array(1)
    for (const [i, gradient] of gradients.entries()) {
      table.findOrInsert(keysOf(1), weight, step(i + 1))
      table.applyGradients(keysOf(1), Float32Array.of(gradient), Uint32Array.of(1), step(i + 1))
    }
    table.find(keysOf(1), weight)
    expect(weight[0]).toBeCloseTo(expected(optimizer, gradients), 5)
  })

  test('decays that fell due while a row rested are made up for, down to the initial value', () => {
    const optimizer = { kind: 'adagradDecay', ...common, decay: 0.5, decaySteps: 10 } as const
    const spec = tableSpec({ dim: 1, optimizer, initializer: { kind: 'zeros' } })
    const moves = [25, 1_000_000_000].map((version) => {
      const table = new MemoryTable(spec)
      const [before, after] = [new Float32Array(1), new Float32Array(1)]
      table.findOrInsert(keysOf(1), before, step(1))
      table.applyGradients(keysOf(1), Float32Array.of(2), Uint32Array.of(1), step(1))
      table.find(keysOf(1), before)
      table.applyGradients(keysOf(1), Float32Array.of(1), Uint32Array.of(1), step(version))
      table.find(keysOf(1), after)
      return before[0] - after[0]
    })
    expect(moves[0]).toBeCloseTo(0.05 / Math.sqrt(4.1 / 4 + 1), 5)
    expect(moves[1]).toBeCloseTo(0.05 / Math.sqrt(0.1 + 1), 5)
  })
})

describe('restrict', () => {
  test('32 random ids below 256 a step, 100 reserved, trigger 150: exactly 100 rows remain', () => {
    const random = seededRandom(5)
    const table = new MemoryTable(tableSpec({ dim: 8, capacityRows: 256 }))
    for (let n = 1; table.size <= 150; n += 1) {
      const ids = [...new Set(range(0, 32).map(() => random.integer(256)))]
      const vectors = new Float32Array(ids.length * 8)
      table.findOrInsert(keysOf(...ids), vectors, step(n))
      const occurrences = new Uint32Array(ids.length).fill(1)
      table.applyGradients(keysOf(...ids), vectors.fill(0.1), occurrences, step(n))
    }
    table.restrict({ numReserved: 100, trigger: 150, policy: 'frequency' })
    expect(table.size).toBe(100)
    expect([...table.export()].reduce((rows, { keys }) => rows + keys.length / 2, 0)).toBe(100)
  })

  test('ties beyond the size of a histogram are still told apart', () => {
    const table = new MemoryTable(tableSpec({ dim: 1, capacityRows: 40_000 }))
    const ids = range(0, 40_000)
    table.findOrInsert(keysOf(...ids), new Float32Array(ids.length), step(1))
    const removed = table.restrict({ numReserved: 20_001, trigger: 0, policy: 'timestamp' })
    expect(idsOf(removed)).toEqual(range(0, 19_999))
  })

  test('times may be negative, and counts stop at their greatest value', () => {
    const table = new MemoryTable(tableSpec({ dim: 1 }))
    for (const [i, time] of [-5_000, 7, -1, 0].entries()) {
      table.findOrInsert(keysOf(i), new Float32Array(1), { time, version: 1 })
    }
    const ends = table.restrict({ numReserved: 2, trigger: 0, policy: 'timestamp' })
    expect(idsOf(ends)).toEqual([0, 2])
    const many = Uint32Array.of(0xffff_ffff)
    for (let i = 0; i < 3; i += 1) {
      table.applyGradients(keysOf(3), new Float32Array(1), many, step(1))
    }
    expect(idsOf(table.restrict({ numReserved: 1, trigger: 0, policy: 'frequency' }))).toEqual([1])
  })

  test('restrictWhenFull does what the specification says, or nothing', () => {
    const restrict = { policy: 'timestamp', numReserved: 2, trigger: 4 } as const
    const table = new MemoryTable(tableSpec({ restrict }))
    table.findOrInsert(keysOf(0, 1, 2, 3), new Float32Array(8), step(1))
    expect(idsOf(restrictWhenFull(table))).toEqual([])
    table.findOrInsert(keysOf(4), new Float32Array(2), step(2))
    expect(idsOf(restrictWhenFull(table))).toEqual([0, 1, 2])
    expect(table.stats().evicted).toBe(3)
    expect(restrictWhenFull(new MemoryTable(tableSpec()))).toHaveLength(0)
  })
})

test('removed keys that nobody takes are forgotten, and that is said once', () => {
  const table = new MemoryTable(tableSpec({ dim: 1, capacityRows: 4096 }))
  const fill = (ids: number[], n: number): void => {
    table.findOrInsert(keysOf(...ids), new Float32Array(ids.length), step(n))
    table.erase(keysOf(...ids))
  }
  fill(range(0, 4096), 1)
  fill(range(5000, 6000), 2)
  expect(table.takeChanges()).toMatchObject({ resync: true, removed: new Uint32Array(0) })
  fill([1], 3)
  expect(table.takeChanges()).toMatchObject({ resync: false, removed: keysOf(1) })
})

test('export gives every row once, also while others come and go', () => {
  const table = new MemoryTable(tableSpec({ dim: 1, capacityRows: 3000 }))
  const ids = range(0, 2500)
  const vectors = Float32Array.from(ids)
  table.assign(keysOf(...ids), vectors, step(1))
  const seen = new Map<number, number>()
  for (const rows of table.export()) {
    for (const [i, vector] of rows.vectors.entries()) seen.set(rows.keys[2 * i] - 1, vector)
    table.erase(keysOf(2400))
    table.takeChanges()
  }
  expect(seen.size).toBeGreaterThanOrEqual(2499)
  expect([...seen].every(([id, value]) => id === value)).toBe(true)
})

describe('records', () => {
  test('a row read whole and written into another table is that row', () => {
    const [table, other] = [new MemoryTable(tableSpec()), new MemoryTable(tableSpec())]
    const keys = keysOf(1, 2, 3)
    table.findOrInsert(keys, new Float32Array(6), step(1))
    table.applyGradients(keys, new Float32Array(6).fill(1), Uint32Array.of(4, 5, 6), step(2))
    const records = new Uint8Array(4 * table.recordBytes)
    const present = new Uint8Array(4)
    table.readRecords(keysOf(3, 9, 2, 1), records, present)
    expect([...present]).toEqual([1, 0, 1, 1])
    expect(other.writeRecords(records)).toBe(0)
    expect(other.digest()).toBe(table.digest())
    expect(other.takeChanges().changed).toHaveLength(0)
    other.writeRecords(records, { changed: true })
    expect(idsOf(other.takeChanges().changed)).toEqual([1, 2, 3])
  })

  test('what does not fit is refused and said', () => {
    const [table, small] = [8, 2].map(
      (capacityRows) => new MemoryTable(tableSpec({ capacityRows })),
    )
    table.findOrInsert(keysOf(1, 2, 3), new Float32Array(6), step(1))
    const records = new Uint8Array(3 * table.recordBytes)
    table.readRecords(keysOf(1, 2, 3), records, new Uint8Array(3))
    expect(small.writeRecords(records)).toBe(1)
    expect(small.writeRecords(records.subarray(0, 2 * table.recordBytes))).toBe(0)
  })

  test('rows let go are not removed for a delta', () => {
    const table = new MemoryTable(tableSpec())
    table.findOrInsert(keysOf(1, 2, 3), new Float32Array(6), step(1))
    expect(table.drop(keysOf(1, 7))).toBe(1)
    expect(table.size).toBe(2)
    const { changed, removed } = table.takeChanges()
    expect([idsOf(changed), idsOf(removed)]).toEqual([[2, 3], []])
  })
})

describe('what a table reports', () => {
  test('keys found and missing, rows by their counts', () => {
    const table = new MemoryTable(tableSpec())
    const keys = keysOf(0, 1, 2, 3)
    table.findOrInsert(keys, new Float32Array(8), step(1))
    table.applyGradients(keys, new Float32Array(8), Uint32Array.of(1, 2, 3, 100_000), step(1))
    table.findOrInsert(keysOf(3, 4), new Float32Array(4), step(2))
    table.find(keysOf(1, 8, 9), new Float32Array(6))
    const { memory } = table.stats()
    expect(memory).toMatchObject({ found: 2, missing: 7, longestPath: 0 })
    expect(memory?.rowsByCount).toEqual([1, 1, 2, ...range(0, 14).map(() => 0), 1])
  })

  test('rows by their counts are estimated from a sample of many', () => {
    const table = new MemoryTable(tableSpec({ dim: 1, capacityRows: 40_000 }), { shards: 2 })
    const keys = randomKeys(4, 40_000)
    table.findOrInsert(keys, new Float32Array(40_000), step(1))
    const half = new Uint32Array(20_000).fill(5)
    table.applyGradients(keys.subarray(0, 40_000), new Float32Array(20_000), half, step(1))
    const rows = table.stats().memory?.rowsByCount ?? []
    expect(rows[0]).toBeCloseTo(20_000, -3)
    expect(rows[3]).toBeCloseTo(20_000, -3)
  })

  test('counts that decay are told in occurrences', () => {
    const restrict = { policy: 'frequency', numReserved: 8, trigger: 8, halfLifeMs: 1000 } as const
    const table = new MemoryTable(tableSpec({ restrict }))
    table.findOrInsert(keysOf(1), new Float32Array(2), step(1))
    table.applyGradients(keysOf(1), new Float32Array(2), Uint32Array.of(4), step(1))
    expect(table.stats().memory?.rowsByCount.indexOf(1)).toBe(3)
  })

  test('how long restricts kept batches waiting', () => {
    let now = 0
    const table = new MemoryTable(tableSpec(), { now: () => (now += 5) })
    table.findOrInsert(keysOf(...range(0, 9)), new Float32Array(18), step(1))
    const request = { numReserved: 4, trigger: 8, policy: 'frequency' } as const
    table.restrictSome(request)
    table.restrictSome(request)
    const report = { restrictSteps: 1, restrictMs: 5, longestRestrictMs: 5 }
    expect(table.stats().memory).toMatchObject(report)
  })

  test('the longest path grows as the index fills', () => {
    const table = new MemoryTable(tableSpec({ dim: 1, capacityRows: 20_000 }))
    table.findOrInsert(randomKeys(3, 10_000), new Float32Array(10_000), step(1))
    const half = table.stats().memory?.longestPath ?? 0
    table.findOrInsert(randomKeys(4, 10_000), new Float32Array(10_000), step(2))
    const full = table.stats().memory?.longestPath ?? 0
    expect(half).toBeLessThan(full)
    expect(full).toBeLessThan(8)
  })
})

test('a stateless table reads and assigns but does not learn', () => {
  const table = new MemoryTable(tableSpec(), { stateless: true })
  const full = new MemoryTable(tableSpec())
  table.assign(keysOf(1), Float32Array.of(1, 2), step(1))
  const found = new Float32Array(2)
  table.find(keysOf(1), found)
  expect([...found]).toEqual([1, 2])
  expect(table.stats().bytes).toBeLessThan(full.stats().bytes)
  expect(() => {
    table.applyGradients(keysOf(1), found, Uint32Array.of(1), step(2))
  }).toThrow('cannot learn')
})

test('a table of 1 M rows of 32 floats with Adagrad takes at most 1.15 times its payload', () => {
  const rows = 1_000_000
  const table = new MemoryTable(tableSpec({ dim: 32, capacityRows: rows }))
  const payload = 8 + 4 * 32 + 4 * 32
  expect(table.stats().bytes / rows).toBeLessThanOrEqual(1.15 * payload)
})

test('a table fills to its capacity with random keys at a load of .95', () => {
  const rows = 50_000
  const table = new MemoryTable(tableSpec({ dim: 1, capacityRows: rows }))
  table.findOrInsert(randomKeys(3, rows + 100), new Float32Array(rows + 100), step(1))
  expect(table.size).toBe(rows)
  expect(table.stats().loadFactor).toBeGreaterThan(0.949)
})

test('a table that does not fit one memory has several', () => {
  const table = new MemoryTable(tableSpec({ dim: 1024, capacityRows: 1_000_000 }))
  expect(table.stats().bytes).toBeGreaterThan(8_000_000_000)
  table.assign(keysOf(1, 2, 3), new Float32Array(3 * 1024).fill(2), step(1))
  const found = new Float32Array(3 * 1024)
  table.find(keysOf(1, 2, 3), found)
  expect(new Set(found)).toEqual(new Set([2]))
})

test('a capacity beyond all memory is refused', () => {
  const spec = tableSpec({ dim: 4096, capacityRows: 2 ** 31 })
  expect(() => new MemoryTable(spec)).toThrow(/MEMORY_EXHAUSTED|do not fit/)
})
