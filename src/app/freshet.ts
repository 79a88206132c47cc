/**
 * freshet within a program of one's own: `import { createFreshet } from 'freshet'`. The whole
 * service of `freshet start`, with or without HTTP; what is asked of it here is asked of the same
 * parts as over HTTP, with the same bounds and the same errors.
 */
import type * as z from 'zod'

import { type Clock, systemClock } from '../base/clock.ts'
import { ServiceError } from '../base/errors.ts'
import type { JobPayload, JobRun } from '../jobs/scheduler.ts'
import type {
  ItemPage,
  ItemView,
  Readers,
  UserPage,
  UserView,
} from '../serving/http/dependencies.ts'
import { emptyTally, Ingest, type Tally } from '../serving/http/ingest.ts'
import type { MetricsSnapshot } from '../serving/http/metrics-snapshot.ts'
import { defaultHttpSettings } from '../serving/http/settings.ts'
import type {
  Recommendations,
  RecommendRequest,
  SimilarRequest,
} from '../serving/recommendation.ts'
import type { eventSchema } from '../stream/event-schema.ts'
import { type RunningService, startFreshet } from './compose.ts'
import type { configSchema } from './config/config-schema.ts'
import { loadConfig } from './config/config.ts'
import { createLogger } from './telemetry.ts'

export { ServiceError } from '../base/errors.ts'
export type { JobRun } from '../jobs/scheduler.ts'
export type {
  Recommendations,
  RecommendRequest,
  SimilarRequest,
} from '../serving/recommendation.ts'

type ConfigInput = z.input<typeof configSchema>

/** As in the configuration file; defaults are filled in. */
export type ModelConfig = ConfigInput['model']
export type ProcessConfig = ConfigInput['process']

/** As `POST /v1/events` takes it. */
export type Event = z.input<typeof eventSchema>

/** What became of events: those not accepted are listed, each with its reason. */
export type Appended = Omit<Tally, 'received'>

export interface FreshetOptions {
  /** Where it keeps everything; over the file's own. */
  readonly dataDirectory?: string
  /** A configuration file; absent: the shop's that comes with the package. */
  readonly configFile?: string
  /** In place of the file's model. */
  readonly model?: ModelConfig
  /** Parts of `process`, each in place of the file's. */
  readonly process?: ProcessConfig
  /** Whether it listens as well: `process.http` says where. Default false. */
  readonly listens?: boolean
  /** Ends a start that is under way. */
  readonly signal?: AbortSignal
  /** Takes the lines of its log, JSON each; absent: stderr. */
  readonly onLog?: (line: string) => void
}

/** Waits until the event with this offset has its effect. */
interface After {
  readonly minSequence?: string | undefined
}

/**
 * Starts the service; resolves when it runs, which is before it is ready. Rejects with a
 * `ServiceError`: `CONFIG_INVALID`, `LOG_LOCKED` where another process has the directory, ...
 */
export async function createFreshet(options: FreshetOptions = {}): Promise<Freshet> {
  const { signal = new AbortController().signal, listens = false } = options
  const { config } = loadConfig({
    file: options.configFile,
    fallback: 'shop',
    environment: {},
    overrides: [...overridesOf(options)],
  })
  const logger = createLogger(config.process.logging, options.onLog)
  const clock = systemClock
  return new Freshet(await startFreshet(config, { clock, logger, signal, listens }), clock)
}

function* overridesOf({ model, process = {}, dataDirectory }: FreshetOptions) {
  const source = 'createFreshet'
  if (model !== undefined) yield { path: ['model'], value: model, source }
  for (const [name, value] of Object.entries(process)) {
    yield { path: ['process', name], value, source }
  }
  if (dataDirectory !== undefined) {
    yield { path: ['process', 'dataDirectory'], value: dataDirectory, source }
  }
}

/** How long a wait for one's own events may take, and from look to look whether it is ready. */
const [visibilityWaitMs, readyLookMs] = [defaultHttpSettings.visibilityWaitMs, 20]

/** Made by `createFreshet`; dispose it, or `stop` it, at the end. */
export class Freshet implements AsyncDisposable {
  readonly #service: RunningService
  readonly #ingest: Ingest

  constructor(service: RunningService, clock: Clock) {
    this.#service = service
    const { log, metrics, readers } = service.inside
    const parts = { clock, metrics, log, visibility: readers?.visibility }
    this.#ingest = new Ingest(parts, defaultHttpSettings)
  }

  /** `http://127.0.0.1:8080`; empty where it does not listen. */
  get address(): string {
    return this.#service.address
  }

  /** Aborts when a part has failed and the service can only be stopped. */
  get ended(): AbortSignal {
    return this.#service.ended
  }

  /** Names of what is not caught up: parameters, index, ... Empty: it is ready. */
  get missing(): readonly string[] {
    const checks = this.#service.inside.checks()
    return checks.filter((check) => !check.ready).map(({ name }) => name)
  }

  /** Resolves when it is ready. Rejects with the signal's reason, or why the service has ended. */
  async ready(signal?: AbortSignal): Promise<void> {
    while (this.missing.length > 0) {
      signal?.throwIfAborted()
      this.ended.throwIfAborted()
      await new Promise((resolve) => setTimeout(resolve, readyLookMs))
    }
  }

  /** Resolves when those that are accepted are durable; one bad event rejects no other. */
  async append(events: readonly Event[]): Promise<Appended> {
    const tally = emptyTally()
    await this.#ingest.accept(events, tally)
    const { received: _, ...appended } = tally
    return appended
  }

  /** Rejects with `REQUEST_INVALID`, `SERVING_NOT_READY`, `OVERLOADED`, `OFFSET_NOT_VISIBLE`. */
  async recommend({ minSequence, ...request }: RecommendRequest & After): Promise<Recommendations> {
    await this.#visible(minSequence)
    return this.#readers.recommender.recommend(request)
  }

  /** Rejects with `ITEM_UNKNOWN` as well. */
  async similar({ minSequence, ...request }: SimilarRequest & After): Promise<Recommendations> {
    await this.#visible(minSequence)
    return this.#readers.recommender.similar(request)
  }

  item(id: string): ItemView | undefined {
    return this.#readers.catalogue.get(id)
  }

  /** A page of the catalogue, from the `next` of another one on. */
  items(limit: number, cursor?: string): ItemPage {
    return this.#readers.catalogue.list(cursor, limit)
  }

  /** A page of the users, the last active first, from the `next` of another one on. */
  users(limit: number, cursor?: string): UserPage {
    return this.#readers.users.recent(cursor, limit)
  }

  user(id: string): UserView | undefined {
    return this.#readers.users.get(id)
  }

  /** What metrics are made of. */
  status(): MetricsSnapshot {
    return this.#service.inside.metrics.snapshot()
  }

  /** Runs a job to its end, which may be a failure: see `state`. */
  async runJob(name: string, payload: JobPayload = {}): Promise<JobRun> {
    const { scheduler } = this.#service.inside
    if (scheduler === undefined) throw new ServiceError('JOB_UNKNOWN', { name, known: '' })
    return scheduler.run(name, payload)
  }

  /** Finishes what was begun, writes a checkpoint and closes everything. */
  async stop(): Promise<void> {
    await this.#service.stop()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  get #readers(): Readers {
    const { readers } = this.#service.inside
    if (readers === undefined) throw new ServiceError('SERVING_NOT_READY', { missing: 'serving' })
    return readers
  }

  async #visible(offset: string | undefined): Promise<void> {
    if (offset === undefined) return
    if (await this.#readers.visibility.waitFor(offset, visibilityWaitMs)) return
    throw new ServiceError('OFFSET_NOT_VISIBLE', { offset, waitedMs: visibilityWaitMs })
  }
}
