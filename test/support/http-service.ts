/**
 * An HTTP server over a log in memory whose events are folded by the real facts: everything but
 * disk, training and the index. Recommendations are the catalogue in the order of clicks.
 */
import type { FastifyInstance } from 'fastify'

import { ManualClock } from '../../src/base/clock.ts'
import type { Clock } from '../../src/base/clock.ts'
import { ServiceError } from '../../src/base/errors.ts'
import { TimerScheduler } from '../../src/jobs/timer-scheduler.ts'
import { createApp } from '../../src/serving/http/app.ts'
import type { Logger, ServerDependencies } from '../../src/serving/http/dependencies.ts'
import { factsReaders } from '../../src/serving/http/facts-readers.ts'
import { Gate } from '../../src/serving/http/gate.ts'
import { LoadGuard } from '../../src/serving/http/load-guard.ts'
import { Metrics } from '../../src/serving/http/metrics.ts'
import type { Method } from '../../src/serving/http/route.ts'
import { defaultHttpSettings } from '../../src/serving/http/settings.ts'
import type { HttpSettings } from '../../src/serving/http/settings.ts'
import type {
  Embedding,
  Recommendations,
  RecommendRequest,
} from '../../src/serving/recommendation.ts'
import type { Event } from '../../src/stream/event.ts'
import { Facts } from '../../src/stream/facts/facts.ts'
import { ManualTimers } from './manual-timers.ts'

export const noon = Date.UTC(2026, 0, 1, 12)

interface LogLine {
  readonly level: string
  readonly object: object
  readonly message: string
}

/** Keeps events and folds them, at once or when told to. */
class MemoryService {
  readonly events: Event[] = []
  readonly facts = new Facts({ examples: false })
  readonly lines: LogLine[] = []
  readonly requests: RecommendRequest[] = []
  /** Events that are appended but not folded, while `paused`. */
  paused = false
  #folded = 0
  /** What `append` fails with, if it shall. */
  failure: Error | undefined
  /** What `append` waits for. */
  gate: Promise<void> = Promise.resolve()

  async append(events: readonly Event[]): Promise<readonly string[]> {
    await this.gate
    if (this.failure !== undefined) throw this.failure
    const first = this.events.length
    this.events.push(...events)
    if (!this.paused) this.fold()
    return events.map((_, i) => String(first + i))
  }

  fold(): void {
    for (; this.#folded < this.events.length; this.#folded += 1) {
      const event = this.events[this.#folded]
      if (event !== undefined) this.facts.apply(event)
    }
  }

  waitFor(offset: string): boolean {
    return Number(offset) < this.#folded
  }

  recommend(request: RecommendRequest): Promise<Recommendations> {
    this.requests.push(request)
    const { catalogue, users } = this.facts
    const user = request.userId === undefined ? -1 : users.handleOf(request.userId)
    const excluded = new Set(request.exclude)
    const items = [...catalogue.items()]
      .filter(({ id, handle }) => !excluded.has(id) && !(user >= 0 && users.hasSeen(user, handle)))
      .map(({ id, handle, attributes }) => ({
        id,
        score: catalogue.interactions(handle),
        attributes,
      }))
      .toSorted((a, b) => b.score - a.score)
      .slice(request.offset ?? 0, (request.offset ?? 0) + request.n)
    const watermark = { offsets: { 0: String(this.#folded) }, acceptedAt: noon }
    const model = { version: 7, sequence: 3, watermark }
    return Promise.resolve({
      items,
      model,
      ...(user < 0 ? { fallback: 'popularity' as const } : {}),
    })
  }

  /** Of one float: clicks. */
  async embedItem(itemId: string): Promise<Embedding> {
    const item = this.facts.catalogue.byId(itemId)
    if (item === undefined) throw new ServiceError('ITEM_UNKNOWN', { itemId })
    const { model } = await this.recommend({ n: 1 })
    return { vector: Float32Array.of(this.facts.catalogue.interactions(item.handle)), model }
  }

  async embedQuery(request: RecommendRequest): Promise<Embedding> {
    const { items: _, ...rest } = await this.recommend(request)
    return { vector: Float32Array.of(1), ...rest }
  }

  async similar(request: { itemId: string; n: number }): Promise<Recommendations> {
    if (this.facts.catalogue.byId(request.itemId) === undefined) {
      throw new ServiceError('ITEM_UNKNOWN', { itemId: request.itemId })
    }
    return this.recommend({ n: request.n, exclude: [request.itemId] })
  }
}

export interface DependenciesUnderTest {
  readonly service: MemoryService
  readonly dependencies: ServerDependencies
  readonly scheduler: TimerScheduler
  readonly clock: Clock
}

export function memoryDependencies(clock: Clock = new ManualClock(noon)): DependenciesUnderTest {
  const service = new MemoryService()
  const scheduler = new TimerScheduler({ clock, timers: new ManualTimers(), historyRuns: 10 })
  const line =
    (level: string) =>
    (object: object, message: string): void =>
      void service.lines.push({ level, object, message })
  const logger: Logger = {
    debug: line('debug'),
    info: line('info'),
    warn: line('warn'),
    error: line('error'),
  }
  const dependencies: ServerDependencies = {
    clock,
    log: service,
    readers: {
      ...factsReaders(() => service.facts),
      recommender: service,
      visibility: service,
    },
    health: { checks: () => [{ name: 'facts', ready: !service.paused, detail: 'of the test' }] },
    jobs: scheduler,
    metrics: new Metrics(),
    logger,
  }
  return { service, dependencies, scheduler, clock }
}

interface Answered {
  readonly status: number
  readonly headers: Readonly<Record<string, unknown>>
  readonly text: string
  /** Parsed JSON, of whatever shape the test expects. */
  // eslint-disable-next-line typescript/no-explicit-any
  readonly body: any
}

export interface HttpUnderTest extends DependenciesUnderTest, AsyncDisposable {
  readonly app: FastifyInstance
  readonly gate: Gate
  readonly load: LoadGuard
  readonly clock: ManualClock
  /** A value is sent as JSON; text and bytes as they are. */
  call(
    method: Method,
    url: string,
    body?: unknown,
    headers?: Record<string, string>,
  ): Promise<Answered>
}

/** The routes without a socket. */
export async function openHttp(overrides: Partial<HttpSettings> = {}): Promise<HttpUnderTest> {
  const settings = { ...defaultHttpSettings, visibilityWaitMs: 10, ...overrides }
  const clock = new ManualClock(noon)
  const parts = memoryDependencies(clock)
  const load = new LoadGuard(settings, clock)
  const gate = new Gate(settings, { load, clock })
  const app = await createApp({ settings, dependencies: parts.dependencies, gate, load })
  return {
    ...parts,
    app,
    gate,
    load,
    clock,
    call: async (method, url, body, headers = {}) => {
      const raw = body === undefined || typeof body === 'string' || Buffer.isBuffer(body)
      const type = body === undefined ? {} : { 'content-type': 'application/json' }
      const answer = await app.inject({
        method,
        url,
        headers: { ...type, ...headers },
        ...(body === undefined ? {} : { payload: raw ? body : JSON.stringify(body) }),
      })
      const isJson = String(answer.headers['content-type']).startsWith('application/json')
      const parsed: unknown = isJson ? JSON.parse(answer.payload) : undefined
      return {
        status: answer.statusCode,
        headers: answer.headers,
        text: answer.payload,
        body: parsed,
      }
    },
    [Symbol.asyncDispose]: async () => {
      await app.close()
      await parts.scheduler.stop()
    },
  }
}
