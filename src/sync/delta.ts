/**
 * What changed in the trainer's parameters between two points of the stream: the only thing a
 * reader gets to see of them. Applied in sequence; a gap is answered by a resync, which is the
 * same type with `base` 0: everything, as one chain of deltas.
 */
import type { Keys } from '../base/keys.ts'

export interface TableDelta {
  readonly table: string
  readonly dim: number
  /** Rows to set: n keys and n x dim floats (vectors only, no optimizer state). */
  readonly keys: Keys
  readonly vectors: Float32Array
  /** Keys whose rows are gone; disjoint from `keys`. */
  readonly removed: Keys
}

/** How far into the stream the parameters have learned. */
export interface Watermark {
  /** Log offset per partition of the next event to train on. */
  readonly offsets: Readonly<Record<number, string>>
  /** `acceptedAt` of the newest event trained on, epoch ms; 0 before the first. */
  readonly acceptedAt: number
}

export interface Delta {
  /** Counts from 1 in each trainer life; consecutive. */
  readonly sequence: number
  /**
   * The sequence this one builds on; 0: it starts from nothing and the reader drops what it has.
   */
  readonly base: number
  /** Steps taken by the model so far. */
  readonly modelVersion: number
  readonly watermark: Watermark
  readonly tables: readonly TableDelta[]
  /** All dense weights, flat, in the engine's order; absent when unchanged. */
  readonly weights?: Float32Array
  /** When it was published, epoch ms. */
  readonly publishedAt: number
}
