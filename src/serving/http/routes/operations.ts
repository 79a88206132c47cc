/** What orchestrators, scrapers and tools ask: health, metrics, the API's description. */
import type { FastifyInstance } from 'fastify'
import * as z from 'zod'

import type { MetricsSnapshot } from '../metrics-snapshot.ts'
import { none } from '../parts.ts'
import type { AppParts } from '../route-parts.ts'
import { addRoute } from '../route.ts'
import { time } from '../schemas.ts'

const alive = z.object({ status: z.literal('live') }).describe('the process answers')

const readiness = z
  .object({
    ready: z.boolean(),
    missing: z.array(z.string()).describe('names of the checks that fail'),
    checks: z.array(
      z.object({ name: z.string(), ready: z.boolean(), detail: z.string().optional() }),
    ),
  })
  .describe('whether traffic should come here')

export function addOperationRoutes(app: FastifyInstance, parts: AppParts): void {
  const open = {
    method: 'GET',
    tag: 'operations',
    scope: undefined,
    path: none,
    query: none,
    body: none,
  } as const
  addRoute(app, {
    ...open,
    url: '/health/live',
    summary: 'Whether the process runs',
    answers: { 200: alive },
    handle: () => ({ status: 'live' }),
  })
  addRoute(app, {
    ...open,
    url: '/health/ready',
    summary: 'Whether the service is ready, and if not, what is missing',
    answers: { 200: readiness, 503: readiness },
    handle: (_, call) => {
      const report = readinessOf(parts)
      if (!report.ready) call.status(503)
      return report
    },
  })
  addMetrics(app, parts)
  addStatus(app, parts)
  addDocument(app)
}

const status = z
  .object({ at: time })
  .catchall(z.unknown())
  .describe('trainer, tables, evaluation, freshness, index, ... as far as the process has them')

function addStatus(app: FastifyInstance, { dependencies, settings }: AppParts): void {
  const { metrics, clock } = dependencies
  addRoute(app, {
    method: 'GET',
    url: '/v1/status',
    summary: 'What the dashboard shows: the state of the process, now',
    tag: 'operations',
    scope: 'read',
    path: none,
    query: none,
    body: none,
    answers: { 200: status },
    handle: () => ({
      at: clock.now(),
      version: settings.version,
      ...statusOf(metrics.snapshot()),
    }),
  })
}

/** Histograms as plain data: durations in milliseconds. */
function statusOf({ freshness, ...rest }: MetricsSnapshot): object {
  if (freshness === undefined) return rest
  const stages = Object.entries(freshness).map(([stage, { bounds, counts }]) => [
    stage,
    { bounds: Array.from(bounds), counts: Array.from(counts) },
  ])
  return { ...rest, freshness: Object.fromEntries(stages) }
}

function readinessOf({ dependencies, gate }: AppParts): z.output<typeof readiness> {
  const stopping = { name: 'stopping', ready: false, detail: 'the service is being stopped' }
  const checks = [...dependencies.health.checks(), ...(gate.draining ? [stopping] : [])]
  const missing = checks.filter((check) => !check.ready).map((check) => check.name)
  return { ready: missing.length === 0, missing, checks }
}

function addMetrics(app: FastifyInstance, { dependencies, load }: AppParts): void {
  const { metrics } = dependencies
  metrics.watch(load)
  addRoute(app, {
    method: 'GET',
    url: '/metrics',
    summary: 'Metrics in the text format of Prometheus',
    tag: 'operations',
    scope: 'read',
    urgent: true,
    path: none,
    query: none,
    body: none,
    answers: undefined,
    handle: async (_, call) => {
      call.type(metrics.contentType)
      return metrics.text()
    },
  })
}

function addDocument(app: FastifyInstance): void {
  let document: string | undefined
  addRoute(app, {
    method: 'GET',
    url: '/openapi.json',
    summary: 'This document',
    tag: 'operations',
    scope: undefined,
    path: none,
    query: none,
    body: none,
    answers: undefined,
    handle: (_, call) => {
      call.type('application/json; charset=utf-8')
      document ??= JSON.stringify(app.swagger())
      return document
    },
  })
}
