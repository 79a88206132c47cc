/**
 * Facts: the fold of the event log that needs no learning. Catalogue, histories, seen sets, popularity,
 * de-duplication. Trainer and every replica fold them with this code, each from the log itself, so
 * the same events give the same facts bit by bit, handles included (as long as `release` is called at
 * the same points). Pure: no clock; time is that of the events.
 */
import type { Catalogue } from './catalogue.ts'
import type { Event } from './event.ts'
import type { Example, Item } from './example.ts'
import type { UserFacts } from './user-facts.ts'

export interface FactsOptions {
  /** Items kept; beyond it the longest untouched leaves. Default 1,000,000. */
  readonly maxItems: number
  /** Users kept; beyond it the longest inactive leaves. Default 1,000,000. */
  readonly maxUsers: number
  /** Newest distinct items in an example's history: the longest sequence of the model. Default 20. */
  readonly historyLength: number
  /** Distinct items remembered per user, the history among them; the oldest leaves. Default 500. */
  readonly seenPerUser: number
  /** A user without an event for this long leaves. Default: Infinity. */
  readonly userRetentionMs: number
  /** An item is active when interacted with within this window of stream time. Default 24 h. */
  readonly activeWindowMs: number
  /** Half-life of the interaction counts behind popularity. Default 1 h. */
  readonly popularityHalfLifeMs: number
  /** An interaction this much older than stream time is folded but gives no example. Default 7 d. */
  readonly maxLateMs: number
  /** De-duplication by event id: how long, by acceptance time, and how many ids are remembered. */
  readonly dedupeWindowMs: number
  readonly dedupeMaxIds: number
  /** Whether interactions yield examples (the trainer) or only outcomes (a replica). Default true. */
  readonly examples: boolean
}

export const defaultFactsOptions: FactsOptions = {
  maxItems: 1_000_000,
  maxUsers: 1_000_000,
  historyLength: 20,
  seenPerUser: 500,
  userRetentionMs: Infinity,
  activeWindowMs: 24 * 3_600_000,
  popularityHalfLifeMs: 3_600_000,
  maxLateMs: 7 * 24 * 3_600_000,
  dedupeWindowMs: 600_000,
  dedupeMaxIds: 1_000_000,
  examples: true,
}

/** An item or user that left to make room, or because of its age. */
export interface Eviction {
  readonly of: 'item' | 'user'
  readonly handle: number
  readonly id: string
}

/** What an event did. `evicted` is empty but for the rare event that made something else leave. */
export type Outcome = { readonly evicted: readonly Eviction[] } & (
  | { readonly kind: 'example'; readonly example: Example }
  /** An interaction without example: too late to be trained on, or `examples` is off. */
  | {
      readonly kind: 'interaction'
      readonly item: Item
      readonly user: number
      readonly isNewItem: boolean
    }
  /** Created or changed. */
  | { readonly kind: 'item'; readonly item: Item; readonly isNewItem: boolean }
  | { readonly kind: 'user'; readonly user: number }
  | { readonly kind: 'itemRemoved'; readonly handle: number; readonly id: string }
  | { readonly kind: 'userRemoved'; readonly handle: number; readonly id: string }
  | { readonly kind: 'duplicate' }
  /** Nothing that anybody needs to react to: an impression, a deletion of what is not there. */
  | { readonly kind: 'none' }
)

export declare class Facts {
  constructor(options?: Partial<FactsOptions>)
  readonly options: FactsOptions
  readonly catalogue: Catalogue
  readonly users: UserFacts
  /** Newest event timestamp folded so far, epoch ms; never goes back. -Infinity before the first. */
  get time(): number
  /** Events folded so far, duplicates included. */
  get events(): number
  /** Interactions folded so far, duplicates left out. */
  get interactions(): number
  apply(event: Event): Outcome
  /** Lets the handles of items removed so far be given to new items: call it between batches only. */
  release(): void
  /** The whole state: header, sections, checksum; equal states give equal bytes. */
  serialize(): Uint8Array<ArrayBuffer>
  /** 64-bit hash of the whole state. */
  digest(): bigint
  /**
   * Takes what `serialize` gave. Throws `FACTS_DAMAGED` (checksum, format) and `FACTS_INCOMPATIBLE`
   * (history length, windows or half-life are others; more items or users than the limits allow).
   */
  static load(bytes: Uint8Array, options?: Partial<FactsOptions>): Facts
}
