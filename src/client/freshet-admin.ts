/**
 * What operators ask, with a key of the scope `admin` (readiness without one, metrics with `read`):
 * jobs, and whatever else stands under `/v1/admin`.
 */
import { type ClientOptions, FreshetError, type Request, Requests } from './requests.ts'
import type { Checkpoint, JobRequest, JobRun, Readiness } from './types.ts'

export class FreshetAdmin {
  readonly #requests: Requests

  constructor(options: ClientOptions) {
    this.#requests = new Requests(options)
  }

  /** What can be run, and the newest runs. */
  jobs(
    limit = 100,
  ): Promise<{ readonly names: readonly string[]; readonly runs: readonly JobRun[] }> {
    return this.ask('GET', `jobs?limit=${limit}`)
  }

  /**
   * Resolves when the run has ended, well or not, or still goes on after some seconds. Not
   * repeated without a `key`, by which a run is begun once.
   */
  startJob(request: JobRequest): Promise<JobRun> {
    const path = '/v1/admin/jobs'
    const isOnce = request.key === undefined
    return this.#requests.json({ method: 'POST', path, body: request, isOnce })
  }

  /** A run as it stands. */
  job(run: string): Promise<JobRun> {
    return this.ask('GET', `jobs/${encodeURIComponent(run)}`)
  }

  /** The run as it is then; called off, it fails with `JOB_CANCELLED`. */
  cancelJob(run: string): Promise<JobRun> {
    return this.ask('POST', `jobs/${encodeURIComponent(run)}/cancel`)
  }

  /** Those that are kept, the newest first; the job `rollBack` goes back to one. */
  async checkpoints(): Promise<readonly Checkpoint[]> {
    return (await this.ask<{ checkpoints: Checkpoint[] }>('GET', 'checkpoints')).checkpoints
  }

  /** Any other route: `ask('GET', 'tables')` is `GET /v1/admin/tables`. */
  ask<Answer>(method: Request['method'], path: string, body?: object): Promise<Answer> {
    const request = { method, path: `/v1/admin/${path}`, isOnce: method !== 'GET' }
    return this.#requests.json(body === undefined ? request : { ...request, body })
  }

  /** In the text format of Prometheus. */
  metrics(): Promise<string> {
    return this.#requests.text({ method: 'GET', path: '/metrics' })
  }

  /** Whether everything is caught up, and what is missing. Rejects where there is no answer. */
  readiness(): Promise<Readiness> {
    const path = '/health/ready'
    return this.#requests.json({ method: 'GET', path, isOnce: true, accepts: 503 })
  }

  /** The same in a word; a service that refuses requests is not. */
  async isReady(): Promise<boolean> {
    try {
      return (await this.readiness()).ready
    } catch (error) {
      if (error instanceof FreshetError && error.status === 503) return false
      throw error
    }
  }
}
