/**
 * Where events go: into a running service, or the log of one that is stopped. Both keep a receipt
 * for each file, so that one that was taken is not taken again, and one broken off goes on.
 */
import * as z from 'zod'

import { ServiceError } from '../../base/errors.ts'
import { FreshetError, Requests } from '../../client/requests.ts'
import { ImportReceipts, type Receipt } from '../../serving/http/import-receipts.ts'
import { FileLog } from '../../stream/files/file-log.ts'
import type { Config } from '../config/config-schema.ts'
import { makeDirectory } from '../make-directory.ts'
import { dataPaths } from '../options.ts'
import type { Made } from './plan.ts'

export interface ImportTarget extends AsyncDisposable {
  /** For a person. */
  readonly name: string
  /** undefined: nothing of it was taken, or nothing is known of it. */
  receipt(id: string): Promise<Receipt | undefined>
  /** Resolves when durable: those that the service has refused, by place. */
  send(events: readonly Made[]): Promise<readonly Refusal[]>
  keep(receipt: Receipt): Promise<void>
}

export interface Refusal {
  readonly index: number
  readonly path: string
  readonly message: string
}

const accepted = z.object({
  rejected: z.array(z.object({ index: z.int(), path: z.string(), message: z.string() })),
})
const receipt = z.object({
  id: z.string(),
  name: z.string(),
  rows: z.int(),
  events: z.int(),
  done: z.boolean(),
  at: z.number(),
})

const timeoutMs = 30_000
/** A service that has answered may be started again meanwhile. */
const retries = 12
/** Of the first question: where nothing listens, that is said at once. */
const firstRetries = 2

export class ServiceTarget implements ImportTarget {
  readonly name: string
  readonly #requests: Requests
  readonly #first: Requests
  /** Some processes keep no receipts: those of many around a topic. */
  #keepsReceipts = true

  constructor(address: string, { apiKey, signal }: { apiKey?: string; signal: AbortSignal }) {
    this.name = address
    const key = apiKey === undefined ? {} : { apiKey }
    const options = { baseUrl: address, timeoutMs, signal, ...key }
    this.#requests = new Requests({ ...options, retries })
    this.#first = new Requests({ ...options, retries: firstRetries })
  }

  get keepsReceipts(): boolean {
    return this.#keepsReceipts
  }

  async receipt(id: string): Promise<Receipt | undefined> {
    try {
      return receipt.parse(await this.#first.json<unknown>({ method: 'GET', path: pathOf(id) }))
    } catch (error) {
      if (codeOf(error) === 'ROUTE_UNKNOWN') this.#keepsReceipts = false
      else if (codeOf(error) !== 'IMPORT_UNKNOWN') throw this.#asServiceError(error)
      return undefined
    }
  }

  async send(events: readonly Made[]): Promise<readonly Refusal[]> {
    try {
      const body = events.map(({ wire }) => wire)
      return accepted.parse(await this.#json('POST', '/v1/events', body)).rejected
    } catch (error) {
      throw this.#asServiceError(error)
    }
  }

  async keep({ id, ...rest }: Receipt): Promise<void> {
    if (!this.#keepsReceipts) return
    try {
      await this.#json('PUT', pathOf(id), rest)
    } catch (error) {
      throw this.#asServiceError(error)
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve()
  }

  #json(method: 'PUT' | 'POST', path: string, body: unknown): Promise<unknown> {
    return this.#requests.json({ method, path, body })
  }

  #asServiceError(error: unknown): unknown {
    if (!(error instanceof FreshetError)) return error
    const { status, code, message } = error
    const reason = status === 0 ? `${this.name}: ${message}` : `${code}: ${message}`
    return new ServiceError('REQUEST_FAILED', { path: 'import', reason }, { cause: error })
  }
}

const pathOf = (id: string): string => `/v1/imports/${encodeURIComponent(id)}`

const codeOf = (error: unknown): string | undefined =>
  error instanceof FreshetError ? error.code : undefined

export class DirectoryTarget implements ImportTarget {
  readonly name: string
  readonly #log: FileLog
  readonly #receipts: ImportReceipts

  private constructor(name: string, log: FileLog, receipts: ImportReceipts) {
    this.name = name
    this.#log = log
    this.#receipts = receipts
  }

  /** Throws `LOG_LOCKED` while a service runs on it, and others of the log. */
  static async open({ process: { dataDirectory, log } }: Config): Promise<DirectoryTarget> {
    makeDirectory(dataDirectory)
    const paths = dataPaths(dataDirectory)
    const { fsync, fsyncIntervalMs, segmentBytes } = log
    const options = { fsync, fsyncIntervalMs, segmentBytes }
    const opened = await FileLog.open({ directory: paths.log, ...options })
    return new DirectoryTarget(dataDirectory, opened, new ImportReceipts(paths.imports))
  }

  receipt(id: string): Promise<Receipt | undefined> {
    return this.#receipts.find(id)
  }

  async send(events: readonly Made[]): Promise<readonly Refusal[]> {
    await this.#log.append(events.map(({ event }) => event))
    return []
  }

  keep(given: Receipt): Promise<void> {
    return this.#receipts.keep(given)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#log.close()
  }
}
