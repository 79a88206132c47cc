/**
 * A nearest-neighbour index under inner product. Ids are small non-negative integers (the
 * catalogue's handles), so that filters are bitmaps. `flat-index` is exact and the oracle of every
 * other.
 */

/** One bit per id, 32 ids a word; a set bit means that the id may be returned. */
export type Bitmap = Uint32Array

/** An id beyond the bitmap is not set. */
export const isSet = (bitmap: Bitmap, id: number): boolean =>
  ((bitmap[id >> 5] >>> (id & 31)) & 1) === 1

export function setBit(bitmap: Bitmap, id: number, isOn: boolean): void {
  const bit = 1 << (id & 31)
  if (isOn) bitmap[id >> 5] |= bit
  else bitmap[id >> 5] &= ~bit
}

export interface SearchOptions {
  /** 0..1: the share of possible work to spend; an exact index ignores it. Default: the index's. */
  readonly effort?: number
  /** Scores every id in f32, whatever the index would do. Default false. */
  readonly exact?: boolean
  /** Ids that may be returned: one bitmap for all queries, or one for each. Absent: every id. */
  readonly allow?: Bitmap | readonly Bitmap[] | undefined
}

/**
 * Per query k ids and scores, best first, ties by smaller id; unused places hold -1 and -Infinity.
 */
export interface SearchResult {
  readonly ids: Int32Array
  readonly scores: Float32Array
}

export interface TreeStats {
  readonly leaves: number
  /** Vectors of the fullest leaf. */
  readonly largestLeaf: number
  /** What a search spends that names no effort. */
  readonly effort: number
  /** Recall@10 of the last audit, at that effort; -1 before the first. */
  readonly recall: number
  /** Trees that took over, and those that were thrown away as no better. */
  readonly grown: number
  readonly rejected: number
  readonly isGrowing: boolean
}

export interface IndexStats {
  readonly kind: string
  readonly items: number
  readonly capacityItems: number
  readonly bytes: number
  /** Of an index that has a tree. */
  readonly tree?: TreeStats
}

export interface AnnIndex {
  readonly dim: number
  /** How many of the last dimensions are kept in f32 in every representation. */
  readonly exactDims: number
  /** The largest k of a search. */
  readonly maxK: number

  /**
   * Inserts or replaces n vectors (n x dim, row-major). Throws `INDEX_VECTOR_INVALID` for a NaN, a
   * magnitude beyond 1e18 or a wrong length, and `INDEX_FULL` for an id beyond the capacity, having
   * changed nothing.
   */
  upsert(ids: Int32Array, vectors: Float32Array): void

  /**
   * Replaces the last `exactDims` dimensions of vectors that are there; absent ids are ignored.
   * For a dimension that is a fact (popularity) and changes without the rest. Errors as `upsert`.
   */
  updateTail(ids: Int32Array, tails: Float32Array): void

  /** Absent ids are ignored. A removed id is never returned again until it is upserted. */
  remove(ids: Int32Array): void

  has(id: number): boolean

  /** The stored vector (a copy), or undefined. */
  vector(id: number): Float32Array | undefined

  /** Inner products of a query with stored vectors, in f32; -Infinity: there is none. */
  scores(query: Float32Array, ids: Int32Array): Float32Array

  /**
   * `queries` is n x dim; k is 1 or more. Scores are exact inner products. Throws
   * `INDEX_VECTOR_INVALID` as `upsert`.
   */
  search(queries: Float32Array, k: number, options?: SearchOptions): SearchResult

  /**
   * Looks after its own structure for about as long as it takes to place `vectors` vectors, and
   * returns for how many it did: 0 when there is nothing to do now. To be called between searches.
   */
  maintain(vectors: number): number

  /**
   * Asks for a new structure over the vectors that there are, to be made by `maintain`; what
   * answers now answers until then, and goes on to where the new one is no better.
   */
  rebuild(): void

  /** Whether a structure is being made, by this or another thread, or was asked for. */
  readonly isRebuilding: boolean

  /** Whether a new structure waits to be taken over, or the old one must be put right. */
  readonly isPressing: boolean

  stats(): IndexStats

  serialize(): Uint8Array
}
