/**
 * Who may call. Only hashes of keys are known here; every known hash is compared with the caller's,
 * each in constant time, so that the time taken says nothing about how close a guess came.
 */
import { hash, timingSafeEqual } from 'node:crypto'

import { assert } from '../../base/assert.ts'
import { ServiceError } from '../../base/errors.ts'
import type { ApiKey, Scope } from './settings.ts'

/** `KEY` of `Authorization: Bearer KEY`, or of `X-API-Key: KEY`. */
interface KeyHeaders {
  readonly authorization?: string | undefined
  readonly 'x-api-key'?: string | readonly string[] | undefined
}

const longestKey = 256

interface KnownKey {
  readonly key: ApiKey
  readonly digest: Buffer
}

/** Keys that may change while the server runs: another list is another set of keys. */
export interface KeySource {
  readonly keys: readonly ApiKey[]
}

export class ApiKeys {
  readonly #configured: readonly KnownKey[]
  readonly #source: KeySource | undefined
  #sourced: readonly ApiKey[] = []
  #keys: readonly KnownKey[]
  #open: boolean

  constructor(configured: readonly ApiKey[], source?: KeySource) {
    this.#configured = configured.map(known)
    this.#source = source
    this.#keys = this.#configured
    this.#refresh()
    this.#open = this.#keys.length === 0
  }

  /**
   * Without any key, everybody is let in: the server then listens on loopback only. The first key
   * ends that, until the next start: revoking the last one opens nothing.
   */
  get open(): boolean {
    this.#refresh()
    if (this.#keys.length > 0) this.#open = false
    return this.#open
  }

  /**
   * The caller's key; undefined when no keys are set. Throws `KEY_REQUIRED`, `KEY_INVALID`,
   * `SCOPE_MISSING`.
   */
  authorize(headers: KeyHeaders, scope: Scope, now: number): ApiKey | undefined {
    if (this.open) return undefined
    const given = presented(headers)
    if (given === undefined) throw new ServiceError('KEY_REQUIRED', {})
    const key = this.#find(given)
    const isExpired = key?.expiresAt !== undefined && key.expiresAt <= now
    if (key === undefined || isExpired) throw new ServiceError('KEY_INVALID', {})
    if (!key.scopes.includes(scope)) throw new ServiceError('SCOPE_MISSING', { scope })
    return key
  }

  #refresh(): void {
    const sourced = this.#source?.keys ?? []
    if (sourced === this.#sourced) return
    this.#sourced = sourced
    this.#keys = [...this.#configured, ...sourced.map(known)]
  }

  #find(given: string): ApiKey | undefined {
    if (given.length > longestKey) return undefined
    const digest = hash('sha256', given, 'buffer')
    let found: ApiKey | undefined
    for (const one of this.#keys) {
      if (timingSafeEqual(one.digest, digest)) found = one.key
    }
    return found
  }
}

function known(key: ApiKey): KnownKey {
  const digest = Buffer.from(key.sha256, 'hex')
  assert(digest.length === 32, `the hash of API key ${key.name} is 64 hexadecimal digits`)
  return { key, digest }
}

function presented(headers: KeyHeaders): string | undefined {
  const bearer = /^Bearer +(\S+) *$/i.exec(headers.authorization ?? '')?.[1]
  const plain = headers['x-api-key']
  return bearer ?? (typeof plain === 'string' && plain !== '' ? plain : undefined)
}

/** Whether only this machine can reach an address bound to `host`. */
export const isLoopback = (host: string): boolean =>
  /^(localhost|127(\.\d{1,3}){3}|::1|\[::1\])$/i.test(host)

/**
 * Whether a Host header names this machine. Without keys nothing else is answered: a page that made
 * its own name resolve to 127.0.0.1 (DNS rebinding) would otherwise read everything here.
 */
export function isLoopbackHost(header: string | undefined): boolean {
  if (header === undefined) return true
  const name = header.replace(/:\d*$/, '')
  return isLoopback(name) || /^[\w-]+\.localhost$/i.test(name)
}
