/**
 * The keys of items, hashed once per revision: most items of a batch were in an earlier one. An
 * entry is found by the item's handle and holds, as words, the number of keys of each candidate
 * feature, then the key of the item's own id, then the keys of each feature in turn; behind them
 * what the keys count, as floats, of those features that say so.
 */
import { unreachable } from '../base/assert.ts'
import type { KeyHasher } from '../kernels/key-hasher.ts'
import {
  bucketOf,
  categoriesOf,
  namespaceSeed,
  namespaces,
  numberOf,
  tokensOf,
  weightAt,
} from './feature-keys.ts'
import type { ItemInput } from './inputs.ts'
import type { FeaturePlan, SidePlan } from './plan.ts'

const initialWords = 1 << 12
/** 64 MiB: then everything is forgotten and hashed again as it comes. */
const defaultMaxWords = 1 << 24
const noEntry = -1

/**
 * Invariants: `starts[handle]` is the first word of the entry of revision `revisions[handle]`, or
 * -1; entries lie below `#used`; those from `#pending` on have no keys yet, until `finish`.
 */
export class ItemKeys {
  readonly #features: readonly FeaturePlan[]
  readonly #seeds: readonly number[]
  readonly #itemSeed: number
  readonly #hasher: KeyHasher
  readonly #maxWords: number
  readonly #entryWords: number
  #words = new Uint32Array(initialWords)
  /** The same memory. */
  #floats = new Float32Array(this.#words.buffer)
  #used = 0
  #pending = 0
  #starts = new Int32Array(0)
  #revisions = new Float64Array(0)

  constructor(
    side: SidePlan,
    modelSeed: number,
    hasher: KeyHasher,
    maxWords: number = defaultMaxWords,
  ) {
    this.#features = side.features.filter(({ table }) => table >= 0)
    this.#seeds = this.#features.map((feature) => namespaceSeed(namespaceOf(feature), modelSeed))
    this.#itemSeed = namespaceSeed(namespaces.item, modelSeed)
    this.#hasher = hasher
    this.#maxWords = maxWords
    const keys = this.#features.reduce((sum, { maxKeys }) => sum + maxKeys, 1)
    const weights = this.#features.reduce(
      (sum, plan) => sum + (isWeighted(plan) ? plan.maxKeys : 0),
      0,
    )
    this.#entryWords = this.#features.length + 2 * keys + weights
  }

  /** Of all entries; may be another array after the next `begin` or `locate`. */
  get words(): Uint32Array {
    return this.#words
  }

  /** Words before an entry's own id key: the counts of its features. */
  get headerWords(): number {
    return this.#features.length
  }

  /** How many keys a feature has in the entry at `position`; -1: the item's id. */
  count(position: number, feature: number): number {
    return feature < 0 ? 1 : this.#words[position + feature]
  }

  /** Where the first of them is in `words`. */
  first(position: number, feature: number): number {
    const id = position + this.headerWords
    if (feature < 0) return id
    let keys = 1
    for (let i = 0; i < feature; i += 1) keys += this.#words[position + i]
    return id + 2 * keys
  }

  /** What key `j` of a feature counts. */
  weight(position: number, feature: number, j: number): number {
    if (feature < 0 || !isWeighted(this.#features[feature])) return 1
    let at = position + this.headerWords + this.#keyWords(position)
    for (let i = 0; i < feature; i += 1) at += this.#weightWords(position, i)
    return this.#floats[at + j]
  }

  /**
   * To be called before entries for `items` items are located; earlier positions may become void.
   */
  begin(items: number): void {
    if (this.#used + items * this.#entryWords <= this.#maxWords) return
    this.#used = 0
    this.#pending = 0
    this.#starts.fill(noEntry)
  }

  /** Where the item's entry is; it has its keys after the next `finish`. */
  locate(item: ItemInput): number {
    const { handle } = item
    if (handle >= this.#starts.length) this.#growHandles(handle)
    const start = this.#starts[handle]
    if (start !== noEntry && this.#revisions[handle] === item.revision) return start
    return this.#enter(item)
  }

  /** Hashes what was located for the first time. */
  finish(): void {
    if (this.#pending === this.#used) return
    const keys = this.#hasher.finish()
    let from = 0
    while (this.#pending < this.#used) {
      const length = this.#keyWords(this.#pending)
      const at = this.#pending + this.headerWords
      this.#words.set(keys.subarray(from, from + length), at)
      from += length
      this.#pending += this.#length(this.#pending)
    }
  }

  #length(entry: number): number {
    let words = this.headerWords + this.#keyWords(entry)
    for (let i = 0; i < this.#features.length; i += 1) words += this.#weightWords(entry, i)
    return words
  }

  #weightWords(entry: number, feature: number): number {
    return isWeighted(this.#features[feature]) ? this.#words[entry + feature] : 0
  }

  #keyWords(entry: number): number {
    let keys = 1
    for (let i = 0; i < this.#features.length; i += 1) keys += this.#words[entry + i]
    return 2 * keys
  }

  #enter(item: ItemInput): number {
    const entry = this.#used
    this.#reserve(entry + this.#entryWords)
    this.#hasher.add(this.#itemSeed, item.id)
    for (const [i, feature] of this.#features.entries()) {
      const values = valuesOf(feature, item)
      for (const value of values) this.#hasher.add(this.#seeds[i] ?? 0, value)
      this.#words[entry + i] = values.length
    }
    this.#writeWeights(entry, item)
    this.#used = entry + this.#length(entry)
    this.#starts[item.handle] = entry
    this.#revisions[item.handle] = item.revision
    return entry
  }

  #writeWeights(entry: number, item: ItemInput): void {
    let at = entry + this.headerWords + this.#keyWords(entry)
    for (const [i, { spec }] of this.#features.entries()) {
      if (spec.kind !== 'categories' || spec.weights === undefined) continue
      const weights = item.features[spec.weights]
      const count = this.#words[entry + i]
      for (let j = 0; j < count; j += 1) this.#floats[at + j] = weightAt(weights, j)
      at += count
    }
  }

  #reserve(words: number): void {
    if (words <= this.#words.length) return
    const larger = new Uint32Array(Math.max(words, 2 * this.#words.length))
    larger.set(this.#words)
    this.#words = larger
    this.#floats = new Float32Array(larger.buffer)
  }

  #growHandles(handle: number): void {
    const length = Math.max(1024, handle + 1, 2 * this.#starts.length)
    const starts = new Int32Array(length).fill(noEntry)
    const revisions = new Float64Array(length)
    starts.set(this.#starts)
    revisions.set(this.#revisions)
    this.#starts = starts
    this.#revisions = revisions
  }
}

/** Whether its keys do not all count the same. */
const isWeighted = ({ spec }: FeaturePlan): boolean =>
  spec.kind === 'categories' && spec.weights !== undefined

/** What is hashed of a feature of an item. */
function valuesOf({ spec }: FeaturePlan, item: ItemInput): readonly string[] {
  switch (spec.kind) {
    case 'id':
      return [item.id]
    case 'categories':
      return categoriesOf(item.features[spec.field])
    case 'text':
      return tokensOf(item.features[spec.field], spec)
    case 'numeric':
      return [bucketName(numberOf(item.features[spec.field]), spec.boundaries ?? [])]
    case 'sequence':
    case 'context':
    case 'gap':
    case 'dense':
    case 'time':
      return []
    default:
      return unreachable(spec)
  }
}

/** The bucket of a number as it is hashed; a missing number has one of its own. */
export const bucketName = (value: number | undefined, boundaries: readonly number[]): string =>
  value === undefined ? 'none' : String(bucketOf(value, boundaries))

/** The namespace of a feature on the candidate side, or of one that reads a field on either. */
export function namespaceOf({ spec }: FeaturePlan): string {
  switch (spec.kind) {
    case 'id':
    case 'sequence':
      return namespaces.item
    case 'categories':
    case 'text':
    case 'context':
      return namespaces.field(spec.field)
    case 'numeric':
      return namespaces.bucket(spec.field)
    case 'gap':
    case 'dense':
    case 'time':
      return namespaces.bucket(spec.name)
    default:
      return unreachable(spec)
  }
}
