/**
 * How long requests took, by route, method and status. Counted in place and shown when asked for:
 * the client library finds the counters of three labels anew for each request, which cost as much
 * as finding its route.
 */
import type { HistogramFamily, HistogramView } from './exposition.ts'

export interface AnsweredRequest {
  /** The pattern, never the path: ids must not become labels. */
  readonly route: string
  readonly method: string
  readonly status: number
  readonly seconds: number
}

/** Seconds. */
const bounds = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10]

interface Times extends HistogramView {
  readonly labels: readonly string[]
  readonly counts: Float64Array
  sum: number
  count: number
}

export class RequestTimes {
  readonly #times = new Map<string, Times>()

  add({ route, method, status, seconds }: AnsweredRequest): void {
    const name = `${status} ${method} ${route}`
    let times = this.#times.get(name)
    if (times === undefined) {
      const counts = new Float64Array(bounds.length + 1)
      times = { labels: [route, method, String(status)], bounds, counts, sum: 0, count: 0 }
      this.#times.set(name, times)
    }
    let place = 0
    while (place < bounds.length && seconds > bounds[place]) place += 1
    times.counts[place] += 1
    times.sum += seconds
    times.count += 1
  }

  get family(): HistogramFamily {
    return {
      name: 'freshet_http_request_duration_seconds',
      help: 'From the request line to the end of the answer',
      labelNames: ['route', 'method', 'status'],
      scale: 1,
      series: [...this.#times.values()].map((times) => [times.labels, times]),
    }
  }
}
