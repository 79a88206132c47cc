/**
 * The client as the command line, the demo, the benchmarks and the crash test use it: every request
 * is made once, and what goes wrong is an error of this service's table.
 */
import { ServiceError } from '../base/errors.ts'
import { FreshetAdmin } from '../client/freshet-admin.ts'
import { FreshetClient, FreshetError } from '../client/freshet-client.ts'
import type { ClientOptions } from '../client/requests.ts'
import type { Accepted, Answer, Event, ItemFields, JobRequest, JobRun } from '../client/types.ts'
import { type Metrics, parseMetrics } from './scrape.ts'

export type { Accepted, Answer as Recommended, JobRequest, JobRun as RanJob }

const timeoutMs = 15_000
const readyLookMs = 20

export class ServiceClient {
  readonly address: string
  readonly #signal: AbortSignal | undefined
  readonly #client: FreshetClient
  readonly #admin: FreshetAdmin

  /**
   * Requests under way end when `signal` aborts. `key`: an API key, where the service wants one.
   */
  constructor(address: string, signal?: AbortSignal, key?: string) {
    const options: ClientOptions = {
      baseUrl: address,
      timeoutMs,
      retries: 0,
      ...(signal && { signal }),
      ...(key !== undefined && { apiKey: key }),
    }
    this.address = address
    this.#signal = signal
    this.#client = new FreshetClient(options)
    this.#admin = new FreshetAdmin(options)
  }

  /** Appends; resolves when durable. Throws `REQUEST_FAILED`, as all that follow. */
  sendEvents(events: readonly object[]): Promise<Accepted> {
    // What is no event is for the service to judge.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    return this.#asked('/v1/events', this.#client.sendEvents(events as readonly Event[]))
  }

  /** Creates or replaces; resolves when they can be recommended. */
  async sendItems(items: readonly object[]): Promise<void> {
    const path = '/v1/items'
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    const given = items as readonly (ItemFields & { readonly id: string })[]
    const { rejected } = await this.#asked(path, this.#client.putItems(given))
    if (rejected.length === 0) return
    throw new ServiceError('REQUEST_FAILED', { path, reason: JSON.stringify(rejected[0]) })
  }

  recommend(
    userId: string,
    { n, minSequence }: { readonly n: number; readonly minSequence?: string | undefined },
  ): Promise<Answer> {
    const request = { userId, n, ...(minSequence !== undefined && { minSequence }) }
    return this.#asked('/v1/recommendations', this.#client.recommend(request))
  }

  /** Resolves when the run has ended, well or not, or still goes on after some seconds. */
  runJob(name: string, payload: object = {}): Promise<JobRun> {
    return this.startJob({ name, payload })
  }

  startJob(request: JobRequest): Promise<JobRun> {
    return this.#asked('/v1/admin/jobs', this.#admin.startJob(request))
  }

  /** What can be run, and the newest runs. */
  jobs(limit: number): ReturnType<FreshetAdmin['jobs']> {
    return this.#asked('/v1/admin/jobs', this.#admin.jobs(limit))
  }

  /** A run as it stands. */
  job(run: string): Promise<JobRun> {
    return this.#asked('/v1/admin/jobs', this.#admin.job(run))
  }

  /** What an admin route answers. */
  admin(
    method: 'GET' | 'POST' | 'PATCH' | 'DELETE',
    path: string,
    body?: object,
  ): Promise<unknown> {
    return this.#asked(`/v1/admin/${path}`, this.#admin.ask<unknown>(method, path, body))
  }

  async metrics(): Promise<Metrics> {
    return parseMetrics(await this.#asked('/metrics', this.#admin.metrics()))
  }

  /** True when everything is caught up. */
  isReady(): Promise<boolean> {
    return this.#asked('/health/ready', this.#admin.isReady())
  }

  /** Resolves when ready, within `limitMs`. */
  async waitUntilReady(limitMs: number): Promise<void> {
    const giveUp = AbortSignal.timeout(limitMs)
    while (!(await this.isReady().catch(() => false))) {
      if (giveUp.aborted || this.#signal?.aborted === true) {
        const reason = `not ready within ${limitMs} ms`
        throw new ServiceError('REQUEST_FAILED', { path: '/health/ready', reason })
      }
      await new Promise((resolve) => setTimeout(resolve, readyLookMs))
    }
  }

  async #asked<Found>(path: string, answer: Promise<Found>): Promise<Found> {
    try {
      return await answer
    } catch (cause) {
      this.#signal?.throwIfAborted()
      if (!(cause instanceof FreshetError)) throw cause
      const { status, code, message } = cause
      const reason = status === 0 ? `${this.address}: ${message}` : `${status} ${code}: ${message}`
      throw new ServiceError('REQUEST_FAILED', { path, reason }, { cause })
    }
  }
}
