/**
 * One way to declare a route: what it takes, what it answers, who may call it. From the
 * declaration come the parsing, the precompiled serializer of the answer, the authorisation and
 * the entry in the OpenAPI document.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import * as z from 'zod'

import { ServiceError } from '../../base/errors.ts'
import { eventSchema } from '../../stream/event-schema.ts'
import { errorAnswer, toServiceError } from './error-answer.ts'
import { jsonSchema, part } from './parts.ts'
import type { JsonSchema, Part } from './parts.ts'
import type { Scope } from './settings.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** How long a handler may take. */
    readonly handlerLimitMs: number
  }
  interface FastifyContextConfig {
    /** Absent: everybody may. */
    scope?: Scope
    urgent?: boolean
    ndjson?: boolean
  }
}

export type Method = 'GET' | 'PUT' | 'POST' | 'PATCH' | 'DELETE'

/** What a handler knows of the call beside its parsed parts. */
export interface Call {
  readonly requestId: string
  /** Of the header of that name, for writes that a client may repeat. */
  readonly idempotencyKey: string | undefined
  /** Sets another status than the declaration's first. */
  status(code: number): void
  /** Of the answer; JSON if not set. */
  type(mediaType: string): void
}

interface Inputs<Path, Query, Body> {
  readonly path: Path
  readonly query: Query
  readonly body: Body
}

export interface Route<Path, Query, Body> {
  readonly method: Method
  /** As OpenAPI has it: /v1/items/{id}. */
  readonly url: string
  readonly summary: string
  readonly tag: string
  /** undefined: open to all, and urgent. */
  readonly scope: Scope | undefined
  /** Never turned away for load or because the server stops. */
  readonly urgent?: boolean
  readonly path: Part<Path>
  readonly query: Part<Query>
  readonly body: Part<Body>
  /** Whether the body may also be NDJSON: then `body.parse` is given the stream. */
  readonly ndjson?: boolean
  /** By status, the usual one first; undefined: text, as the handler types it. */
  readonly answers: Readonly<Record<number, z.ZodType>> | undefined
  handle(inputs: Inputs<Path, Query, Body>, call: Call): unknown
}

const keyHeader = part(
  'header',
  z.object({
    'idempotency-key': z
      .string()
      .regex(/^[\x21-\x7e]{1,200}$/, 'not 1 to 200 visible ASCII characters')
      .optional(),
  }),
)

function idempotencyKeyOf({ headers }: FastifyRequest): string | undefined {
  if (headers['idempotency-key'] === undefined) return undefined
  return keyHeader.parse(headers)['idempotency-key']
}

/** Schemas that many routes refer to: each stands once in the document. */
export function addSharedSchemas(app: FastifyInstance): void {
  app.addSchema({ $id: 'Error', ...jsonSchema(errorAnswer, 'output') })
  app.addSchema({ $id: 'Event', ...jsonSchema(eventSchema, 'input') })
}

export function addRoute<Path, Query, Body>(
  app: FastifyInstance,
  route: Route<Path, Query, Body>,
): void {
  const { scope } = route
  app.route({
    method: route.method,
    url: route.url.replace(/\{(\w+)\}/g, ':$1'),
    schema: documentation(route),
    config: {
      ...(scope === undefined ? {} : { scope }),
      urgent: route.urgent === true || scope === undefined,
      ndjson: route.ndjson === true,
    },
    handler: handlerOf(route, app.handlerLimitMs),
  })
}

function handlerOf<Path, Query, Body>(
  route: Route<Path, Query, Body>,
  limitMs: number,
): (request: FastifyRequest, reply: FastifyReply) => void {
  const status = Number(Object.keys(route.answers ?? { 200: true })[0])
  const queryOf = remembered(route.query)
  return (request, reply) => {
    const inputs = {
      path: route.path.parse(request.params),
      query: queryOf(request),
      body: route.body.parse(request.body),
    }
    void reply.code(status)
    const answer = route.handle(inputs, callOf(request, reply))
    if (answer instanceof Promise) sendWithin(limitMs, answer, reply)
    else void reply.send(answer)
  }
}

/** Query strings that are remembered, and the longest of them. */
const rememberedQueries = 256
const longestRemembered = 64

/**
 * Parses a query; one that has come before, as most have (`?n=10`), is not looked at again. It is
 * only read.
 */
function remembered<Query>(query: Part<Query>): (request: FastifyRequest) => Query {
  if (query.schema === undefined) return ({ query: given }) => query.parse(given)
  const known = new Map<string, Query>()
  return (request) => {
    const { url } = request
    // The framework's router takes what follows a "#" for a query, too.
    const start = url.search(/[?#]/)
    const text = start < 0 ? '' : url.slice(start)
    const before = known.get(text)
    if (before !== undefined) return before
    const parsed = query.parse(request.query)
    if (text.length <= longestRemembered) {
      if (known.size === rememberedQueries) known.clear()
      known.set(text, Object.freeze(parsed))
    }
    return parsed
  }
}

/**
 * Sends the answer when it comes, or `OVERLOADED` when it takes longer. (The framework's own limit
 * on handlers ends with the request's body, so it does not hold for what has one; and a promise
 * that it is given costs it three more.)
 */
function sendWithin(limitMs: number, answer: Promise<unknown>, reply: FastifyReply): void {
  const send = (value: unknown): void => {
    clearTimeout(timer)
    if (!reply.sent) void reply.send(value)
  }
  const late = (): void => send(new ServiceError('OVERLOADED', { reason: 'no answer in time' }))
  const timer = setTimeout(late, limitMs)
  answer.then(send, (error: unknown) => send(toServiceError(error)))
}

const callOf = (request: FastifyRequest, reply: FastifyReply): Call => ({
  requestId: request.id,
  idempotencyKey: idempotencyKeyOf(request),
  status: (code) => void reply.code(code),
  type: (mediaType) => void reply.type(mediaType),
})

function documentation(route: Route<unknown, unknown, unknown>): object {
  const { summary, tag, path, query, body, answers, scope, ndjson } = route
  const successes = Object.entries(answers ?? {}).map(([status, schema]): [string, JsonSchema] => [
    status,
    { description: schema.description ?? summary, ...jsonSchema(schema, 'output') },
  ])
  return {
    summary,
    tags: [tag],
    ...(path.schema === undefined ? {} : { params: path.schema }),
    ...(query.schema === undefined ? {} : { querystring: query.schema }),
    ...(body.schema === undefined ? {} : { body: body.schema }),
    ...(ndjson === true ? { consumes: ['application/json', 'application/x-ndjson'] } : {}),
    ...(scope === undefined ? {} : { security: [{ apiKey: [scope] }] }),
    ...(answers === undefined
      ? {}
      : { response: { ...Object.fromEntries(successes), default: { $ref: 'Error#' } } }),
  }
}
