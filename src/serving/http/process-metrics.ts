/** The process itself: processor time, memory, and how free the event loop is. */
import { performance } from 'node:perf_hooks'

import { Counter, Gauge } from 'prom-client'
import type { Registry } from 'prom-client'

/** What the server knows of its load. */
export interface LoadView {
  /** Under way. */
  readonly requests: number
  /** That may be under way. */
  readonly limit: number
  /** How late timers are, averaged. */
  readonly delayMs: number
  /** The latest since it was last asked. */
  takeLongestDelayMs(): number
}

export function addProcessMetrics(registry: Registry): void {
  const registers = [registry]
  let spent = 0
  const cpu = new Counter({
    name: 'freshet_process_cpu_seconds_total',
    help: 'Processor time of all threads',
    registers,
    collect: () => {
      const { user, system } = process.cpuUsage()
      const seconds = (user + system) / 1e6
      cpu.inc(Math.max(0, seconds - spent))
      spent = seconds
    },
  })
  const memory = new Gauge({
    name: 'freshet_process_memory_bytes',
    help: 'resident: everything; heap: JavaScript objects in use; buffers: array buffers',
    labelNames: ['of'],
    registers,
    collect: () => {
      const { rss, heapUsed, arrayBuffers } = process.memoryUsage()
      memory.set({ of: 'resident' }, rss)
      memory.set({ of: 'heap' }, heapUsed)
      memory.set({ of: 'buffers' }, arrayBuffers)
    },
  })
  const uptime = new Gauge({
    name: 'freshet_process_uptime_seconds',
    help: 'Since the process started',
    registers,
    collect: (): void => {
      uptime.set(process.uptime())
    },
  })
  let last = performance.eventLoopUtilization()
  const utilization = new Gauge({
    name: 'freshet_eventloop_utilization_ratio',
    help: 'Share of the time since the last scrape in which the main thread was busy',
    registers,
    collect: () => {
      const now = performance.eventLoopUtilization()
      utilization.set(performance.eventLoopUtilization(now, last).utilization)
      last = now
    },
  })
}

export function addLoadMetrics(registry: Registry, view: LoadView): void {
  const requests = new Gauge({
    name: 'freshet_http_in_flight_requests',
    help: 'Requests under way',
    registers: [registry],
    collect: (): void => {
      requests.set(view.requests)
    },
  })
  const limit = new Gauge({
    name: 'freshet_http_limit_requests',
    help: 'Requests that may be under way: falls while the event loop is late',
    registers: [registry],
    collect: (): void => {
      limit.set(view.limit)
    },
  })
  const delay = new Gauge({
    name: 'freshet_eventloop_delay_seconds',
    help: 'How late timers are: averaged, and the latest since the last scrape',
    labelNames: ['of'],
    registers: [registry],
    collect: () => {
      delay.set({ of: 'average' }, view.delayMs / 1_000)
      delay.set({ of: 'longest' }, view.takeLongestDelayMs() / 1_000)
    },
  })
}
