/** What routes, command line and dashboard see of versions and experiments, as plain data. */
import type { RecommendedItem } from '../recommendation.ts'
import type { Answer, Rate, VersionTotals } from './experiment.ts'

interface RankingView {
  readonly hr10: number
  readonly ndcg10: number
  readonly mrr10: number
  readonly evaluated: number
}

export interface VersionView {
  readonly name: string
  /** primary: answers whoever is given to no other; previous: was it before. */
  readonly role: 'primary' | 'previous' | 'candidate'
  readonly state: 'starting' | 'warming' | 'ready' | 'failed'
  /** What it waits for, or why it has failed. */
  readonly missing?: string
  /** Of the users; the primary's: what the others leave. */
  readonly percent: number
  /** Epoch ms. */
  readonly createdAt: number
  /** Paths in the model at which it differs from the primary's. */
  readonly differs: readonly string[]
  /** As the trainer said last; absent before it has. */
  readonly training?: {
    readonly steps: number
    readonly examples: number
    readonly lagEvents: number
    readonly loss: number
    readonly guardTrips: number
    readonly rows: number
    readonly tableBytes: number
  }
  /** Over the newest ranked examples: of the model, and of counting alone. */
  readonly evaluation?: Readonly<Record<'model' | 'recentlyPopular' | 'coVisitation', RankingView>>
  readonly index?: { readonly items: number; readonly bytes: number }
  /** Of its first ten items with the primary's, over requests put to both. */
  readonly overlap?: { readonly mean: number; readonly lists: number }
}

export interface VersionsView {
  readonly primary: string
  /** Where a roll back leads. */
  readonly previous?: string
  readonly max: number
  readonly versions: readonly VersionView[]
}

export interface VersionsDesk {
  view(): VersionsView
  /** Throws `VERSION_UNKNOWN`. */
  one(name: string): VersionView
  /** Throws `REQUEST_INVALID`, `VERSION_EXISTS`, `VERSIONS_FULL`. */
  add(request: { readonly name?: string; readonly model: unknown }): Promise<VersionView>
  /** Throws `VERSION_UNKNOWN`, `VERSION_ANSWERS`, `VERSION_NOT_READY`, `REQUEST_INVALID`. */
  setTraffic(name: string, percent: number): Promise<VersionView>
  /** Throws `VERSION_UNKNOWN`, `VERSION_NOT_READY`. */
  promote(name: string): Promise<VersionsView>
  /** Throws `VERSION_NONE_BEFORE`, `VERSION_NOT_READY`. */
  rollBack(): Promise<VersionsView>
  /** Throws `VERSION_UNKNOWN`, `VERSION_ANSWERS`. */
  remove(name: string): Promise<void>
}

export interface GivenAnswer {
  readonly requestId: string
  readonly userId: string
  readonly version: string
  readonly items: readonly Pick<RecommendedItem, 'id'>[]
}

export interface ExperimentView {
  readonly recording: boolean
  /** Epoch ms; 0: never. */
  readonly since: number
  readonly windowMs: number
  /** Answers that were too many to be remembered for the whole window. */
  readonly forgotten: number
  /** Answers of this process that could not be recorded, since it was started. */
  readonly dropped: number
  /** When somebody counted last, epoch ms; 0: never. */
  readonly countedAt: number
  readonly versions: readonly (VersionTotals & {
    readonly version: string
    /** Answers of which the user took something. */
    readonly ctr: Rate
    /** Interactions with an item that had been recommended. */
    readonly hitRate: Rate
  })[]
}

export interface WantedAnswers {
  readonly userId?: string
  readonly requestId?: string
}

export interface ExperimentDesk {
  answered(answer: GivenAnswer): void
  report(): ExperimentView
  /** The newest, the newest first. Throws `VERSIONS_UNAVAILABLE`. */
  answers(limit: number, wanted: WantedAnswers): Promise<readonly Answer[]>
}
