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

export class ApiKeys {
  readonly #keys: readonly { readonly key: ApiKey; readonly digest: Buffer }[]

  constructor(keys: readonly ApiKey[]) {
    this.#keys = keys.map((key) => ({ key, digest: Buffer.from(key.sha256, 'hex') }))
    for (const { key, digest } of this.#keys) {
      assert(digest.length === 32, `the hash of API key ${key.name} is 64 hexadecimal digits`)
    }
  }

  /** Without any key, everybody is let in: the server then listens on loopback only. */
  get open(): boolean {
    return this.#keys.length === 0
  }

  /**
   * The caller's key; undefined when no keys are set. Throws `KEY_REQUIRED`, `KEY_INVALID`,
   * `SCOPE_MISSING`.
   */
  authorize(headers: KeyHeaders, scope: Scope): ApiKey | undefined {
    if (this.open) return undefined
    const given = presented(headers)
    if (given === undefined) throw new ServiceError('KEY_REQUIRED', {})
    const key = this.#find(given)
    if (key === undefined) throw new ServiceError('KEY_INVALID', {})
    if (!key.scopes.includes(scope)) throw new ServiceError('SCOPE_MISSING', { scope })
    return key
  }

  #find(given: string): ApiKey | undefined {
    if (given.length > longestKey) return undefined
    const digest = hash('sha256', given, 'buffer')
    let found: ApiKey | undefined
    for (const known of this.#keys) {
      if (timingSafeEqual(known.digest, digest)) found = known.key
    }
    return found
  }
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
