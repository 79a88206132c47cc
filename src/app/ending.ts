/**
 * Why a process ends: the first of its parts to fail says it, unless it only says that another part
 * is gone; that one's own word, which may come a moment later, is the reason then.
 */
import { ServiceError } from '../base/errors.ts'
import type { Logger } from './telemetry.ts'

/** How long the word of the part that is gone is waited for. */
const defaultWaitMs = 1_000

export class Ending {
  readonly #logger: Pick<Logger, 'error'>
  readonly #waitMs: number
  readonly #ended = new AbortController()

  constructor(logger: Pick<Logger, 'error'>, waitMs = defaultWaitMs) {
    this.#logger = logger
    this.#waitMs = waitMs
  }

  /** Aborts with the reason when the process can only be stopped. */
  get signal(): AbortSignal {
    return this.#ended.signal
  }

  fail(error: unknown): void {
    const code = error instanceof ServiceError ? error.code : 'INTERNAL'
    this.#logger.error({ code, error: String(error) }, 'a part of the service has failed')
    if (code === 'SYNC_CLOSED') setTimeout(() => this.#ended.abort(error), this.#waitMs).unref()
    else this.#ended.abort(error)
  }
}
