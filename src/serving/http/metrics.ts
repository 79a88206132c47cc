/**
 * What Prometheus reads at /metrics. Names are `freshet_<subsystem>_<what>_<unit>`; counters, and
 * nothing else, end in `_total`. What the server does is counted here as it happens; what the
 * rest of the process counts is handed over as one plain snapshot per scrape.
 */
import { Counter, Histogram, Registry } from 'prom-client'

import type { JobRun } from '../../jobs/scheduler.ts'
import { familyText, histogramText } from './exposition.ts'
import { familiesOf, histogramsOf } from './metrics-snapshot.ts'
import type { MetricsSnapshot } from './metrics-snapshot.ts'
import { addLoadMetrics, addProcessMetrics } from './process-metrics.ts'
import type { LoadView } from './process-metrics.ts'

export interface AnsweredRequest {
  /** The pattern, never the path: ids must not become labels. */
  readonly route: string
  readonly method: string
  readonly status: number
  readonly seconds: number
}

const requestBounds = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10]
const jobBounds = [0.01, 0.05, 0.25, 1, 5, 15, 60, 300, 900]
const appendBounds = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1]

export class Metrics {
  readonly contentType: string
  readonly #registry = new Registry()
  #source: () => MetricsSnapshot = () => ({})

  readonly #requests = new Histogram({
    name: 'freshet_http_request_duration_seconds',
    help: 'From the request line to the end of the answer',
    labelNames: ['route', 'method', 'status'],
    buckets: requestBounds,
    registers: [this.#registry],
  })
  /** By code. Counted apart: thousands a second are refused when there is too much to do. */
  readonly #refusals = new Map<string, number>()
  readonly #refused: Counter = new Counter({
    name: 'freshet_http_refused_requests_total',
    help: 'Requests turned away before their handler, by error code',
    labelNames: ['code'],
    registers: [this.#registry],
    collect: () => {
      this.#refused.reset()
      for (const [code, requests] of this.#refusals) this.#refused.inc({ code }, requests)
    },
  })
  readonly #accepted = new Counter({
    name: 'freshet_ingest_accepted_events_total',
    help: 'Events appended and durable',
    registers: [this.#registry],
  })
  readonly #rejected = new Counter({
    name: 'freshet_ingest_rejected_events_total',
    help: 'Events not appended, by error code',
    labelNames: ['code'],
    registers: [this.#registry],
  })
  readonly #append = new Histogram({
    name: 'freshet_log_append_duration_seconds',
    help: 'From append to durable, per append',
    buckets: appendBounds,
    registers: [this.#registry],
  })
  readonly #fsync = new Histogram({
    name: 'freshet_log_fsync_duration_seconds',
    help: 'Syncs of the log to disk',
    buckets: appendBounds,
    registers: [this.#registry],
  })
  readonly #answered = new Counter({
    name: 'freshet_recommendations_answered_total',
    help: 'Recommendations, by what stood in for the user: none, when the user is known',
    labelNames: ['fallback'],
    registers: [this.#registry],
  })
  readonly #jobs = new Counter({
    name: 'freshet_jobs_finished_total',
    help: 'Runs of jobs that ended',
    labelNames: ['job', 'state'],
    registers: [this.#registry],
  })
  readonly #jobSeconds = new Histogram({
    name: 'freshet_jobs_duration_seconds',
    help: 'How long runs of a job took',
    labelNames: ['job'],
    buckets: jobBounds,
    registers: [this.#registry],
  })

  constructor() {
    this.contentType = this.#registry.contentType
    addProcessMetrics(this.#registry)
  }

  /** Sets where the rest of the process is read from. */
  attach(source: () => MetricsSnapshot): void {
    this.#source = source
  }

  /** Called once, by the server that has the load. */
  watch(load: LoadView): void {
    addLoadMetrics(this.#registry, load)
  }

  countRequest({ route, method, status, seconds }: AnsweredRequest): void {
    this.#requests.observe({ route, method, status }, seconds)
  }

  countRefused(code: string): void {
    this.#refusals.set(code, (this.#refusals.get(code) ?? 0) + 1)
  }

  countAccepted(events: number): void {
    this.#accepted.inc(events)
  }

  countRejected(code: string): void {
    this.#rejected.inc({ code })
  }

  observeAppend(seconds: number): void {
    this.#append.observe(seconds)
  }

  /** Of the log's files; told by whoever opens them. */
  observeFsync(seconds: number): void {
    this.#fsync.observe(seconds)
  }

  countRecommendation(fallback: string | undefined): void {
    this.#answered.inc({ fallback: fallback ?? 'none' })
  }

  countJob({ name, state, startedAt, finishedAt }: JobRun): void {
    this.#jobs.inc({ job: name, state })
    this.#jobSeconds.observe({ job: name }, ((finishedAt ?? startedAt) - startedAt) / 1_000)
  }

  /** What the rest of the process tells of itself now. */
  snapshot(): MetricsSnapshot {
    return this.#source()
  }

  /** All of it, in Prometheus' text format. */
  async text(): Promise<string> {
    const snapshot = this.#source()
    const own = await this.#registry.metrics()
    const families = familiesOf(snapshot).map((family) => familyText(family))
    const histograms = histogramsOf(snapshot).map((family) => histogramText(family))
    return [own, ...families, ...histograms].join('')
  }
}
