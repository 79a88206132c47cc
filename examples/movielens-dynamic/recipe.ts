/**
 * Trains the model on static or dynamic tables and asks how well it ranks. What a dynamic table is
 * to a training loop is three calls: `findOrInsert` before a step, `applyGradients` after it, and
 * `restrict` whenever fewer rows are wanted.
 */
import type { Keys } from '../../src/base/keys.ts'
import { keyCount } from '../../src/base/keys.ts'
import { MemoryTable } from '../../src/embedding/memory/memory-table.ts'
import type { ItemInput, QueryInput } from '../../src/model/inputs.ts'
import type { StepBatch } from '../../src/model/step-batch.ts'
import type { Lookup } from '../../src/model/table-lookup.ts'
import { TwoTower } from '../../src/model/two-tower.ts'
import {
  embeddingDim,
  modelSpec,
  outputDim,
  restrictTo,
  rowAdam,
  type TableName,
  tableNames,
  tableSpec,
} from './model.ts'
import { type MovieLens, type Ratings, shuffled } from './movielens.ts'
import { StaticTable } from './static-table.ts'

/**
 * `static`: a row for all there is, from the start; `dynamic`: rows as ids turn up; `restricted`:
 * every `restrictEvery` steps four fifths of them are kept.
 */
export const tableKinds = ['static', 'dynamic', 'restricted'] as const
export type TableKind = (typeof tableKinds)[number]

export interface RecipeOptions {
  readonly kind: TableKind
  readonly seed: number
  readonly threads: number
  /** Default 4,096. */
  readonly batch?: number
  /** Default: the steps of a pass. */
  readonly restrictEvery?: number
}

/** Rows of each table after so many steps. */
export interface Sizes extends Readonly<Record<TableName, number>> {
  readonly step: number
}

type Table = MemoryTable | StaticTable

interface Parts extends Required<RecipeOptions> {
  readonly model: TwoTower
  readonly users: ReadonlyMap<string, QueryInput>
  readonly films: readonly ItemInput[]
  readonly train: Ratings
}

/** Steps between two looks at the tables. */
const logEvery = 20
export const ranks = [1, 5, 10, 50, 100] as const

export class Recipe {
  /** Distinct ids in training. */
  readonly vocabulary: Readonly<Record<TableName, number>>
  readonly tables: Readonly<Record<TableName, Table>>
  /** Every 20 steps. */
  readonly sizes: Sizes[] = []
  /** What each restrict left. */
  readonly restricted: Sizes[] = []
  readonly #parts: Parts
  #step = 0
  #pass = 0

  /** `train` is a part of the ratings of `all`. */
  static async create(all: MovieLens, train: Ratings, options: RecipeOptions): Promise<Recipe> {
    const { batch = 4096, seed, threads } = options
    const restrictEvery = options.restrictEvery ?? Math.ceil(train.users.length / batch)
    const users = new Map([...new Set(all.users)].map((id) => [id, queryOf(id)]))
    const films = all.catalogue.map(({ id, title }, handle) => filmOf(id, title, handle))
    const maxQueries = Math.max(batch, users.size)
    const shape = { maxQueries, maxItems: films.length, threads }
    const model = await TwoTower.create(modelSpec(seed, batch), shape)
    return new Recipe({ ...options, batch, restrictEvery, model, users, films, train })
  }

  private constructor(parts: Parts) {
    const { kind, seed, model, users, films, train } = parts
    this.#parts = parts
    const rated = Array.from(new Set(train.films), (film) => films[film])
    const user = keysOf(model.prepareQueries(this.#queries([...new Set(train.users)])))
    const title = keysOf(model.prepareItems(rated))
    this.vocabulary = { user: keyCount(user), title: keyCount(title) }
    this.tables = {
      user: new MemoryTable(tableSpec('user', this.vocabulary.user, seed)),
      title: new MemoryTable(tableSpec('title', this.vocabulary.title, seed)),
    }
    if (kind !== 'static') return
    // Films that nobody has rated in training are ranked, too.
    this.tables = {
      user: staticOf(this.tables.user, keysOf(model.prepareQueries([...users.values()]))),
      title: staticOf(this.tables.title, keysOf(model.prepareItems(films))),
    }
  }

  close(): Promise<void> {
    return this.#parts.model.close()
  }

  /** Trains on every rating once, in random order. */
  pass(): void {
    const { train, batch, seed } = this.#parts
    this.#pass += 1
    const order = shuffled(train.films.length, seed, this.#pass)
    for (let from = 0; from < order.length; from += batch) {
      const some = order.subarray(from, from + batch)
      const users = Array.from(some, (i) => train.users[i])
      const films = some.map((i) => train.films[i])
      this.#trainOn(users, films)
    }
  }

  /** The share of ratings whose film is among the best 1, 5, 10, 50, 100 of all for its user. */
  topK(held: Ratings): readonly number[] {
    const { model, films } = this.#parts
    const ids = [...new Set(held.users)]
    this.#find(model.prepareQueries(this.#queries(ids)))
    const queries = model.embedQueries().slice()
    this.#find(model.prepareItems(films))
    const items = model.embedItems()
    const ratingsOf = Map.groupBy(held.films.keys(), (i) => held.users[i])
    const hits = ranks.map(() => 0)
    for (const [u, id] of ids.entries()) {
      const scores = scoresOf(queries.subarray(u * outputDim, (u + 1) * outputDim), items)
      for (const i of ratingsOf.get(id) ?? []) {
        const before = countAbove(scores, scores[held.films[i]])
        for (const [k, rank] of ranks.entries()) hits[k] += before < rank ? 1 : 0
      }
    }
    return hits.map((count) => count / held.films.length)
  }

  #trainOn(users: readonly string[], rated: Int32Array): void {
    const { model, films } = this.#parts
    const columns = [...new Set(rated)]
    const items = columns.map((film) => films[film])
    const lookups = model.prepareStep(this.#queries(users), items)
    this.#step += 1
    const stamp = { time: this.#step, version: this.#step }
    for (const { table, keys, rows } of lookups) {
      this.#table(table).findOrInsert(keys, rows, stamp)
    }
    model.step(stepBatch(rated, columns))
    for (const { table, keys, gradients, occurrences } of lookups) {
      this.#table(table).applyGradients(keys, gradients, occurrences, stamp)
    }
    model.update()
    this.#lookAfterTables()
  }

  #lookAfterTables(): void {
    const { kind, restrictEvery } = this.#parts
    if (kind === 'restricted' && this.#step % restrictEvery === 0) {
      for (const name of tableNames) restrict(this.tables[name], this.vocabulary[name])
      this.restricted.push(this.#sizesNow())
    }
    if (this.#step % logEvery === 0) this.sizes.push(this.#sizesNow())
  }

  #sizesNow(): Sizes {
    return { step: this.#step, user: this.tables.user.size, title: this.tables.title.size }
  }

  #queries(ids: readonly string[]): readonly QueryInput[] {
    return ids.map((id) => this.#parts.users.get(id) ?? queryOf(id))
  }

  #table(name: string): Table {
    return name === 'user' ? this.tables.user : this.tables.title
  }

  /** Vectors for asking: nobody gets a row by it. */
  #find(lookups: readonly Lookup[]): void {
    for (const { table, keys, rows } of lookups) this.#table(table).find(keys, rows)
  }
}

function restrict(table: Table, vocabulary: number): void {
  if (table instanceof MemoryTable) table.restrict(restrictTo(vocabulary))
}

const queryOf = (userId: string): QueryInput => ({
  userId,
  userFeatures: {},
  history: [],
  context: {},
  timestamp: 0,
})

const filmOf = (id: string, title: string, handle: number): ItemInput => ({
  handle,
  id,
  revision: 1,
  features: { title },
})

/** Both towers have one feature, so one table. */
const keysOf = ([{ keys }]: readonly Lookup[]): Keys => keys.slice()

/** The rows that a dynamic table would make, all at once. */
function staticOf(table: Table, keys: Keys): StaticTable {
  const vectors = new Float32Array(keyCount(keys) * embeddingDim)
  table.find(keys, vectors)
  return new StaticTable(keys, vectors, rowAdam)
}

/**
 * Every rating's film is a candidate for every rating of the batch, as often as it occurs. The
 * model takes distinct films and adds to their scores: the log of how often gives the same sum.
 */
function stepBatch(rated: Int32Array, columns: readonly number[]): StepBatch {
  const times = new Map<number, number>()
  for (const film of rated) times.set(film, (times.get(film) ?? 0) + 1)
  const columnOf = new Map(columns.map((film, column) => [film, column]))
  const corrections = Float32Array.from(columns, (film) => Math.log(times.get(film) ?? 1))
  const targets = rated.map((film) => columnOf.get(film) ?? -1)
  return {
    targets,
    weights: new Float32Array(rated.length).fill(1),
    corrections,
    targetCorrections: Float32Array.from(targets, (column) => corrections[column]),
    popularity: new Float32Array(0),
    masked: new Int32Array(0),
    pulls: new Int32Array(0),
  }
}

function scoresOf(query: Float32Array, items: Float32Array): Float32Array {
  const scores = new Float32Array(items.length / outputDim)
  for (let i = 0; i < scores.length; i += 1) {
    let sum = 0
    for (let j = 0; j < outputDim; j += 1) sum += query[j] * items[i * outputDim + j]
    scores[i] = sum
  }
  return scores
}

/** Scores that are better by more than rounding. */
function countAbove(scores: Float32Array, score: number): number {
  let count = 0
  for (const other of scores) count += other > score + 1e-6 ? 1 : 0
  return count
}
