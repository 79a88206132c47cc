/** POST /v1/events: one event, an array of them, or NDJSON read as a stream. */
import { Readable } from 'node:stream'

import type { FastifyInstance } from 'fastify'
import * as z from 'zod'

import { ServiceError } from '../../../base/errors.ts'
import { lines, parseJson } from '../body.ts'
import { asError, emptyTally, valueOrError } from '../ingest.ts'
import type { Ingest, Tally } from '../ingest.ts'
import { none } from '../parts.ts'
import type { Part } from '../parts.ts'
import type { WriteParts } from '../route-parts.ts'
import { addRoute } from '../route.ts'
import type { Call } from '../route.ts'
import type { HttpSettings } from '../settings.ts'

export const accepted = z
  .object({
    accepted: z.int().describe('events that are durable now'),
    rejected: z
      .array(
        z.object({
          index: z.int().describe('place in the request, from 0'),
          code: z.string(),
          path: z.string(),
          message: z.string(),
        }),
      )
      .describe('the others, each with its reason'),
    unlisted: z.int().optional().describe('rejected events beyond those that are listed'),
    offset: z
      .string()
      .optional()
      .describe(
        'of the last accepted event, in each partition of the log; pass it as minSequence to see ' +
          'their effect, wherever you ask',
      ),
  })
  .describe('what became of each event')

/** Lines that are parsed and appended together, about. */
const linesPerAppend = 1_000

export function addEventRoutes(app: FastifyInstance, { ingest, settings }: WriteParts): void {
  addRoute(app, {
    method: 'POST',
    url: '/v1/events',
    summary: 'Append events: one, an array, or NDJSON',
    tag: 'events',
    scope: 'write',
    path: none,
    query: none,
    body: eventsBody,
    ndjson: true,
    answers: { 202: accepted },
    handle: async ({ body }, call) => {
      if (body instanceof Readable) return acceptLines(body, call, { ingest, settings })
      if (Array.isArray(body)) return acceptArray(body, call, { ingest, settings })
      return acceptOne(body, call, ingest)
    },
  })
}

type Answer = Omit<Tally, 'received'>

interface Context {
  readonly ingest: Ingest
  readonly settings: HttpSettings
}

/** A single event that is no good is a request that is no good. */
async function acceptOne(value: unknown, call: Call, ingest: Ingest): Promise<Answer> {
  const tally = emptyTally()
  await ingest.accept([value], tally, call.idempotencyKey)
  if (tally.offset === undefined) throw asError(tally.rejected[0])
  return tally
}

async function acceptArray(
  values: readonly unknown[],
  call: Call,
  { ingest, settings }: Context,
): Promise<Answer> {
  if (values.length > settings.maxEventsPerRequest) {
    const reason = `${values.length} events, at most ${settings.maxEventsPerRequest} are taken`
    throw new ServiceError('REQUEST_INVALID', { path: 'body', reason })
  }
  const tally = emptyTally()
  await ingest.accept(values, tally, call.idempotencyKey)
  return tally
}

/**
 * Appends as it reads, so the request may be larger than what is held in memory. If it breaks off,
 * the error says how many events stand; with event ids, or an idempotency key, repeating is safe.
 */
async function acceptLines(stream: Readable, call: Call, context: Context): Promise<Answer> {
  const { ingest, settings } = context
  const limits = { bodyBytes: settings.ndjsonLimitBytes, lineBytes: settings.bodyLimitBytes }
  const tally = emptyTally()
  const accept = async (pending: readonly Buffer[]): Promise<void> => {
    const values = pending.map((line) => valueOrError(() => parseJson(line)))
    await ingest.accept(values, tally, call.idempotencyKey)
  }
  try {
    let pending: Buffer[] = []
    for await (const complete of lines(stream, limits)) {
      pending.push(...complete)
      checkCount(tally.received + pending.length, settings)
      if (pending.length < linesPerAppend) continue
      await accept(pending)
      pending = []
    }
    await accept(pending)
  } catch (error) {
    if (!(error instanceof ServiceError) || tally.offset === undefined) throw error
    const { accepted: standing, offset } = tally
    const details = { ...error.details, accepted: standing, offset }
    throw new ServiceError(error.code, details, { cause: error })
  }
  return tally
}

function checkCount(received: number, { maxEventsPerRequest }: HttpSettings): void {
  const limit = maxEventsPerRequest * 10
  if (received <= limit) return
  throw new ServiceError('REQUEST_INVALID', { path: 'body', reason: `more than ${limit} lines` })
}

const event = { $ref: 'Event#' }

/** Judged event by event, not as a whole. */
const eventsBody: Part<unknown> = {
  parse: (value) => {
    if (typeof value === 'object' && value !== null) return value
    const reason = 'an event, an array of events, or NDJSON is expected'
    throw new ServiceError('REQUEST_INVALID', { path: 'body', in: 'body', reason })
  },
  schema: {
    description: 'an event, or an array of them; without a kind it is an interaction',
    anyOf: [event, { type: 'array', items: event }],
  },
}
