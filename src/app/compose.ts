/**
 * The composition root: a process with all roles, or those that it is told to have, in the shape
 * that it is told. Log reader, replica, index and HTTP server live on this thread, the trainer in a
 * worker; parameters travel by the same deltas between threads and between processes. Started in
 * the order of the flow, stopped in the opposite one.
 */
import type { Clock } from '../base/clock.ts'
import { type Service, startAll, stopAll } from '../base/service.ts'
import type { Scheduler } from '../jobs/scheduler.ts'
import type { ReadinessCheck, Readers } from '../serving/http/dependencies.ts'
import { factsReaders } from '../serving/http/facts-readers.ts'
import { ImportReceipts } from '../serving/http/import-receipts.ts'
import { Metrics } from '../serving/http/metrics.ts'
import { HttpServer } from '../serving/http/server.ts'
import type { ServingRole } from '../serving/serving-service.ts'
import type { EventLog } from '../stream/event-log.ts'
import { administrationOf } from './administration.ts'
import type { JsonObject } from './command.ts'
import { counterOf } from './compose-experiment.ts'
import { composeJobs } from './compose-jobs.ts'
import {
  composeVersions,
  neededFrom,
  type VersionsBeside,
  versionsBeside,
} from './compose-versions.ts'
import type { Config } from './config/config-schema.ts'
import { rowStoreChecks } from './config/row-store-checks.ts'
import { prepareDataDirectory } from './data-directory.ts'
import { DistributedShape } from './distributed-shape.ts'
import { Ending } from './ending.ts'
import { version } from './machine.ts'
import { dataPaths, keysFileOf } from './options.ts'
import { finalReport, metricsSnapshot, type Parts, TrainerView } from './service-view.ts'
import { EmbeddedShape, type Shape, type ShapeOptions, type TrainerRole } from './shape.ts'
import type { Logger } from './telemetry.ts'
import { primaryServing, primaryTrainer } from './versions/primary.ts'
import { configOf } from './versions/version-paths.ts'
import { VersionRecommender } from './versions/version-recommender.ts'
import type { Versions } from './versions/versions.ts'
import { allHave } from './visibility.ts'

export interface ComposeOptions {
  readonly clock: Clock
  readonly logger: Logger
  /** Aborting while it starts gives the start up. */
  readonly signal: AbortSignal
  /** False: no HTTP. Default true. */
  readonly listens?: boolean
}

interface InnerParts {
  readonly log: EventLog
  readonly metrics: Metrics
  /** With the role `serving`. */
  readonly readers: Readers | undefined
  /** With the role `jobs`. */
  readonly scheduler: Scheduler | undefined
  readonly checks: () => readonly ReadinessCheck[]
}

export interface RunningService {
  /** `http://127.0.0.1:8080`. */
  readonly address: string
  /** Aborts when a part has failed and the service can only be stopped. */
  readonly ended: AbortSignal
  /** For a program that asks within this process. */
  readonly inside: InnerParts
  /** For who looks inside; undefined in a process without this role. */
  readonly serving: ServingRole | undefined
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
  const ending = new Ending(logger)
  const fail = (error: unknown): void => ending.fail(error)
  const services: Service[] = [{ name: 'log', ...idle, stop: () => log.close() }]
  try {
    const parts = await composeParts(config, shape, { ...options, metrics, fail })
    services.push(
      ...parts.services.filter((part) => options.listens !== false || part !== parts.http),
    )
    await startAll(services, signal)
    parts.versions.startOthers()
    const { address } = parts.http
    logger.info({ address, model: config.model.name, roles: process.roles }, 'listening')
    return {
      address,
      ended: ending.signal,
      inside: { log, metrics, ...innerOf(parts) },
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

function innerOf(parts: ComposedParts): Omit<InnerParts, 'log' | 'metrics'> {
  const { serving, scheduler, trainer } = parts
  return {
    readers: serving && readersOf(serving, parts),
    scheduler,
    checks: () => serving?.checks() ?? trainerChecks(trainer),
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
  readonly versions: Versions
  readonly recommender: VersionRecommender
}

async function composeParts(
  config: Config,
  shape: Shape,
  options: PartOptions,
): Promise<ComposedParts> {
  const roles = new Set(config.process.roles)
  const view = new TrainerView(shape)
  const context = { config, shape, view, ...options }
  const composed = await composeVersions(context)
  const { versions, shared } = composed
  const recommender = new VersionRecommender(versions, {
    compareEvery: config.process.versions.compareEvery,
    onTrouble: (error) => options.logger.error({ error: String(error) }, 'lists not compared'),
  })
  const beside = versionsBeside(context, composed, recommender)
  const current = (): Config => configOf(config, versions.entry)
  const [trainer, serving] = [primaryTrainer(versions), primaryServing(versions)]
  const jobs = roles.has('jobs')
    ? composeJobs({ ...context, trainer, serving, current, neededFrom: () => neededFrom(versions) })
    : undefined
  const http = composeHttp(context, {
    trainer,
    serving,
    scheduler: jobs?.scheduler,
    versions,
    recommender,
    beside,
  })
  const parts = {
    serving,
    trainer,
    scheduler: jobs?.scheduler,
    http,
    view,
    versionMetrics: () => beside?.metrics(),
  }
  options.metrics.attach(() => metricsSnapshot(parts))
  const services = [
    ...shape.services,
    versions,
    shared,
    beside?.experiment,
    counterOf(context, composed),
    jobs?.service,
    http,
  ].filter((part) => part !== undefined)
  return { ...parts, services, versions, recommender }
}

interface Context extends PartOptions {
  readonly config: Config
  readonly shape: Shape
  readonly view: TrainerView
}

/** What the routes of the process need of its other roles. */
interface Roles {
  readonly trainer: TrainerRole | undefined
  readonly serving: ServingRole | undefined
  readonly scheduler: Scheduler | undefined
  readonly versions: Versions
  readonly recommender: VersionRecommender
  readonly beside: VersionsBeside | undefined
}

function composeHttp(
  { config, shape, view, clock, metrics, logger }: Context,
  { trainer, serving, scheduler, versions, recommender, beside }: Roles,
): HttpServer {
  const { model, process } = config
  const settings = {
    ...process.http,
    keysFile: keysFileOf(config),
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
    readers: serving && readersOf(serving, { recommender, versions }),
    health: {
      checks: () => [
        ...(serving?.checks() ?? trainerChecks(trainer)),
        ...rowStoreChecks(trainer?.status),
      ],
    },
    jobs: scheduler,
    versions: beside?.desk,
    experiment: beside?.experiment,
    administration: administrationOf({
      config,
      current: () => configOf(config, versions.entry),
      view,
      serving,
    }),
  })
}

/** Processes of many have no directory of their own. */
const receiptsOf = ({ process: { shape, dataDirectory } }: Config): ImportReceipts | undefined =>
  shape === 'embedded' ? new ImportReceipts(dataPaths(dataDirectory).imports) : undefined

const readersOf = (
  serving: ServingRole,
  { recommender, versions }: Pick<Roles, 'recommender' | 'versions'>,
): Readers => ({
  ...factsReaders(() => serving.replica.facts),
  recommender,
  visibility: { waitFor: (offset, timeoutMs) => allHave(versions, offset, timeoutMs) },
})

/** Of a process that answers nothing; one that only takes events is ready when it listens. */
function trainerChecks(trainer: TrainerRole | undefined) {
  if (trainer === undefined) return []
  const { status, condition } = trainer
  if (condition !== undefined) return [{ name: 'trainer', ...condition }]
  const detail = status === undefined ? 'not started' : `${status.events} events folded`
  return [{ name: 'trainer', ready: status !== undefined, detail }]
}
