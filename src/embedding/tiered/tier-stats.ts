/** What a table reports of its rows in memory and of the store that has the others. */

/**
 * Since start: keys asked for, those in memory, rows read, those of them that had been sent for.
 */
export interface FetchCounts {
  readonly lookups: number
  readonly hits: number
  readonly fetched: number
  readonly prefetched: number
}

export interface RowKeeperStatus {
  readonly state: 'available' | 'unavailable' | 'wentBack'
  /** The checkpoint whose rows the store has; -1: none. */
  readonly flushed: number
  readonly flushes: number
  /** Of the last one, and rows of all. */
  readonly flushMs: number
  readonly flushedRows: number
  /** Times that the store had lost confirmed writes. */
  readonly losses: number
  /** Since start, in milliseconds. */
  readonly waitedMs: number
}

export interface TierStats extends FetchCounts, RowKeeperStatus {
  readonly memoryRows: number
  readonly cachedRows: number
  /** Changed since the last checkpoint, and all that the store does not have yet. */
  readonly dirtyRows: number
  readonly pinnedRows: number
}
