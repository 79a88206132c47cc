/**
 * The model in double precision, written a second time and for reading: features, towers, score and
 * objective straight from the specification, one example at a time. Gradients of the real one are
 * held against central differences of this.
 */
import { unreachable } from '../../src/base/assert.ts'
import type { Keys } from '../../src/base/keys.ts'
import { KeyHasher } from '../../src/kernels/key-hasher.ts'
import { namespaceSeed } from '../../src/model/feature-keys.ts'
import type { ItemInput, QueryInput } from '../../src/model/inputs.ts'
import type { FeatureSpec, LayerSpec, ModelSpec, TowerSpec } from '../../src/model/spec.ts'
import type { StepBatch } from '../../src/model/step-batch.ts'
import type { Lookup } from '../../src/model/table-lookup.ts'

/** Rows by table and key, and the flat dense weights: everything that is learned. */
export interface Learned {
  readonly rows: Map<string, Map<string, Float64Array>>
  readonly weights: Float64Array
}

const hasher = new KeyHasher({ maxKeys: 4 })
export const keyText = (keys: Keys, i: number): string => `${keys[2 * i]}:${keys[2 * i + 1]}`

/** Copies of what the lookups hold now. */
export function learnedFrom(lookups: readonly Lookup[], weights: Float32Array): Learned {
  const rows = new Map<string, Map<string, Float64Array>>()
  for (const { table, keys, rows: values, dim } of lookups) {
    const ofTable = new Map<string, Float64Array>()
    for (let i = 0; i < keys.length / 2; i += 1) {
      ofTable.set(keyText(keys, i), Float64Array.from(values.subarray(i * dim, (i + 1) * dim)))
    }
    rows.set(table, ofTable)
  }
  return { rows, weights: Float64Array.from(weights) }
}

type Vector = number[]
const dot = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Array.from(a).reduce((sum, x, i) => sum + x * b[i], 0)

/** The error function by its series: |x| up to about 6. */
function erf(x: number): number {
  if (Math.abs(x) > 6) return Math.sign(x)
  let term = x
  let sum = x
  for (let n = 1; n < 200; n += 1) {
    term *= (-x * x) / n
    sum += term / (2 * n + 1)
  }
  return (2 / Math.sqrt(Math.PI)) * sum
}

const activations = {
  linear: (x: number) => x,
  relu: (x: number) => Math.max(0, x),
  gelu: (x: number) => (x * (1 + erf(x / Math.SQRT2))) / 2,
  tanh: Math.tanh,
}

/** One row's product with a matrix of so many columns. */
const times = (row: Vector, matrix: Float64Array, columns: number): Vector =>
  Array.from({ length: columns }, (_, j) =>
    row.reduce((sum, value, i) => sum + value * matrix[i * columns + j], 0),
  )

const softplus = (x: number): number => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)))

export class Twin {
  readonly #spec: ModelSpec
  readonly #queries: readonly QueryInput[]
  readonly #items: readonly ItemInput[]
  #weights: Float64Array = new Float64Array(0)
  #next = 0

  constructor(spec: ModelSpec, queries: readonly QueryInput[], items: readonly ItemInput[]) {
    this.#spec = spec
    this.#queries = queries
    this.#items = items
  }

  /** Tower outputs and popularity weights of everything. */
  outputs({ rows, weights }: Learned): { q: Vector[]; c: Vector[]; w: number[] } {
    this.#weights = weights
    this.#next = 0
    const { query, candidate, score } = this.#spec
    const q0 = this.#pool(query, this.#queries, rows)
    const c0 = this.#pool(candidate, this.#items, rows)
    const offsets = score.popularity?.features
    const popularity: TowerSpec = {
      features: offsets ?? [],
      combine: 'sum',
      layers: [],
      normalize: false,
    }
    const w = offsets === undefined ? [] : this.#pool(popularity, this.#queries, rows, 1).flat()
    const q = this.#tower(query, q0)
    const c = this.#tower(candidate, c0)
    return { q, c, w }
  }

  /** Scores as the loss sees them before corrections and masks. */
  scores(learned: Learned, popularity: ArrayLike<number>): number[][] {
    const { q, c, w } = this.outputs(learned)
    const { temperature } = this.#spec.score
    return q.map((query, b) =>
      c.map(
        (item, j) =>
          dot(this.#best(query, item), item) / temperature + (w[b] ?? 0) * (popularity[j] ?? 0),
      ),
    )
  }

  /** The head of a query that scores an item highest. */
  #best(query: Vector, item: Vector): Vector {
    const { dim } = this.#spec
    const heads = Array.from({ length: query.length / dim }, (_, h) =>
      query.slice(h * dim, (h + 1) * dim),
    )
    return heads.reduce((best, head) => (dot(head, item) > dot(best, item) ? head : best))
  }

  /** `fixed`: the queries that pulls take as constant. */
  objective(learned: Learned, batch: StepBatch, fixed?: Vector[]): number {
    const { q, c } = this.outputs(learned)
    const { l2, newItemPull } = this.#spec.loss
    const losses = this.losses(learned, batch)
    let sum = 0
    for (const [b, loss] of losses.entries()) {
      const t = batch.targets[b]
      if (t < 0) continue
      sum += batch.weights[b] * (loss + l2 * (dot(q[b], q[b]) + dot(c[t], c[t])))
    }
    const { pairs, weights } = batch.pushes ?? { pairs: [], weights: [] }
    for (const [i, weight] of weights.entries()) {
      const item = c[pairs[2 * i + 1]]
      const score = dot(this.#best(q[pairs[2 * i]], item), item)
      sum += weight * softplus(score / this.#spec.score.temperature)
    }
    for (let i = 0; i < batch.pulls.length; i += 2) {
      const item = c[batch.pulls[i + 1]]
      const query = this.#best((fixed ?? q)[batch.pulls[i]], item)
      sum -= (newItemPull * dot(query, item)) / this.#spec.score.temperature
    }
    return sum
  }

  /** Cross-entropy of each query, unweighted. */
  losses(learned: Learned, batch: StepBatch): number[] {
    const masked = new Set<string>()
    for (let i = 0; i < batch.masked.length; i += 2) {
      masked.add(`${batch.masked[i]}:${batch.masked[i + 1]}`)
    }
    return this.scores(learned, batch.popularity).map((line, b) => {
      const t = batch.targets[b]
      if (t < 0) return 0
      const logits = line.map((score, j) => {
        if (j === t) return score + batch.targetCorrections[b]
        return masked.has(`${b}:${j}`) ? -Infinity : score + batch.corrections[j]
      })
      return this.#rowLoss(logits, t)
    })
  }

  #rowLoss(logits: readonly number[], target: number): number {
    const { kind, hardNegatives } = this.#spec.loss
    const own = logits[target]
    const others = logits.filter((logit, j) => j !== target && logit > -Infinity)
    const negatives = others.toSorted((a, b) => b - a).slice(0, hardNegatives)
    const sumAbove = (shift: number): number =>
      negatives.reduce((total, x) => total + softplus(x - shift), 0)
    if (kind === 'bpr') return sumAbove(own) / negatives.length
    if (kind === 'sigmoid') return softplus(-own) + sumAbove(0) / negatives.length
    const most = Math.max(own, ...negatives)
    const sum = [own, ...negatives].reduce((s, x) => s + Math.exp(x - most), 0)
    return most + Math.log(sum) - own
  }

  #take(n: number): Float64Array {
    this.#next += n
    return this.#weights.subarray(this.#next - n, this.#next)
  }

  #pool(
    tower: Pick<TowerSpec, 'features' | 'combine'>,
    examples: readonly (QueryInput | ItemInput)[],
    rows: Learned['rows'],
    width?: number,
  ): Vector[] {
    const dims = tower.features.map((feature) => this.#dim(feature))
    const bias = tower.combine === 'sum' ? this.#take(width ?? dims[0]) : []
    const learnedWeights = tower.features.map((feature, f) =>
      this.#take(poolingFloats(feature, dims[f])),
    )
    return examples.map((example) => {
      const parts = tower.features.map((feature, f) =>
        this.#feature(feature, example, { rows, weights: learnedWeights[f], dim: dims[f] }),
      )
      if (tower.combine === 'concat') return parts.flat()
      return Array.from(bias, (b, j) => parts.reduce((sum, part) => sum + part[j], b))
    })
  }

  #dim(feature: FeatureSpec): number {
    if (feature.kind === 'dense' || feature.kind === 'time') return NaN
    if (feature.table === undefined) return 2
    return this.#spec.tables.find(({ name }) => name === feature.table)?.dim ?? NaN
  }

  #feature(
    feature: FeatureSpec,
    example: QueryInput | ItemInput,
    given: { rows: Learned['rows']; weights: Float64Array; dim: number },
  ): Vector {
    if (feature.kind === 'numeric' && feature.table === undefined) {
      const value = fieldOf(example, feature.field)
      if (typeof value !== 'number') return [0, 1]
      const bent = feature.transform === 'linear' ? value : Math.log1p(value)
      return [(bent - feature.offset) * feature.scale, 0]
    }
    if (feature.kind === 'dense') return vectorOf(feature, example)
    if (feature.kind === 'time') return wavesOf(feature, example)
    const { namespace, values } = named(feature, example)
    const seed = namespaceSeed(namespace, this.#spec.seed)
    const vectors = values.map((value) => {
      hasher.add(seed, value)
      const row = given.rows.get(feature.table ?? '')?.get(keyText(hasher.finish(), 0))
      if (row === undefined) throw new Error(`no row for ${value} of ${feature.name}`)
      return row
    })
    const n = vectors.length
    if (feature.kind === 'categories' && feature.combine === 'max') {
      return Array.from({ length: given.dim }, (_, j) =>
        n === 0 ? 0 : Math.max(...vectors.map((vector) => vector[j])),
      )
    }
    const weights = vectors.map((_, j) => {
      if (feature.kind === 'text') return 1 / n
      if (feature.kind === 'categories') {
        const counts = vectors.map((_vector, k) => strengthOf(feature, example, k))
        const sum = counts.reduce((total, x) => total + x, 0)
        const root = Math.sqrt(counts.reduce((total, x) => total + x * x, 0))
        const total = { sum: 1, mean: sum, sqrtn: root, max: NaN }[feature.combine]
        return total === 0 ? 0 : counts[j] / total
      }
      if (feature.kind !== 'sequence') return 1
      const query = example as QueryInput
      const parts = query.history
        .slice(0, feature.length)
        .flatMap(({ item }, place) =>
          saidBy(feature, item).map((_key, _k, all) => ({ place, of: all.length })),
        )
      const factors = parts.map(({ place, of }) => factorOf(feature, query, place) / of)
      if (feature.weights === 'mean') {
        const sum = factors.reduce((total, x) => total + x, 0)
        return sum === 0 ? 0 : factors[j] / sum
      }
      if (feature.weights === 'learned') {
        const first = bucket(query, feature) * feature.length
        return given.weights[first + parts[j].place] * factors[j]
      }
      const u = given.weights.subarray(feature.length)
      const terms = vectors.map(
        (one, k) => factors[k] * Math.exp(dot(one, u) + given.weights[parts[k].place]),
      )
      return terms[j] / terms.reduce((sum, x) => sum + x, 0)
    })
    return Array.from({ length: given.dim }, (_, j) =>
      vectors.reduce((sum, vector, k) => sum + weights[k] * vector[j], 0),
    )
  }

  #tower({ layers, normalize, heads = 1 }: TowerSpec, inputs: Vector[]): Vector[] {
    let x = inputs
    let x0 = inputs
    for (const [i, layer] of layers.entries()) {
      if (layer.kind === 'cross' && layers[i - 1]?.kind !== 'cross') x0 = x
      x = this.#layer(layer, x, x0)
    }
    if (!normalize) return x
    return x.map((row) => {
      const each = row.length / heads
      return row.map((value, i) => {
        const first = i - (i % each)
        const head = row.slice(first, first + each)
        return value / Math.sqrt(dot(head, head) + 1e-12)
      })
    })
  }

  #layer(layer: LayerSpec, x: Vector[], x0: Vector[]): Vector[] {
    if (layer.kind === 'cross') return this.#cross(layer, x, x0)
    if (layer.kind === 'layerNorm') return this.#layerNorm(x)
    if (layer.kind === 'dropout') return x
    const { kind, units, activation } = layer
    const width = x[0]?.length ?? 0
    const inner = this.#take(width * units)
    const bias = this.#take(units)
    const outer = kind === 'residual' ? this.#take(units * width) : new Float64Array(0)
    return x.map((row) => {
      const h = times(row, inner, units).map((sum, u) => activations[activation](sum + bias[u]))
      if (kind === 'dense') return h
      return times(h, outer, width).map((sum, i) => row[i] + sum)
    })
  }

  #cross(
    { projectionDim: rank, diagScale }: Extract<LayerSpec, { kind: 'cross' }>,
    x: Vector[],
    x0: Vector[],
  ): Vector[] {
    const width = x[0]?.length ?? 0
    const first = this.#take(width * (rank ?? width))
    const second = rank === undefined ? undefined : this.#take(rank * width)
    const bias = this.#take(width)
    return x.map((row, b) => {
      const projected = times(row, first, rank ?? width)
      const u = second === undefined ? projected : times(projected, second, width)
      return row.map((value, i) => x0[b][i] * (u[i] + bias[i] + diagScale * value) + value)
    })
  }

  #layerNorm(x: Vector[]): Vector[] {
    const width = x[0]?.length ?? 0
    const gain = this.#take(width)
    const bias = this.#take(width)
    return x.map((row) => {
      const mean = row.reduce((sum, value) => sum + value, 0) / width
      const variance = row.reduce((sum, value) => sum + (value - mean) ** 2, 0) / width
      const unit = row.map((value) => (value - mean) / Math.sqrt(variance + 1e-5))
      return unit.map((value, i) => gain[i] * value + bias[i])
    })
  }
}

type Kind<Name extends FeatureSpec['kind']> = Extract<FeatureSpec, { kind: Name }>

function poolingFloats(feature: FeatureSpec, dim: number): number {
  if (feature.kind !== 'sequence') return 0
  const { length, gapBoundariesMs } = feature
  const floats = { mean: 0, learned: (gapBoundariesMs.length + 1) * length }
  return { ...floats, attention: length + dim }[feature.weights]
}

/** What a category counts. */
function strengthOf(feature: Kind<'categories'>, example: QueryInput | ItemInput, k: number) {
  if (feature.weights === undefined) return 1
  const given = fieldOf(example, feature.weights) as readonly number[] | undefined
  return Math.max(0, given?.[k] ?? 1)
}

/** What stands for an item of a history. */
const saidBy = ({ of }: Kind<'sequence'>, item: ItemInput): readonly string[] =>
  of === undefined ? [item.id] : (item.features['genres'] as readonly string[])

const keysOfHistory = (feature: Kind<'sequence'>, { history }: QueryInput) => ({
  namespace: feature.of === undefined ? 'item id' : 'field genres',
  values: history.slice(0, feature.length).flatMap(({ item }) => saidBy(feature, item)),
})

function factorOf({ typeWeights, ageHalfLifeMs }: Kind<'sequence'>, query: QueryInput, j: number) {
  const { type, timestamp } = query.history[j]
  const byType = typeWeights?.[type] ?? typeWeights?.['other'] ?? 1
  return byType * 2 ** -((query.timestamp - timestamp) / (ageHalfLifeMs ?? Infinity))
}

function vectorOf({ field, dim }: Kind<'dense'>, example: QueryInput | ItemInput): Vector {
  const value = fieldOf(example, field) as readonly number[] | undefined
  return value?.length === dim ? [...value, 0] : [...Array.from({ length: dim }, () => 0), 1]
}

function wavesOf(
  { field, periodsMs, harmonics }: Kind<'time'>,
  example: QueryInput | ItemInput,
): Vector {
  const time = field === undefined ? (example as QueryInput).timestamp : fieldOf(example, field)
  const waves = periodsMs.flatMap((period) =>
    Array.from({ length: harmonics }, (_, k) => (2 * Math.PI * (k + 1)) / period).flatMap((speed) =>
      time === undefined
        ? [0, 0]
        : [Math.sin(speed * Number(time)), Math.cos(speed * Number(time))],
    ),
  )
  return field === undefined ? waves : [...waves, time === undefined ? 1 : 0]
}

function bucket(
  query: QueryInput,
  { gapBoundariesMs }: { gapBoundariesMs: readonly number[] },
): number {
  const newest = query.history[0]
  if (newest === undefined) return gapBoundariesMs.length + 1
  return gapBoundariesMs.filter((bound) => query.timestamp - newest.timestamp >= bound).length
}

const fieldOf = (example: QueryInput | ItemInput, field: string): unknown =>
  'history' in example
    ? (example.userFeatures[field] ?? example.context[field])
    : example.features[field]

/** The values of a feature and the namespace that they are hashed in. */
function named(
  feature: Exclude<FeatureSpec, Kind<'dense' | 'time'>>,
  example: QueryInput | ItemInput,
): { namespace: string; values: string[] } {
  switch (feature.kind) {
    case 'id':
      if (!('history' in example)) return { namespace: 'item id', values: [example.id] }
      return { namespace: 'user id', values: example.userId === undefined ? [] : [example.userId] }
    case 'sequence':
      return keysOfHistory(feature, example as QueryInput)
    case 'gap': {
      const values = [
        String(bucket(example as QueryInput, { gapBoundariesMs: feature.boundariesMs })),
      ]
      return { namespace: `bucket ${feature.name}`, values }
    }
    case 'context': {
      const value = (example as QueryInput).context[feature.field]
      return {
        namespace: `field ${feature.field}`,
        values: value === undefined ? [] : [String(value)],
      }
    }
    case 'categories': {
      const value = fieldOf(example, feature.field) as readonly string[] | undefined
      return { namespace: `field ${feature.field}`, values: [...(value ?? [])] }
    }
    case 'numeric': {
      const value = fieldOf(example, feature.field)
      const place = feature.boundaries?.filter((bound) => (value as number) >= bound).length
      const values = [typeof value === 'number' ? String(place) : 'none']
      return { namespace: `bucket ${feature.field}`, values }
    }
    case 'text': {
      const words = ((fieldOf(example, feature.field) ?? '') as string).split(' ').filter(Boolean)
      const read = words.slice(0, feature.maxTokens)
      const values = Array.from({ length: feature.ngrams }, (_, n) =>
        read.slice(n).map((_word, i) => read.slice(i, i + n + 1).join(' ')),
      ).flat()
      return { namespace: `field ${feature.field}`, values }
    }
    default:
      return unreachable(feature)
  }
}
