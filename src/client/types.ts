/** What the API takes and answers, as docs/api.md and /openapi.json have it. Times are epoch ms. */

export type FeatureValue = string | number | readonly string[] | readonly number[]
export type Features = Readonly<Record<string, FeatureValue>>
export type Attributes = Readonly<Record<string, unknown>>

/** RFC 3339, or epoch ms. */
type Time = number | string

interface AnyEvent {
  /** An event that is sent again under the same id counts once. */
  readonly eventId?: string
  /** Default: when it arrives. */
  readonly timestamp?: Time
}

/** Somebody did something with an item. */
export interface Interaction extends AnyEvent {
  readonly kind?: 'interaction'
  readonly userId: string
  readonly itemId: string
  /** click, purchase, ... */
  readonly type: string
  readonly weight?: number
  readonly context?: Features
}

export interface ItemFields {
  readonly features?: Features
  readonly attributes?: Attributes
  /** Known, but not recommended. */
  readonly hidden?: boolean
  /** Removed from then on. */
  readonly expiresAt?: Time
  readonly crowdingTag?: string
}

interface ItemEvent extends AnyEvent, ItemFields {
  readonly kind: 'item'
  readonly mode?: 'replace' | 'patch'
  readonly itemId: string
}

interface UserEvent extends AnyEvent {
  readonly kind: 'user'
  readonly mode?: 'replace' | 'patch'
  readonly userId: string
  readonly features?: Features
}

interface Impression extends AnyEvent {
  readonly kind: 'impression'
  readonly userId: string
  readonly itemIds: readonly string[]
}

type Deletion = AnyEvent &
  (
    | { readonly kind: 'deleteItem'; readonly itemId: string }
    | { readonly kind: 'deleteUser'; readonly userId: string }
  )

export type Event = Interaction | ItemEvent | UserEvent | Impression | Deletion

export interface Accepted {
  /** Events that are durable now. */
  readonly accepted: number
  readonly rejected: readonly {
    /** Place in what was sent. */
    readonly index: number
    readonly code: string
    readonly path: string
    readonly message: string
  }[]
  /** Rejected ones beyond those that are listed. */
  readonly unlisted?: number
  /** Pass it as `minSequence` to see the effect. */
  readonly offset?: string
}

export interface Written {
  readonly id: string
  readonly offset: string
  /** Whether reads show it already. */
  readonly visible: boolean
}

export interface Item {
  readonly id: string
  readonly features: Features
  readonly attributes: Attributes
  readonly hidden: boolean
  readonly expiresAt?: number
  readonly crowdingTag?: string
  readonly firstSeenAt: number
  readonly lastTouchedAt: number
}

export interface User {
  readonly id: string
  readonly features: Features
  /** Distinct items, newest first. */
  readonly history: readonly {
    readonly itemId: string
    readonly type: string
    readonly timestamp: number
  }[]
  /** Items that are remembered as seen. */
  readonly seen: number
}

export interface RecentUser {
  readonly id: string
  /** Epoch ms. */
  readonly lastActiveAt: number
}

export interface UserPage {
  readonly users: readonly RecentUser[]
  /** Cursor of the next page; absent on the last. */
  readonly next?: string
}

interface NumericRestrict {
  readonly eq?: number
  readonly lt?: number
  readonly lte?: number
  readonly gt?: number
  readonly gte?: number
}

/** Which items. */
export interface Selection {
  /** Default 10. */
  readonly n?: number
  readonly offset?: number
  readonly filter?: {
    readonly allow?: Readonly<Record<string, readonly string[]>>
    readonly deny?: Readonly<Record<string, readonly string[]>>
    readonly numeric?: Readonly<Record<string, NumericRestrict>>
  }
  readonly exclude?: readonly string[]
  /** Items of one crowding tag, at most. */
  readonly crowding?: number
  /** 0..1: share of the possible work that the index spends. */
  readonly effort?: number
  /** Ranks every item. */
  readonly exact?: boolean
  readonly explain?: boolean
}

export interface After {
  /** Answers only once the event with this offset has its effect. */
  readonly minSequence?: string
}

interface Asker {
  readonly features?: Features
  readonly context?: Features
}

export interface GivenInteraction {
  readonly itemId: string
  readonly type?: string
  readonly timestamp?: number
}

export interface RecommendRequest extends Selection, Asker {
  readonly userId?: string
  readonly history?: readonly GivenInteraction[]
  readonly among?: readonly string[]
  /** Default true. */
  readonly excludeSeen?: boolean
  /** For somebody of whom nothing is known. Default: popularity. */
  readonly fallback?: 'popularity' | 'latest'
  /** Which version of the model is asked. Default: the one that has the user. */
  readonly version?: string
}

export interface SessionRequest extends Selection, Asker, After {
  readonly events: readonly GivenInteraction[]
  readonly excludeSeen?: boolean
}

export interface RankRequest extends Asker, After {
  readonly userId?: string
  readonly history?: readonly GivenInteraction[]
  readonly items: readonly string[]
  readonly explain?: boolean
}

export interface RecommendedItem {
  readonly id: string
  readonly score: number
  readonly attributes?: Attributes
  readonly explanation?: {
    readonly towers: number
    readonly popularity: number
    readonly vectorVersion: number
    readonly source: 'index' | 'exact' | 'latest'
    readonly nearestHistory: readonly { readonly id: string; readonly similarity: number }[]
  }
}

export interface ModelState {
  /** Of the version of the model that answered. */
  readonly name?: string
  /** Steps taken by the model. */
  readonly version: number
  readonly sequence: number
  readonly watermark: {
    readonly offsets: Readonly<Record<string, string>>
    readonly acceptedAt: number
  }
}

export interface Recommendations {
  /** Best first. */
  readonly items: readonly RecommendedItem[]
  readonly model: ModelState
  /** What stood in for a user that nobody knows. */
  readonly fallback?: string
}

export type Answer = Recommendations & { readonly requestId: string }

export interface Embedding {
  readonly id: string
  readonly vector: readonly number[]
  readonly model: ModelState
  readonly fallback?: string
  readonly requestId: string
}

export interface JobRequest {
  readonly name: string
  readonly payload?: object
  /** Asked again with the same one, there is the run that was. */
  readonly key?: string
  /** Whether to be answered when it has ended, if that takes no more than some seconds. */
  readonly wait?: boolean
}

export interface JobRun {
  readonly id: string
  readonly name: string
  readonly payload: Readonly<Record<string, unknown>>
  readonly state: 'running' | 'done' | 'failed'
  /** 0..1. */
  readonly progress: number
  /** The process that has it, where there are several. */
  readonly by?: string
  readonly startedAt: number
  readonly finishedAt?: number
  readonly result?: Readonly<Record<string, unknown>>
  readonly error?: string
  /** Of the error, where it has one. */
  readonly code?: string
}

export interface Checkpoint {
  /** What the job `rollBack` takes. */
  readonly name: string
  readonly modelVersion: number
  readonly createdAt: number
  readonly bytes: number
  /** Events folded, per partition. */
  readonly offsets: Readonly<Record<string, string>>
  /** The full one that it is a delta to. */
  readonly base?: string
}

export interface Readiness {
  readonly ready: boolean
  /** Names of the checks that fail. */
  readonly missing: readonly string[]
  readonly checks: readonly {
    readonly name: string
    readonly ready: boolean
    readonly detail?: string
  }[]
}
