/**
 * Work that needs room for a journal's entry. Where the disk has none it waits instead of ending
 * the service, and says so once a minute.
 */
import { setTimeout } from 'node:timers/promises'

import type { Clock } from '../base/clock.ts'
import { ServiceError } from '../base/errors.ts'
import type { TrainerReport } from './trainer-status.ts'

/** Before the disk is tried again. */
const waitMs = 500
const reportEveryMs = 60_000

export class DiskRoom {
  readonly #clock: Clock
  readonly #report: (report: TrainerReport) => void
  #reportedAt = -Infinity

  constructor(clock: Clock, report: (report: TrainerReport) => void) {
    this.#clock = clock
    this.#report = report
  }

  /** Without room nothing of `work` is done, and this resolves after a while all the same. */
  async orWait(work: () => Promise<void>): Promise<void> {
    try {
      await work()
      this.#reportedAt = -Infinity
    } catch (error) {
      if (!(error instanceof ServiceError) || error.code !== 'LOG_DISK_FULL') throw error
      this.#say(error.message)
      await setTimeout(waitMs)
    }
  }

  #say(message: string): void {
    const now = this.#clock.monotonic()
    if (now - this.#reportedAt < reportEveryMs) return
    this.#reportedAt = now
    this.#report({ level: 'error', code: 'diskFull', message, details: {} })
  }
}
