/**
 * What the towers are fed, as plain data. The facts fold of `src/stream` makes it; this room knows
 * only its shape.
 */
import type { Features } from '../base/features.ts'

export interface ItemInput {
  /** Small non-negative integer, this process's name for the item; caches are indexed by it. */
  readonly handle: number
  readonly id: string
  /** Goes up when the features change or when the handle is given to another item. */
  readonly revision: number
  readonly features: Features
}

export interface HistoryEntry {
  readonly item: ItemInput
  /** When the user had it, epoch ms. */
  readonly timestamp: number
  /** Interaction type. */
  readonly type: string
}

export interface QueryInput {
  /** Absent for an anonymous request. */
  readonly userId: string | undefined
  readonly userFeatures: Features
  /** The user's last items, distinct, newest first; never including the event to be predicted. */
  readonly history: readonly HistoryEntry[]
  readonly context: Features
  /** Of the event or request, epoch ms. */
  readonly timestamp: number
}
