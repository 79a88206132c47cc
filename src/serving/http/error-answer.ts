/**
 * Every failure as the one error answer: `{error: {code, message, details, requestId}}`. What the
 * framework throws is put into our own table; anything else is `INTERNAL`, which tells the client
 * nothing and the log everything.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import * as z from 'zod'

import { ServiceError } from '../../base/errors.ts'
import type { FailureLog } from './failure-log.ts'

export const errorAnswer = z
  .object({
    error: z.object({
      code: z.string().describe('what a program branches on'),
      message: z.string().describe('for a person'),
      details: z.record(z.string(), z.union([z.string(), z.number()])),
      requestId: z.string(),
    }),
  })
  .describe('any failure')

/** Seconds after which a retry is worth it, unless the error says. */
const retryAfterSeconds = 1

/** What the framework's own errors mean here. */
const frameworkErrors: Record<string, (error: Error) => ServiceError> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: () => mediaType('this'),
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: (error) => malformed(error.message),
  FST_ERR_BAD_URL: () => malformed('the path is not percent-encoded UTF-8'),
  FST_ERR_MAX_PARAM_LENGTH: () =>
    new ServiceError('REQUEST_INVALID', { path: 'path', reason: 'an id is longer than 256 bytes' }),
}

export const mediaType = (type: string): ServiceError =>
  new ServiceError('MEDIA_TYPE_UNSUPPORTED', { type, expected: 'application/json' })

const malformed = (reason: string): ServiceError => new ServiceError('HTTP_MALFORMED', { reason })

export function toServiceError(error: unknown): ServiceError {
  if (error instanceof ServiceError) return error
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  const known = typeof code === 'string' ? frameworkErrors[code] : undefined
  if (known !== undefined && error instanceof Error) return known(error)
  return new ServiceError('INTERNAL', {}, { cause: error })
}

export interface Answer {
  readonly error: {
    readonly code: string
    readonly message: string
    readonly details: Readonly<Record<string, string | number>>
    readonly requestId: string
  }
}

export const answerFor = (error: ServiceError, requestId: string): Answer => ({
  error: { code: error.code, message: error.message, details: error.details, requestId },
})

/** Sends the answer, and tells the log. */
export function sendError(
  thrown: unknown,
  { request, reply, log }: { request: FastifyRequest; reply: FastifyReply; log: FailureLog },
): FastifyReply {
  const error = toServiceError(thrown)
  const { status } = error
  log.add(error, { requestId: request.id, route: request.routeOptions.url ?? 'unknown' })
  if (error.retryable) {
    const seconds = error.details['retryAfterSeconds'] ?? retryAfterSeconds
    void reply.header('retry-after', String(seconds))
  }
  if (status === 401) void reply.header('www-authenticate', 'Bearer realm="freshet"')
  if (status === 405) void reply.header('allow', String(error.details['allowed']))
  const answer = answerFor(error, request.id)
  return reply.code(status).type('application/json; charset=utf-8').send(answer)
}
