/**
 * What the running service shows of itself: one plain snapshot for metrics, one report at the end.
 */
import type { Scheduler } from '../jobs/scheduler.ts'
import type { LogReaderView } from '../serving/http/log-metrics.ts'
import type { MetricsSnapshot } from '../serving/http/metrics-snapshot.ts'
import type { HttpServer } from '../serving/http/server.ts'
import type { VersionsMetrics } from '../serving/http/version-metrics.ts'
import type { ServingRole } from '../serving/serving-service.ts'
import type { Position } from '../stream/event-log.ts'
import type { Facts } from '../stream/facts/facts.ts'
import type { TrainerStatus } from '../trainer/trainer-status.ts'
import type { JsonObject } from './command.ts'
import type { Shape, TrainerRole } from './shape.ts'

export interface Parts {
  readonly serving: ServingRole | undefined
  readonly trainer: TrainerRole | undefined
  readonly scheduler: Scheduler | undefined
  readonly http: HttpServer
  readonly view: TrainerView
  /** Undefined while there is one version. */
  readonly versionMetrics: () => VersionsMetrics | undefined
}

/** The trainer's newest status, and how far the log is from it. */
export class TrainerView {
  readonly #shape: Pick<Shape, 'eventsAfter' | 'partitions' | 'reading'>
  #status: TrainerStatus | undefined
  #checkpoints = 0
  /** Of the log, as last looked at. */
  logBytes = 0

  constructor(shape: Pick<Shape, 'eventsAfter' | 'partitions' | 'reading'>) {
    this.#shape = shape
  }

  get status(): TrainerStatus | undefined {
    return this.#status
  }

  /** Checkpoints written in this life. */
  get checkpoints(): number {
    return this.#checkpoints
  }

  take(status: TrainerStatus): void {
    if (status.checkpoint?.sequence !== this.#status?.checkpoint?.sequence) this.#checkpoints += 1
    this.#status = status
  }

  /** Events in the log that stand at or after a position. */
  eventsAfter(position: Position): number {
    return this.#shape.eventsAfter(position)
  }

  /** Who reads the log in this process, where that is a topic. */
  readers(serving: ServingRole | undefined): readonly LogReaderView[] {
    const shape = this.#shape
    const { log, position = {} } = this.#status ?? {}
    const own = shape.reading && {
      role: serving === undefined ? 'ingest' : 'serving',
      ...shape.reading,
      partitions: serving === undefined ? [] : shape.partitions(serving.replica.position),
    }
    const learning = log && { role: 'trainer', ...log, partitions: shape.partitions(position) }
    return [own, learning].filter((reader) => reader !== undefined)
  }
}

export function metricsSnapshot(parts: Parts): MetricsSnapshot {
  const { serving, trainer, scheduler, view } = parts
  const { status } = view
  const versions = parts.versionMetrics()
  return {
    ...(versions && { versions }),
    ...(serving && servingPart(serving, view)),
    ...(status && trainerPart(status, view)),
    log: { bytes: view.logBytes },
    readers: view.readers(serving),
    fleet: {
      lease: trainer?.lease,
      published: status?.published,
      queues: scheduler?.queues(),
    },
  }
}

function servingPart(serving: ServingRole, view: TrainerView): MetricsSnapshot {
  const { replica, liveIndex, sync } = serving
  const { facts, position } = replica
  const { index, queues, versions } = liveIndex.stats()
  const queued = queues.touched + queues.new + queues.sweep
  return {
    freshness: serving.freshness.stages,
    alignment: serving.alignment.last,
    facts: {
      items: facts.catalogue.size,
      users: facts.users.size,
      events: facts.events,
      lagEvents: view.eventsAfter(position),
    },
    index: { ...index, queued, versionSpread: versions.max },
    sync,
  }
}

function trainerPart(status: TrainerStatus, view: TrainerView): MetricsSnapshot {
  const { checkpoint, evaluation } = status
  return {
    trainer: {
      engine: status.engine,
      steps: status.step,
      events: status.events,
      examples: status.examples,
      loss: status.meanLoss,
      guardTrips: status.guardTrips,
      guardRollbacks: status.guardRollbacks,
      lagEvents: view.eventsAfter(status.position),
      watermarkAt: status.acceptedAt,
    },
    evaluation: { ...evaluation.window },
    tables: status.tables,
    ...(checkpoint && {
      checkpoints: {
        written: view.checkpoints,
        lastAt: checkpoint.at,
        lastBytes: checkpoint.bytes,
        lastSeconds: checkpoint.milliseconds / 1000,
      },
    }),
  }
}

/** What `freshet start --json` prints when it has stopped. */
export function finalReport({ view, serving }: Parts, uptimeSeconds: number): JsonObject {
  const { status } = view
  return {
    uptimeSeconds,
    events: status?.events ?? 0,
    examples: status?.examples ?? 0,
    steps: status?.step ?? 0,
    ...known(serving?.replica.facts, status),
    checkpoint: status?.checkpoint?.sequence ?? null,
  }
}

/** What the replica knows, else what the trainer said last. */
function known(facts: Facts | undefined, status: TrainerStatus | undefined): JsonObject {
  if (facts !== undefined) return { items: facts.catalogue.size, users: facts.users.size }
  return { items: status?.items ?? 0, users: status?.users ?? 0 }
}
