/** What became of a batch. */
import type { Example } from '../stream/example.ts'
import type { GuardTrip } from './guard.ts'

export interface BatchReport {
  readonly examples: readonly Example[]
  readonly loss: number
  /** Sum of the weights behind the loss. */
  readonly weight: number
  /** The guard refused the batch and the model is as it was. */
  readonly trip: GuardTrip | undefined
  /** The guard took the stream to have changed, and accepts losses as they come for a while. */
  readonly restarted: boolean
  /** Rows that a table evicted to keep within its bounds. */
  readonly evicted: number
}

/** Of one without examples. */
export const emptyReport: BatchReport = {
  examples: [],
  loss: 0,
  weight: 0,
  trip: undefined,
  restarted: false,
  evicted: 0,
}
