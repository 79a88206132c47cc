/**
 * A nearest-neighbour index under inner product. Ids are small non-negative integers (the
 * catalogue's handles), so that filters are bitmaps. `flat-index` is exact and the oracle of every
 * other.
 */

/** One bit per id, 32 ids a word; a set bit means that the id may be returned. */
export type Bitmap = Uint32Array

export interface SearchOptions {
  /** 0..1: the share of possible work to spend; an exact index ignores it. Default 0.5. */
  readonly effort?: number
  /** Ids that may be returned, one bitmap for all queries. Absent: every id. */
  readonly allow?: Bitmap
}

/**
 * Per query k ids and scores, best first, ties by smaller id; unused places hold -1 and -Infinity.
 */
export interface SearchResult {
  readonly ids: Int32Array
  readonly scores: Float32Array
}

export interface IndexStats {
  readonly kind: string
  readonly items: number
  readonly capacityItems: number
  readonly bytes: number
}

export interface AnnIndex {
  readonly dim: number

  /**
   * Inserts or replaces n vectors (n x dim, row-major). Throws `INDEX_VECTOR_INVALID` for a NaN, an
   * infinity or a wrong length, having changed nothing.
   */
  upsert(ids: Int32Array, vectors: Float32Array): void

  /** Absent ids are ignored. A removed id is never returned again until it is upserted. */
  remove(ids: Int32Array): void

  has(id: number): boolean

  /** The stored vector (a copy), or undefined. */
  vector(id: number): Float32Array | undefined

  /** `queries` is n x dim. Scores are exact inner products. */
  search(queries: Float32Array, k: number, options?: SearchOptions): SearchResult

  stats(): IndexStats

  serialize(): Uint8Array
}
