/** Jobs: what there is, what ran, and running one now. */
import type { FastifyInstance } from 'fastify'
import * as z from 'zod'

import { ServiceError } from '../../../base/errors.ts'
import type { JobRun } from '../../../jobs/scheduler.ts'
import { jsonSchema, none, numberText, type Part, part } from '../parts.ts'
import type { JobParts } from '../route-parts.ts'
import { addRoute } from '../route.ts'
import { time } from '../schemas.ts'

const plain = z.record(
  z.string().min(1).max(64),
  z.union([z.string().max(1024), z.number(), z.boolean()]),
)

export const run = z
  .object({
    id: z.string(),
    name: z.string(),
    payload: plain,
    state: z.enum(['running', 'done', 'failed']),
    progress: z.number().describe('0 to 1'),
    by: z.string().optional().describe('the process that has it, where there are several'),
    startedAt: time,
    finishedAt: time.optional(),
    result: z.record(z.string(), z.unknown()).optional(),
    error: z.string().optional(),
    code: z.string().optional().describe('of the error, where it has one'),
  })
  .describe('a run of a job')

const list = z
  .object({ names: z.array(z.string()), runs: z.array(run).describe('newest first') })
  .describe('what can be run, and what has been')

const wait = z
  .boolean()
  .default(true)
  .describe('answer when it has ended, or with 202 when that takes too long')

const key = z
  .string()
  .regex(/^[\w.-]{1,100}$/)
  .exactOptional()
  .describe('asked again with the same key, there is the run that was')

const rows = z.int().min(0)

/** Every field of `payload` is optional: what is absent is as the table's configuration says. */
const restrictRequest = z
  .strictObject({
    name: z.literal('restrict'),
    payload: z
      .strictObject({
        table: z.string().min(1).max(64).exactOptional().describe('absent: all that have a policy'),
        numReserved: rows.exactOptional().describe('rows that stay'),
        trigger: rows
          .exactOptional()
          .describe('nothing happens up to so many; default numReserved'),
        policy: z.enum(['frequency', 'timestamp', 'combined']).exactOptional(),
        dryRun: z.boolean().exactOptional().describe('say what would leave, change nothing'),
      })
      .exactOptional(),
    key,
    wait,
  })
  .describe('evict rows of tables, or tell which would go')

const runRequest = z.strictObject({
  name: z.string().min(1).max(64),
  payload: plain.exactOptional(),
  key,
  wait,
})

/** Parsed by its own schema, a request says what is wrong with it; the document has both. */
const runBody: Part<z.output<typeof runRequest>> = {
  parse: (value) => (isRestrict(value) ? restrictBody.parse(value) : otherBody.parse(value)),
  schema: jsonSchema(z.union([restrictRequest, runRequest]), 'input'),
}
const restrictBody = part('body', restrictRequest)
const otherBody = part('body', runRequest)

const isRestrict = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && 'name' in value && value.name === 'restrict'

/** A run that takes longer is answered 202, well before the request's own limit. */
const longestWaitMs = 5_000

export function addJobRoutes(app: FastifyInstance, { jobs, settings }: JobParts): void {
  const shared = { tag: 'admin', scope: 'admin' } as const
  addRoute(app, {
    ...shared,
    method: 'GET',
    url: '/v1/admin/jobs',
    summary: 'Jobs and their runs',
    path: none,
    query: part(
      'query',
      z.strictObject({ limit: numberText(z.int().min(1).max(1_000)).default(100) }),
    ),
    body: none,
    answers: { 200: list },
    handle: async ({ query }) => {
      const runs = await jobs.history()
      return { names: jobs.names(), runs: runs.slice(0, query.limit) }
    },
  })
  addRoute(app, {
    ...shared,
    method: 'GET',
    url: '/v1/admin/jobs/{run}',
    summary: 'One run',
    path: runPath,
    query: none,
    body: none,
    answers: { 200: run },
    handle: async ({ path }) => known(await jobs.find(path.run), path.run),
  })
  addRoute(app, {
    ...shared,
    method: 'POST',
    url: '/v1/admin/jobs/{run}/cancel',
    summary: 'Call a run off',
    path: runPath,
    query: none,
    body: none,
    answers: { 200: run },
    handle: async ({ path }) => known(await jobs.cancel(path.run), path.run),
  })
  addRoute(app, {
    ...shared,
    method: 'POST',
    url: '/v1/admin/jobs',
    summary: 'Run a job now',
    path: none,
    query: none,
    body: runBody,
    answers: { 200: run, 202: run },
    handle: async ({ body }, call) => {
      const waitMs = body.wait ? Math.min(longestWaitMs, settings.requestTimeoutMs / 2) : 0
      const { name, payload = {}, key: given } = body
      const begun = await jobs.begin(name, payload, given === undefined ? {} : { key: given })
      const ended = await within(begun.finished, waitMs)
      if (ended !== undefined) return ended
      call.status(202)
      return (await jobs.find(begun.id)) ?? begun.finished
    },
  })
}

const runPath = part('path', z.strictObject({ run: z.string().min(1).max(256) }))

function known(found: JobRun | undefined, name: string): JobRun {
  if (found === undefined) throw new ServiceError('JOB_RUN_UNKNOWN', { run: name })
  return found
}

/** The value, or undefined after `waitMs`. */
async function within<Value>(value: Promise<Value>, waitMs: number): Promise<Value | undefined> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), waitMs)
  })
  try {
    return await Promise.race([value, late])
  } finally {
    clearTimeout(timer)
  }
}
