/**
 * What the HTTP server needs of the rest of the process, and no more: narrow views that the
 * composition root fills. The server writes by appending events, and reads from the replica's
 * facts.
 */
import type { Clock } from '../../base/clock.ts'
import type { Features } from '../../base/features.ts'
import type { Scheduler } from '../../jobs/scheduler.ts'
import type { EventLog } from '../../stream/event-log.ts'
import type { Json } from '../../stream/event.ts'
import type {
  Embedding,
  RecommendRequest,
  Recommendations,
  SimilarRequest,
} from '../recommendation.ts'
import type { ExperimentDesk, VersionsDesk } from '../versions/versions-desk.ts'
import type { Administration } from './administration.ts'
import type { ImportReceipts } from './import-receipts.ts'
import type { Metrics } from './metrics.ts'

type Attributes = Readonly<Record<string, Json>>

/** An item as the catalogue knows it. Times are epoch ms. */
export interface ItemView {
  readonly id: string
  readonly features: Features
  readonly attributes: Attributes
  readonly hidden: boolean
  readonly expiresAt?: number | undefined
  readonly crowdingTag?: string | undefined
  readonly firstSeenAt: number
  readonly lastTouchedAt: number
}

export interface ItemPage {
  readonly items: readonly ItemView[]
  /** Where the next page starts; absent on the last. Opaque to clients. */
  readonly next?: string | undefined
}

export interface CatalogueReader {
  get(itemId: string): ItemView | undefined
  /**
   * At most `limit` items from a cursor on; items that stay are each seen once by a whole walk.
   * Throws `REQUEST_INVALID` for a cursor that it has not made.
   */
  list(cursor: string | undefined, limit: number): ItemPage
  /**
   * The same of items whose id or title has `text` in it, in whatever case. Looks at so many items
   * a page and no more: a page may be empty and yet have a next one.
   */
  search(text: string, cursor: string | undefined, limit: number): ItemPage
}

export interface UserView {
  readonly id: string
  readonly features: Features
  /** Newest first, distinct items, bounded by the facts' `historyLength`. */
  readonly history: readonly HistoryView[]
  /** How many items are remembered as seen. */
  readonly seen: number
}

interface HistoryView {
  readonly itemId: string
  readonly type: string
  readonly timestamp: number
}

interface RecentUser {
  readonly id: string
  readonly lastActiveAt: number
}

export interface UserPage {
  readonly users: readonly RecentUser[]
  /** Of the next page; absent on the last. */
  readonly next?: string
}

export interface UsersReader {
  get(userId: string): UserView | undefined
  /** A page of at most `limit`, the last active first. Throws `REQUEST_INVALID` for a cursor. */
  recent(cursor: string | undefined, limit: number): UserPage
}

/** The part of the `Retriever` that the server uses. */
interface Recommender {
  recommend(request: RecommendRequest): Promise<Recommendations>
  /** Rejects with `ITEM_UNKNOWN`. */
  similar(request: SimilarRequest): Promise<Recommendations>
  embedQuery(request: RecommendRequest): Promise<Embedding>
  /** Rejects with `ITEM_UNKNOWN`. */
  embedItem(itemId: string): Promise<Embedding>
}

/** How far the facts that this process answers from have come. */
interface Visibility {
  /**
   * Resolves true once events up to and including `offset` are folded, false when `timeoutMs` has
   * passed before. An offset that no append has returned counts as not reached.
   */
  waitFor(offset: string, timeoutMs: number): boolean | Promise<boolean>
}

export interface ReadinessCheck {
  /** facts, parameters, index, log, trainer, ... */
  readonly name: string
  readonly ready: boolean
  /** What is missing, for a person: '12 of 400 events folded'. */
  readonly detail?: string | undefined
}

interface HealthSource {
  checks(): readonly ReadinessCheck[]
}

/** As pino and fastify have it. */
export interface Logger {
  debug(object: object, message: string): void
  info(object: object, message: string): void
  warn(object: object, message: string): void
  error(object: object, message: string): void
}

/** What is read, all of it from the replica's facts, parameters and index. */
export interface Readers {
  readonly catalogue: CatalogueReader
  readonly users: UsersReader
  readonly recommender: Recommender
  readonly visibility: Visibility
}

/** What the process has no role for is absent, and so are its routes. */
export interface ServerDependencies {
  readonly clock: Clock
  readonly health: HealthSource
  readonly metrics: Metrics
  readonly logger: Logger
  /** Where writes go: with the role `ingest`. */
  readonly log?: Pick<EventLog, 'append'> | undefined
  /** Where the process has a place for them. */
  readonly imports?: ImportReceipts | undefined
  /** With the role `serving`. */
  readonly readers?: Readers | undefined
  /** With the role `jobs`. */
  readonly jobs?: Pick<Scheduler, 'names' | 'begin' | 'history' | 'find' | 'cancel'> | undefined
  readonly administration?: Administration | undefined
  /** Where a process can have several. */
  readonly versions?: VersionsDesk | undefined
  readonly experiment?: ExperimentDesk | undefined
}
