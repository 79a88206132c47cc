/**
 * Turns requests away before the framework has seen them, while there is too much to do: a refusal
 * that costs as much as half an answer takes away what it should protect. What is urgent goes on.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http'

import type { FastifyInstance } from 'fastify'

import { ServiceError } from '../../base/errors.ts'
import { answerFor } from './error-answer.ts'
import type { LoadGuard, Overload } from './load-guard.ts'
import type { Metrics } from './metrics.ts'

/** Paths of routes that are answered however much there is to do; call it before they are added. */
export function rememberUrgent(app: FastifyInstance): ReadonlySet<string> {
  const paths = new Set<string>()
  app.addHook('onRoute', ({ url, config }) => {
    if (config?.urgent === true) paths.add(url)
  })
  return paths
}

interface RefusalParts {
  readonly load: LoadGuard
  readonly metrics: Metrics
  readonly urgent: ReadonlySet<string>
  readonly requestId: (request: IncomingMessage) => string
}

/** In front of the server's one listener. */
export function refuseEarly(server: Server, parts: RefusalParts): void {
  const { load, metrics, urgent, requestId } = parts
  const listeners = server.listeners('request')
  server.removeAllListeners('request')
  server.on('request', (request, response) => {
    const reason = load.overload(0)
    if (reason === undefined || urgent.has(pathOf(request))) {
      for (const listener of listeners) Reflect.apply(listener, server, [request, response])
      return
    }
    metrics.countRefused('OVERLOADED')
    refuse(response, { reason, requestId: requestId(request) })
  })
}

const pathOf = ({ url = '' }: IncomingMessage): string => {
  const query = url.indexOf('?')
  return query < 0 ? url : url.slice(0, query)
}

/** By reason, made once: making an error looks at the stack. */
const bodies = new Map<Overload, readonly [before: string, after: string]>()
const place = '\u0001'

function bodyOf(reason: Overload): readonly [before: string, after: string] {
  const known = bodies.get(reason)
  if (known !== undefined) return known
  const text = JSON.stringify(answerFor(new ServiceError('OVERLOADED', { reason }), place))
  const [before = '', after = ''] = text.split(JSON.stringify(place).slice(1, -1))
  bodies.set(reason, [before, after])
  return [before, after]
}

function refuse(
  response: ServerResponse,
  { reason, requestId }: { readonly reason: Overload; readonly requestId: string },
): void {
  const [before, after] = bodyOf(reason)
  const body = before + requestId + after
  response.sendDate = false
  response.writeHead(503, [
    'content-type',
    'application/json; charset=utf-8',
    // An id is ASCII, and so is the text.
    'content-length',
    String(body.length),
    'retry-after',
    '1',
    'cache-control',
    'no-store',
  ])
  response.end(body, 'latin1')
}
