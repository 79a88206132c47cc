/**
 * The composition root: a process with all roles, or those that it is told to have, in the shape
 * that it is told. Log reader, replica, index and HTTP server live on this thread, the trainer in a
 * worker; parameters travel by the same deltas between threads and between processes. Started in
 * the order of the flow, stopped in the opposite one.
 */
import { join } from 'node:path'

import type { Clock } from '../base/clock.ts'
import { ServiceError } from '../base/errors.ts'
import { type Service, startAll, stopAll } from '../base/service.ts'
import type { Scheduler } from '../jobs/scheduler.ts'
import type { Readers } from '../serving/http/dependencies.ts'
import { factsReaders } from '../serving/http/facts-readers.ts'
import { ImportReceipts } from '../serving/http/import-receipts.ts'
import { Metrics } from '../serving/http/metrics.ts'
import { HttpServer } from '../serving/http/server.ts'
import { ServingService } from '../serving/serving-service.ts'
import { administrationOf } from './administration.ts'
import { checkpointFacts } from './checkpoint-facts.ts'
import type { JsonObject } from './command.ts'
import { composeJobs } from './compose-jobs.ts'
import type { Config } from './config/config-schema.ts'
import { rowStoreChecks } from './config/row-store-checks.ts'
import { prepareDataDirectory } from './data-directory.ts'
import { DistributedShape } from './distributed-shape.ts'
import { version } from './machine.ts'
import { dataPaths, factsOptions, modelSpec, trainerModel, trainerProcess } from './options.ts'
import { finalReport, metricsSnapshot, type Parts, TrainerView } from './service-view.ts'
import { EmbeddedShape, type Shape, type ShapeOptions, type TrainerRole } from './shape.ts'
import type { Logger } from './telemetry.ts'
import { waitFor } from './visibility.ts'

export interface ComposeOptions {
  readonly clock: Clock
  readonly logger: Logger
  /** Aborting while it starts gives the start up. */
  readonly signal: AbortSignal
}

export interface RunningService {
  /** `http://127.0.0.1:8080`. */
  readonly address: string
  /** Aborts when a part has failed and the service can only be stopped. */
  readonly ended: AbortSignal
  /** For who looks inside; undefined in a process without this role. */
  readonly serving: ServingService | undefined
  /** Drains and stops everything; resolves with what was done in this life. */
  stop(): Promise<JsonObject>
}

/**
 * Resolves when it listens. Throws `DATA_UNUSABLE`, `LOG_LOCKED` and others of the log,
 * `CHECKPOINT_*`, `HTTP_*`; whatever was started is stopped again.
 */
export async function startFreshet(
  config: Config,
  options: ComposeOptions,
): Promise<RunningService> {
  const { process } = config
  const { logger, signal, clock } = options
  prepareDataDirectory(process)
  const startedAt = clock.monotonic()
  const metrics = new Metrics()
  const shape = await openShape(config, { logger, metrics, clock })
  const { log } = shape
  const ended = new AbortController()
  const fail = (error: unknown): void => {
    const code = error instanceof ServiceError ? error.code : 'INTERNAL'
    logger.error({ code, error: String(error) }, 'a part of the service has failed')
    ended.abort(error)
  }
  const services: Service[] = [{ name: 'log', ...idle, stop: () => log.close() }]
  try {
    const parts = await composeParts(config, shape, { ...options, metrics, fail })
    services.push(...parts.services)
    await startAll(services, signal)
    const { address } = parts.http
    logger.info({ address, model: config.model.name, roles: process.roles }, 'listening')
    return {
      address,
      ended: ended.signal,
      serving: parts.serving,
      async stop() {
        logger.info({}, 'stopping')
        await stopAll(services)
        return finalReport(parts, (clock.monotonic() - startedAt) / 1000)
      },
    }
  } catch (error) {
    await log.close()
    throw error
  }
}

const idle = {
  start: () => Promise.resolve(),
  drain: () => Promise.resolve(),
}

const openShape = (config: Config, options: ShapeOptions): Promise<Shape> =>
  config.process.shape === 'embedded'
    ? EmbeddedShape.open(config, options)
    : DistributedShape.open(config, options)

interface PartOptions extends ComposeOptions {
  readonly metrics: Metrics
  readonly fail: (error: unknown) => void
}

interface ComposedParts extends Parts {
  readonly services: readonly Service[]
}

async function composeParts(
  config: Config,
  shape: Shape,
  options: PartOptions,
): Promise<ComposedParts> {
  const roles = new Set(config.process.roles)
  const view = new TrainerView(shape)
  const context = { config, shape, view, ...options }
  const trainer = roles.has('trainer') ? composeTrainer(context) : undefined
  const serving = roles.has('serving') ? await composeServing(context) : undefined
  const jobs = roles.has('jobs') ? composeJobs({ ...context, trainer, serving }) : undefined
  const http = composeHttp(context, { trainer, serving, scheduler: jobs?.scheduler })
  const parts = { serving, trainer, scheduler: jobs?.scheduler, http, view }
  options.metrics.attach(() => metricsSnapshot(parts))
  const asked = serving === undefined ? [] : shape.replica(serving)
  const services = [...shape.services, trainer, serving, ...asked, jobs?.service, http].filter(
    (part) => part !== undefined,
  )
  return { ...parts, services }
}

interface Context extends PartOptions {
  readonly config: Config
  readonly shape: Shape
  readonly view: TrainerView
}

const composeTrainer = ({ config, shape, view, logger, fail }: Context): TrainerRole =>
  shape.trainer({
    model: trainerModel(config.model),
    process: trainerProcess(config),
    report: ({ level, code, message, details }) => logger[level]({ code, ...details }, message),
    onStatus: (status) => view.take(status),
    onFailure: fail,
  })

async function composeServing({
  config,
  shape,
  clock,
  logger,
  fail,
}: Context): Promise<ServingService> {
  const { model, process } = config
  const { log } = shape
  const start = await checkpointFacts(config, log)
  return new ServingService({
    model: modelSpec(model),
    tables: model.tables,
    facts: factsOptions(model),
    log,
    parameters: shape.subscriber(),
    clock,
    settings: process.serving,
    implementation: process.kernels,
    ...(start && { start }),
    // Replicas of many processes have no directory of their own.
    ...(process.shape === 'embedded' && {
      indexFile: join(dataPaths(process.dataDirectory).index, 'live.index'),
    }),
    onWarning: (error) => logger.warn({ error: String(error) }, 'the index was not kept'),
    onFailure: fail,
  })
}

/** What the routes of the process need of its other roles. */
interface Roles {
  readonly trainer: TrainerRole | undefined
  readonly serving: ServingService | undefined
  readonly scheduler: Scheduler | undefined
}

function composeHttp(
  { config, shape, view, clock, metrics, logger }: Context,
  { trainer, serving, scheduler }: Roles,
): HttpServer {
  const { model, process } = config
  const settings = {
    ...process.http,
    listLimit: process.serving.listLimit,
    futureSkewMs: model.facts.futureSkewMs,
    version: version(),
  }
  return new HttpServer(settings, {
    clock,
    metrics,
    logger,
    log: process.roles.includes('ingest') ? shape.log : undefined,
    imports: receiptsOf(config),
    readers: serving && readersOf(serving),
    health: {
      checks: () => [
        ...(serving?.checks() ?? trainerChecks(trainer)),
        ...rowStoreChecks(trainer?.status),
      ],
    },
    jobs: scheduler,
    administration: administrationOf({ config, view, serving }),
  })
}

/** Processes of many have no directory of their own. */
const receiptsOf = ({ process: { shape, dataDirectory } }: Config): ImportReceipts | undefined =>
  shape === 'embedded' ? new ImportReceipts(dataPaths(dataDirectory).imports) : undefined

const readersOf = (serving: ServingService): Readers => ({
  ...factsReaders(() => serving.replica.facts),
  recommender: {
    recommend: (request) => serving.retriever.recommend(request),
    similar: (request) => serving.retriever.similar(request),
    embedQuery: (request) => serving.retriever.embedQuery(request),
    embedItem: (itemId) => serving.retriever.embedItem(itemId),
  },
  visibility: { waitFor: (offset, timeoutMs) => waitFor(serving, offset, timeoutMs) },
})

/** Of a process that answers nothing; one that only takes events is ready when it listens. */
function trainerChecks(trainer: TrainerRole | undefined) {
  if (trainer === undefined) return []
  const { status, condition } = trainer
  if (condition !== undefined) return [{ name: 'trainer', ...condition }]
  const detail = status === undefined ? 'not started' : `${status.events} events folded`
  return [{ name: 'trainer', ready: status !== undefined, detail }]
}
