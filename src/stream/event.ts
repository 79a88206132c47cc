/**
 * What can happen, as the log holds it. Parsed once at the edge by `event-schema.ts`; from there on
 * these types are trusted. A deletion is an event too.
 */
import type { Features } from '../base/features.ts'

export type Json =
  | string
  | number
  | boolean
  | null
  | readonly Json[]
  | { readonly [key: string]: Json }

interface Common {
  /** Given by a client that may retry; events with an id seen within the window count once. */
  readonly eventId?: string
  /** When it happened, epoch ms: the client's word, else the time of acceptance. */
  readonly timestamp: number
  /** When the log accepted it, epoch ms. Freshness is measured from here. */
  readonly acceptedAt: number
}

/** A user did something with an item: the only event that is trained on. */
export interface Interaction extends Common {
  readonly kind: 'interaction'
  readonly userId: string
  readonly itemId: string
  /** click, purchase, like, ...: weighted by configuration. */
  readonly type: string
  readonly weight?: number
  readonly context?: Features
}

/** Creates an item, replaces it, or changes the named fields of it. */
export interface ItemUpsert extends Common {
  readonly kind: 'item'
  readonly mode: 'replace' | 'patch'
  readonly itemId: string
  readonly features?: Features
  /** Returned with recommendations, never learned from. */
  readonly attributes?: Readonly<Record<string, Json>>
  readonly hidden?: boolean
  /** Epoch ms. */
  readonly expiresAt?: number
  readonly crowdingTag?: string
}

export interface UserUpsert extends Common {
  readonly kind: 'user'
  readonly mode: 'replace' | 'patch'
  readonly userId: string
  readonly features?: Features
}

export interface DeleteItem extends Common {
  readonly kind: 'deleteItem'
  readonly itemId: string
}

/** Erases the user's rows, history and seen set everywhere. */
export interface DeleteUser extends Common {
  readonly kind: 'deleteUser'
  readonly userId: string
}

export interface Impression extends Common {
  readonly kind: 'impression'
  readonly userId: string
  readonly itemIds: readonly string[]
}

export type Event = Interaction | ItemUpsert | UserUpsert | DeleteItem | DeleteUser | Impression
