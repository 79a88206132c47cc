/**
 * A small recommender of lookups alone: a user is the mean of the words of what they have taken,
 * an item the mean of its own words, both from one table; the score is their product. Who likes a
 * topic takes items with its words.
 */
import { expect, test } from 'vitest'

import { type Random, seededRandom } from '../../../src/base/random.ts'
import type { EmbeddingTable } from '../../../src/embedding/embedding-table.ts'
import { SquashedEmbedding } from '../../../src/embedding/lookup/squashed-embedding.ts'
import { TableBatch } from '../../../src/embedding/lookup/table-batch.ts'
import { MemoryTable } from '../../../src/embedding/memory/memory-table.ts'
import type { OptimizerSpec } from '../../../src/embedding/table-spec.ts'
import { keysOf, range, step, tableSpec } from '../../support/tables.ts'

const [topics, wordsPerTopic, dim, examples] = [4, 12, 8, 64]

interface Examples {
  readonly histories: number[][]
  readonly items: number[][]
  readonly labels: number[]
}

/** Half of the items are of the user's topic. */
function draw(random: Random): Examples {
  const words = (topic: number): number[] =>
    range(0, 3).map(() => topic * wordsPerTopic + random.integer(wordsPerTopic))
  const drawn = range(0, examples).map((i) => {
    const topic = random.integer(topics)
    const other = (topic + 1 + random.integer(topics - 1)) % topics
    const label = i % 2
    return { history: words(topic), item: words(label === 1 ? topic : other), label }
  })
  return {
    histories: drawn.map(({ history }) => history),
    items: drawn.map(({ item }) => item),
    labels: drawn.map(({ label }) => label),
  }
}

const ragged = (lists: number[][]) => ({
  keys: keysOf(...lists.flat()),
  offsets: range(0, lists.length + 1).map((b) => 3 * b),
})

class Recommender {
  readonly #batch: TableBatch
  readonly #users: SquashedEmbedding
  readonly #items: SquashedEmbedding

  constructor(table: EmbeddingTable) {
    this.#batch = new TableBatch(table, { maxKeys: 6 * examples, maxVectors: 2 * examples })
    const limits = { combine: 'mean', maxLists: examples, maxKeys: 3 * examples } as const
    this.#users = new SquashedEmbedding(this.#batch, limits)
    this.#items = new SquashedEmbedding(this.#batch, limits)
  }

  /** Scores, and the vectors that they are of. */
  async scores({ histories, items }: Examples, version?: number) {
    this.#batch.begin()
    this.#users.stage(ragged(histories))
    this.#items.stage(ragged(items))
    await this.#batch.read(version === undefined ? undefined : step(version))
    const [u, v] = [this.#users.forward(), this.#items.forward()]
    const score = (i: number): number =>
      range(i * dim, (i + 1) * dim).reduce((sum, j) => sum + u[j] * v[j], 0)
    return { u, v, scores: range(0, examples).map(score) }
  }

  /** One step of the logistic loss. */
  async learn(batch: Examples, version: number): Promise<void> {
    const { u, v, scores } = await this.scores(batch, version)
    const slopes = scores.map((s, i) => 1 / (1 + Math.exp(-s)) - batch.labels[i])
    this.#users.backward(v.map((x, j) => x * slopes[Math.floor(j / dim)]))
    this.#items.backward(u.map((x, j) => x * slopes[Math.floor(j / dim)]))
    await this.#batch.update(step(version))
  }

  /** The share of examples on the right side of 0. */
  async accuracy(batch: Examples): Promise<number> {
    const { scores } = await this.scores(batch)
    return scores.filter((s, i) => s > 0 === (batch.labels[i] === 1)).length / examples
  }
}

const common = { gradients: 'sum' } as const
const accumulating = { ...common, initialAccumulator: 0.1, epsilon: 1e-7 }
const adam = { ...common, rate: 0.02, beta1: 0.9, beta2: 0.99, epsilon: 1e-7 }
const optimizers: readonly OptimizerSpec[] = [
  { ...common, kind: 'sgd', rate: 0.3 },
  { ...common, kind: 'momentum', rate: 0.05, momentum: 0.9, nesterov: false },
  { ...common, kind: 'momentum', rate: 0.05, momentum: 0.9, nesterov: true },
  { ...accumulating, kind: 'adagrad', rate: 0.1 },
  { ...accumulating, kind: 'adagradDecay', rate: 0.1, decay: 0.9, decaySteps: 50 },
  { ...adam, kind: 'adam' },
  { ...adam, kind: 'lazyAdam' },
  { ...common, kind: 'rmsprop', rate: 0.01, rho: 0.9, momentum: 0, centered: true, epsilon: 1e-7 },
  { ...common, kind: 'ftrl', rate: 0.2, initialAccumulator: 0.1, l1: 0.001, beta: 0.1 },
  {
    ...accumulating,
    kind: 'clippyAdagrad',
    rate: 0.1,
    relativeThreshold: 0.1,
    accumulatorThreshold: 0,
    absoluteThreshold: 0.01,
  },
]

test.each(optimizers)('$kind learns who likes what', async (optimizer) => {
  const initializer = { kind: 'fanOut', scale: 0.3, distribution: 'truncatedNormal' } as const
  const table = new MemoryTable(tableSpec({ dim, initializer, optimizer, maxNorm: 4 }))
  const recommender = new Recommender(table)
  const random = seededRandom(5)
  const before = await recommender.accuracy(draw(random))
  for (let version = 1; version <= 300; version += 1) {
    await recommender.learn(draw(random), version)
    if (version === 150) table.restrict({ numReserved: 40, trigger: 40, policy: 'frequency' })
  }
  expect(before).toBeLessThan(0.75)
  expect(await recommender.accuracy(draw(random))).toBeGreaterThan(0.95)
  expect(table.size).toBe(topics * wordsPerTopic)
})
