/**
 * Everything that stands before a handler: is there room, is the caller's host name ours, has the
 * key the scope, is it within its rate. Each refusal is counted by its code.
 */
import type { FastifyContextConfig, FastifyRequest } from 'fastify'

import type { Clock } from '../../base/clock.ts'
import { ServiceError } from '../../base/errors.ts'
import { ApiKeys, isLoopbackHost, type KeySource } from './api-keys.ts'
import type { LoadGuard } from './load-guard.ts'
import { TokenBuckets } from './rate-limit.ts'
import type { ApiKey, HttpSettings } from './settings.ts'

interface GateParts {
  readonly load: LoadGuard
  readonly clock: Clock
  /** Beside those of the settings. */
  readonly keys?: KeySource | undefined
}

interface Incoming {
  readonly headers: FastifyRequest['headers']
  /** What it brings. */
  readonly bytes: number
}

export class Gate {
  readonly #settings: HttpSettings
  readonly #load: LoadGuard
  readonly #clock: Clock
  readonly #keys: ApiKeys
  readonly #buckets = new TokenBuckets()
  /** The last Host that named this machine: nearly every caller says the same. */
  #ownHost: string | undefined
  #draining = false

  constructor(settings: HttpSettings, { load, clock, keys }: GateParts) {
    this.#settings = settings
    this.#load = load
    this.#clock = clock
    this.#keys = new ApiKeys(settings.apiKeys, keys)
  }

  /** No keys are set: everybody who reaches the server is let in. */
  get open(): boolean {
    return this.#keys.open
  }

  /** From now on only urgent routes are let through. */
  drain(): void {
    this.#draining = true
  }

  get draining(): boolean {
    return this.#draining
  }

  /** Throws what the caller is to be told. */
  admit({ headers, bytes }: Incoming, { scope, urgent }: FastifyContextConfig): void {
    if (this.#keys.open && headers.host !== this.#ownHost) this.#learnHost(headers.host)
    // Before any work for the caller: turning away must cost next to nothing.
    if (urgent === false) this.#refuseWhenBusy(bytes)
    if (scope === undefined) return
    this.#limit(this.#keys.authorize(headers, scope, this.#clock.now()))
  }

  #learnHost(host: string | undefined): void {
    if (!isLoopbackHost(host)) throw new ServiceError('HOST_FORBIDDEN', { host: host ?? '' })
    this.#ownHost = host
  }

  #refuseWhenBusy(bytes: number): void {
    if (this.#draining) throw new ServiceError('SHUTTING_DOWN', {})
    const reason = this.#load.overload(bytes)
    if (reason !== undefined) throw new ServiceError('OVERLOADED', { reason })
  }

  #limit(key: ApiKey | undefined): void {
    const perSecond = key?.ratePerSecond ?? this.#settings.ratePerSecond
    if (perSecond <= 0) return
    const burst = key?.rateBurst ?? this.#settings.rateBurst
    const rate = { perSecond, burst: Math.max(1, burst) }
    const wait = this.#buckets.take(key?.name ?? '', rate, this.#clock.monotonic())
    if (wait > 0) {
      const retryAfterSeconds = Math.ceil(wait)
      throw new ServiceError('RATE_LIMITED', { perSecond, retryAfterSeconds })
    }
  }
}

/** What a request brings, by its own word; the limit where it does not say. */
export function announcedBytes(headers: FastifyRequest['headers'], limitBytes: number): number {
  const length = headers['content-length']
  if (length !== undefined) return Math.min(Number(length) || 0, limitBytes)
  return headers['transfer-encoding'] === undefined ? 0 : limitBytes
}
