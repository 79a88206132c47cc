/**
 * API keys in a file, by their hashes: `freshet keys` writes it, a running server reads it again
 * when it changes. Keys are 256 random bits, so a plain SHA-256 of one tells nothing about it.
 */
import { hash, randomBytes } from 'node:crypto'
import { closeSync, openSync, readFileSync, renameSync, rmSync, statSync, writeSync } from 'node:fs'

import * as z from 'zod'

import { ServiceError } from '../../base/errors.ts'
import type { KeySource } from './api-keys.ts'
import type { Logger } from './dependencies.ts'
import type { ApiKey } from './settings.ts'

export const keyName = /^[\w.@-]{1,64}$/

const storedKey = z.strictObject({
  name: z.string().regex(keyName),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  scopes: z.array(z.enum(['read', 'write', 'admin'])).min(1),
  ratePerSecond: z.number().positive().exactOptional(),
  rateBurst: z.int().min(1).exactOptional(),
  /** Epoch ms. */
  createdAt: z.number(),
  expiresAt: z.number().exactOptional(),
})
const stored = z.strictObject({ keys: z.array(storedKey).max(1_000) })

export type StoredKey = z.output<typeof storedKey>

/** None where there is no file. Throws `KEYS_UNREADABLE`. */
export function readKeys(file: string): readonly StoredKey[] {
  try {
    return stored.parse(JSON.parse(readFileSync(file, 'utf8'))).keys
  } catch (cause) {
    if (isAbsent(cause)) return []
    throw new ServiceError('KEYS_UNREADABLE', { file, reason: reasonOf(cause) }, { cause })
  }
}

const isAbsent = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && error.code === 'ENOENT'

function reasonOf(error: unknown): string {
  if (error instanceof z.ZodError) {
    const [issue] = error.issues
    return `${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}`
  }
  return error instanceof Error ? error.message : String(error)
}

/**
 * Reads, changes and writes whole, for its owner's eyes alone; one at a time. Throws
 * `KEYS_UNREADABLE`, `KEYS_BUSY`.
 */
export function changeKeys(
  file: string,
  change: (keys: readonly StoredKey[]) => readonly StoredKey[],
): void {
  const part = `${file}.part`
  const descriptor = openPart(part)
  try {
    const keys = stored.parse({ keys: change(readKeys(file)) })
    writeSync(descriptor, `${JSON.stringify(keys, null, 2)}\n`)
    renameSync(part, file)
  } catch (error) {
    rmSync(part, { force: true })
    throw error
  } finally {
    closeSync(descriptor)
  }
}

function openPart(part: string): number {
  try {
    return openSync(part, 'wx', 0o600)
  } catch (cause) {
    throw new ServiceError('KEYS_BUSY', { file: part, reason: reasonOf(cause) }, { cause })
  }
}

/** What only its holder knows, and what is kept of it. */
export function newSecret(): { readonly secret: string; readonly sha256: string } {
  const secret = `fsh_${randomBytes(32).toString('base64url')}`
  return { secret, sha256: hash('sha256', secret) }
}

export interface KeyFileOptions {
  readonly file: string
  readonly logger: Pick<Logger, 'info' | 'error'>
}

/** Between two looks whether the file has changed. */
const lookMs = 1_000

/** The keys of a file as they are now, about a second late. */
export class KeyFile implements KeySource {
  readonly #options: KeyFileOptions
  #keys: readonly ApiKey[]
  #version: string
  #timer: NodeJS.Timeout | undefined

  /** Throws `KEYS_UNREADABLE`. */
  constructor(options: KeyFileOptions) {
    this.#options = options
    this.#version = versionOf(options.file)
    this.#keys = readKeys(options.file)
  }

  /** Another list when they have changed. */
  get keys(): readonly ApiKey[] {
    return this.#keys
  }

  start(): void {
    this.#timer = setInterval(() => this.refresh(), lookMs).unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  /** Takes what has changed; what cannot be read changes nothing. */
  refresh(): void {
    const { file, logger } = this.#options
    const version = versionOf(file)
    if (version === this.#version) return
    this.#version = version
    try {
      this.#keys = readKeys(file)
      logger.info({ keys: this.#keys.length }, 'API keys have changed')
    } catch (err) {
      logger.error({ err }, 'API keys were changed to what cannot be read; those before hold')
    }
  }
}

/** A file that was put in its place has another inode; empty: there is none. */
function versionOf(file: string): string {
  const found = statSync(file, { throwIfNoEntry: false })
  return found === undefined ? '' : `${found.ino}-${found.size}-${found.mtimeMs}`
}
