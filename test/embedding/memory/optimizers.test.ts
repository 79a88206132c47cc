import { readFileSync } from 'node:fs'

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

import { seededRandom } from '../../../src/base/random.ts'
import { MemoryTable } from '../../../src/embedding/memory/memory-table.ts'
import type { OptimizerSpec, TableSpec } from '../../../src/embedding/table-spec.ts'
import type { KernelImplementation } from '../../../src/kernels/kernels.ts'
import { worstError } from '../../support/kernel-desk.ts'
import { keysOf, range, step, tableSpec } from '../../support/tables.ts'

interface Golden {
  readonly start: number[][]
  /** By step, by row. */
  readonly gradients: number[][][]
  readonly touched: number[][]
  readonly cases: readonly {
    readonly name: string
    readonly optimizer: OptimizerSpec
    readonly maxNorm?: number
    /** Every row takes every step. */
    readonly always?: boolean
    readonly rows: number[][]
  }[]
}

const golden = JSON.parse(
  readFileSync(new URL('../../golden/optimizers.json', import.meta.url), 'utf8'),
) as Golden
const implementations = ['wasm', 'reference'] as const

/** A table that starts from the golden rows in version 1. */
function started(changes: Partial<TableSpec>, implementation?: KernelImplementation): MemoryTable {
  const spec = tableSpec({ dim: golden.start[0].length, ...changes })
  const table = new MemoryTable(spec, implementation === undefined ? {} : { implementation })
  const ids = range(0, golden.start.length)
  table.assign(keysOf(...ids), Float32Array.from(golden.start.flat()), step(1))
  return table
}

/** The golden gradients of one step for the rows that it touches. */
function learn(table: MemoryTable, t: number, always = false): void {
  const ids = range(0, golden.start.length).filter((r) => always || golden.touched[t][r] === 1)
  const gradients = Float32Array.from(ids.flatMap((r) => golden.gradients[t][r]))
  const ones = new Uint32Array(ids.length).fill(1)
  table.applyGradients(keysOf(...ids), gradients, ones, step(t + 2))
}

function rowsOf(table: MemoryTable): Float32Array {
  const ids = range(0, golden.start.length)
  const vectors = new Float32Array(ids.length * table.spec.dim)
  table.find(keysOf(...ids), vectors)
  return vectors
}

describe.each(implementations)('ten steps give the values of Keras, in %s', (implementation) => {
  test.each(golden.cases)('$name', ({ optimizer, maxNorm, always, rows }) => {
    const bounds = maxNorm === undefined ? {} : { maxNorm }
    const table = started({ optimizer, ...bounds }, implementation)
    for (const t of golden.gradients.keys()) learn(table, t, always)
    expect(worstError(rowsOf(table), rows.flat())).toBeLessThan(1e-5)
  })
})

test.each(golden.cases)(
  '$name: what it has learned survives a restart, to the bit',
  ({ optimizer }) => {
    const whole = started({ optimizer })
    let restarted = started({ optimizer })
    for (const t of golden.gradients.keys()) {
      learn(whole, t)
      learn(restarted, t)
      const next = new MemoryTable(restarted.spec)
      next.load(restarted.snapshot())
      restarted = next
    }
    expect(restarted.digest()).toBe(whole.digest())
  },
)

test.each(golden.cases)('$name: a key that returns learns as if it were new', ({ optimizer }) => {
  const [returned, fresh] = [started({ optimizer }), started({ optimizer })]
  for (const t of golden.gradients.keys()) learn(returned, t)
  returned.erase(keysOf(...range(0, golden.start.length)))
  const ids = keysOf(...range(0, golden.start.length))
  for (const table of [returned, fresh]) {
    table.assign(ids, Float32Array.from(golden.start.flat()), step(20))
    for (const version of [21, 23]) {
      const gradients = Float32Array.from(golden.gradients[version - 21].flat())
      const ones = new Uint32Array(golden.start.length).fill(1)
      table.applyGradients(ids, gradients, ones, step(version))
    }
  }
  expect([...rowsOf(returned)]).toEqual([...rowsOf(fresh)])
})

const moments = { beta1: 0.9, beta2: 0.99, epsilon: 0, rate: 0.5, gradients: 'sum' } as const

/** How far one weight moves at each of these versions under a gradient of 1. */
const moves = (kind: 'adam' | 'lazyAdam', versions: readonly number[]): number[] => {
  const spec = {
    dim: 1,
    initializer: { kind: 'zeros' },
    optimizer: { kind, ...moments },
  } as const
  const table = new MemoryTable(tableSpec(spec))
  const at = new Float32Array(1)
  return versions.map((version) => {
    table.findOrInsert(keysOf(1), at, step(version))
    const [before] = at
    table.applyGradients(keysOf(1), Float32Array.of(1), Uint32Array.of(1), step(version))
    table.find(keysOf(1), at)
    return before - at[0]
  })
}

describe('Adam counts the steps of a row', () => {
  test('so the first is of size `rate` in any version', () => {
    for (const kind of ['adam', 'lazyAdam'] as const) {
      for (const version of [1, 1_000_000]) expect(moves(kind, [version])[0]).toBeCloseTo(0.5, 5)
    }
  })

  test('lazily a rest changes nothing', () => {
    expect(moves('lazyAdam', [1, 2, 3])).toEqual(moves('lazyAdam', [1, 500, 90_000]))
  })

  test('else the moments fade as under gradients of zero', () => {
    let [m, v, t] = [0, 0, 0]
    const expected = range(1, 8).map((version) => {
      const gradient = [1, 2, 6, 7].includes(version) ? 1 : 0
      m = 0.9 * m + 0.1 * gradient
      v = 0.99 * v + 0.01 * gradient
      t += 1
      return (0.5 * (m / (1 - 0.9 ** t))) / Math.sqrt(v / (1 - 0.99 ** t))
    })
    const got = moves('adam', [1, 2, 6, 7])
    expect(worstError(got, [expected[0], expected[1], expected[5], expected[6]])).toBeLessThan(1e-5)
    expect(moves('adam', [1, 4_000_000_000]).every(Number.isFinite)).toBe(true)
  })
})

test('a table without state learns by plain gradient descent', () => {
  const optimizer = { kind: 'sgd', rate: 0.5, gradients: 'sum' } as const
  const table = started({ optimizer })
  expect(table.recordBytes).toBe(32 + 4 * table.spec.dim)
})

const common = { rate: 0.1, gradients: 'sum' } as const
const accumulating = { ...common, initialAccumulator: 0.1, epsilon: 1e-7 }
const adam = { ...common, beta1: 0.9, beta2: 0.99, epsilon: 1e-7 }
const rmsprop = { ...common, kind: 'rmsprop', rho: 0.9, momentum: 0.3, epsilon: 1e-7 } as const
const thresholds = { relativeThreshold: 0.1, accumulatorThreshold: 0.01, absoluteThreshold: 0.01 }
const optimizers: readonly OptimizerSpec[] = [
  { ...common, kind: 'sgd' },
  { ...common, kind: 'momentum', momentum: 0.9, nesterov: true },
  { ...accumulating, kind: 'adagrad' },
  { ...accumulating, kind: 'adagradDecay', decay: 0.7, decaySteps: 3 },
  { ...adam, kind: 'adam' },
  { ...adam, kind: 'lazyAdam' },
  { ...rmsprop, centered: true },
  { ...rmsprop, centered: false },
  { ...common, kind: 'ftrl', initialAccumulator: 0.1, l1: 0.05, beta: 0.3 },
  { ...accumulating, ...thresholds, kind: 'clippyAdagrad' },
]

const length = (vector: Float32Array): number =>
  Math.sqrt(vector.reduce((sum, x) => sum + x * x, 0))

interface Training extends Partial<TableSpec> {
  readonly seed: number
  readonly steps: number
}

/** Some ids at a time with random gradients, now and then a rest, an assignment or another writer. */
function trained(table: MemoryTable, { seed, steps }: Training): MemoryTable {
  const random = seededRandom(seed)
  const { dim } = table.spec
  const floats = (n: number): Float32Array =>
    new Float32Array(n * dim).map(() => random.normal() * 3)
  for (let version = 1, t = 0; t < steps; t += 1, version += 1 + random.integer(5)) {
    const ids = range(0, 12).filter(() => random.next() < 0.5)
    const [keys, n] = [keysOf(...ids), ids.length]
    const vectors = new Float32Array(n * dim)
    table.findOrInsert(keys, vectors, step(version))
    const ones = new Uint32Array(n).fill(1)
    table.applyGradients(keys, floats(n), ones, step(version))
    const some = keysOf(version % 15)
    if (t % 3 === 1) table.assign(some, floats(1), step(version))
    const exists = Uint8Array.of(t % 2)
    const change = { oldVectors: floats(1), newVectors: floats(1), exists }
    if (t % 3 === 2) table.accumulate(some, change, step(version))
  }
  return table
}

describe('for any training', () => {
  const bounded = fc.record({
    l2: fc.constantFrom(0, 0.01, 0.5),
    clipNorm: fc.constantFrom(0.5, 4, 1000),
    clipValue: fc.constantFrom(0.25, 2, 1000),
  })
  const learning = fc.constantFrom(...optimizers)
  const training = fc.record({
    optimizer: learning,
    bounds: fc.option(bounded, { nil: {} }),
    dim: fc.constantFrom(1, 3, 4, 7, 32),
    maxNorm: fc.constantFrom(0.3, 2),
    seed: fc.nat(),
  })

  test('the twins have the same bits', () => {
    fc.assert(
      fc.property(
        training,
        fc.boolean(),
        ({ optimizer: rule, bounds, dim, maxNorm, seed }, short) => {
          const optimizer = { ...rule, ...bounds }
          const spec = tableSpec({ dim, optimizer, ...(short ? { maxNorm } : {}) })
          const [wasm, twin] = implementations.map((implementation) =>
            trained(new MemoryTable(spec, { implementation }), { seed, steps: 8 }).digest(),
          )
          expect(wasm).toBe(twin)
        },
      ),
      { numRuns: 120 },
    )
  })

  test('no vector is longer than the maximum norm, and a reader that bounds it again keeps it', () => {
    fc.assert(
      fc.property(training, ({ optimizer, dim, maxNorm, seed }) => {
        const spec = tableSpec({ dim, optimizer, maxNorm })
        const table = trained(new MemoryTable(spec), { seed, steps: 8 })
        const reader = new MemoryTable(spec, { stateless: true })
        const ids = keysOf(...range(0, 30))
        const [vectors, read] = [new Float32Array(30 * dim), new Float32Array(30 * dim)]
        table.find(ids, vectors)
        for (const i of range(0, 30)) {
          const most = maxNorm * (1 + 1e-6)
          expect(length(vectors.subarray(i * dim, (i + 1) * dim))).toBeLessThan(most)
        }
        for (const { keys, vectors: some } of table.export()) reader.assign(keys, some, step(1))
        reader.find(ids, read)
        expect([...read]).toEqual([...vectors])
      }),
      { numRuns: 60 },
    )
  })
})
