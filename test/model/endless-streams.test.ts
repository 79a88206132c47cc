/**
 * Whether learning dies on a stream without an end: users like one item each, for long; then all of
 * them another one. What counts is how many batches it takes until the model follows.
 */
import { expect, test } from 'vitest'

import { seededRandom } from '../../src/base/random.ts'
import { MemoryTable } from '../../src/embedding/memory/memory-table.ts'
import type { TableSpec } from '../../src/embedding/table-spec.ts'
import type { ItemInput, QueryInput } from '../../src/model/inputs.ts'
import type { DenseOptimizerSpec, ModelSpec } from '../../src/model/spec.ts'
import { TwoTower } from '../../src/model/two-tower.ts'
import { limits, plainSpec } from './fixtures.ts'

const people = 12
const dim = 8
/** Batches of the first day, and of a month. */
const day = 100
const month = 30 * day

const rates = { rate: 0.05, initialAccumulator: 0.1, epsilon: 1e-7 }
const dying = { kind: 'adagrad', ...rates } as const
const living = { kind: 'adagradDecay', ...rates, decay: 0.8, decaySteps: 20 } as const

const items = Array.from({ length: people }, (_, handle): ItemInput => {
  return { handle, id: `item ${handle}`, revision: 1, features: {} }
})
const queries = items.map(({ handle }): QueryInput => {
  return { userId: `user ${handle}`, userFeatures: {}, history: [], context: {}, timestamp: 0 }
})

class Stream {
  readonly #model: TwoTower
  readonly #tables: ReadonlyMap<string, MemoryTable>
  readonly #random = seededRandom(3)
  #step = 0

  static async open(optimizer: typeof dying | typeof living): Promise<Stream> {
    const spec = plainSpec(dim)
    const layers = [{ kind: 'dense', units: dim, activation: 'linear' }] as const
    const denseOptimizer: DenseOptimizerSpec = optimizer
    const model: ModelSpec = {
      ...spec,
      denseOptimizer,
      query: { ...spec.query, layers, normalize: true },
      candidate: { ...spec.candidate, normalize: true },
      score: { temperature: 0.15 },
    }
    return new Stream(await TwoTower.create(model, limits(people, people)), optimizer)
  }

  private constructor(model: TwoTower, optimizer: typeof dying | typeof living) {
    this.#model = model
    this.#tables = new Map(
      ['user', 'item'].map((name) => {
        const spec: TableSpec = {
          name,
          dim,
          capacityRows: 64,
          initializer: { kind: 'normal', mean: 0, std: 0.1 },
          optimizer: { ...optimizer, gradients: 'sum' },
        }
        return [name, new MemoryTable(spec)]
      }),
    )
  }

  /** A batch in which every user takes the item `shift` further on; its loss. */
  learn(shift: number): number {
    this.#step += 1
    const stamp = { time: 0, version: this.#step }
    const lookups = this.#model.prepareStep(queries, items)
    for (const { table, keys, rows } of lookups) {
      this.#tables.get(table)!.findOrInsert(keys, rows, stamp)
    }
    const { loss } = this.#model.step({
      targets: Int32Array.from(items, (_, i) => this.#target(i, shift)),
      weights: new Float32Array(people).fill(1),
      corrections: new Float32Array(people),
      targetCorrections: new Float32Array(people),
      popularity: new Float32Array(0),
      masked: new Int32Array(0),
      pulls: new Int32Array(0),
    })
    for (const { table, keys, gradients, occurrences } of lookups) {
      this.#tables.get(table)!.applyGradients(keys, gradients, occurrences, stamp)
    }
    this.#model.update()
    return loss
  }

  /** One in ten takes whatever it is. */
  #target(user: number, shift: number): number {
    const isWhim = this.#random.next() < 0.1
    return isWhim ? this.#random.integer(people) : (user + shift) % people
  }

  /** Batches until a taste that has changed is followed. */
  follow(shift: number): number {
    let batches = 0
    let recent = 3
    while (recent > 1.2 && batches < 10_000) {
      recent += 0.1 * (this.learn(shift) - recent)
      batches += 1
    }
    return batches
  }
}

/** How long a drift takes after a first day, and after a month without one. */
async function drifts(optimizer: typeof dying | typeof living): Promise<readonly [number, number]> {
  const young = await Stream.open(optimizer)
  for (let i = 0; i < day; i += 1) young.learn(0)
  const old = await Stream.open(optimizer)
  for (let i = 0; i < month; i += 1) old.learn(0)
  return [young.follow(5), old.follow(5)]
}

test('a drift after a month is followed as fast as on the first day, within a fifth', async () => {
  const [young, old] = await drifts(living)
  expect(young).toBeGreaterThan(5)
  expect(old / young).toBeLessThan(1.2)
})

test('that is not so with Adagrad, whose rates only ever fall', async () => {
  const [young, old] = await drifts(dying)
  expect(old / young).toBeGreaterThan(1.4)
})
