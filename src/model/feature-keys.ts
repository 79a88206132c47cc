/**
 * From feature values to the strings that are hashed to keys. What a key means is its namespace and
 * its value, never its table: item ids are one namespace wherever they occur, user ids another, and
 * any other feature has its field's name, so that features that share a table share rows exactly
 * where they mean the same.
 */
import type { FeatureValue } from '../base/features.ts'
import { fnvBasis, fnvPrime } from '../base/fnv.ts'
import { ln } from '../base/math.ts'
import { maxCategories } from './plan.ts'
import type { FeatureSpec } from './spec.ts'

/** Where a feature's values live. */
export const namespaces = {
  item: 'item id',
  user: 'user id',
  field: (name: string): string => `field ${name}`,
  bucket: (name: string): string => `bucket ${name}`,
} as const

/** The seed of a namespace's keys in the model of this seed: FNV-1a over its UTF-16 units. */
export function namespaceSeed(namespace: string, modelSeed: number): number {
  let hash = (fnvBasis ^ modelSeed) >>> 0
  for (let i = 0; i < namespace.length; i += 1) {
    hash = Math.imul(hash ^ namespace.charCodeAt(i), fnvPrime) >>> 0
  }
  return hash
}

/** The categories in a value, at most `maxCategories`; a single one is a list of one. */
export function categoriesOf(value: FeatureValue | undefined): readonly string[] {
  if (value === undefined) return []
  if (typeof value === 'string') return [value]
  if (typeof value === 'number') return [String(value)]
  return value.slice(0, maxCategories).map(String)
}

/**
 * What the category at a place counts: 1 where nothing is said, 0 where that is no number above 0.
 */
export function weightAt(weights: FeatureValue | undefined, place: number): number {
  const weight = Array.isArray(weights) ? weights[place] : place === 0 ? weights : undefined
  if (weight === undefined) return 1
  const number = numberOf(weight) ?? 0
  return number > 0 ? number : 0
}

/** The number in a value; undefined where there is none. */
export function numberOf(value: FeatureValue | undefined): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined
}

/**
 * Lower-cased words without punctuation, and runs of up to `ngrams` of them: shorter runs first.
 */
export function tokensOf(
  value: FeatureValue | undefined,
  { maxTokens, ngrams }: { readonly maxTokens: number; readonly ngrams: number },
): readonly string[] {
  if (typeof value !== 'string') return []
  const plain = value.toLowerCase().replace(/[^\p{L}\p{M}\p{N}\s]+/gu, '')
  const words = plain.split(/\s+/u, maxTokens + 1).filter((word) => word !== '')
  const read = words.slice(0, maxTokens)
  const runs: string[] = []
  for (let length = 1; length <= ngrams; length += 1) {
    for (let i = 0; i + length <= read.length; i += 1) {
      runs.push(read.slice(i, i + length).join(' '))
    }
  }
  return runs
}

/** How many boundaries are at or below the value: 0 to boundaries.length. */
export function bucketOf(value: number, boundaries: readonly number[]): number {
  let bucket = 0
  while (bucket < boundaries.length && value >= (boundaries[bucket] ?? 0)) bucket += 1
  return bucket
}

/** What a plain number becomes before it enters a tower; log1p keeps the sign. */
export function transformed(
  value: number,
  { transform, offset, scale }: Extract<FeatureSpec, { kind: 'numeric' }>,
): number {
  const bent = transform === 'linear' ? value : Math.sign(value) * ln(1 + Math.abs(value))
  return (bent - offset) * scale
}
