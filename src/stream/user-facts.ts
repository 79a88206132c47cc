/** What is known of users: their features, what they had, when they were last there. */
import type { Features } from '../base/features.ts'
import type { HistoryItem } from './example.ts'

export declare class UserFacts {
  get size(): number
  /** The user's handle, or -1. */
  handleOf(id: string): number
  id(handle: number): string
  features(handle: number): Features
  /** At most `limit` (default `historyLength`) distinct items, newest first; deleted items left out. */
  history(handle: number, limit?: number): readonly HistoryItem[]
  /** Handles of the items that the user had, oldest first; a copy. */
  seen(handle: number): Int32Array
  hasSeen(handle: number, item: number): boolean
  /** Stream time of the newest event, epoch ms. */
  lastActiveAt(handle: number): number
}
