/**
 * From wire values to durable events. Each value is judged by itself, so one bad event never
 * rejects its neighbours; those that are good are appended together, all or none.
 */
import { digestBytes } from '../../base/digest.ts'
import { ServiceError } from '../../base/errors.ts'
import type { EventLog } from '../../stream/event-log.ts'
import { parseEvent } from '../../stream/event-schema.ts'
import type { EventRejection, ParsedEvent } from '../../stream/event-schema.ts'
import type { Event } from '../../stream/event.ts'
import { joinOffsets, splitOffsets } from '../../stream/written-offsets.ts'
import type { Readers, ServerDependencies } from './dependencies.ts'
import type { Call } from './route.ts'
import type { Written } from './schemas.ts'
import type { HttpSettings } from './settings.ts'

interface Rejection extends EventRejection {
  /** Place in the request, from 0; of NDJSON, blank lines are not counted. */
  readonly index: number
}

/** What has become of a request's events so far. */
export interface Tally {
  received: number
  accepted: number
  /** The first of them, bounded. */
  readonly rejected: Rejection[]
  /** How many more there are. */
  unlisted: number | undefined
  /** Of the last event accepted, in each partition of the log. */
  offset: string | undefined
}

const listedRejections = 10_000

export const emptyTally = (): Tally => ({
  received: 0,
  accepted: 0,
  rejected: [],
  unlisted: undefined,
  offset: undefined,
})

export interface IngestParts extends Pick<ServerDependencies, 'clock' | 'metrics'> {
  readonly log: Pick<EventLog, 'append'>
  /** Absent where nothing can be read: then nothing becomes visible. */
  readonly visibility: Readers['visibility'] | undefined
}

export class Ingest {
  readonly #dependencies: IngestParts
  readonly #settings: HttpSettings
  /** Of everything that was appended here. */
  #written: string | undefined

  constructor(dependencies: IngestParts, settings: HttpSettings) {
    this.#dependencies = dependencies
    this.#settings = settings
  }

  /**
   * Adds to `tally` what becomes of `values`, of which a `ServiceError` is rejected as it is;
   * resolves when the accepted ones are durable. With an idempotency key an event that has no id
   * of its own gets one from it, its place and what it says, so a repeated request counts once.
   */
  async accept(values: readonly unknown[], tally: Tally, idempotencyKey?: string): Promise<void> {
    const events: Event[] = []
    for (const value of values) {
      const index = tally.received
      tally.received += 1
      const wire = idempotencyKey === undefined ? value : named(value, `${idempotencyKey}#${index}`)
      const parsed = this.#parse(wire)
      if ('error' in parsed) this.#reject(tally, index, parsed.error)
      else events.push(parsed.event)
    }
    if (events.length === 0) return
    tally.offset = joined(tally.offset, await this.#append(events))
    tally.accepted += events.length
  }

  /** One event that the server words itself; its offset. Throws `EVENT_INVALID`. */
  async write(wire: object, idempotencyKey: string | undefined): Promise<string> {
    const tally = emptyTally()
    await this.accept([wire], tally, idempotencyKey)
    const [rejection] = tally.rejected
    if (tally.offset === undefined) throw asError(rejection)
    return tally.offset
  }

  /** As `write`, and waits within bounds until reads show it: so a client reads its own writes. */
  async writeVisibly(id: string, wire: object, { idempotencyKey }: Call): Promise<Written> {
    const offset = await this.write(wire, idempotencyKey)
    return { id, offset, visible: await this.visible(offset) }
  }

  /** Whether what has been appended up to `offset` can be read, waited for within bounds. */
  visible(offset: string): boolean | Promise<boolean> {
    const { visibility } = this.#dependencies
    return visibility?.waitFor(offset, this.#settings.visibilityWaitMs) ?? false
  }

  /** Waits, within bounds, until everything that this process has appended can be read. */
  async settle(): Promise<void> {
    if (this.#written !== undefined) await this.visible(this.#written)
  }

  async #append(events: readonly Event[]): Promise<string | undefined> {
    const { log, clock, metrics } = this.#dependencies
    const begin = clock.monotonic()
    const offsets = await log.append(events)
    metrics.observeAppend((clock.monotonic() - begin) / 1_000)
    metrics.countAccepted(events.length)
    const written = joinOffsets(offsets)
    this.#written = joined(this.#written, written)
    return written
  }

  #parse(value: unknown): ParsedEvent {
    if (value instanceof ServiceError) {
      const { code, message, details } = value
      const path = String(details['path'] ?? 'event')
      return { error: { code, path, message: String(details['reason'] ?? message) } }
    }
    const now = this.#dependencies.clock.now()
    return parseEvent(value, { now, maxFutureMs: this.#settings.futureSkewMs })
  }

  #reject(tally: Tally, index: number, rejection: EventRejection): void {
    this.#dependencies.metrics.countRejected(rejection.code)
    if (tally.rejected.length < listedRejections) tally.rejected.push({ index, ...rejection })
    else tally.unlisted = (tally.unlisted ?? 0) + 1
  }
}

/** The later of both in each partition. */
const joined = (before: string | undefined, after: string | undefined): string | undefined =>
  before === undefined || after === undefined
    ? (after ?? before)
    : joinOffsets([...splitOffsets(before), ...splitOffsets(after)])

/** A request that is a single event fails as the event does. */
export function asError(rejection: EventRejection | undefined): ServiceError {
  const { code, path, message } = rejection ?? { code: 'EVENT_INVALID', path: 'event', message: '' }
  return new ServiceError(code, { path, reason: message })
}

/** For a value that may be refused before it is an event: `accept` rejects it with the error. */
export function valueOrError(make: () => unknown): unknown {
  try {
    return make()
  } catch (error) {
    if (error instanceof ServiceError) return error
    throw error
  }
}

/**
 * What the event says is part of its name: there is no memory of keys at the door, so something
 * else under the same key would be answered as accepted, and dropped in the fold as a repetition.
 */
function named(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (value instanceof ServiceError || Array.isArray(value) || 'eventId' in value) return value
  const digest = digestBytes(Buffer.from(JSON.stringify(value))).toString(16)
  return { ...value, eventId: `${name}#${digest}` }
}
