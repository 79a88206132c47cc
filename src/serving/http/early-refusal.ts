/**
 * Turns requests away before the framework has seen them, while there is too much to do: a refusal
 * that costs as much as half an answer takes away what it should protect. What is urgent goes on.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

import type { FastifyInstance } from 'fastify'

import { ServiceError } from '../../base/errors.ts'
import { answerFor } from './error-answer.ts'
import type { LoadGuard, Overload } from './load-guard.ts'
import type { Metrics } from './metrics.ts'
import { WatchedConnection } from './unread-refusal.ts'

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
  readonly requestId: (request: Pick<IncomingMessage, 'headers'>) => string
}

/** In front of the server's one listener. */
export function refuseEarly(server: Server, parts: RefusalParts): void {
  const { load, metrics, urgent, requestId } = parts
  const listeners = server.listeners('request')
  const watched = new WeakMap<Socket, WatchedConnection>()
  const unread = { refusal: unreadRefusals(parts) }
  server.removeAllListeners('request')
  server.on('request', (request, response) => {
    const { socket } = request
    const reason = load.overload(0)
    if (reason === undefined || urgent.has(pathOf(request))) {
      watched.get(socket)?.began(request, response)
      for (const listener of listeners) Reflect.apply(listener, server, [request, response])
      return
    }
    const connection = watched.get(socket) ?? new WatchedConnection(socket, unread)
    watched.set(socket, connection)
    connection.began(request, response)
    metrics.countRefused('OVERLOADED')
    refuse(response, refusalBody(reason, requestId(request)))
  })
}

/** What is written to a connection in place of parsing a request. */
function unreadRefusals({ load, metrics, urgent, requestId }: RefusalParts) {
  return (path: string, given: string | undefined): string | undefined => {
    const reason = load.overload(0)
    if (reason === undefined || urgent.has(path)) return undefined
    metrics.countRefused('OVERLOADED')
    const id = requestId({ headers: given === undefined ? {} : { 'x-request-id': given } })
    const body = refusalBody(reason, id)
    return `${refusalHead}content-length: ${body.length}\r\n\r\n${body}`
  }
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

/** ASCII, as an id is. */
function refusalBody(reason: Overload, requestId: string): string {
  const [before, after] = bodyOf(reason)
  return before + requestId + after
}

const refusalHeaders = [
  ['content-type', 'application/json; charset=utf-8'],
  ['retry-after', '1'],
  ['cache-control', 'no-store'],
] as const

const refusalLines = refusalHeaders.map(([name, value]) => `${name}: ${value}\r\n`).join('')
const refusalHead = `HTTP/1.1 503 Service Unavailable\r\n${refusalLines}`

function refuse(response: ServerResponse, body: string): void {
  response.sendDate = false
  response.writeHead(503, [...refusalHeaders.flat(), 'content-length', String(body.length)])
  response.end(body, 'latin1')
}
