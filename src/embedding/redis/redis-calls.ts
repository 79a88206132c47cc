/**
 * When to ask Redis again and when to give up. A call has a limit in time, a few attempts with
 * growing pauses (a random part of each, so that processes do not come back together), and then
 * rejects with `ROW_STORE_UNAVAILABLE`. From then on calls reject at once (a circuit breaker: a
 * server in trouble is not sent more of the same), while a probe asks now and then until it gets an
 * answer.
 *
 * Invariant: `state` is `available` unless the last probe or call failed, or confirmed writes were
 * found missing (`wentBack`), which only the caller ends.
 */
import { setTimeout as sleep } from 'node:timers/promises'

import { ServiceError } from '../../base/errors.ts'
import { answerWithin, reasonOf, refusalOf, Silence } from '../../redis/redis-answers.ts'
import type { RedisConnection } from '../../redis/redis-connection.ts'
import { reconnectPauseMs } from '../../redis/redis-connection.ts'
import type { RowStoreState } from '../tiered/row-store.ts'

export interface RedisLimits {
  /** For all commands of one batch, of at most `batchRows` rows; default 2,000 ms. */
  readonly commandTimeoutMs?: number
  /** How often a batch is sent before the store counts as unavailable; default 4. */
  readonly attempts?: number
  /** From probe to probe while the store is unavailable; default 500 ms. */
  readonly probeIntervalMs?: number
}

/** So many silent probes' time without an answer, and the connection is begun anew. */
const patienceProbes = 3

/** Numbers found that are not what they should be; see `redis-scripts.ts`. */
export class ChangeMismatch extends Error {
  readonly kind: 'wentBack' | 'fenced'

  constructor(kind: 'wentBack' | 'fenced', message: string) {
    super(message)
    this.kind = kind
  }
}

export interface RedisCallsOptions {
  readonly table: string
  readonly writer: string
  readonly limits: RedisLimits
  readonly connection: RedisConnection
  /** Resolves once every slice has answered. */
  readonly probe: () => Promise<void>
}

export class RedisCalls {
  readonly #options: RedisCallsOptions
  readonly #timeoutMs: number
  readonly #attempts: number
  readonly #probeIntervalMs: number
  readonly #listeners = new Set<(state: RowStoreState) => void>()
  readonly #closing = new AbortController()
  #state: RowStoreState = 'available'
  #lost = ''
  #probing = Promise.resolve()

  constructor(options: RedisCallsOptions) {
    this.#options = options
    this.#timeoutMs = options.limits.commandTimeoutMs ?? 2_000
    this.#attempts = options.limits.attempts ?? 4
    this.#probeIntervalMs = options.limits.probeIntervalMs ?? 500
  }

  get state(): RowStoreState {
    return this.#state
  }

  onStateChange(listener: (state: RowStoreState) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  async ready(signal?: AbortSignal): Promise<void> {
    const signals = signal === undefined ? [] : [signal]
    const ended = AbortSignal.any([this.#closing.signal, ...signals])
    ended.throwIfAborted()
    while (this.#state === 'unavailable') {
      const changed = new AbortController()
      const forget = this.onStateChange(() => {
        changed.abort()
      })
      await waitFor(AbortSignal.any([ended, changed.signal]))
      forget()
      ended.throwIfAborted()
    }
  }

  /** Attempts to do something until it is done, or gives up. */
  async call<Result>(verb: string, attempt: () => Promise<Result>): Promise<Result> {
    for (let attempts = 1; ; attempts += 1) {
      this.#check(verb)
      try {
        return await answerWithin(this.#timeoutMs, attempt())
      } catch (error) {
        const failure = this.#failure(verb, error)
        if (failure.code !== 'ROW_STORE_UNAVAILABLE') throw failure
        if (attempts >= this.#attempts) this.#change('unavailable')
        if (attempts >= this.#attempts || this.#closing.signal.aborted) throw failure
        await this.#pause(reconnectPauseMs(attempts))
      }
    }
  }

  /** Throws if a call may not be made now. */
  #check(verb: string): void {
    const { table } = this.#options
    if (this.#closing.signal.aborted) throw this.#unavailable(verb, 'it is closed')
    if (this.#state === 'unavailable') throw this.#unavailable(verb, 'it was asked in vain')
    if (this.#state === 'wentBack') {
      throw new ServiceError('ROW_STORE_WENT_BACK', { table, reason: this.#lost })
    }
  }

  /** The caller has taken note of what was lost. */
  acceptLoss(): void {
    if (this.#state === 'wentBack') this.#change('available')
  }

  async close(): Promise<void> {
    this.#closing.abort(new Error('the row store is closed'))
    await this.#probing
    this.#listeners.clear()
  }

  /** What to tell the caller of an error. */
  #failure(verb: string, error: unknown): ServiceError {
    if (error instanceof ServiceError) return error
    const reason = reasonOf(error)
    const { table, writer, connection } = this.#options
    if (error instanceof ChangeMismatch) {
      if (error.kind === 'fenced') return new ServiceError('ROW_STORE_FENCED', { table, writer })
      this.#lost = reason
      this.#change('wentBack')
      return new ServiceError('ROW_STORE_WENT_BACK', { table, reason })
    }
    // What a reply should not be, it will not be the next time.
    const refusal = error instanceof RangeError ? reason : refusalOf(error, connection)
    if (refusal !== undefined) {
      return new ServiceError('ROW_STORE_FAILED', { table, verb, reason: refusal })
    }
    const cause = connection.lastError?.message ?? ''
    return this.#unavailable(verb, cause === '' ? reason : `${reason} (${cause})`)
  }

  #unavailable(verb: string, reason: string): ServiceError {
    const { table } = this.#options
    return new ServiceError('ROW_STORE_UNAVAILABLE', { table, verb, reason })
  }

  async #pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#closing.signal }).catch(() => undefined)
  }

  #change(state: RowStoreState): void {
    if (state === this.#state || this.#closing.signal.aborted) return
    this.#state = state
    if (state === 'unavailable') this.#probing = this.#probeUntilAvailable()
    this.#listeners.forEach((listener) => {
      listener(state)
    })
  }

  async #probeUntilAvailable(): Promise<void> {
    const patienceMs = patienceProbes * (this.#probeIntervalMs + this.#timeoutMs)
    let waitedMs = 0
    while (this.#state === 'unavailable' && !this.#closing.signal.aborted) {
      await this.#pause(this.#probeIntervalMs)
      waitedMs += this.#probeIntervalMs
      try {
        await answerWithin(this.#timeoutMs, this.#options.probe())
        this.#change('available')
      } catch (error) {
        // A loss that the probe finds is a state of its own.
        if (error instanceof ChangeMismatch) this.#failure('probe', error)
        if (error instanceof Silence) waitedMs += this.#timeoutMs
        // Connecting, too, can be silent without end.
        if (waitedMs < patienceMs) continue
        waitedMs = 0
        this.#options.connection.reconnect()
      }
    }
  }
}

const waitFor = async (signal: AbortSignal): Promise<void> => {
  if (signal.aborted) return
  await new Promise<void>((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
