import { array, assert, constantFrom, integer, property, record } from 'fast-check'
import { describe, expect, test } from 'vitest'

import type { Keys } from '../../../src/base/keys.ts'
import { outOfVocabularyKey } from '../../../src/base/keys.ts'
import type { RestrictRequest } from '../../../src/embedding/embedding-table.ts'
import { MemoryTable } from '../../../src/embedding/memory/memory-table.ts'
import type {
  PreviewReport,
  RestrictPreview,
} from '../../../src/embedding/restrict/restrict-preview.ts'
import { restrictWhenFull } from '../../../src/embedding/restrict/restrict.ts'
import type { TableSpec } from '../../../src/embedding/table-spec.ts'
import { idsOf, keysOf, randomKeys, range, tableSpec } from '../../support/tables.ts'

const hour = 3_600_000
const day = 24 * hour
const start = 1_700_000_000_000

const frequency = (numReserved: number): RestrictRequest => ({
  policy: 'frequency',
  numReserved,
  trigger: 0,
})

/** Each id is trained with so many occurrences at a time after the start. */
function train(
  table: MemoryTable,
  time: number,
  counts: Readonly<Record<number, number>>,
  version = 1,
): void {
  const ids = Object.keys(counts).map(Number)
  const keys = keysOf(...ids)
  const vectors = new Float32Array(ids.length * table.spec.dim)
  const stamp = { time: start + time, version }
  table.findOrInsert(keys, vectors, stamp)
  table.applyGradients(keys, vectors.fill(0.1), Uint32Array.from(Object.values(counts)), stamp)
}

function idsIn(table: MemoryTable, limit = 256): number[] {
  const present = new Uint8Array(limit)
  const vectors = new Float32Array(limit * table.spec.dim)
  table.find(keysOf(...range(0, limit)), vectors, present)
  return range(0, limit).filter((id) => present[id] === 1)
}

function finish(preview: RestrictPreview): PreviewReport {
  while (preview.advance());
  return preview.report()
}

describe('a half-life of counts', () => {
  const restrict = { policy: 'frequency', numReserved: 1, trigger: 100 } as const
  const halving = { restrict: { ...restrict, halfLifeMs: day } }

  test('yesterday’s hero leaves before today’s newcomer, without one it stays', () => {
    for (const [changes, kept] of [
      [halving, 2],
      [{ restrict }, 1],
    ] as const) {
      const table = new MemoryTable(tableSpec(changes))
      train(table, 0, { 1: 100 })
      train(table, 10 * day, { 2: 1 })
      table.restrict(frequency(1))
      expect(idsIn(table)).toEqual([kept])
    }
  })

  test('a count is worth half after a half-life, to one part in a hundred', () => {
    for (const [share, kept] of [
      [0.49, 1],
      [0.51, 2],
    ]) {
      const table = new MemoryTable(tableSpec(halving))
      train(table, 0, { 1: 1000 })
      train(table, day, { 2: Math.round(1000 * share) })
      table.restrict(frequency(1))
      expect(idsIn(table)).toEqual([kept])
    }
  })

  test('updates in between change nothing: 1 an hour for days comes to 1 / (1 - 2^(-1/24))', () => {
    const limit = 1 / (1 - 2 ** (-1 / 24))
    const table = new MemoryTable(tableSpec(halving))
    for (let n = 0; n < 24 * 20; n += 1) train(table, n * hour, { 1: 1 }, n)
    const end = (24 * 20 - 1) * hour
    train(table, end, { 2: Math.floor(limit), 3: Math.ceil(limit) }, 1000)
    table.restrict(frequency(2))
    expect(idsIn(table)).toEqual([1, 3])
  })

  test('what is left of nothing ties, and then the older leave', () => {
    const table = new MemoryTable(tableSpec(halving))
    train(table, 0, { 1: 1000 })
    train(table, hour, { 2: 1 })
    train(table, 5000 * day, { 3: 1 })
    table.restrict(frequency(2))
    expect(idsIn(table)).toEqual([2, 3])
  })

  test('counts stop at their greatest value', () => {
    const table = new MemoryTable(tableSpec(halving))
    for (let n = 0; n < 3; n += 1) train(table, 0, { 1: 0xffff_ffff, 2: 1 }, n)
    table.restrict(frequency(1))
    expect(idsIn(table)).toEqual([1])
  })
})

test('the combined score weighs how often against how long ago', () => {
  const spec = tableSpec()
  const request = { ...frequency(1), policy: 'combined', recencyHalfLifeMs: day } as const
  for (const [count, kept] of [
    [3, 2],
    [5, 1],
  ]) {
    const table = new MemoryTable(spec)
    train(table, 0, { 1: count })
    train(table, 2 * day, { 2: 1 })
    table.restrict(request)
    expect(idsIn(table)).toEqual([kept])
  }
})

describe('automatically', () => {
  test('a table restricts itself at a fill level', () => {
    const restrict = { policy: 'timestamp', numReserved: 5, triggerFill: 0.5 } as const
    const table = new MemoryTable(tableSpec({ capacityRows: 20, restrict }))
    train(table, 0, Object.fromEntries(range(0, 10).map((id) => [id, 1])))
    expect(restrictWhenFull(table)).toHaveLength(0)
    train(table, 1, { 10: 1 })
    expect(idsOf(restrictWhenFull(table))).toEqual(range(0, 6))
  })

  test('rows past their time to live leave, whatever the size, and no others', () => {
    const restrict = { policy: 'frequency', numReserved: 40, trigger: 50, ttlMs: day } as const
    const table = new MemoryTable(tableSpec({ restrict }))
    train(table, 0, { 1: 100, 2: 100 })
    train(table, 12 * hour, { 3: 1, 2: 1 })
    expect(restrictWhenFull(table)).toHaveLength(0)
    train(table, day + 2 * hour, { 4: 1 })
    expect(idsOf(restrictWhenFull(table))).toEqual([1])
    train(table, 2 * day, { 4: 1 })
    expect(idsOf(restrictWhenFull(table))).toEqual([2, 3])
    expect(restrictWhenFull(table)).toHaveLength(0)
  })

  test('a restrict on demand removes them before it looks at scores, and a dry run says so', () => {
    const table = new MemoryTable(tableSpec())
    train(table, 0, { 1: 100, 2: 100, 3: 100 })
    train(table, 3 * day, { 4: 1, 5: 2, 6: 3 })
    const request = { ...frequency(2), ttlMs: day }
    expect(finish(table.previewRestrict(request, 9))).toMatchObject({ rows: 6, leaving: 4 })
    expect(idsOf(table.restrict(request))).toEqual([1, 2, 3, 4])
    expect(idsOf(table.restrict({ ...frequency(9), ttlMs: day }))).toEqual([])
    expect(idsIn(table)).toEqual([5, 6])
  })

  test('a floor of rows stays: the newest', () => {
    const restrict = { policy: 'frequency', numReserved: 40, ttlMs: day, floorRows: 2 } as const
    const table = new MemoryTable(tableSpec({ restrict }))
    for (const id of range(0, 5)) train(table, id, { [id]: 9 - id })
    train(table, 9 * day, { 0: 1 })
    restrictWhenFull(table)
    expect(idsIn(table)).toEqual([0, 4])
    table.restrict({ ...frequency(0), floorRows: 1 })
    expect(idsIn(table)).toEqual([0])
    expect(() => table.restrict({ ...frequency(0), floorRows: 0.5 })).toThrow(/floorRows/)
  })
})

describe('protected keys', () => {
  test('their rows stay, also those to come', () => {
    const table = new MemoryTable(tableSpec())
    table.protect(keysOf(1, 7))
    train(table, 0, { 1: 1, 2: 5, 3: 5, 4: 5 })
    expect(idsOf(table.restrict(frequency(2)))).toEqual([2, 3])
    train(table, 1, { 7: 1 })
    table.restrict(frequency(0))
    expect(idsIn(table)).toEqual([1, 7])
    expect(table.restrict(frequency(1))).toHaveLength(0)
  })

  test('neither their rows nor their changes are touched', () => {
    const [plain, guarded] = [new MemoryTable(tableSpec()), new MemoryTable(tableSpec())]
    guarded.protect(keysOf(1))
    for (const table of [plain, guarded]) {
      train(table, 0, { 1: 9, 2: 1, 3: 2 })
      table.restrict(frequency(1))
    }
    expect(guarded.digest()).toBe(plain.digest())
    expect(guarded.takeChanges()).toEqual(plain.takeChanges())
  })

  test('the row that unknown keys share is one of them', () => {
    const admission = { kind: 'minCount', count: 2, capacityKeys: 4096 } as const
    const table = new MemoryTable(tableSpec({ admission }))
    table.findOrInsert(outOfVocabularyKey, new Float32Array(2), { time: start, version: 1 })
    train(table, 5, { 1: 1, 2: 1 })
    table.restrict(frequency(0))
    expect(table.size).toBe(1)
    expect(idsIn(table)).toEqual([])
  })
})

const step = record({
  keys: integer({ min: 1, max: 12 }),
  time: integer({ min: 0, max: 40 * day }),
  count: integer({ min: 1, max: 40 }),
  numReserved: integer({ min: 0, max: 40 }),
  policy: constantFrom('frequency' as const, 'timestamp' as const, 'combined' as const),
})
const steps = array(step, { minLength: 1, maxLength: 12 })

test('a dry run tells what would leave and changes nothing', () => {
  assert(
    property(steps, (acts) => {
      const restrict = { policy: 'frequency', numReserved: 40, halfLifeMs: day } as const
      const table = new MemoryTable(tableSpec({ dim: 1, capacityRows: 200, restrict }))
      for (const [n, { keys, time, count, numReserved, policy }] of acts.entries()) {
        const ids = range(n, n + keys)
        train(table, time, Object.fromEntries(ids.map((id) => [id, count])), n)
        const request = { policy, numReserved, trigger: numReserved }
        const digest = table.digest()
        const report = finish(table.previewRestrict(request, 1000))
        expect(table.digest()).toBe(digest)
        const removed = table.restrict(request)
        expect(report.leaving).toBe(removed.length / 2)
        expect(report.sample.map(({ key }) => Number.parseInt(key, 16) - 1)).toEqual(idsOf(removed))
        for (const buckets of [report.byCount, report.byAge]) {
          expect(buckets.reduce((sum, { rows }) => sum + rows, 0)).toBe(report.leaving)
        }
      }
    }),
    { numRuns: 60 },
  )
})

test('a dry run says how often and when the rows were seen, and names a few', () => {
  const table = new MemoryTable(tableSpec({ dim: 1, capacityRows: 100 }))
  train(table, 0, { 1: 1, 2: 3, 3: 2 })
  train(table, 2 * hour, { 4: 100 })
  const report = finish(table.previewRestrict(frequency(1), 2))
  expect(report).toEqual({
    rows: 4,
    leaving: 3,
    byCount: [
      { from: 1, rows: 1 },
      { from: 2, rows: 2 },
    ],
    byAge: [
      { upToMs: 60_000, rows: 0 },
      { upToMs: hour, rows: 0 },
      { upToMs: day, rows: 3 },
      { upToMs: 7 * day, rows: 0 },
      { upToMs: 30 * day, rows: 0 },
      { upToMs: Infinity, rows: 0 },
    ],
    sample: [
      { key: '0000000000000002', count: 1, lastSeen: start },
      { key: '0000000000000003', count: 3, lastSeen: start },
    ],
  })
  expect(finish(table.previewRestrict({ ...frequency(1), trigger: 9 }, 2)).leaving).toBe(0)
})

/** What a table answers to steps of training and restricting, and how it ends. */
function transcript(table: MemoryTable, acts: readonly Record<string, unknown>[]): unknown[] {
  const answers: unknown[] = []
  for (const [n, act] of acts.entries()) {
    const { keys, time, count, numReserved, policy } = act as {
      keys: number
      time: number
      count: number
      numReserved: number
      policy: RestrictRequest['policy']
    }
    const ids = range(3 * n, 3 * n + keys)
    train(table, time, Object.fromEntries(ids.map((id) => [id, count])), n)
    answers.push([...table.restrict({ policy, numReserved, trigger: numReserved })])
    answers.push([...restrictWhenFull(table)], table.digest())
  }
  return answers
}

test('the same rows leave whatever the number of memories, and from the kernels’ twins', () => {
  assert(
    property(steps, (acts) => {
      const restrict = {
        policy: 'combined',
        numReserved: 10,
        trigger: 20,
        halfLifeMs: 5 * day,
        recencyHalfLifeMs: 3 * day,
        ttlMs: 20 * day,
        floorRows: 3,
      } as const
      const spec: TableSpec = tableSpec({ dim: 1, capacityRows: 100, restrict })
      const [one, three, twin] = [{}, { shards: 3 }, { implementation: 'reference' as const }].map(
        (options) => {
          const table = new MemoryTable(spec, options)
          table.protect(keysOf(1, 5))
          return transcript(table, acts)
        },
      )
      expect(three).toEqual(one)
      expect(twin).toEqual(one)
    }),
    { numRuns: 20 },
  )
})

describe('in steps', () => {
  const rows = 140_000
  const spec = tableSpec({
    dim: 1,
    capacityRows: rows,
    restrict: { policy: 'frequency', numReserved: rows, halfLifeMs: day, ttlMs: 10 * day },
  })
  const keys = randomKeys(17, rows)

  function filled(shards = 1): MemoryTable {
    const table = new MemoryTable(spec, { shards })
    for (let n = 0; n < 10; n += 1) {
      const some = keys.subarray((n * keys.length) / 10, ((n + 1) * keys.length) / 10)
      const stamp = { time: start + n * day, version: n }
      table.findOrInsert(some, new Float32Array(rows / 10), stamp)
      const counts = new Uint32Array(rows / 10).map((_, i) => 1 + ((i * i) % 70))
      table.applyGradients(some, new Float32Array(rows / 10), counts, stamp)
    }
    return table
  }

  const request = { ...frequency(90_000), policy: 'combined' } as const

  test('what was started goes on over restarts, and ends as it does at once', () => {
    const whole = filled()
    const atOnce = whole.restrict(request)
    let table = filled(2)
    expect(table.startRestrict(request)).toBe(true)
    const removed: Keys[] = []
    for (let calls = 0; table.isRestricting && calls < 100; calls += 1) {
      removed.push(table.restrictSome(request))
      const again = new MemoryTable(spec)
      again.load(table.snapshot())
      table = again
    }
    expect(removed.length).toBeGreaterThan(5)
    expect(removed.reduce((sum, some) => sum + some.length, 0)).toBe(atOnce.length)
    expect(table.digest()).toBe(whole.digest())
    expect(table.stats().rows).toBe(90_000)
  })

  test('a dry run of a large table finds the same, step by step', () => {
    const table = filled()
    const preview = table.previewRestrict(request, 5)
    let calls = 1
    while (preview.advance()) calls += 1
    expect(calls).toBeGreaterThan(5)
    expect(preview.report().leaving).toBe(50_000)
    expect(table.size).toBe(rows)
  })

  test('rows past their time to live leave in steps, too, and their age is told', () => {
    const table = filled()
    const late = { time: start + 12 * day, version: 20 }
    table.findOrInsert(keysOf(1), new Float32Array(1), late)
    table.erase(keysOf(1))
    let removed = 0
    for (let calls = 0; calls < 20; calls += 1) removed += restrictWhenFull(table).length / 2
    expect(removed).toBe(28_000)
    expect(table.stats().evictionAgeMs).toBe(11.5 * day)
  })
})
