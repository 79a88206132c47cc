/**
 * What one interaction teaches: the user as known *before* the event, and the item it was about.
 * The shapes of `query` and `item` are those that the towers are fed (`src/model/inputs.ts`); the
 * rest is for loss, masks and evaluation. An example is a snapshot: later events do not change it.
 */
import type { Features } from '../base/features.ts'
import type { Json } from './event.ts'

/**
 * An item of the catalogue. Immutable: a change makes a new record under the same handle. Counters
 * that move with every click are asked of the catalogue by handle.
 */
export interface Item {
  /** 0 .. `catalogue.handleLimit` - 1; free for another item only after `facts.release()`. */
  readonly handle: number
  readonly id: string
  /** Differs whenever the features differ or the handle has been given to another item. */
  readonly revision: number
  readonly features: Features
  readonly attributes: Readonly<Record<string, Json>>
  readonly hidden: boolean
  /** Epoch ms; Infinity: never. */
  readonly expiresAt: number
  readonly crowdingTag: string | undefined
  /** Event time at which the item came to be known, by an upsert or its first interaction. */
  readonly firstSeenAt: number
}

export interface HistoryItem {
  readonly item: Item
  /** Of the user's newest interaction with the item, epoch ms. */
  readonly timestamp: number
  readonly type: string
}

/** The user's side of an example. */
interface ExampleQuery {
  readonly userId: string
  readonly userFeatures: Features
  /** At most `historyLength` distinct items, newest first, without the event itself. */
  readonly history: readonly HistoryItem[]
  readonly context: Features
  /** Of the event, epoch ms. */
  readonly timestamp: number
}

export interface Example {
  /** Counts all interactions of the stream from 0, duplicates left out: "every 4th" is by this. */
  readonly index: number
  readonly query: ExampleQuery
  readonly item: Item
  /** The user's handle. */
  readonly user: number
  /** Handles of the items that the user had before the event (bounded), oldest first; a copy. */
  readonly seen: Int32Array
  readonly type: string
  readonly weight: number
  /** The catalogue did not know the item before. */
  readonly isNewItem: boolean
  /** Interactions with the item before this one. */
  readonly itemInteractions: number
  /** Decayed count of the item just before the event, at stream time. */
  readonly itemPopularity: number
  /** The item is among `seen`. */
  readonly isRepeat: boolean
  /** Facts knew nothing of the user before. */
  readonly isNewUser: boolean
  /** Epoch ms. */
  readonly acceptedAt: number
}
