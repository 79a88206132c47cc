/** What may differ between processes that serve the same model. */
export interface ServingSettings {
  /** Vectors embedded again per second, at most. */
  readonly embedPerSecond: number
  /**
   * Of these, vectors whose own rows have not changed, at most: each comes up every items / this
   * seconds.
   */
  readonly sweepPerSecond: number
  /** Popularities written in turn per second: each item's at least every items / this seconds. */
  readonly popularitiesPerSecond: number
  /** Between two slices of index work, milliseconds. */
  readonly sliceIntervalMs: number
  /**
   * What a slice of work may take, of the index, of a delta, of folding, milliseconds: what a query
   * waits at most for maintenance.
   */
  readonly sliceMs: number
  /** Share of the thread that steady upkeep of the index's structure may take, 0..1. */
  readonly upkeepShare: number
  /** Events read at a time. */
  readonly foldEvents: number
  /** Up to so many items every one is scored; above, the index parts them into leaves. */
  readonly exactBelow: number
  /** Recall@10 that the index chooses its effort to hold. */
  readonly recallTarget: number
  /** Between two saves of a large index, milliseconds; it is saved once more when it stops. */
  readonly saveIntervalMs: number
  /** Queries kept for the audit, and that one in so many is taken. */
  readonly sampleQueries: number
  readonly sampleEvery: number
}

export const defaultServingSettings: ServingSettings = {
  embedPerSecond: 50_000,
  sweepPerSecond: 20_000,
  popularitiesPerSecond: 10_000,
  sliceIntervalMs: 4,
  sliceMs: 1,
  upkeepShare: 0.03,
  foldEvents: 256,
  exactBelow: 10_000,
  recallTarget: 0.97,
  saveIntervalMs: 300_000,
  sampleQueries: 32,
  sampleEvery: 64,
}
