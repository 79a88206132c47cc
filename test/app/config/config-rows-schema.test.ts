import { describe, expect, test } from 'vitest'

import { initializer, tableOptimizer } from '../../../src/app/config/config-rows-schema.ts'
import { MemoryTable } from '../../../src/embedding/memory/memory-table.ts'
import { keysOf, step, tableSpec } from '../../support/tables.ts'

const kinds = tableOptimizer.unwrap().options.map(({ shape }) => shape.kind.value)

describe('optimizers', () => {
  test.each(kinds)('%s is whole with its name alone, and learns', (kind) => {
    const optimizer = tableOptimizer.parse({ kind })
    const table = new MemoryTable(tableSpec({ optimizer }))
    const [before, after] = [new Float32Array(2), new Float32Array(2)]
    table.findOrInsert(keysOf(1), before, step(1))
    table.applyGradients(keysOf(1), Float32Array.of(1, -1), Uint32Array.of(1), step(1))
    table.find(keysOf(1), after)
    expect(after[0]).not.toBe(before[0])
    expect(after.every(Number.isFinite)).toBe(true)
  })

  test('Adagrad is the default', () => {
    expect(tableOptimizer.parse(undefined)).toEqual({
      kind: 'adagrad',
      rate: 0.1,
      initialAccumulator: 0.1,
      epsilon: 1e-7,
      gradients: 'sum',
    })
  })

  test.each([
    { kind: 'sgd', epsilon: 1 },
    { kind: 'adam', beta1: 1 },
    { kind: 'ftrl', initialAccumulator: 0 },
    { kind: 'momentum', rate: 0 },
    { kind: 'adagrad', clipNorm: 0 },
    { kind: 'adadelta' },
  ])('%j is refused', (value) => {
    expect(tableOptimizer.safeParse(value).success).toBe(false)
  })
})

test('an initializer scaled by fan-out is cut at two deviations unless said otherwise', () => {
  const spec = { kind: 'fanOut', scale: 1, distribution: 'truncatedNormal' }
  expect(initializer.parse({ kind: 'fanOut' })).toEqual(spec)
})
