/**
 * Carries deltas from the one trainer to any number of readers. `local-sync` speaks over a message
 * port between threads of one process.
 */
import type { Delta } from './delta.ts'

export interface ParameterPublisher {
  /** Resolves when the delta cannot be lost any more; rejects with `SYNC_CLOSED`. */
  publish(delta: Delta): Promise<void>

  /**
   * Called when a reader starts from nothing or has missed something: returns everything, in
   * pieces, as deltas that all carry the sequence at which the trainer stands (1 or more); the
   * first has `base` 0, the others that sequence. The next delta published builds on it, and waits
   * for the last piece where pieces have to be waited for.
   */
  onResync(snapshot: () => Iterable<Delta> | AsyncIterable<Delta>): void

  close(): Promise<void>
}

/**
 * Takes one delta. `complete` is false for the pieces of a resync before the last: until then the
 * reader holds only a part of the parameters.
 */
export type ApplyDelta = (delta: Delta, complete: boolean) => Promise<void> | void

export interface ParameterSubscriber {
  /** Why nothing can come at the moment; undefined: nothing is known to be in the way. */
  readonly failure?: string | undefined

  /**
   * Calls `apply` with every delta after `fromSequence`, in order and one at a time; a gap is
   * never passed over: the reader gets a resync instead.
   */
  subscribe(fromSequence: number, apply: ApplyDelta): Promise<void>

  close(): Promise<void>
}
