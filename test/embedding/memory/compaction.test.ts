/** Rows that move into a fresh memory: nothing shows it but the memory. */
import { describe, expect, test } from 'vitest'

import type { Keys } from '../../../src/base/keys.ts'
import { MemoryTable } from '../../../src/embedding/memory/memory-table.ts'
import { randomKeys, step, tableSpec } from '../../support/tables.ts'

const spec = tableSpec({ dim: 4, capacityRows: 40_000 })
const keys = randomKeys(7, 40_000)
const slice = (from: number, to: number): Keys => keys.slice(2 * from, 2 * to)

/** 30,000 rows, of which 6,000 are left. */
function sparse(shards: number): MemoryTable {
  const table = new MemoryTable(spec, { shards })
  table.findOrInsert(slice(0, 30_000), new Float32Array(120_000), step(1))
  const count = new Uint32Array(6_000).fill(2)
  table.applyGradients(slice(20_000, 26_000), new Float32Array(24_000).fill(0.5), count, step(2))
  table.takeChanges()
  table.restrict({ numReserved: 6_000, trigger: 0, policy: 'frequency' })
  return table
}

/** A batch that finds, makes, changes and removes rows. */
function learn(table: MemoryTable, n: number): Float32Array {
  const known = slice(20_000 + 100 * n, 20_200 + 100 * n)
  const fresh = slice(30_000 + 50 * n, 30_050 + 50 * n)
  const found = new Float32Array(800)
  table.findOrInsert(known, found, step(n))
  table.findOrInsert(fresh, new Float32Array(200), step(n))
  table.applyGradients(known, found, new Uint32Array(200).fill(1), step(n))
  table.erase(slice(24_000 + 40 * n, 24_020 + 40 * n))
  if (n % 7 === 0) table.restrict({ numReserved: 5_900, trigger: 0, policy: 'timestamp' })
  return found
}

describe.each([1, 3])('%i memories', (shards) => {
  test('a table that moves while it learns does what one does that stays', () => {
    const [still, moving] = [sparse(shards), sparse(shards)]
    let steps = 0
    for (let n = 3; n < 60; n += 1) {
      if (moving.compactSome({ stepRows: 200 })) steps += 1
      expect(learn(moving, n)).toEqual(learn(still, n))
      expect(moving.digest()).toBe(still.digest())
    }
    expect(steps).toBeGreaterThan(20)
    expect(moving.size).toBe(still.size)
    expect(moving.takeChanges()).toEqual(still.takeChanges())
  })

  test('it fills to its capacity afterwards', () => {
    const table = sparse(shards)
    while (table.compactSome());
    table.findOrInsert(keys, new Float32Array(160_000), step(3))
    table.findOrInsert(randomKeys(8, 100), new Float32Array(400), step(4))
    expect(table.size).toBe(40_000)
    expect(table.stats().refused).toBe(100)
  })

  test('it keeps to its capacity while it moves', () => {
    const table = sparse(shards)
    table.compactSome()
    table.compactSome({ stepRows: 100 })
    table.findOrInsert(keys, new Float32Array(160_000), step(3))
    table.findOrInsert(randomKeys(8, 100), new Float32Array(400), step(4))
    expect(table.size).toBe(40_000)
    const digest = table.digest()
    while (table.compactSome());
    expect(table.digest()).toBe(digest)
  })

  test('a snapshot on the way is of the whole table, and nothing moves before its end', () => {
    const table = sparse(shards)
    table.compactSome()
    table.compactSome({ stepRows: 100 })
    const digest = table.digest()
    const snapshot = table.snapshot()
    expect(table.compactSome()).toBe(false)
    learn(table, 3)
    const other = new MemoryTable(spec)
    other.load(snapshot)
    expect(other.digest()).toBe(digest)
    expect(table.compactSome()).toBe(true)
  })

  test('a table can be cleared and loaded while it moves', () => {
    const table = sparse(shards)
    const bytes = [...table.snapshot()]
    const digest = table.digest()
    table.compactSome()
    table.compactSome({ stepRows: 100 })
    table.load(bytes)
    expect(table.digest()).toBe(digest)
    table.compactSome()
    table.findOrInsert(keys, new Float32Array(160_000), step(3))
    table.clear()
    expect(table.size).toBe(0)
    expect(table.compactSome()).toBe(false)
    table.findOrInsert(keys, new Float32Array(160_000), step(4))
    expect(table.size).toBe(40_000)
  })
})

test('export gives every row once, also while they move', () => {
  const table = sparse(1)
  const seen = new Set<string>()
  let rows = 0
  for (const { keys: some } of table.export()) {
    rows += some.length / 2
    for (let i = 0; i < some.length; i += 2) seen.add(`${some[i]},${some[i + 1]}`)
    table.compactSome({ stepRows: 700 })
  }
  expect([rows, seen.size]).toEqual([6_000, 6_000])
})

test('a table that is dense, or small, stays where it is', () => {
  const table = new MemoryTable(spec)
  table.findOrInsert(slice(0, 20_000), new Float32Array(80_000), step(1))
  expect(table.compactSome()).toBe(false)
  table.erase(slice(0, 4_000))
  expect(table.compactSome({ free: 0.1 })).toBe(false)
  table.erase(slice(4_000, 5_000))
  expect(table.compactSome({ free: 0.1 })).toBe(true)
})
