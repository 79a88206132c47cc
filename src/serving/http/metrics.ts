/**
 * What Prometheus reads at /metrics. Names are `freshet_<subsystem>_<what>_<unit>`; counters, and
 * nothing else, end in `_total`. What the server does is counted here as it happens; what the
 * rest of the process counts is handed over as one plain snapshot per scrape.
 */
import { Counter, Histogram, Registry } from 'prom-client'

import type { JobRun } from '../../jobs/scheduler.ts'
import { type Family, familyText, histogramText, type Sample } from './exposition.ts'
import { familiesOf, histogramsOf } from './metrics-snapshot.ts'
import type { MetricsSnapshot } from './metrics-snapshot.ts'
import { addLoadMetrics, addProcessMetrics } from './process-metrics.ts'
import type { LoadView } from './process-metrics.ts'
import { type AnsweredRequest, RequestTimes } from './request-times.ts'

const jobBounds = [0.01, 0.05, 0.25, 1, 5, 15, 60, 300, 900]
const appendBounds = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1]

export class Metrics {
  readonly contentType: string
  readonly #registry = new Registry()
  #source: () => MetricsSnapshot = () => ({})

  // Counted apart: there are thousands of these a second.
  readonly #requests = new RequestTimes()
  /** By code. */
  readonly #refusals = new Map<string, number>()
  /** By fallback. */
  readonly #answered = new Map<string, number>()
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

  countRequest(request: AnsweredRequest): void {
    this.#requests.add(request)
  }

  countRefused(code: string): void {
    countOne(this.#refusals, code)
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
    countOne(this.#answered, fallback ?? 'none')
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
    const families = [...this.#families(), ...familiesOf(snapshot)].map(familyText)
    const histograms = [this.#requests.family, ...histogramsOf(snapshot)].map(histogramText)
    return [own, ...families, ...histograms].join('')
  }

  #families(): readonly Family[] {
    const kind = 'counter'
    return [
      {
        kind,
        name: 'freshet_http_refused_requests_total',
        help: 'Requests turned away before their handler, by error code',
        labelNames: ['code'],
        samples: samplesOf(this.#refusals),
      },
      {
        kind,
        name: 'freshet_recommendations_answered_total',
        help: 'Recommendations, by what stood in for the user: none, when the user is known',
        labelNames: ['fallback'],
        samples: samplesOf(this.#answered),
      },
    ]
  }
}

function countOne(counts: Map<string, number>, label: string): void {
  counts.set(label, (counts.get(label) ?? 0) + 1)
}

const samplesOf = (counts: ReadonlyMap<string, number>): readonly Sample[] =>
  [...counts].map(([label, count]) => [[label], count])
