/**
 * The fastify instance: hooks, parsers, error answers, and every route. It listens to nothing; that
 * is `server.ts`.
 */
import { randomBytes } from 'node:crypto'
import { STATUS_CODES } from 'node:http'
import type { IncomingMessage } from 'node:http'

import swagger from '@fastify/swagger'
import { fastify } from 'fastify'
import type { FastifyInstance, FastifyReply, FastifyRequest, FastifyServerFactory } from 'fastify'

import { ServiceError } from '../../base/errors.ts'
import { collect, parseJson } from './body.ts'
import { refuseEarly, rememberUrgent } from './early-refusal.ts'
import { answerFor, mediaType, sendError, toServiceError } from './error-answer.ts'
import { FailureLog } from './failure-log.ts'
import { announcedBytes } from './gate.ts'
import { Ingest } from './ingest.ts'
import type { AppParts, ReadParts, WriteParts } from './route-parts.ts'
import { addSharedSchemas } from './route.ts'
import { addAdminRoutes } from './routes/admin.ts'
import { addDashboard } from './routes/dashboard.ts'
import { addEmbeddingRoutes } from './routes/embeddings.ts'
import { addEventRoutes } from './routes/events.ts'
import { addImportRoutes } from './routes/imports.ts'
import { addItemReads, addItemWrites } from './routes/items.ts'
import { addJobRoutes } from './routes/jobs.ts'
import { addOperationRoutes } from './routes/operations.ts'
import { addPlainRoute } from './routes/plain.ts'
import { addRecommendationRoutes } from './routes/recommendations.ts'
import { addUserReads, addUserWrites } from './routes/users.ts'
import { addExperimentRoutes, addVersionRoutes } from './routes/versions.ts'
import type { HttpSettings } from './settings.ts'
import { TlsServer } from './tls.ts'

/** An id of 256 bytes, each of them percent-encoded. */
const longestParameter = 3 * 256

const largestHeaders = 16_384

const securityHeaders = {
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  'cache-control': 'no-store',
}

export async function createApp(parts: AppParts): Promise<FastifyInstance> {
  const { settings, dependencies } = parts
  const limits = connectionLimits(settings)
  const serverFactory = tlsFactory(parts, limits)
  const requestId = requestIds()
  const app = fastify({
    logger: false,
    bodyLimit: settings.bodyLimitBytes,
    requestTimeout: settings.requestTimeoutMs,
    connectionTimeout: 0,
    keepAliveTimeout: limits.keepAliveTimeout,
    genReqId: requestId,
    http: limits,
    ...(serverFactory && { serverFactory }),
    routerOptions: { maxParamLength: longestParameter },
    frameworkErrors: (error, request, reply) => sendFailure(error, request, reply),
    clientErrorHandler: brokenRequestAnswer(settings),
  })
  const failures = new FailureLog(dependencies.logger, dependencies.clock)
  const sendFailure = (error: unknown, request: FastifyRequest, reply: FastifyReply): void => {
    void sendError(error, {
      request,
      reply: reply.headers(securityHeaders),
      log: failures,
    })
  }
  // Inputs are parsed by their schemas where a route is handled: see `route.ts`.
  app.setValidatorCompiler(() => () => true)
  app.decorate('handlerLimitMs', settings.requestTimeoutMs)
  app.setErrorHandler((error, request, reply) => sendFailure(error, request, reply))
  addBodyParsers(app, settings)
  addHooks(app, parts)
  addSharedSchemas(app)
  await app.register(swagger, {
    openapi: documentHead(settings.version),
    refResolver: {
      buildLocalReference: ({ $id }, _, __, i) => (typeof $id === 'string' ? $id : `schema${i}`),
    },
  })
  const paths = rememberPaths(app)
  const urgent = rememberUrgent(app)
  addRoutes(app, parts)
  app.setNotFoundHandler((request) => {
    throw unknownRoute(request, paths)
  })
  await app.ready()
  app.server.maxConnections = settings.maxConnections
  const { metrics } = dependencies
  refuseEarly(app.server, { load: parts.load, metrics, urgent, requestId })
  return app
}

const connectionLimits = ({ requestTimeoutMs }: HttpSettings) => ({
  keepAliveTimeout: 72_000,
  maxHeaderSize: largestHeaders,
  // Node exchanges both where that of the headers is longer: bodies then had a minute.
  headersTimeout: requestTimeoutMs,
  requestTimeout: requestTimeoutMs,
  // How often Node looks for requests that are too slow; its own 30 s is too seldom.
  connectionsCheckingInterval: Math.max(50, Math.min(1_000, requestTimeoutMs / 4)),
})

function tlsFactory(
  { settings: { tls }, dependencies: { logger } }: AppParts,
  limits: ReturnType<typeof connectionLimits>,
): FastifyServerFactory | undefined {
  if (tls === undefined) return undefined
  const server = new TlsServer(tls, logger)
  return (listener) => server.create(limits, listener)
}

function addRoutes(app: FastifyInstance, parts: AppParts): void {
  const { settings, dependencies } = parts
  const { log, readers, jobs, administration, versions, experiment } = dependencies
  const visibility = readers?.visibility
  const ingest = log && new Ingest({ ...dependencies, log, visibility }, settings)
  // In a plugin of its own, so that the document's hook sees every route.
  void app.register((scope, _, done) => {
    if (ingest !== undefined) addWriteRoutes(scope, { ...parts, ingest })
    if (readers !== undefined) addReadRoutes(scope, { ...parts, readers, ingest })
    if (jobs !== undefined) addJobRoutes(scope, { ...parts, jobs })
    if (administration !== undefined) addAdminRoutes(scope, administration)
    if (versions !== undefined) addVersionRoutes(scope, versions)
    if (experiment !== undefined) addExperimentRoutes(scope, experiment)
    addOperationRoutes(scope, parts)
    done()
  })
}

function addWriteRoutes(app: FastifyInstance, parts: WriteParts): void {
  addEventRoutes(app, parts)
  addItemWrites(app, parts)
  addUserWrites(app, parts)
  const { imports } = parts.dependencies
  if (imports !== undefined) addImportRoutes(app, imports)
}

function addReadRoutes(app: FastifyInstance, parts: ReadParts): void {
  addItemReads(app, parts)
  addUserReads(app, parts)
  addRecommendationRoutes(app, parts)
  addEmbeddingRoutes(app, parts)
  addPlainRoute(app, parts)
  addDashboard(app)
}

function addBodyParsers(app: FastifyInstance, { bodyLimitBytes }: HttpSettings): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', async (_: FastifyRequest, body: IncomingMessage) =>
    parseJson(await collect(body, bodyLimitBytes)),
  )
  const ndjson = ['application/x-ndjson', 'application/ndjson', 'application/jsonl']
  app.addContentTypeParser(ndjson, (request, body, done) => {
    if (request.routeOptions.config.ndjson === true) done(null, body)
    else done(mediaType('NDJSON'))
  })
  app.addContentTypeParser('*', (request, _, done) => {
    done(mediaType(request.headers['content-type'] ?? 'none'))
  })
}

function addHooks(app: FastifyInstance, { settings, dependencies, gate, load }: AppParts): void {
  const { metrics, clock } = dependencies
  app.addHook('onRequest', (request, reply, done) => {
    const began = clock.monotonic()
    const { headers, method } = request
    const { raw } = reply.headers(securityHeaders).header('x-request-id', request.id)
    // Put together each time that it is asked for.
    const { config } = request.routeOptions
    const limit = config.ndjson === true ? settings.ndjsonLimitBytes : settings.bodyLimitBytes
    const bytes = announcedBytes(headers, limit)
    try {
      gate.admit({ headers, bytes }, config)
    } catch (error) {
      metrics.countRefused(toServiceError(error).code)
      throw error
    } finally {
      load.enter(bytes)
      raw.once('close', () => {
        load.leave(bytes)
        // The client went away before its answer.
        if (!raw.writableEnded) return
        const ms = clock.monotonic() - began
        const { statusCode: status } = raw
        metrics.countRequest({
          route: config.url ?? 'unknown',
          method,
          status,
          seconds: ms / 1_000,
        })
        // Writes wait for the disk, refusals for nothing.
        if (config.scope === 'read' && status < 400) load.answered(ms)
      })
    }
    done()
  })
}

const documentHead = (version: string): object => ({
  openapi: '3.1.0',
  info: {
    title: 'freshet',
    description: 'A recommendation service that learns from every interaction as it happens.',
    version,
    license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
  },
  components: {
    securitySchemes: {
      apiKey: { type: 'http', scheme: 'bearer', description: 'Scopes: read, write, admin.' },
    },
  },
})

/**
 * The client's own id when it is harmless in a log, else one of ours: unique in and over
 * processes.
 */
function requestIds(): (request: Pick<IncomingMessage, 'headers'>) => string {
  const prefix = randomBytes(6).toString('hex')
  let count = 0
  return ({ headers }) => {
    const given = headers['x-request-id']
    if (typeof given === 'string' && /^[\w.:-]{1,64}$/.test(given)) return given
    count += 1
    return `${prefix}-${count.toString(36)}`
  }
}

interface KnownPath {
  readonly pattern: RegExp
  readonly method: string
}

/** Every route that is added from now on, to tell a wrong method from a wrong path. */
function rememberPaths(app: FastifyInstance): readonly KnownPath[] {
  const paths: KnownPath[] = []
  app.addHook('onRoute', ({ url, method }) => {
    const escaped = url.replace(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`)
    const pattern = new RegExp(`^${escaped.replace(/:\w+/g, '[^/]+')}$`)
    for (const one of [method].flat()) paths.push({ pattern, method: one })
  })
  return paths
}

function unknownRoute({ method, url }: FastifyRequest, paths: readonly KnownPath[]): ServiceError {
  const [path = '/'] = url.split('?', 1)
  const allowed = paths.filter(({ pattern }) => pattern.test(path)).map((known) => known.method)
  if (allowed.length === 0) {
    return new ServiceError('ROUTE_UNKNOWN', { method, path: path.slice(0, 256) })
  }
  return new ServiceError('METHOD_NOT_ALLOWED', {
    method,
    allowed: [...new Set(allowed)].join(', '),
  })
}

interface Connection {
  readonly writable: boolean
  end(text: string): void
  destroy(): void
}

/** What came is no HTTP request, or too slow or too long: there is no request to answer by. */
const brokenRequestAnswer =
  (settings: HttpSettings) =>
  (error: Error & { code?: string }, socket: Connection): void => {
    if (!socket.writable || error.code === 'ECONNRESET') return socket.destroy()
    const failure = brokenRequest(error, settings)
    const body = JSON.stringify(answerFor(failure, 'none'))
    const head = [
      `HTTP/1.1 ${failure.status} ${STATUS_CODES[failure.status] ?? ''}`,
      'connection: close',
      'content-type: application/json; charset=utf-8',
      `content-length: ${Buffer.byteLength(body)}`,
    ]
    socket.end(`${head.join('\r\n')}\r\n\r\n${body}`)
  }

function brokenRequest(
  { code, message }: Error & { code?: string },
  { requestTimeoutMs }: HttpSettings,
): ServiceError {
  if (code === 'HPE_HEADER_OVERFLOW') {
    return new ServiceError('HEADERS_TOO_LARGE', { limit: largestHeaders })
  }
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    return new ServiceError('REQUEST_TIMEOUT', { limitMs: requestTimeoutMs })
  }
  const inUrl = code === 'HPE_INVALID_URL'
  const reason = inUrl ? 'the path has a character that must be percent-encoded' : message
  return new ServiceError('HTTP_MALFORMED', { reason })
}
