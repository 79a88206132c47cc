/** A replica whose parameters come anew: it answers with what it has until that is replaced. */
import {
  array,
  assert,
  asyncProperty,
  constantFrom,
  integer,
  record,
  uniqueArray,
} from 'fast-check'
import { expect, test } from 'vitest'

import type { Keys } from '../../src/base/keys.ts'
import type { TableSpec } from '../../src/embedding/table-spec.ts'
import { Replica } from '../../src/serving/replica.ts'
import type { Delta } from '../../src/sync/delta.ts'
import { plainModel, shopTables } from '../support/shop-replica.ts'

const watermark = { offsets: {}, acceptedAt: 0 }

const roomy = (spec: TableSpec, capacityRows: number): TableSpec => ({ ...spec, capacityRows })

const withCapacity = (capacityRows: number): readonly TableSpec[] =>
  shopTables.map((spec) => (spec.name === 'user' ? roomy(spec, capacityRows) : spec))

async function open(capacityRows = 8_192) {
  const tables = withCapacity(capacityRows)
  const replica = await Replica.create({ model: plainModel, tables, facts: {} }, {})
  return Object.assign(replica, { [Symbol.asyncDispose]: () => replica.close() })
}

const keysOf = (ids: readonly number[]): Keys => Uint32Array.from(ids.flatMap((id) => [id + 1, 7]))

interface Change {
  readonly base: number
  readonly rows?: readonly number[]
  readonly removed?: readonly number[]
  readonly value?: number
}

/** Of the table `user`: each row has one value, eight times. */
function deltaOf({ base, rows = [], removed = [], value = 0 }: Change): Delta {
  const vectors = new Float32Array(8 * rows.length).fill(value)
  const part = { table: 'user', dim: 8, keys: keysOf(rows), vectors, removed: keysOf(removed) }
  return {
    sequence: base + 1,
    base,
    modelVersion: value,
    watermark,
    tables: [part],
    publishedAt: 0,
  }
}

function apply(replica: Replica, delta: Delta, complete = true): number {
  let pieces = 0
  for (const _ of replica.apply(delta, complete)) pieces += 1
  return pieces
}

function rowsOf(replica: Replica): Map<number, number> {
  const rows = new Map<number, number>()
  for (const { keys, vectors } of replica.table('user').export()) {
    for (let i = 0; 2 * i < keys.length; i += 1) rows.set(keys[2 * i] - 1, vectors[8 * i])
  }
  return rows
}

test('a resync leaves what is there until it is whole, and nothing then that it has not brought', async () => {
  await using replica = await open()
  expect(replica.isComplete).toBe(false)
  apply(replica, deltaOf({ base: 0, rows: [1, 2, 3], value: 1 }))
  apply(replica, deltaOf({ base: 1, rows: [3, 4], removed: [1], value: 2 }))
  apply(replica, { ...deltaOf({ base: 0, value: 3 }), tables: [] }, false)
  apply(replica, deltaOf({ base: 5, rows: [3, 5], value: 3 }), false)
  expect(replica.isComplete).toBe(true)
  expect(replica.state).toMatchObject({ version: 2, sequence: 2 })
  expect(rowsOf(replica)).toEqual(new Map([2, 3, 4, 5].map((id) => [id, [1, 3, 2, 3][id - 2]])))
  apply(replica, deltaOf({ base: 5, rows: [6], value: 3 }))
  expect(rowsOf(replica)).toEqual(new Map([3, 5, 6].map((id) => [id, 3])))
  expect(replica.state).toMatchObject({ version: 3, sequence: 6 })
})

test('a table that a resync brings nothing of is empty after it', async () => {
  await using replica = await open()
  apply(replica, deltaOf({ base: 0, rows: [1, 2], value: 1 }))
  apply(replica, { ...deltaOf({ base: 0 }), tables: [] })
  expect(rowsOf(replica).size).toBe(0)
})

const range = (from: number, to: number): number[] =>
  Array.from({ length: to - from }, (_, i) => from + i)

test('a full table has room for as many other rows, and a large one takes several steps', async () => {
  const many = 140_000
  await using replica = await open(many)
  apply(replica, deltaOf({ base: 0, rows: range(0, many), value: 1 }))
  expect(replica.table('user').size).toBe(many)
  apply(replica, deltaOf({ base: 0, rows: range(many, many + 100), value: 2 }), false)
  const pieces = apply(replica, deltaOf({ base: 9, rows: range(many + 100, 2 * many), value: 2 }))
  expect(pieces).toBeGreaterThan(many / 2_048 + 3)
  expect(replica.table('user').size).toBe(many)
  const rows = rowsOf(replica)
  expect(rows.size).toBe(many)
  expect([...rows].every(([id, value]) => id >= many && value === 2)).toBe(true)
  // The same again, without a reason to make room.
  apply(replica, deltaOf({ base: 0, rows: range(many, many + 50), value: 3 }))
  expect([...rowsOf(replica).keys()].toSorted((a, b) => a - b)).toEqual(range(many, many + 50))
}, 60_000)

const ids = uniqueArray(integer({ min: 0, max: 40 }), { maxLength: 30 })
const step = record({
  kind: constantFrom('delta' as const, 'whole' as const, 'pieces' as const, 'cut' as const),
  rows: ids,
  removed: ids,
})

test('whatever comes, in whatever pieces, the rows are those of the trainer', async () => {
  await assert(
    asyncProperty(array(step, { maxLength: 20 }), async (steps) => {
      await using replica = await open(41)
      let expected = new Map<number, number>()
      apply(replica, deltaOf({ base: 0, value: 0 }))
      for (const [i, { kind, rows, removed }] of steps.entries()) {
        const value = i + 1
        if (kind === 'delta') {
          const gone = removed.filter((id) => !rows.includes(id))
          apply(replica, deltaOf({ base: 1, rows, removed: gone, value }))
          for (const id of gone) expected.delete(id)
          for (const id of rows) expected.set(id, value)
          continue
        }
        const half = Math.floor(rows.length / 2)
        apply(replica, deltaOf({ base: 0, rows: rows.slice(0, half), value }), false)
        // Begun again after it was cut off.
        if (kind === 'cut') apply(replica, deltaOf({ base: 0, value }), false)
        const rest = kind === 'cut' ? rows : rows.slice(half)
        apply(replica, deltaOf({ base: 1, rows: rest, value }))
        expected = new Map(rows.map((id) => [id, value]))
      }
      expect(rowsOf(replica)).toEqual(expected)
    }),
    { numRuns: 60 },
  )
}, 60_000)
