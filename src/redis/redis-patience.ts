/**
 * Asking Redis until it answers: for what may simply be asked again, and has no better use of its
 * time meanwhile. A try has a limit in time, pauses between tries grow, and a connection that
 * stays silent is begun anew. What asking again would not change is not asked again.
 */
import { setTimeout as sleep } from 'node:timers/promises'

import type { ServiceError } from '../base/errors.ts'
import { answerWithin, reasonOf, refusalOf, Silence } from './redis-answers.ts'
import { type RedisConnection, reconnectPauseMs } from './redis-connection.ts'

export interface RedisPatienceOptions {
  readonly connection: RedisConnection
  /** Of one try. */
  readonly timeoutMs: number
  /** What to throw once `close` was called. */
  readonly closed: () => ServiceError
  /** What to throw where the server refuses. */
  readonly refused: (reason: string) => ServiceError
}

/** So many tries in a row without any answer, and the connection is begun anew. */
const silentTries = 3
const longestPauseExponent = 4

export class RedisPatience {
  readonly #options: RedisPatienceOptions
  readonly #closing = new AbortController()
  #failure: string | undefined
  #silences = 0

  constructor(options: RedisPatienceOptions) {
    this.#options = options
  }

  /** Why the last try failed; undefined: it was answered. */
  get failure(): string | undefined {
    return this.#failure
  }

  get isClosed(): boolean {
    return this.#closing.signal.aborted
  }

  /** Tries until there is an answer. `extraMs`: how long the command itself waits. */
  async ask<Answer>(attempt: () => Promise<Answer>, extraMs = 0): Promise<Answer> {
    for (let tries = 1; ; tries += 1) {
      if (this.isClosed) throw this.#options.closed()
      try {
        return await this.#once(attempt, extraMs)
      } catch (error) {
        if (this.isClosed) throw this.#options.closed()
        this.#note(error)
        await this.pause(reconnectPauseMs(Math.min(tries, longestPauseExponent)))
      }
    }
  }

  /** Ends early when it is closed. */
  async pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#closing.signal }).catch(() => undefined)
  }

  close(): void {
    this.#closing.abort()
    this.#options.connection.close()
  }

  async #once<Answer>(attempt: () => Promise<Answer>, extraMs: number): Promise<Answer> {
    const answer = await answerWithin(this.#options.timeoutMs + extraMs, attempt())
    this.#failure = undefined
    this.#silences = 0
    return answer
  }

  /** Throws what asking again would not change. */
  #note(error: unknown): void {
    const { connection, refused } = this.#options
    this.#failure = connection.lastError?.message ?? reasonOf(error)
    if (error instanceof Silence) {
      this.#silences += 1
      if (this.#silences % silentTries === 0) connection.reconnect()
      return
    }
    const refusal = refusalOf(error, connection)
    if (refusal !== undefined) throw refused(refusal)
  }
}
