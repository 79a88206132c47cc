/**
 * One way to declare a route: what it takes, what it answers, who may call it. From the
 * declaration come the parsing, the precompiled serializer of the answer, the authorisation and
 * the entry in the OpenAPI document.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import * as z from 'zod'

import { ServiceError } from '../../base/errors.ts'
import { eventSchema } from '../../stream/event-schema.ts'
import { errorAnswer } from './error-answer.ts'
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
): (request: FastifyRequest, reply: FastifyReply) => unknown {
  const status = Number(Object.keys(route.answers ?? { 200: true })[0])
  return (request, reply) => {
    const inputs = {
      path: route.path.parse(request.params),
      query: route.query.parse(request.query),
      body: route.body.parse(request.body),
    }
    void reply.code(status)
    const answer = route.handle(inputs, callOf(request, reply))
    // A promise is awaited by the framework, a value is sent at once.
    return answer instanceof Promise ? within(answer, limitMs) : reply.send(answer)
  }
}

/**
 * Rejects with `OVERLOADED` when the answer takes longer. (The framework's own limit on handlers
 * ends with the request's body, so it does not hold for what has one.)
 */
function within(answer: Promise<unknown>, limitMs: number): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const late = (): void => reject(new ServiceError('OVERLOADED', { reason: 'no answer in time' }))
    const timer = setTimeout(late, limitMs)
    answer.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}

const callOf = (request: FastifyRequest, reply: FastifyReply): Call => ({
  requestId: request.id,
  idempotencyKey: keyHeader.parse(request.headers)['idempotency-key'],
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
