/**
 * From queries and items to keys: fills the bags of every feature of a side, and the columns that
 * no table gives. Feature by feature, so that a feature's entries are consecutive in its table's
 * lookup.
 */
import { unreachable } from '../base/assert.ts'
import type { FeatureValue } from '../base/features.ts'
import { outOfVocabularyKey, type Keys } from '../base/keys.ts'
import { exp2 } from '../base/math.ts'
import type { KeyHasher } from '../kernels/key-hasher.ts'
import type { FeatureBags } from './feature-bags.ts'
import {
  bucketOf,
  categoriesOf,
  namespaceSeed,
  namespaces,
  numberOf,
  tokensOf,
  weightAt,
} from './feature-keys.ts'
import type { ItemInput, QueryInput } from './inputs.ts'
import { bucketName, namespaceOf } from './item-keys.ts'
import type { ItemKeys } from './item-keys.ts'
import type { PlainColumns } from './plain-columns.ts'
import type { SidePlan } from './plan.ts'
import type { FeatureSpec } from './spec.ts'

/** A side's features as one batch fills them. */
export interface SideInputs {
  readonly plan: SidePlan
  /** Of the features that have a table, in the order of the plan. */
  readonly bags: readonly FeatureBags[]
  /** The columns that no table gives. */
  readonly plain: PlainColumns
}

export interface EncoderParts {
  readonly hasher: KeyHasher
  readonly itemKeys: ItemKeys
  readonly modelSeed: number
}

type Sequence = Extract<FeatureSpec, { kind: 'sequence' }>
type Categories = Extract<FeatureSpec, { kind: 'categories' }>

/** The bucket of the time since the newest item; without history the one behind the last. */
function gapBucket(query: QueryInput, boundaries: readonly number[]): number {
  const newest = query.history[0]
  if (newest === undefined) return boundaries.length + 1
  return bucketOf(query.timestamp - newest.timestamp, boundaries)
}

const fieldOf = (query: QueryInput, field: string): FeatureValue | undefined =>
  query.userFeatures[field] ?? query.context[field]

export class QueryEncoder {
  readonly #sides: readonly SideInputs[]
  readonly #hasher: KeyHasher
  readonly #itemKeys: ItemKeys
  readonly #modelSeed: number
  readonly #longestSequence: number
  /** Where the entries of each query's history are, `longestSequence` per query. */
  readonly #positions: Int32Array
  /** Keys of the buckets of `gap` features. */
  readonly #bucketKeys = new Map<FeatureBags, Keys>()
  readonly #seeds = new Map<FeatureBags, number>()
  #step: number | undefined

  constructor(sides: readonly SideInputs[], parts: EncoderParts, maxQueries: number) {
    this.#sides = sides
    this.#hasher = parts.hasher
    this.#itemKeys = parts.itemKeys
    this.#modelSeed = parts.modelSeed
    const bags = sides.flatMap((side) => side.bags)
    const lengths = bags.map(({ plan }) => (plan.spec.kind === 'sequence' ? plan.spec.length : 0))
    this.#longestSequence = Math.max(0, ...lengths)
    this.#positions = new Int32Array(maxQueries * this.#longestSequence)
    for (const bag of bags) this.#prepare(bag)
  }

  /** `step`: of the batch that is learned from, which decides who is taken for unknown. */
  encode(queries: readonly QueryInput[], step?: number): void {
    this.#locateHistories(queries)
    this.#step = step
    for (const side of this.#sides) {
      side.plain.write(queries, { field: fieldOf, time: ({ timestamp }) => timestamp })
      for (const bag of side.bags) {
        bag.begin()
        this.#fill(bag, queries)
      }
    }
  }

  #prepare(bag: FeatureBags): void {
    const { spec } = bag.plan
    const namespace = spec.kind === 'id' ? namespaces.user : namespaceOf(bag.plan)
    const seed = namespaceSeed(namespace, this.#modelSeed)
    this.#seeds.set(bag, seed)
    if (spec.kind !== 'gap') return
    for (let bucket = 0; bucket < spec.boundariesMs.length + 2; bucket += 1) {
      this.#hasher.add(seed, String(bucket))
    }
    this.#bucketKeys.set(bag, this.#hasher.finish().slice())
  }

  #locateHistories(queries: readonly QueryInput[]): void {
    const longest = this.#longestSequence
    if (longest === 0) return
    this.#itemKeys.begin(queries.length * longest)
    for (const [b, { history }] of queries.entries()) {
      const length = Math.min(longest, history.length)
      for (let j = 0; j < length; j += 1) {
        this.#positions[b * longest + j] = this.#itemKeys.locate(history[j].item)
      }
    }
    this.#itemKeys.finish()
  }

  #fill(bag: FeatureBags, queries: readonly QueryInput[]): void {
    const { spec } = bag.plan
    if (spec.kind === 'sequence') return this.#fillSequence(bag, spec, queries)
    if (spec.kind === 'gap') return this.#fillGap(bag, spec.boundariesMs, queries)
    if (spec.kind === 'id' && spec.dropout !== undefined) {
      return this.#fillUsers(bag, spec.dropout, queries)
    }
    const seed = this.#seeds.get(bag) ?? 0
    for (const query of queries) {
      const keys = this.#add(seed, spec, query)
      if (spec.kind === 'categories') weigh(bag, spec, query)
      bag.close(keys)
    }
    bag.lookup.stageAll(this.#hasher.finish())
  }

  /** Gives a query's values of a feature to the hasher; returns how many. */
  #add(seed: number, spec: FeatureSpec, query: QueryInput): number {
    switch (spec.kind) {
      case 'id':
        if (query.userId === undefined) return 0
        this.#hasher.add(seed, query.userId)
        return 1
      case 'context': {
        const [value] = categoriesOf(query.context[spec.field])
        if (value === undefined) return 0
        this.#hasher.add(seed, value)
        return 1
      }
      case 'numeric': {
        const value = numberOf(fieldOf(query, spec.field))
        this.#hasher.add(seed, bucketName(value, spec.boundaries ?? []))
        return 1
      }
      case 'categories':
        return this.#addAll(seed, categoriesOf(fieldOf(query, spec.field)))
      case 'text':
        return this.#addAll(seed, tokensOf(fieldOf(query, spec.field), spec))
      case 'sequence':
      case 'gap':
      case 'dense':
      case 'time':
        return 0
      default:
        return unreachable(spec)
    }
  }

  /** Users, some of whom are taken for unknown; those without an id are. */
  #fillUsers(bag: FeatureBags, dropout: number, queries: readonly QueryInput[]): void {
    const seed = this.#seeds.get(bag) ?? 0
    for (const { userId } of queries) {
      this.#hasher.add(seed, userId ?? '')
      bag.close(1)
    }
    const keys = this.#hasher.finish()
    for (let b = 0; b < queries.length; b += 1) {
      const isUnknown = queries[b].userId === undefined
      if (isUnknown || isDropped(keys, 2 * b, { share: dropout, step: this.#step })) {
        keys.set(outOfVocabularyKey, 2 * b)
      }
    }
    bag.lookup.stageAll(keys)
  }

  #addAll(seed: number, values: readonly string[]): number {
    for (const value of values) this.#hasher.add(seed, value)
    return values.length
  }

  #fillSequence(bag: FeatureBags, spec: Sequence, queries: readonly QueryInput[]): void {
    const isLearned = spec.weights !== 'mean'
    const byGap = spec.weights === 'learned'
    for (const [b, query] of queries.entries()) {
      const length = Math.min(spec.length, query.history.length)
      const bucket = byGap && length > 0 ? gapBucket(query, spec.gapBoundariesMs) : 0
      const firstWeight = bag.firstWeight + bucket * spec.length
      let keys = 0
      for (let j = 0; j < length; j += 1) {
        const position = this.#positions[b * this.#longestSequence + j]
        const factor = bag.isWeighted ? factorOf(spec, query, j) : 1
        keys += this.#stageItem(bag, position, isLearned ? firstWeight + j : -1, factor)
      }
      bag.close(keys)
    }
  }

  /** What stands for an item of a history, in equal parts; returns how many keys. */
  #stageItem(bag: FeatureBags, position: number, weight: number, factor: number): number {
    const itemKeys = this.#itemKeys
    const { of } = bag.plan
    const keys = itemKeys.count(position, of)
    const first = itemKeys.first(position, of)
    for (let k = 0; k < keys; k += 1) {
      if (weight >= 0) bag.weightIndices[bag.nextEntry] = weight
      if (bag.isWeighted) bag.setFactor(bag.nextEntry, factor / keys)
      bag.lookup.stage(itemKeys.words, first + 2 * k)
    }
    return keys
  }

  #fillGap(bag: FeatureBags, boundaries: readonly number[], queries: readonly QueryInput[]): void {
    const keys = this.#bucketKeys.get(bag) ?? new Uint32Array(0)
    for (const query of queries) {
      bag.lookup.stage(keys, 2 * gapBucket(query, boundaries))
      bag.close(1)
    }
  }
}

export class ItemEncoder {
  readonly #side: SideInputs
  readonly #itemKeys: ItemKeys
  readonly #positions: Int32Array
  readonly #next: Int32Array

  constructor(side: SideInputs, parts: EncoderParts, maxItems: number) {
    this.#side = side
    this.#itemKeys = parts.itemKeys
    this.#positions = new Int32Array(maxItems)
    this.#next = new Int32Array(maxItems)
  }

  /** `step`: as of queries. */
  encode(items: readonly ItemInput[], step?: number): void {
    const itemKeys = this.#itemKeys
    itemKeys.begin(items.length)
    for (let i = 0; i < items.length; i += 1) this.#positions[i] = itemKeys.locate(items[i])
    itemKeys.finish()
    this.#side.plain.write(items, { field: (item, name) => item.features[name] })
    // Behind the counts and the id's own key the keys of the features follow each other.
    for (let i = 0; i < items.length; i += 1) {
      this.#next[i] = this.#positions[i] + itemKeys.headerWords + 2
    }
    for (const [index, bag] of this.#side.bags.entries()) {
      this.#fill(bag, { index, items: items.length, step })
    }
  }

  #fill(bag: FeatureBags, { index, items, step }: Filling): void {
    const { words } = this.#itemKeys
    const { spec } = bag.plan
    const share = spec.kind === 'id' ? (spec.dropout ?? 0) : 0
    const { lookup, isWeighted } = bag
    const [positions, next] = [this.#positions, this.#next]
    bag.begin()
    for (let i = 0; i < items; i += 1) {
      const keys = words[positions[i] + index]
      const first = next[i]
      if (isWeighted) this.#weigh(bag, positions[i], index)
      const isUnknown = share > 0 && isDropped(words, first, { share, step })
      if (isUnknown) lookup.stage(outOfVocabularyKey, 0)
      else lookup.stageSome(words, first, keys)
      next[i] = first + 2 * keys
      bag.close(keys)
    }
  }

  /** What each key of an item's bag counts, before they are staged. */
  #weigh(bag: FeatureBags, position: number, index: number): void {
    const keys = this.#itemKeys.words[position + index]
    const entry = bag.nextEntry
    for (let j = 0; j < keys; j += 1) {
      bag.setFactor(entry + j, this.#itemKeys.weight(position, index, j))
    }
  }
}

/** What each category of a query counts. */
function weigh(bag: FeatureBags, { field, weights }: Categories, query: QueryInput): void {
  if (weights === undefined) return
  const given = fieldOf(query, weights)
  const keys = categoriesOf(fieldOf(query, field)).length
  for (let j = 0; j < keys; j += 1) bag.setFactor(bag.entries + j, weightAt(given, j))
}

interface Filling {
  /** Of the feature among those that have a table. */
  readonly index: number
  readonly items: number
  readonly step: number | undefined
}

/**
 * Whether an id is taken for an unknown one in the batch of this step: by a hash of both, so that
 * it does not matter who else is in the batch, or in what order.
 */
function isDropped(
  keys: Uint32Array,
  at: number,
  { share, step }: { readonly share: number; readonly step: number | undefined },
): boolean {
  if (step === undefined) return false
  let h = (keys[at] ^ Math.imul(keys[at + 1], 0x85ebca6b) ^ Math.imul(step, 0x9e3779b9)) >>> 0
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0 < share * 2 ** 32
}

/** What an entry of the history counts by its type and its age. */
function factorOf({ typeWeights, ageHalfLifeMs }: Sequence, query: QueryInput, j: number): number {
  const { type, timestamp } = query.history[j]
  const age = Math.max(0, query.timestamp - timestamp)
  const byAge = ageHalfLifeMs === undefined ? 1 : exp2(-age / ageHalfLifeMs)
  if (typeWeights === undefined) return byAge
  const name = Object.hasOwn(typeWeights, type) ? type : 'other'
  return byAge * (typeWeights[name] ?? 1)
}
