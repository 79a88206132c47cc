/**
 * How long requests took, by route, method and status. Counted in place and shown when asked for:
 * the client library finds the counters of three labels anew for each request, which cost as much
 * as finding its route.
 */
import { DurationHistogram } from '../histogram.ts'
import type { HistogramFamily } from './exposition.ts'

export interface AnsweredRequest {
  /** The pattern, never the path: ids must not become labels. */
  readonly route: string
  readonly method: string
  readonly status: number
  readonly seconds: number
}

/** Milliseconds: as few as a series for each is worth. */
const bounds = [0.5, 1, 2, 5, 10, 20, 50, 100, 250, 500, 1_000, 2_500, 10_000]

interface Times {
  readonly labels: readonly string[]
  readonly histogram: DurationHistogram
}

export class RequestTimes {
  readonly #times = new Map<string, Times>()

  add({ route, method, status, seconds }: AnsweredRequest): void {
    const name = `${status} ${method} ${route}`
    let times = this.#times.get(name)
    if (times === undefined) {
      times = {
        labels: [route, method, String(status)],
        histogram: new DurationHistogram(bounds),
      }
      this.#times.set(name, times)
    }
    times.histogram.add(1_000 * seconds)
  }

  get family(): HistogramFamily {
    return {
      name: 'freshet_http_request_duration_seconds',
      help: 'From the request line to the end of the answer',
      labelNames: ['route', 'method', 'status'],
      scale: 1e-3,
      series: [...this.#times.values()].map(({ labels, histogram }) => [labels, histogram]),
    }
  }
}
