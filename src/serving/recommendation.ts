/**
 * What is asked of the retriever and what it answers, as plain data: the HTTP routes, the library's
 * own `recommend()` and the tests all speak it. Bounds are checked by the retriever as well
 * (`REQUEST_INVALID` with the path), so that no caller can leave them out.
 */
import type { Features } from '../base/features.ts'
import type { Json } from '../stream/event.ts'
import type { Watermark } from '../sync/delta.ts'

/** Bounds of one request. */
export const requestLimits = {
  items: 1_000,
  offset: 1_000,
  history: 1_000,
  exclude: 10_000,
  /** Namespaces in a filter, and values in one namespace. */
  filterNamespaces: 16,
  filterValues: 1_000,
  /** Items to choose among. */
  among: 1_000,
  /** Queries in one batch call. */
  queries: 100,
} as const

/**
 * Tokens that an item must have or must not have. A namespace is the name of a feature or an
 * attribute, its values are strings (numbers and booleans by their text). Within a namespace one
 * value suffices, every namespace of `allow` must be met, and any value of `deny` shuts an item
 * out.
 */
export interface ItemFilter {
  readonly allow?: Readonly<Record<string, readonly string[]>> | undefined
  readonly deny?: Readonly<Record<string, readonly string[]>> | undefined
  /** By the name of a feature or attribute; an item without that number is shut out. */
  readonly numeric?: Readonly<Record<string, NumericRestrict>> | undefined
}

/** What a number must be; at least one bound, and all of them hold. */
export interface NumericRestrict {
  readonly eq?: number | undefined
  readonly lt?: number | undefined
  readonly lte?: number | undefined
  readonly gt?: number | undefined
  readonly gte?: number | undefined
}

/** An item that the caller says the user had; items unknown to the catalogue are left out. */
interface GivenInteraction {
  readonly itemId: string
  /** Interaction type; default "click". */
  readonly type?: string | undefined
  /** Epoch ms; default: the time of the request. */
  readonly timestamp?: number | undefined
}

/** What any request for items may say about which items. */
export interface ItemSelection {
  /** 1..1,000. */
  readonly n: number
  /** Leaves out the first so many; 0..1,000. Default 0. */
  readonly offset?: number | undefined
  readonly filter?: ItemFilter | undefined
  /** Ids that must not come back. */
  readonly exclude?: readonly string[] | undefined
  /** Ids to choose among; unknown ones are left out. Default: the catalogue. */
  readonly among?: readonly string[] | undefined
  /** Items of one crowding tag, at most; 1 or more. Default: any number. */
  readonly crowding?: number | undefined
  /** 0..1: share of the index's work to spend. Default: the service's. */
  readonly effort?: number | undefined
  /** Ranks by an exact scan. Default false. */
  readonly exact?: boolean | undefined
  readonly explain?: boolean | undefined
}

export interface RecommendRequest extends ItemSelection {
  readonly userId?: string | undefined
  /** Of the user; over those that the service knows. */
  readonly features?: Features | undefined
  /** In any order; put before what the service knows of the user. */
  readonly history?: readonly GivenInteraction[] | undefined
  readonly context?: Features | undefined
  /** Which version of the model is asked; default: the one that has the user. */
  readonly version?: string | undefined
  /** Leaves out items that the user has had, given history included. Default true. */
  readonly excludeSeen?: boolean | undefined
  /** What is recommended to somebody of whom nothing at all is known. Default: what is popular. */
  readonly fallback?: LastFallback | undefined
}

export const lastFallbacks = ['popularity', 'latest'] as const
/** What is taken most now, or what has come last. */
type LastFallback = (typeof lastFallbacks)[number]

export interface SimilarRequest extends ItemSelection {
  readonly itemId: string
}

/** What stood in for a user that the service does not know, the strongest first. */
export type Fallback = 'history' | 'features' | 'context' | LastFallback

export interface RecommendedItem {
  readonly id: string
  readonly score: number
  readonly attributes: Readonly<Record<string, Json>>
  /** Only when asked for. */
  readonly explanation?: Explanation
}

/** The parts of a score, how old the item's vector is, and what of the history it is near to. */
export interface Explanation {
  /** The towers' share: q . v / temperature. */
  readonly towers: number
  /** Popularity's share: w log(popularity). */
  readonly popularity: number
  /** Model version that the item's vector was embedded with. */
  readonly vectorVersion: number
  /** Whether the index was searched, every item ranked, or what is newest taken. */
  readonly source: 'index' | 'exact' | 'latest'
  /** Items of the user's history, the nearest first: cosine of the towers' vectors, -1..1. */
  readonly nearestHistory: readonly { readonly id: string; readonly similarity: number }[]
}

/** The parameters that an answer was made with. */
export interface ModelState {
  /** Of the version of the model; whoever asks a replica itself knows it. */
  readonly name?: string
  /** Steps taken by the model. */
  readonly version: number
  /** Of the last delta applied; 0: none yet. */
  readonly sequence: number
  readonly watermark: Watermark
}

/** A vector of the index's space: inner products of a user's and items' are scores. */
export interface Embedding {
  /** The towers' floats; the last one is popularity's: its weight, or an item's log popularity. */
  readonly vector: Float32Array
  readonly model: ModelState
  /** Of a user: absent when it is known. */
  readonly fallback?: Fallback
}

export interface Recommendations {
  readonly items: readonly RecommendedItem[]
  /** Absent when the user is known. */
  readonly fallback?: Fallback
  readonly model: ModelState
}
