/**
 * Writes the trainer's checkpoints: when it is time, when it is asked to, and before the rows that
 * changed since the last one fill the memory of their tables. What fails for good stops training.
 */
import { setTimeout } from 'node:timers/promises'

import { ServiceError } from '../../base/errors.ts'
import type { FarRows } from '../far-rows.ts'
import type { TrainerJournal } from '../journal/trainer-journal.ts'
import type { Learner } from '../learner.ts'
import type { CheckpointStatus } from '../trainer-status.ts'
import type { Checkpoints, Place } from './checkpoints.ts'

export interface CheckpointWriterParts {
  /** Absent: there are none. */
  readonly checkpoints: Checkpoints | undefined
  readonly learner: Learner
  readonly journal: TrainerJournal | undefined
  readonly farRows: FarRows | undefined
  /** Where the state stands. */
  readonly place: () => Place
  /** Awaited first; absent: nobody else writes there. */
  readonly mayWrite: (() => Promise<void>) | undefined
}

/** Before a disk that was full is tried again. */
const diskFullWaitMs = 500

/** Every verb is called between two batches. */
export class CheckpointWriter {
  readonly #parts: CheckpointWriterParts
  /** Why training cannot go on. */
  #failure: Error | undefined

  constructor(parts: CheckpointWriterParts) {
    this.#parts = parts
  }

  /** Throws the error for which training cannot go on. */
  requireSound(): void {
    if (this.#failure !== undefined) throw this.#failure
  }

  /** Durable, and far rows in their stores, when it resolves. Throws `CHECKPOINT_FAILED`. */
  async write(): Promise<CheckpointStatus> {
    await this.#parts.mayWrite?.()
    return await this.#write()
  }

  /** Copies the state before anybody else has a turn. */
  async #write(): Promise<CheckpointStatus> {
    const { checkpoints, learner, journal, place } = this.#parts
    if (checkpoints === undefined) {
      const reason = 'checkpoints are not configured'
      throw new ServiceError('CHECKPOINT_FAILED', { directory: '(none)', reason })
    }
    // The journal must not be behind a checkpoint after a power cut.
    journal?.sync()
    try {
      return await checkpoints.write(learner, place(), (oldest) => {
        journal?.truncateBefore(oldest.sequence)
      })
    } catch (error) {
      const isHarmless = error instanceof ServiceError && error.code === 'CHECKPOINT_FAILED'
      if (!isHarmless) this.#failure = error instanceof Error ? error : new Error(String(error))
      throw error
    }
  }

  /**
   * Resolves when the state is copied: training goes on while the copy is written. Failures are
   * reported.
   */
  async start(): Promise<void> {
    await this.#parts.mayWrite?.()
    void this.#write().catch(() => undefined)
  }

  /** Far rows that have changed stay in memory until a checkpoint has them: writes it in time. */
  async leaveRoom(): Promise<void> {
    const { checkpoints, farRows } = this.#parts
    if (farRows === undefined || checkpoints === undefined) return
    if (farRows.pressure() === 'soon' && checkpoints.isIdle) await this.start()
    while (farRows.pressure() === 'now') {
      await checkpoints.settled()
      this.requireSound()
      if (farRows.pressure() !== 'now') return
      // Without room on the disk there is none in memory.
      await this.write().catch(() => setTimeout(diskFullWaitMs))
      this.requireSound()
    }
  }

  /** The last one. A failure is reported, and loses nothing that the log does not have. */
  async finish(): Promise<void> {
    const { checkpoints } = this.#parts
    if (checkpoints === undefined) return
    await checkpoints.settled()
    await this.write().catch(() => undefined)
    this.requireSound()
  }
}
