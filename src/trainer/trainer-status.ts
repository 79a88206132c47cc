/**
 * What the trainer says of itself: the status for metrics, reports for the log, and its commands.
 */
import type { Clock } from '../base/clock.ts'
import type { TableStats } from '../embedding/embedding-table.ts'
import type { PreviewReport } from '../embedding/restrict/restrict-preview.ts'
import type { RestrictPolicy } from '../embedding/table-spec.ts'
import type { Position } from '../stream/event-log.ts'
import type { Json } from '../stream/event.ts'
import type { LogReading } from '../stream/kafka/kafka-log.ts'
import type { PublisherStatus } from '../sync/redis/redis-publisher.ts'
import type { EvaluationReport } from './evaluation/evaluator.ts'

/** Something worth a line in the log. `code` is stable; `message` is for people. */
export interface TrainerReport {
  readonly level: 'info' | 'warn' | 'error'
  readonly code:
    | 'restored'
    | 'startedFresh'
    | 'engineChosen'
    | 'checkpointWritten'
    | 'checkpointDamaged'
    | 'checkpointFailed'
    | 'checkpointFetched'
    | 'copiesNotFetched'
    | 'copiesNotPruned'
    | 'journalAhead'
    | 'journalFollowed'
    | 'journalGap'
    | 'batchQuarantined'
    | 'guardRepeated'
    | 'guardRestarted'
    | 'rolledBack'
    | 'rollbackImpossible'
    | 'diskFull'
    | 'journalNotTruncated'
    | 'quarantineFailed'
    | 'rowsEvicted'
    | 'rowStoreWaiting'
    | 'rowStoreBack'
    | 'rowStoreWentBack'
    | 'rowStoreRedone'
    | 'flushPostponed'
    | 'stoppedWaiting'
    | 'brokersUnavailable'
    | 'brokersBack'
    | 'deadLettersLost'
  readonly message: string
  readonly details: { readonly [name: string]: Json }
}

/** Executed between two batches; what changes state is journaled first. */
export type TrainerCommand =
  | RestrictCommand
  | { readonly kind: 'checkpoint' }
  | { readonly kind: 'compact' }
  | RollBackCommand

/** To a checkpoint that is kept, by its sequence. */
export interface RollBackCommand {
  readonly kind: 'rollBack'
  readonly to: number
}

/** What is absent is as the table's specification says. */
export interface RestrictCommand {
  readonly kind: 'restrict'
  /** Absent: every table that has a restrict policy. */
  readonly table?: string
  readonly numReserved?: number
  /** Absent: `numReserved`, if that is given. */
  readonly trigger?: number
  readonly policy?: RestrictPolicy
  /** Says what would leave, and changes nothing. */
  readonly dryRun?: boolean
}

/** One table: rows before, rows that left or would leave, rows then. */
export interface RestrictedTable {
  readonly table: string
  readonly before: number
  readonly removed: number
  readonly rows: number
  /** Of a dry run. */
  readonly report?: Pick<PreviewReport, 'byCount' | 'byAge' | 'sample'>
}

export interface RestrictResult {
  readonly kind: 'restrict'
  readonly dryRun: boolean
  readonly removed: number
  /** Of all tables, left. */
  readonly rows: number
  readonly tables: readonly RestrictedTable[]
}

export interface CompactResult {
  readonly kind: 'compact'
  /** Steps of some milliseconds that moved rows. */
  readonly steps: number
  /** Of all tables: in use, and held for them. */
  readonly rows: number
  readonly bytes: number
}

export interface RollBackResult {
  readonly kind: 'rollBack'
  readonly to: number
}

export type CommandResult =
  | RestrictResult
  | RollBackResult
  | { readonly kind: 'checkpoint'; readonly sequence: number; readonly bytes: number }
  | CompactResult

export interface CheckpointStatus {
  readonly sequence: number
  readonly bytes: number
  /** From the copy of the state to the last sync. */
  readonly milliseconds: number
  /** Epoch ms. */
  readonly at: number
}

export interface TrainerStatus {
  /** What computes the towers, see `DenseEngine`. */
  readonly engine: string
  /** Batches trained on: the version of the model. */
  readonly step: number
  /** Events folded, duplicates included, and examples trained on, since the start of the log. */
  readonly events: number
  readonly examples: number
  readonly eventsPerSecond: number
  readonly examplesPerSecond: number
  /** Where the next event to be folded stands. */
  readonly position: Position
  /** Events folded since the last batch. */
  readonly pendingEvents: number
  /** `acceptedAt` of the newest event trained on, epoch ms; 0 before the first. */
  readonly acceptedAt: number
  /** Of the last batch, and of late. */
  readonly loss: number
  readonly meanLoss: number
  readonly guardTrips: number
  readonly guardRollbacks: number
  readonly items: number
  readonly activeItems: number
  readonly users: number
  readonly evaluation: EvaluationReport
  readonly tables: readonly (TableStats & { readonly name: string })[]
  readonly deltaSequence: number
  /** The trainer's end of the parameters, where they go to other processes. */
  readonly published?: PublisherStatus
  /** What its reading of the log has come to, where that is a topic. */
  readonly log?: LogReading
  readonly checkpoint?: CheckpointStatus
  /** What a restart may need of the log: nothing before this may be removed. */
  readonly retainFrom: Position
}

/** Events per second over the last few seconds. */
export class RateMeter {
  readonly #clock: Clock
  #since: number
  #count = 0
  #rate = 0

  constructor(clock: Clock) {
    this.#clock = clock
    this.#since = clock.monotonic()
  }

  add(count: number): void {
    this.#count += count
  }

  /** Settles once a second; before the first, what there is so far. */
  rate(): number {
    const elapsed = this.#clock.monotonic() - this.#since
    if (elapsed < 1000) return this.#rate
    this.#rate = (1000 * this.#count) / elapsed
    this.#since += elapsed
    this.#count = 0
    return this.#rate
  }
}
