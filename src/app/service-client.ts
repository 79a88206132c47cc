/**
 * A client of the service's own HTTP interface: the demo, the benchmarks and the crash test use
 * it.
 */
import * as z from 'zod'

import { ServiceError } from '../base/errors.ts'
import { type Metrics, parseMetrics } from './scrape.ts'

const accepted = z.object({
  accepted: z.int(),
  rejected: z.array(z.object({ index: z.int(), code: z.string(), message: z.string() })),
  offset: z.union([z.string(), z.null()]).optional(),
})
export type Accepted = z.infer<typeof accepted>

const recommended = z.object({
  items: z.array(
    z.object({
      id: z.string(),
      score: z.number(),
      attributes: z.record(z.string(), z.unknown()).optional(),
    }),
  ),
  fallback: z.string().optional(),
  model: z.object({ version: z.number(), sequence: z.number() }),
})
export type Recommended = z.infer<typeof recommended>

const ranJob = z.object({
  id: z.string(),
  name: z.string(),
  payload: z.record(z.string(), z.unknown()),
  state: z.enum(['running', 'done', 'failed']),
  progress: z.number(),
  by: z.string().optional(),
  startedAt: z.number(),
  finishedAt: z.number().optional(),
  result: z.record(z.string(), z.unknown()).optional(),
  error: z.string().optional(),
  code: z.string().optional(),
})
export type RanJob = z.infer<typeof ranJob>

const listedJobs = z.object({ names: z.array(z.string()), runs: z.array(ranJob) })
type ListedJobs = z.infer<typeof listedJobs>

export interface JobRequest {
  readonly name: string
  readonly payload?: object
  /** Asked again with the same one, there is the run that was. */
  readonly key?: string
  /** Whether to be answered when it has ended, if that takes no more than some seconds. */
  readonly wait?: boolean
}

const timeoutMs = 15_000

export class ServiceClient {
  readonly address: string
  readonly #signal: AbortSignal | undefined
  readonly #key: string | undefined

  /**
   * Requests under way end when `signal` aborts. `key`: an API key, where the service wants one.
   */
  constructor(address: string, signal?: AbortSignal, key?: string) {
    this.address = address
    this.#signal = signal
    this.#key = key
  }

  /** Appends; resolves when durable. Throws `REQUEST_FAILED`. */
  async sendEvents(events: readonly object[]): Promise<Accepted> {
    return accepted.parse(await this.#json('POST', '/v1/events', events))
  }

  /** Creates or replaces; resolves when they can be recommended. Throws `REQUEST_FAILED`. */
  async sendItems(items: readonly object[]): Promise<void> {
    const path = '/v1/items'
    const { rejected } = accepted.parse(await this.#json('POST', path, items))
    if (rejected.length === 0) return
    throw new ServiceError('REQUEST_FAILED', { path, reason: JSON.stringify(rejected[0]) })
  }

  async recommend(
    userId: string,
    query: { readonly n: number; readonly minSequence?: string | undefined },
  ): Promise<Recommended> {
    const parameters = new URLSearchParams({ n: String(query.n) })
    if (query.minSequence !== undefined) parameters.set('minSequence', query.minSequence)
    const path = `/v1/recommendations/${encodeURIComponent(userId)}?${parameters.toString()}`
    return recommended.parse(await this.#json('GET', path))
  }

  /** Resolves when the run has ended, well or not, or still goes on after some seconds. */
  runJob(name: string, payload: object = {}): Promise<RanJob> {
    return this.startJob({ name, payload })
  }

  async startJob(request: JobRequest): Promise<RanJob> {
    return ranJob.parse(await this.#json('POST', '/v1/admin/jobs', request))
  }

  /** What can be run, and the newest runs. */
  async jobs(limit: number): Promise<ListedJobs> {
    return listedJobs.parse(await this.#json('GET', `/v1/admin/jobs?limit=${limit}`))
  }

  /** A run as it stands. */
  async job(run: string): Promise<RanJob> {
    return ranJob.parse(await this.#json('GET', `/v1/admin/jobs/${encodeURIComponent(run)}`))
  }

  /** What an admin route answers. Throws `REQUEST_FAILED`. */
  admin(
    method: 'GET' | 'POST' | 'PATCH' | 'DELETE',
    path: string,
    body?: object,
  ): Promise<unknown> {
    return this.#json(method, `/v1/admin/${path}`, body)
  }

  async metrics(): Promise<Metrics> {
    const response = await this.#fetch('GET', '/metrics')
    return parseMetrics(await response.text())
  }

  /** True when everything is caught up. */
  async isReady(): Promise<boolean> {
    const response = await this.#fetch('GET', '/health/ready')
    await response.arrayBuffer()
    return response.ok
  }

  /** Resolves when ready. Throws `REQUEST_FAILED` after `limitMs`. */
  async waitUntilReady(limitMs: number): Promise<void> {
    const giveUp = AbortSignal.timeout(limitMs)
    while (!(await this.isReady().catch(() => false))) {
      if (giveUp.aborted || this.#signal?.aborted === true) {
        const reason = `not ready within ${limitMs} ms`
        throw new ServiceError('REQUEST_FAILED', { path: '/health/ready', reason })
      }
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  async #json(method: string, path: string, body?: unknown): Promise<unknown> {
    const response = await this.#fetch(method, path, body)
    const text = await response.text()
    if (!response.ok) {
      const reason = `${response.status} ${text.slice(0, 300)}`
      throw new ServiceError('REQUEST_FAILED', { path, reason })
    }
    return JSON.parse(text) as unknown
  }

  async #fetch(method: string, path: string, body?: unknown): Promise<Response> {
    const limits = [AbortSignal.timeout(timeoutMs), this.#signal].filter((s) => s !== undefined)
    const answer = fetch(`${this.address}${path}`, {
      method,
      signal: AbortSignal.any(limits),
      headers: {
        ...(this.#key !== undefined && { authorization: `Bearer ${this.#key}` }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
    return answer.catch((error: unknown) => {
      throw error instanceof TypeError ? unreachable(this.address, path, error) : error
    })
  }
}

/** Nobody listens there, or it is no address. */
function unreachable(address: string, path: string, error: TypeError): ServiceError {
  const { cause } = error
  const reason = `${address}: ${cause instanceof Error ? cause.message : error.message}`
  return new ServiceError('REQUEST_FAILED', { path, reason }, { cause: error })
}
