import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

import { seededRandom } from '../../../src/base/random.ts'
import type { EmbeddingTable } from '../../../src/embedding/embedding-table.ts'
import { Embedding } from '../../../src/embedding/lookup/embedding.ts'
import { FieldWiseEmbedding } from '../../../src/embedding/lookup/field-wise-embedding.ts'
import type { Combine } from '../../../src/embedding/lookup/squashed-embedding.ts'
import { SquashedEmbedding } from '../../../src/embedding/lookup/squashed-embedding.ts'
import { TableBatch } from '../../../src/embedding/lookup/table-batch.ts'
import { MemoryTable } from '../../../src/embedding/memory/memory-table.ts'
import type { KernelOptions } from '../../../src/kernels/kernels.ts'
import { worstError } from '../../support/kernel-desk.ts'
import { idsOf, keysOf, range, step, tableSpec } from '../../support/tables.ts'

const dim = 3
/** The id of key 0, which is padding. */
const padding = -1
const limits = { maxKeys: 256, maxVectors: 128 }
const squashed = { combine: 'mean', maxLists: 32, maxKeys: 64 } as const

/** A table whose row of id i is `row(i)`. */
function tableOf(rows: readonly number[][], options: KernelOptions = {}): MemoryTable {
  const table = new MemoryTable(tableSpec({ dim }), options)
  table.assign(keysOf(...range(0, rows.length)), Float32Array.from(rows.flat()), step(1))
  return table
}

const random = seededRandom(7)
const rows = range(0, 8).map(() => range(0, dim).map(() => Math.fround(random.normal())))

/** Ids by list, and what is beside them. */
interface Lists {
  readonly ids: readonly (readonly number[])[]
  readonly weights?: readonly (readonly number[])[]
}

const ragged = ({ ids, weights }: Lists) => ({
  keys: keysOf(...ids.flat()),
  offsets: range(0, ids.length + 1).map((b) => ids.slice(0, b).flat().length),
  ...(weights === undefined ? {} : { weights: weights.flat() }),
})

interface Squashing extends KernelOptions {
  readonly combine?: Combine
  readonly defaultKey?: Uint32Array
}

/** Lists through a lookup over `rows`: the vectors, and the way back. */
function squash(lists: Lists, options: Squashing = {}, values: readonly number[][] = rows) {
  const table = tableOf(values, options)
  const batch = new TableBatch(table, { ...limits, ...options })
  const lookup = new SquashedEmbedding(batch, { ...squashed, ...options })
  batch.begin()
  lookup.stage(ragged(lists))
  void batch.read()
  return { batch, lookup, table, vectors: lookup.forward().slice() }
}

const listsOf = (vectors: Float32Array): number[][] =>
  range(0, vectors.length / dim).map((b) => Array.from(vectors.subarray(b * dim, (b + 1) * dim)))

/** Column by column, the weighted sum over a divisor. */
const mix = (ids: readonly number[], weights: readonly number[], divisor = 1): number[] =>
  range(0, dim).map((j) => ids.reduce((sum, id, i) => sum + weights[i] * rows[id][j], 0) / divisor)

/** The largest difference; infinite where there is another number of vectors. */
const errorOf = (got: Float32Array, wanted: readonly number[][]): number =>
  got.length === wanted.length * dim ? worstError(got, wanted.flat()) : Infinity

const zeros = [0, 0, 0]

describe('lists of 3, 0, 1 and 2 keys', () => {
  const ids = [[0, 1, 2], [], [3], [4, 0]]

  test('are squashed, the empty one to zeros', () => {
    const { vectors } = squash({ ids }, { combine: 'sum' })
    const sums = [mix([0, 1, 2], [1, 1, 1]), zeros, rows[3], mix([4, 0], [1, 1])]
    expect(errorOf(vectors, sums)).toBeLessThan(1e-5)
    expect(
      errorOf(squash({ ids }).vectors, [
        mix([0, 1, 2], [1, 1, 1], 3),
        zeros,
        rows[3],
        mix([4, 0], [1, 1], 2),
      ]),
    ).toBeLessThan(1e-5)
  })

  test('take the row of a default id where they are empty, and it learns', () => {
    const { batch, lookup, vectors } = squash({ ids }, { defaultKey: keysOf(5) })
    expect(listsOf(vectors)[1]).toEqual(rows[5])
    expect(idsOf(batch.keys)).toEqual([0, 1, 2, 3, 4, 5])
    lookup.backward(new Float32Array(4 * dim).fill(1))
    const at = idsInOrder(batch.keys).indexOf(5)
    expect([...batch.gradients.view.subarray(at * dim, (at + 1) * dim)]).toEqual([1, 1, 1])
  })
})

const idsInOrder = (keys: Uint32Array): number[] =>
  range(0, keys.length / 2).map((i) => keys[2 * i] - 1)

// The cases of TensorFlow's own test of safe lookups; invalid ids are padding here.
describe('the cases of safe lookups', () => {
  const ids = [[0, 1, padding], [padding], [], [2], [0, 1]]
  const weights = [[1, 2, 1], [1], [], [3], [0, -0.5]]

  test('with weights, zeros where nothing is left', () => {
    const { vectors } = squash({ ids, weights })
    expect(errorOf(vectors, [mix([0, 1], [1, 2], 3), zeros, zeros, rows[2], zeros])).toBeLessThan(
      1e-5,
    )
  })

  test('with weights and a default id', () => {
    const { vectors } = squash({ ids, weights }, { defaultKey: keysOf(3) })
    expect(
      errorOf(vectors, [mix([0, 1], [1, 2], 3), rows[3], rows[3], rows[2], rows[3]]),
    ).toBeLessThan(1e-5)
  })

  test('without weights', () => {
    const { vectors } = squash({ ids })
    const mean = mix([0, 1], [1, 1], 2)
    expect(errorOf(vectors, [mean, zeros, zeros, rows[2], mean])).toBeLessThan(1e-5)
  })

  test('summed, where weights of 0 and below count as they are', () => {
    const { vectors } = squash({ ids, weights }, { combine: 'sum' })
    const sums = [mix([0, 1], [1, 2]), zeros, zeros, mix([2], [3]), mix([0, 1], [0, -0.5])]
    expect(errorOf(vectors, sums)).toBeLessThan(1e-5)
  })
})

test('a key without a row reads as its initial vector, and gets a row only in training', async () => {
  const table = new MemoryTable(tableSpec({ dim }))
  const batch = new TableBatch(table, limits)
  const lookup = new Embedding(batch, { maxKeys: 8 })
  const initial = new Float32Array(dim)
  table.find(keysOf(1), initial)
  for (const stamp of [undefined, step(1)]) {
    batch.begin()
    lookup.stage(keysOf(1, 1, padding))
    await batch.read(stamp)
    expect([...lookup.forward()]).toEqual([...initial, ...initial, ...zeros])
    expect(table.size).toBe(stamp === undefined ? 0 : 1)
  }
})

test('rows of a table that answers later are there when it has', async () => {
  const table = tableOf(rows)
  const answers = Promise.withResolvers<void>()
  const later: EmbeddingTable = Object.create(table, {
    spec: { value: table.spec },
    find: {
      value: (...of: Parameters<MemoryTable['find']>) =>
        answers.promise.then(() => table.find(...of)),
    },
  })
  const batch = new TableBatch(later, limits)
  const lookup = new Embedding(batch, { maxKeys: 8 })
  batch.begin()
  lookup.stage(keysOf(2))
  const read = batch.read()
  expect(() => lookup.forward()).toThrow('staged and read')
  answers.resolve()
  await read
  expect([...lookup.forward()]).toEqual(rows[2])
})

test('padding is never learned', async () => {
  const table = new MemoryTable(tableSpec({ dim }))
  const batch = new TableBatch(table, limits)
  const lookup = new Embedding(batch, { maxKeys: 8 })
  batch.begin()
  lookup.stage(keysOf(padding, 4, padding))
  await batch.read(step(1))
  lookup.backward(new Float32Array(3 * dim).fill(1))
  expect(idsOf(batch.keys)).toEqual([4])
  expect([...batch.gradients.view.subarray(0, dim)]).toEqual([1, 1, 1])
})

test('lookups that share a table make one update of a row, of their gradients’ sum', async () => {
  const [shared, apart] = [tableOf(rows), tableOf(rows)]
  const batch = new TableBatch(shared, limits)
  const ids = new Embedding(batch, { maxKeys: 8 })
  const lists = new SquashedEmbedding(batch, { ...squashed, combine: 'sum' })
  batch.begin()
  ids.stage(keysOf(0, 1))
  lists.stage(ragged({ ids: [[1, 2, 1]] }))
  await batch.read(step(2))
  ids.backward(Float32Array.from({ length: 2 * dim }, () => 0.5))
  lists.backward(Float32Array.from({ length: dim }, () => 0.25))
  await batch.update(step(2))
  const gradients = Float32Array.from([0.5, 1, 0.25].flatMap((g) => [g, g, g]))
  apart.applyGradients(keysOf(0, 1, 2), gradients, Uint32Array.of(1, 3, 1), step(2))
  expect(shared.digest()).toBe(apart.digest())
})

test('fields are combined apart', () => {
  const table = tableOf(rows)
  const batch = new TableBatch(table, limits)
  const lookup = new FieldWiseEmbedding(batch, {
    fields: 3,
    combine: 'mean',
    maxExamples: 4,
    maxKeys: 16,
    defaultKey: keysOf(7),
  })
  batch.begin()
  lookup.stage({
    keys: keysOf(0, 1, 2, 3, 4, 5),
    offsets: [0, 4, 4, 6],
    fields: [2, 0, 2, 2, 1, 1],
    weights: [1, 1, 2, 0, 1, 3],
  })
  void batch.read()
  const [none, unit] = [rows[7], rows[1]]
  expect(
    errorOf(lookup.forward(), [
      unit,
      none,
      mix([0, 2], [1, 2], 3),
      none,
      none,
      none,
      none,
      mix([4, 5], [1, 3], 4),
      none,
    ]),
  ).toBeLessThan(1e-5)
  expect(idsInOrder(batch.keys)).toEqual([1, 7, 0, 2, 4, 5])
  lookup.backward(Float32Array.from({ length: 9 * dim }, (_, i) => Math.floor(i / dim)))
  const learned = listsOf(batch.gradients.view.subarray(0, 6 * dim)).map(([g]) => g)
  // List 2 is 0's and 2's, the lists of nothing are 7's, list 7 is that of 4 and 5.
  const wanted = [0, 1 + 3 + 4 + 5 + 6 + 8, 2 / 3, 4 / 3, 7 / 4, 21 / 4]
  for (const [i, value] of wanted.entries()) expect(learned[i]).toBeCloseTo(value, 5)
})

describe('staging keeps its limits', () => {
  const table = tableOf(rows)
  const staged = (use: (batch: TableBatch, lookup: SquashedEmbedding) => void) => () => {
    const batch = new TableBatch(table, { maxKeys: 6, maxVectors: 8 })
    const lookup = new SquashedEmbedding(batch, { combine: 'mean', maxLists: 2, maxKeys: 4 })
    batch.begin()
    use(batch, lookup)
  }
  test.each([
    ['more lists', staged((_, lookup) => lookup.stage(ragged({ ids: [[], [], []] })))],
    ['more keys', staged((_, lookup) => lookup.stage(ragged({ ids: [[1, 2, 3, 4, 5]] })))],
    [
      'staged once',
      staged((_, lookup) => {
        lookup.stage(ragged({ ids: [[1]] }))
        lookup.stage(ragged({ ids: [[1]] }))
      }),
    ],
    ['staged and read', staged((_, lookup) => lookup.forward())],
    ['read before it is updated', staged((batch) => void batch.update(step(1)))],
    [
      'before the table is read',
      staged((batch, lookup) => {
        void batch.read()
        lookup.stage(ragged({ ids: [[1]] }))
      }),
    ],
  ])('%s', (message, act) => {
    expect(act).toThrow(message)
  })
})

const lists = fc
  .array(
    fc.array(
      fc.record({
        id: fc.integer({ min: padding, max: rows.length - 1 }),
        weight: fc.integer({ min: -2, max: 8 }).map((x) => x / 4),
      }),
      { maxLength: 5 },
    ),
    { minLength: 1, maxLength: 6 },
  )
  .map((entries) => ({
    ids: entries.map((list) => list.map(({ id }) => id)),
    weights: entries.map((list) => list.map(({ weight }) => weight)),
  }))
const combines = fc.constantFrom('sum', 'mean', 'sqrtn', 'max')

const total = (of: readonly number[]): number => of.reduce((sum, x) => sum + x, 0)

/** What a lookup is meant to be, list by list, over the given rows. */
function plainly({ ids, weights }: Lists, combine: Combine, values = rows): number[][] {
  return ids.map((list, b) => {
    const entries = list
      .map((id, i) => ({ id, w: weights === undefined ? 1 : weights[b][i] }))
      .filter(({ id, w }) => id !== padding && (combine === 'sum' || w > 0))
    if (entries.length === 0) return zeros
    const column = (j: number): number[] => entries.map(({ id, w }) => w * values[id][j])
    const divisor = {
      sum: 1,
      max: 1,
      mean: total(entries.map(({ w }) => w)),
      sqrtn: Math.sqrt(total(entries.map(({ w }) => w * w))),
    }[combine]
    return range(0, dim).map((j) =>
      combine === 'max'
        ? Math.max(...entries.map(({ id }) => values[id][j]))
        : total(column(j)) / divisor,
    )
  })
}

describe('for any lists', () => {
  test('vectors are what the rule says, with weights and without', () => {
    fc.assert(
      fc.property(lists, combines, fc.boolean(), (drawn, combine, weighted) => {
        const some = weighted ? drawn : { ids: drawn.ids }
        expect(errorOf(squash(some, { combine }).vectors, plainly(some, combine))).toBeLessThan(
          1e-5,
        )
      }),
      { numRuns: 60 },
    )
  })

  test('gradients of rows are the finite differences, and keys count as they are used', () => {
    fc.assert(
      fc.property(lists, combines, fc.integer(), (drawn, combine, seed) => {
        const { batch, lookup, vectors } = squash(drawn, { combine })
        const draws = seededRandom(seed >>> 0)
        const gradients = vectors.map(() => draws.normal())
        lookup.backward(gradients)
        const loss = (values: number[][]): number =>
          plainly(drawn, combine, values)
            .flat()
            .reduce((sum, x, i) => sum + x * gradients[i], 0)
        const keys = idsInOrder(batch.keys)
        const used = drawn.ids.flatMap((list, b) =>
          list.filter((_, i) => combine === 'sum' || drawn.weights[b][i] > 0),
        )
        for (const [k, id] of keys.entries()) {
          expect(batch.occurrences[k]).toBe(used.filter((other) => other === id).length)
          for (let j = 0; j < dim; j += 1) {
            const at = (by: number): number[][] =>
              rows.map((row, i) => row.map((x, l) => (i === id && l === j ? x + by : x)))
            const slope = (loss(at(1e-4)) - loss(at(-1e-4))) / 2e-4
            expect(batch.gradients.view[k * dim + j]).toBeCloseTo(slope, 4)
          }
        }
      }),
      { numRuns: 60 },
    )
  })

  test('the twins give the same bits', () => {
    fc.assert(
      fc.property(lists, combines, (drawn, combine) => {
        const [wasm, twin] = (['wasm', 'reference'] as const).map((implementation) => {
          const { batch, lookup, vectors } = squash(drawn, { combine, implementation })
          lookup.backward(vectors.map((x) => x * 0.7))
          return { vectors, gradients: batch.gradients.view.slice(0, batch.keys.length * dim) }
        })
        expect(wasm).toEqual(twin)
      }),
      { numRuns: 40 },
    )
  })
})
