/** Small models and batches to try the towers on; everything seeded. */
import { seededRandom, type Random } from '../../src/base/random.ts'
import type { ItemInput, QueryInput } from '../../src/model/inputs.ts'
import type { FeatureSpec, ModelSpec } from '../../src/model/spec.ts'
import type { StepBatch } from '../../src/model/step-batch.ts'
import type { Lookup } from '../../src/model/table-lookup.ts'
import type { TwoTowerOptions } from '../../src/model/two-tower.ts'

const noLoss: ModelSpec['loss'] = {
  correction: 'none',
  inBatch: true,
  extraNegatives: 0,
  activeWindowMs: 1,
  maskSeen: true,
  newItemPull: 0,
  l2: 0,
  typeWeights: { other: 1 },
}

const table = (name: string, dim: number, gradients: 'sum' | 'mean' = 'sum') => ({
  name,
  dim,
  optimizer: { gradients },
})

const context = (field: string, name = field, suffix = ''): FeatureSpec => ({
  kind: 'context',
  name,
  field,
  table: `${field}${suffix}`,
})

const genres = (name: string, combine: 'sum' | 'mean' | 'sqrtn' | 'max'): FeatureSpec => ({
  kind: 'categories',
  name,
  field: 'genres',
  table: 'genres',
  combine,
})

const idTower = (name: string): ModelSpec['query'] => ({
  features: [{ kind: 'id', name, table: name }],
  combine: 'concat',
  layers: [],
  normalize: false,
})

const gapBounds = [60_000, 300_000, 1_800_000]

/** The recipe for streams: summed features, learned history, residual layer, cosine, popularity. */
export function streamSpec(dim = 8): ModelSpec {
  return {
    seed: 7,
    dim,
    tables: [
      ...['in', 'out', 'user', 'device', 'region', 'gap'].map((name) => table(name, dim)),
      table('device-weight', 1, 'mean'),
      table('gap-weight', 1, 'mean'),
    ],
    query: {
      features: [
        {
          kind: 'sequence',
          name: 'history',
          table: 'in',
          length: 5,
          weights: 'learned',
          gapBoundariesMs: gapBounds,
        },
        context('device'),
        context('region'),
        { kind: 'gap', name: 'gap', table: 'gap', boundariesMs: gapBounds },
        { kind: 'id', name: 'user', table: 'user' },
      ],
      combine: 'sum',
      layers: [{ kind: 'residual', units: 12, activation: 'relu' }],
      normalize: true,
    },
    candidate: {
      features: [{ kind: 'id', name: 'item', table: 'out' }],
      combine: 'concat',
      layers: [],
      normalize: true,
    },
    score: {
      temperature: 0.1,
      popularity: {
        halfLifeMs: 3_600_000,
        smoothing: 0.2,
        initialWeight: 1,
        features: [
          context('device', 'device', '-weight'),
          { kind: 'gap', name: 'gap', table: 'gap-weight', boundariesMs: gapBounds },
        ],
      },
    },
    loss: { ...noLoss, newItemPull: 1, correction: 'inclusion' },
    denseOptimizer: { kind: 'adam', rate: 0.01, beta1: 0.9, beta2: 0.99, epsilon: 1e-7 },
  }
}

/** The same with three heads of a query, penalised, and dislikes. */
export function headsSpec(dim = 8): ModelSpec {
  const spec = streamSpec(dim)
  const widened = { kind: 'dense', units: 3 * dim, activation: 'linear' } as const
  return {
    ...spec,
    query: { ...spec.query, layers: [...spec.query.layers, widened], heads: 3 },
    loss: { ...spec.loss, l2: 0.05, negativeTypes: { dislike: 1 } },
  }
}

/** Every other kind of feature, combiner and layer; a table that both towers share. */
export function mixedSpec(): ModelSpec {
  const words = {
    kind: 'text',
    name: 'title',
    field: 'title',
    table: 'words',
    maxTokens: 4,
    ngrams: 2,
  } as const
  return {
    seed: 11,
    dim: 6,
    tables: [table('items', 5), table('words', 4), table('genres', 3, 'mean'), table('users', 4)],
    query: {
      features: [
        { kind: 'id', name: 'user', table: 'users' },
        {
          kind: 'sequence',
          name: 'history',
          table: 'items',
          length: 3,
          weights: 'mean',
          gapBoundariesMs: [],
        },
        genres('tastes', 'sqrtn'),
        { kind: 'numeric', name: 'age', field: 'age', transform: 'log1p', offset: 3, scale: 0.5 },
        { ...words, name: 'search', field: 'search' },
        {
          kind: 'numeric',
          name: 'generation',
          field: 'age',
          transform: 'linear',
          offset: 0,
          scale: 1,
          table: 'users',
          boundaries: [30, 50],
        },
      ],
      combine: 'concat',
      layers: [
        { kind: 'dense', units: 7, activation: 'gelu' },
        { kind: 'residual', units: 3, activation: 'gelu' },
        { kind: 'dense', units: 6, activation: 'linear' },
      ],
      normalize: false,
    },
    candidate: {
      features: [
        { kind: 'id', name: 'item', table: 'items' },
        words,
        genres('first', 'max'),
        genres('second', 'mean'),
        genres('third', 'sum'),
        {
          kind: 'numeric',
          name: 'price',
          field: 'price',
          transform: 'linear',
          offset: 1,
          scale: 2,
        },
        {
          kind: 'numeric',
          name: 'year',
          field: 'year',
          transform: 'linear',
          offset: 0,
          scale: 1,
          table: 'users',
          boundaries: [1990, 2000],
        },
      ],
      combine: 'concat',
      layers: [
        { kind: 'dense', units: 5, activation: 'relu' },
        { kind: 'dense', units: 6, activation: 'linear' },
      ],
      normalize: false,
    },
    score: { temperature: 0.7 },
    loss: { ...noLoss, l2: 0.01, correction: 'logq' },
    denseOptimizer: { kind: 'adagrad', rate: 0.1, initialAccumulator: 0.1, epsilon: 1e-7 },
  }
}

/** As far as `strengths` tells them. */
const weightedGenres = (name: string, combine: 'sum' | 'mean' | 'sqrtn'): FeatureSpec => ({
  kind: 'categories',
  name,
  field: 'genres',
  table: 'genres',
  combine,
  weights: 'strengths',
})

const history = (name: string, weights: 'learned' | 'mean' | 'attention') =>
  ({
    kind: 'sequence',
    name,
    table: 'items',
    length: 4,
    weights,
    gapBoundariesMs: gapBounds,
    typeWeights: { click: 1, view: 0.5, skip: 0, other: 0.25 },
    ageHalfLifeMs: 1_800_000,
  }) as const

/** Histories weighted in every way, vectors and times. */
export function weightedSpec(): ModelSpec {
  const spec = mixedSpec()
  const { typeWeights: _, ageHalfLifeMs: __, ...plain } = history('plain', 'attention')
  return {
    ...spec,
    tables: [table('items', 5), table('users', 4, 'mean'), table('genres', 3)],
    query: {
      features: [
        { kind: 'id', name: 'user', table: 'users' },
        weightedGenres('tastes', 'sqrtn'),
        { ...history('genres by place', 'learned'), table: 'genres', of: 'genres' },
        { ...history('genres', 'mean'), table: 'genres', of: 'genres' },
        history('learned', 'learned'),
        { ...history('attention to genres', 'attention'), table: 'genres', of: 'genres' },
        history('mean', 'mean'),
        history('attention', 'attention'),
        plain,
        { kind: 'time', name: 'hour', periodsMs: [86_400_000, 604_800_000], harmonics: 2 },
        { kind: 'dense', name: 'taste', field: 'taste', dim: 2 },
      ],
      combine: 'concat',
      layers: [{ kind: 'dense', units: 6, activation: 'tanh' }],
      normalize: true,
    },
    candidate: {
      features: [
        { kind: 'id', name: 'item', table: 'items' },
        weightedGenres('first', 'sum'),
        weightedGenres('genres', 'mean'),
        { kind: 'dense', name: 'content', field: 'content', dim: 3 },
        {
          kind: 'time',
          name: 'age',
          field: 'published',
          periodsMs: [86_400_000],
          harmonics: 1,
        },
      ],
      combine: 'concat',
      layers: [{ kind: 'dense', units: 6, activation: 'linear' }],
      normalize: true,
    },
    score: { temperature: 0.3 },
  }
}

/** Cross layers in two runs, layer norms, tanh and unit length. */
export function crossSpec(): ModelSpec {
  const spec = mixedSpec()
  return {
    ...spec,
    tables: [table('items', 5), table('genres', 3, 'mean'), table('users', 4)],
    query: {
      features: [{ kind: 'id', name: 'user', table: 'users' }, genres('tastes', 'sqrtn')],
      combine: 'concat',
      layers: [
        { kind: 'cross', projectionDim: 3, diagScale: 0.3 },
        { kind: 'cross', diagScale: 0 },
        { kind: 'layerNorm' },
        { kind: 'cross', diagScale: 0 },
        { kind: 'dense', units: 6, activation: 'tanh' },
      ],
      normalize: true,
    },
    candidate: {
      features: [{ kind: 'id', name: 'item', table: 'items' }, genres('genres', 'sum')],
      combine: 'concat',
      layers: [
        { kind: 'residual', units: 4, activation: 'tanh' },
        { kind: 'dense', units: 6, activation: 'relu' },
        { kind: 'layerNorm' },
      ],
      normalize: true,
    },
    score: { temperature: 0.2 },
  }
}

/** Users and devices through a tower of layers and heads: some queries of a batch are the same. */
export function repeatedSpec(): ModelSpec {
  const spec = mixedSpec()
  return {
    ...spec,
    tables: [table('items', 5), table('users', 4, 'mean'), table('device', 3)],
    query: {
      features: [{ kind: 'id', name: 'user', table: 'users' }, context('device')],
      combine: 'concat',
      layers: [{ kind: 'dense', units: 12, activation: 'tanh' }],
      normalize: true,
      heads: 2,
    },
    candidate: {
      ...spec.candidate,
      features: [{ kind: 'id', name: 'item', table: 'items' }],
      normalize: true,
    },
    loss: { ...spec.loss, newItemPull: 1, negativeTypes: { dislike: 1 } },
  }
}

/** Ids alone: a vector of `dim` for every user and every item, and nothing learned but these. */
export function plainSpec(dim: number, loss: Partial<ModelSpec['loss']> = {}): ModelSpec {
  return {
    seed: 1,
    dim,
    tables: [table('user', dim), table('item', dim)],
    query: idTower('user'),
    candidate: idTower('item'),
    score: { temperature: 1 },
    loss: { ...noLoss, ...loss },
    denseOptimizer: { kind: 'adam', rate: 0.01, beta1: 0.9, beta2: 0.999, epsilon: 1e-7 },
  }
}

export const limits = (queries: number, items: number): TwoTowerOptions => ({
  maxQueries: queries,
  maxItems: items,
})

const pick = <Value>(random: Random, values: readonly Value[]): Value =>
  values[random.integer(values.length)]

export function someItems(count: number, seed = 1): ItemInput[] {
  const random = seededRandom(seed, 1)
  const words = ['red', 'green', 'blue', 'old', 'new', 'small']
  const kinds = ['a', 'b', 'c', 'd']
  return Array.from({ length: count }, (_, handle) => ({
    handle,
    id: `item ${handle}`,
    revision: 1,
    features: {
      title: Array.from({ length: random.integer(6) }, () => pick(random, words)).join(' '),
      genres: kinds.filter(() => random.next() < 0.5),
      ...(random.next() < 0.7 ? { price: random.next() * 3 } : {}),
      ...(random.next() < 0.8 ? { year: 1980 + random.integer(30) } : {}),
      ...(handle % 4 > 0 ? { strengths: [handle % 3, 0.5, -1] } : {}),
      ...(handle % 3 > 0 ? { content: [0, 1, 2].map((j) => Math.sin(handle + j)) } : {}),
      ...(handle % 4 > 0 ? { published: 1_000_000 * handle } : {}),
    },
  }))
}

export function someQueries(count: number, items: readonly ItemInput[], seed = 1): QueryInput[] {
  const random = seededRandom(seed, 2)
  return Array.from({ length: count }, (_, b) => {
    const timestamp = 1_000_000_000 + b
    const length = random.integer(7)
    const start = random.integer(items.length)
    const age = random.integer(4_000_000)
    return {
      userId: random.next() < 0.2 ? undefined : `user ${random.integer(count)}`,
      userFeatures: {
        genres: ['a', 'b', 'x'].filter(() => random.next() < 0.5),
        ...(random.next() < 0.7 ? { age: 20 + random.integer(50) } : {}),
        ...(b % 3 > 0 ? { strengths: [b, 0.5] } : {}),
        ...(b % 3 > 0 ? { taste: [Math.sin(b), Math.cos(b)] } : {}),
      },
      history: Array.from({ length }, (_entry, j) => ({
        item: items[(start + j) % items.length],
        timestamp: timestamp - age - j,
        type: ['click', 'view', 'buy', 'skip'][(b + j) % 4],
      })),
      context: {
        device: pick(random, ['phone', 'desk']),
        ...(random.next() < 0.8 ? { region: pick(random, ['n', 's', 'w']) } : {}),
        ...(random.next() < 0.5 ? { search: pick(random, ['red', 'old blue', 'so so']) } : {}),
      },
      timestamp,
    }
  })
}

/** A batch with every case in it: weights, masks, queries without a target, pulls. */
export function someBatch(queries: number, columns: number, seed = 1): StepBatch {
  const random = seededRandom(seed, 3)
  const floats = (n: number, from: number, to: number): Float32Array =>
    Float32Array.from({ length: n }, () => from + (to - from) * random.next())
  const targets = Int32Array.from({ length: queries }, (_, b) =>
    b % 5 === 4 ? -1 : random.integer(columns),
  )
  const masked: number[] = []
  const pulls: number[] = []
  for (const [b, target] of targets.entries()) {
    if (target < 0) pulls.push(b, random.integer(columns))
    for (let k = 0; k < 2; k += 1) {
      const column = random.integer(columns)
      if (column !== target) masked.push(b, column)
    }
  }
  return {
    targets,
    weights: floats(queries, 0.5, 1.5),
    corrections: floats(columns, 0, 3),
    targetCorrections: floats(queries, 0, 2),
    popularity: floats(columns, -2, 2),
    masked: Int32Array.from(masked),
    pulls: Int32Array.from(pulls),
  }
}

/** Seeded rows for keys that a test has no table for: the same for the same key. */
export function fillRows(lookups: readonly Lookup[], std = 0.5): void {
  for (const { keys, rows, dim } of lookups) {
    for (let i = 0; i < keys.length / 2; i += 1) {
      const random = seededRandom(keys[2 * i], keys[2 * i + 1])
      for (let j = 0; j < dim; j += 1) rows[i * dim + j] = std * random.normal()
    }
  }
}
