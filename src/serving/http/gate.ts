/**
 * Everything that stands before a handler: is there room, is the caller's host name ours, has the
 * key the scope, is it within its rate. Each refusal is counted by its code.
 */
import type { FastifyRequest } from 'fastify'

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

export class Gate {
  readonly #settings: HttpSettings
  readonly #load: LoadGuard
  readonly #clock: Clock
  readonly #keys: ApiKeys
  readonly #buckets = new TokenBuckets()
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
  admit(request: FastifyRequest, bytes: number): void {
    const { headers } = request
    const { scope, urgent } = request.routeOptions.config
    if (this.#keys.open && !isLoopbackHost(headers.host)) {
      throw new ServiceError('HOST_FORBIDDEN', { host: headers.host ?? '' })
    }
    // Before any work for the caller: turning away must cost next to nothing.
    if (urgent === false) this.#refuseWhenBusy(bytes)
    if (scope === undefined) return
    this.#limit(this.#keys.authorize(headers, scope, this.#clock.now()))
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
export function announcedBytes(request: FastifyRequest, limitBytes: number): number {
  const length = request.headers['content-length']
  if (length !== undefined) return Math.min(Number(length) || 0, limitBytes)
  return request.headers['transfer-encoding'] === undefined ? 0 : limitBytes
}
