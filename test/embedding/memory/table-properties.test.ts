/* oxlint-disable vitest/no-standalone-expect -- a pair of tables compares as it goes */
/** Random sequences of all verbs: the table against a Map, the kernels against their twins. */
import {
  type Arbitrary,
  array,
  assert,
  boolean,
  constantFrom,
  float,
  integer,
  oneof,
  property,
  record,
  constant,
  uniqueArray,
} from 'fast-check'
import { describe, expect, test } from 'vitest'

import { MemoryTable } from '../../../src/embedding/memory/memory-table.ts'
import type { TableSpec } from '../../../src/embedding/table-spec.ts'
import { ModelTable } from '../../support/model-table.ts'
import { adagrad, idsOf, keysOf, range, step, tableSpec } from '../../support/tables.ts'

const maximumId = 47
const someIds = array(integer({ min: 0, max: maximumId }), { maxLength: 12 })
const distinct = uniqueArray(integer({ min: 0, max: maximumId }), { maxLength: 12 })
const value = float({ min: -4, max: 4, noNaN: true })
const twelve = array(value, { minLength: 12, maxLength: 12 })
const counts = array(integer({ min: 1, max: 9 }), { minLength: 12, maxLength: 12 })
const rowNumber = integer({ min: 0, max: 16 })

const action = oneof(
  record({ verb: constant('find' as const), ids: someIds }),
  record({ verb: constant('findOrInsert' as const), ids: someIds }),
  record({ verb: constant('train' as const), ids: distinct, values: twelve, counts }),
  record({ verb: constant('assign' as const), ids: someIds, values: twelve }),
  record({
    verb: constant('accumulate' as const),
    ids: someIds,
    values: twelve,
    exists: array(boolean(), { minLength: 12, maxLength: 12 }),
  }),
  record({ verb: constant('erase' as const), ids: someIds }),
  record({
    verb: constant('restrict' as const),
    numReserved: rowNumber,
    trigger: rowNumber,
    policy: constantFrom('frequency' as const, 'timestamp' as const),
  }),
  record({
    verb: constant('restrictSome' as const),
    begins: boolean(),
    numReserved: rowNumber,
    policy: constantFrom('frequency' as const, 'timestamp' as const),
    steps: integer({ min: 1, max: 9 }),
  }),
  record({ verb: constant('drop' as const), ids: someIds }),
  record({
    verb: constant('rewrite' as const),
    ids: distinct,
    dropped: someIds,
    changed: boolean(),
  }),
  record({ verb: constant('takeChanges' as const) }),
  record({ verb: constant('compact' as const), steps: integer({ min: 1, max: 6 }) }),
  record({ verb: constant('restore' as const) }),
  record({ verb: constant('snapshot' as const) }),
)
type Action = typeof action extends Arbitrary<infer Value> ? Value : never
type Restricting = Extract<Action, { verb: 'restrict' | 'restrictSome' }>

/** Small, so that it is often full. */
const spec = tableSpec({ dim: 1, capacityRows: 14 })
/** A pass of a restrict takes five steps, and its end one for every two rows. */
const restrictSteps = { scanned: 3, removed: 2 }
const byId = (a: number[], b: number[]): number => a[0] - b[0]

/** Nothing more is to be restricted than what is under way. */
const never = { numReserved: 0, trigger: 2 ** 40, policy: 'timestamp' } as const

/** Some steps of a few rows each: what comes next often finds rows on the move. */
function compact(table: MemoryTable, steps: number): void {
  for (let i = 0; i < steps; i += 1) table.compactSome({ free: 0.1, worthRows: 1, stepRows: 3 })
}

/** A table and what it should be; `run` does one action on both and compares what they answer. */
class Pair {
  table: MemoryTable
  readonly model: ModelTable
  readonly #shards: number
  /** One that is still to be read, and what it is of. */
  #snapshot: { readonly digest: bigint; readonly pieces: Iterable<Uint8Array> } | undefined
  #step = 0
  /** Times advance every third step only, so that scores tie. */
  get #stamp(): { time: number; version: number } {
    return { time: Math.floor(this.#step / 3) * 1000, version: this.#step }
  }

  constructor(shards = 1) {
    this.#shards = shards
    this.table = new MemoryTable(spec, { shards, restrictSteps })
    const initial = new Float32Array(maximumId + 1)
    this.table.find(keysOf(...range(0, maximumId + 1)), initial)
    const { rate, initialAccumulator, epsilon } = adagrad
    const settings = { capacity: spec.capacityRows, rate, initialAccumulator, epsilon }
    this.model = new ModelTable({ ...settings, initial: (id) => initial[id] })
  }

  run(act: Action): void {
    this.#step += 1
    const { table, model } = this
    switch (act.verb) {
      case 'erase':
        expect(table.erase(keysOf(...act.ids))).toBe(act.ids.filter((id) => model.erase(id)).length)
        break
      case 'restrict':
      case 'restrictSome':
        this.#restrict(act)
        break
      case 'drop':
      case 'rewrite':
        this.#cache(act)
        break
      case 'takeChanges': {
        const { changed, removed } = table.takeChanges()
        expect({ changed: idsOf(changed), removed: idsOf(removed) }).toEqual(model.takeChanges())
        break
      }
      case 'compact':
        compact(table, act.steps)
        break
      case 'restore':
        this.#restore()
        break
      case 'snapshot':
        this.readSnapshot()
        this.#snapshot = { digest: table.digest(), pieces: table.snapshot() }
        break
      case 'find':
      case 'findOrInsert':
      case 'train':
      case 'assign':
      case 'accumulate':
        this.#learn(act)
        break
    }
    expect(this.table.size).toBe(model.rows.size)
  }

  /** What leaves in steps is known when it has left. */
  #restrict(act: Restricting): void {
    const { table, model } = this
    if (act.verb === 'restrict') {
      expect(idsOf(table.restrict(act))).toEqual(model.restrict(act))
      return
    }
    if (act.begins) table.startRestrict({ ...act, trigger: 0 })
    for (let i = 0; i < act.steps; i += 1) {
      for (const id of idsOf(table.restrictSome(never))) expect(model.erase(id)).toBe(true)
    }
  }

  /** The verbs of a training step. */
  #learn(
    act: Extract<Action, { verb: 'find' | 'findOrInsert' | 'train' | 'assign' | 'accumulate' }>,
  ) {
    const { table, model } = this
    const stamp = this.#stamp
    const keys = keysOf(...act.ids)
    switch (act.verb) {
      case 'find': {
        const found = new Float32Array(act.ids.length)
        const present = new Uint8Array(act.ids.length)
        table.find(keys, found, present)
        expect([...found]).toEqual(act.ids.map((id) => model.find(id)))
        expect([...present]).toEqual(act.ids.map((id) => (model.rows.has(id) ? 1 : 0)))
        break
      }
      case 'findOrInsert': {
        const found = new Float32Array(act.ids.length)
        table.findOrInsert(keys, found, stamp)
        for (const id of act.ids) model.findOrInsert(id, stamp)
        expect([...found]).toEqual(act.ids.map((id) => model.find(id)))
        break
      }
      case 'train':
        this.#train(act)
        break
      case 'assign':
        table.assign(keys, Float32Array.from(act.values), stamp)
        for (const [i, id] of act.ids.entries()) model.assign(id, act.values[i], stamp)
        break
      case 'accumulate':
        this.#accumulate(act)
        break
    }
  }

  #train({ ids, values, counts: times }: Extract<Action, { verb: 'train' }>): void {
    const { table, model } = this
    const stamp = this.#stamp
    const keys = keysOf(...ids)
    const n = ids.length
    table.findOrInsert(keys, new Float32Array(n), stamp)
    const gradients = Float32Array.from(values.slice(0, n))
    table.applyGradients(keys, gradients, Uint32Array.from(times.slice(0, n)), stamp)
    for (const id of ids) model.findOrInsert(id, stamp)
    for (const [i, id] of ids.entries()) model.update(id, values[i], times[i], stamp)
  }

  #accumulate({ ids, values, exists }: Extract<Action, { verb: 'accumulate' }>): void {
    const stamp = this.#stamp
    const change = {
      oldVectors: new Float32Array(ids.length).fill(0.3),
      newVectors: Float32Array.from(values.slice(0, ids.length)),
      exists: Uint8Array.from(exists, Number),
    }
    this.table.accumulate(keysOf(...ids), change, stamp)
    for (const [i, id] of ids.entries()) {
      this.model.accumulate(id, [0.3, values[i], exists[i]], stamp)
    }
  }

  /** Lets rows go; or reads some whole, lets others go, and writes back what was read. */
  #cache(act: Extract<Action, { verb: 'drop' | 'rewrite' }>): void {
    const { table, model } = this
    if (act.verb === 'drop') {
      const there = act.ids.filter((id) => model.drop(id) !== undefined)
      expect(table.drop(keysOf(...act.ids))).toBe(there.length)
      return
    }
    const { ids, dropped, changed } = act
    const records = new Uint8Array(ids.length * table.recordBytes)
    const present = new Uint8Array(ids.length)
    table.readRecords(keysOf(...ids), records, present)
    expect([...present]).toEqual(ids.map((id) => (model.rows.has(id) ? 1 : 0)))
    const rows = ids.map((id) => ({ id, row: model.rows.get(id) }))
    table.drop(keysOf(...dropped))
    for (const id of dropped) model.drop(id)
    expect(table.writeRecords(records, { changed })).toBe(0)
    for (const { id, row } of rows) if (row !== undefined) model.write(id, { ...row }, changed)
  }

  /** Whatever happened since, the snapshot is of the moment it was asked for. */
  readSnapshot(): void {
    if (this.#snapshot === undefined) return
    const other = new MemoryTable(spec)
    other.load(this.#snapshot.pieces)
    expect(other.digest()).toBe(this.#snapshot.digest)
    this.#snapshot = undefined
  }

  /** Goes on with a table that was loaded from a snapshot: rows lie elsewhere from now on. */
  #restore(): void {
    this.readSnapshot()
    const other = new MemoryTable(spec, { shards: this.#shards, restrictSteps })
    other.load(this.table.snapshot())
    expect(other.digest()).toBe(this.table.digest())
    this.table = other
  }

  expectSameRows(): void {
    const found = [...this.table.export()].flatMap(({ keys, vectors }) =>
      [...vectors].map((vector, i) => [keys[2 * i] - 1, vector]),
    )
    const expected = [...this.model.rows].map(([id, { vector }]) => [id, vector])
    expect(found.toSorted(byId)).toEqual(expected.toSorted(byId))
  }
}

describe('any sequence of verbs leaves what a Map would hold, restarts in between or not', () => {
  test.each([1, 3])('%i memories', (shards) => {
    assert(
      property(array(action, { maxLength: 40, size: 'max' }), (actions) => {
        const pair = new Pair(shards)
        for (const act of actions) pair.run(act)
        pair.readSnapshot()
        pair.expectSameRows()
      }),
      { numRuns: 40 },
    )
  })
})

test('the number of memories shows in nothing', () => {
  assert(
    property(array(action, { maxLength: 40, size: 'max' }), (actions) => {
      const [one, three] = [1, 3].map((shards) => new Pair(shards))
      for (const act of actions) {
        one.run(act)
        three.run(act)
      }
      expect(three.table.digest()).toBe(one.table.digest())
      const { admitted, refused, evicted } = one.table.stats()
      expect(three.table.stats()).toMatchObject({ admitted, refused, evicted })
      expect(three.table.takeChanges()).toEqual(one.table.takeChanges())
    }),
    { numRuns: 40 },
  )
})

test('restores in between change nothing that can be seen', () => {
  assert(
    property(array(action, { maxLength: 25, size: 'max' }), (actions) => {
      const [plain, restored] = [new Pair(), new Pair()]
      for (const act of actions) {
        plain.run(act)
        restored.run(act)
        restored.run({ verb: 'restore' })
        plain.run({ verb: 'find', ids: [] })
      }
      expect(restored.table.digest()).toBe(plain.table.digest())
      expect(restored.table.takeChanges()).toEqual(plain.table.takeChanges())
    }),
    { numRuns: 25 },
  )
})

test('a restrict in steps with nothing in between removes what one at once does', () => {
  const request = record({ numReserved: rowNumber, policy: constantFrom('frequency', 'timestamp') })
  assert(
    property(
      array(action, { maxLength: 40, size: 'max' }),
      request,
      (actions, { numReserved, policy }) => {
        const [pair, other] = [new Pair(), new Pair(3)]
        for (const act of actions) for (const one of [pair, other]) one.run(act)
        const asked = { numReserved, policy, trigger: 0 }
        pair.table.startRestrict(asked)
        while (pair.table.isRestricting) pair.table.restrictSome(never)
        other.table.restrict(asked)
        expect(pair.table.digest()).toBe(other.table.digest())
      },
    ),
    { numRuns: 15 },
  )
})

const floatsOf = (values: readonly number[], length: number): Float32Array =>
  new Float32Array(length).map((_, i) => values[i % values.length] * (1 + i / 7))

/** What a table answers to the verbs of a training step, with stamp n. */
function answerStep(
  table: MemoryTable,
  act: Extract<Action, { readonly ids: number[] }>,
  n: number,
): unknown[] {
  const stamp = step(n)
  const keys = keysOf(...act.ids)
  const found = new Float32Array(act.ids.length * table.spec.dim)
  switch (act.verb) {
    case 'drop':
    case 'rewrite': {
      const records = new Uint8Array(act.ids.length * table.recordBytes)
      const present = new Uint8Array(act.ids.length)
      table.readRecords(keys, records, present)
      const dropped = table.drop(keysOf(...(act.verb === 'drop' ? act.ids : act.dropped)))
      return [records, present, dropped, table.writeRecords(records, { changed: n % 2 === 0 })]
    }
    case 'find':
      table.find(keys, found)
      break
    case 'findOrInsert':
      table.findOrInsert(keys, found, stamp)
      break
    case 'train': {
      table.findOrInsert(keys, found, stamp)
      const gradients = floatsOf(act.values, found.length)
      table.applyGradients(keys, gradients, Uint32Array.from(act.counts), stamp)
      break
    }
    case 'assign':
      table.assign(keys, floatsOf(act.values, found.length), stamp)
      break
    case 'accumulate': {
      const newVectors = floatsOf(act.values, found.length)
      const exists = Uint8Array.from(act.exists, Number)
      table.accumulate(keys, { exists, oldVectors: found, newVectors }, stamp)
      break
    }
    case 'erase':
      return [table.erase(keys)]
  }
  return [found]
}

function answerRestrict(table: MemoryTable, act: Restricting): unknown[] {
  if (act.verb === 'restrict') return [table.restrict(act)]
  if (act.begins) table.startRestrict({ ...act, trigger: 0 })
  return Array.from({ length: act.steps }, () => table.restrictSome(never))
}

/** Every answer of a table to a sequence of actions, and its bytes at the end, in row order. */
function transcript(table: MemoryTable, actions: readonly Action[]): unknown[] {
  const answers = actions.map((act, i) => {
    switch (act.verb) {
      case 'restrict':
      case 'restrictSome':
        return answerRestrict(table, act)
      case 'compact':
        return compact(table, act.steps)
      case 'takeChanges':
      case 'restore':
      case 'snapshot':
        return [table.takeChanges(), table.digest()]
      case 'find':
      case 'findOrInsert':
      case 'train':
      case 'assign':
      case 'accumulate':
      case 'erase':
      case 'drop':
      case 'rewrite':
        return answerStep(table, act, i + 1)
    }
  })
  const bytes = Buffer.concat([...table.snapshot()])
  table.load([bytes])
  return [...answers, table.stats(), bytes, table.digest(), ...table.export()]
}

describe('the kernels give the bits of their twins', () => {
  const specs: Partial<TableSpec>[] = [
    { dim: 1, initializer: { kind: 'normal', mean: 0, std: 0.1 } },
    { dim: 3, initializer: { kind: 'truncatedNormal', mean: 0.5, std: 2 }, seed: 9 },
    { dim: 4, initializer: { kind: 'constant', value: 1 / 3 } },
    {
      dim: 18,
      optimizer: {
        kind: 'adagradDecay',
        rate: 0.07,
        initialAccumulator: 0.2,
        epsilon: 1e-6,
        gradients: 'mean',
        decay: 0.8,
        decaySteps: 2,
      },
    },
  ]

  test.each(specs)('dim $dim', (changes) => {
    const twinSpec = tableSpec({ capacityRows: 14, ...changes })
    assert(
      property(array(action, { maxLength: 25, size: 'max' }), (actions) => {
        const answers = transcript(new MemoryTable(twinSpec, { restrictSteps }), actions)
        const options = { implementation: 'reference', restrictSteps } as const
        const twin = new MemoryTable(twinSpec, options)
        expect(transcript(twin, actions)).toEqual(answers)
      }),
      { numRuns: 60 },
    )
  })
})
