/**
 * Failed requests in the log. What is our own fault is told each time. What may pass, a full disk
 * or a broker that is away, happens to every request at once: it is told once a minute for each
 * code, with how many there were since.
 */
import type { Clock } from '../../base/clock.ts'
import type { ServiceError } from '../../base/errors.ts'
import type { Logger } from './dependencies.ts'

const quietMs = 60_000

interface Failed {
  readonly requestId: string
  readonly route: string
}

export class FailureLog {
  readonly #log: Logger
  readonly #clock: Clock
  /** By code: there are as many as the table of errors has. */
  readonly #told = new Map<string, { at: number; since: number }>()

  constructor(log: Logger, clock: Clock) {
    this.#log = log
    this.#clock = clock
  }

  add(error: ServiceError, failed: Failed): void {
    if (error.status < 500) return
    if (!error.retryable) {
      const { code } = error
      this.#log.error({ err: error.cause ?? error, ...failed, code }, 'request failed')
    } else this.#addPassing(error, failed)
  }

  #addPassing({ code, message }: ServiceError, failed: Failed): void {
    const now = this.#clock.monotonic()
    const told = this.#told.get(code)
    if (told !== undefined && now - told.at < quietMs) {
      told.since += 1
      return
    }
    const requests = 1 + (told?.since ?? 0)
    this.#told.set(code, { at: now, since: 0 })
    this.#log.warn({ ...failed, code, requests }, `requests are refused: ${message}`)
  }
}
