/** Vectors scaled by fan-out, and all initializers against their twins; the rest: memory-table. */
import { expect, test } from 'vitest'

import { MemoryTable } from '../../../src/embedding/memory/memory-table.ts'
import type { InitializerSpec, TableSpec } from '../../../src/embedding/table-spec.ts'
import type { KernelOptions } from '../../../src/kernels/kernels.ts'
import { randomKeys, tableSpec } from '../../support/tables.ts'

function initial(changes: Partial<TableSpec>, n: number, options: KernelOptions = {}) {
  const table = new MemoryTable(tableSpec(changes), options)
  const vectors = new Float32Array(n * table.spec.dim)
  table.find(randomKeys(3, n), vectors)
  return vectors
}

const distributions = ['uniform', 'normal', 'truncatedNormal'] as const

/** Largest values in deviations. */
const limits = { uniform: Math.sqrt(3), normal: 6, truncatedNormal: 2 / 0.886 }

test.each(distributions)('fanOut: the variance of a %s is scale / dim', (distribution) => {
  for (const dim of [4, 31, 128]) {
    const initializer = { kind: 'fanOut', scale: 2, distribution } as const
    const values = initial({ dim, initializer }, Math.ceil(200_000 / dim))
    const mean = values.reduce((sum, x) => sum + x, 0) / values.length
    const variance = values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / values.length
    expect(Math.abs(mean) * Math.sqrt(dim)).toBeLessThan(0.02)
    expect(variance * dim).toBeGreaterThan(1.97)
    expect(variance * dim).toBeLessThan(2.03)
    const most = values.reduce((largest, x) => Math.max(largest, Math.abs(x)), 0)
    expect(most).toBeLessThanOrEqual(limits[distribution] * Math.sqrt(2 / dim))
  }
})

test('with a maximum norm initial vectors have it, found or inserted', () => {
  const initializer = { kind: 'normal', mean: 0, std: 1 } as const
  const bounded = initial({ dim: 16, initializer, maxNorm: 1 }, 100)
  const free = initial({ dim: 16, initializer }, 100)
  for (let i = 0; i < 100; i += 1) {
    const [short, long] = [bounded, free].map((all) => all.subarray(16 * i, 16 * (i + 1)))
    const length = Math.sqrt(long.reduce((sum, x) => sum + x * x, 0))
    for (const [j, x] of short.entries()) expect(x).toBeCloseTo(long[j] / Math.max(1, length), 6)
  }
  const table = new MemoryTable(tableSpec({ dim: 16, initializer, maxNorm: 1 }))
  const inserted = new Float32Array(bounded.length)
  table.findOrInsert(randomKeys(3, 100).slice(0, 128), inserted, { time: 0, version: 1 })
  table.find(randomKeys(3, 100), inserted)
  expect(inserted).toEqual(bounded)
})

const initializers: readonly InitializerSpec[] = [
  { kind: 'zeros' },
  { kind: 'constant', value: 0.3 },
  { kind: 'uniform', min: -0.2, max: 0.7 },
  { kind: 'normal', mean: 0.1, std: 0.3 },
  { kind: 'truncatedNormal', mean: -0.1, std: 0.3 },
  ...distributions.map((distribution) => ({ kind: 'fanOut', scale: 1, distribution }) as const),
]

test.each(initializers)('$kind: the twins have the same bits', (initializer) => {
  for (const dim of [1, 6, 32]) {
    for (const bounds of [{}, { maxNorm: 0.5 }]) {
      const spec = { dim, initializer, ...bounds }
      const twin = initial(spec, 500, { implementation: 'reference' })
      expect(initial(spec, 500)).toEqual(twin)
    }
  }
})
