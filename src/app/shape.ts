/**
 * What the parts of a process are made of, by shape. *Embedded*: a log on disk, parameters over a
 * message port, jobs by timers. *Distributed*: the log is a topic, parameters, the lease and jobs
 * are in Redis. Nothing else knows which one it is.
 */
import { MessageChannel } from 'node:worker_threads'

import type { Clock } from '../base/clock.ts'
import type { Service } from '../base/service.ts'
import type { TableExport, TrainerCommands } from '../jobs/jobs.ts'
import type { ReplicaJobDependencies } from '../jobs/replica-jobs.ts'
import type { JobRun, Scheduler } from '../jobs/scheduler.ts'
import { systemTimers, TimerScheduler } from '../jobs/timer-scheduler.ts'
import type { Metrics } from '../serving/http/metrics.ts'
import type { ServingRole } from '../serving/serving-service.ts'
import type { EventLog, Position } from '../stream/event-log.ts'
import { EndSignal } from '../stream/files/end-signal.ts'
import { FileLog } from '../stream/files/file-log.ts'
import { nodeLogFiles } from '../stream/files/log-files.ts'
import type { PartitionLag } from '../stream/kafka/kafka-ends.ts'
import type { LogReading } from '../stream/kafka/kafka-log.ts'
import { LocalSubscriber } from '../sync/local-sync.ts'
import type { ParameterSubscriber } from '../sync/parameter-sync.ts'
import type { LeaseState } from '../trainer/lease/leased-trainer.ts'
import { TrainerService, type TrainerServiceOptions } from '../trainer/trainer-service.ts'
import type { Config } from './config/config-schema.ts'
import { exportJob } from './export-job.ts'
import { dataPaths } from './options.ts'
import { timedFiles } from './recordings/timed-files.ts'
import { localReplica } from './replica-commands.ts'
import type { Logger } from './telemetry.ts'
import { localTrainerCommands } from './trainer-commands.ts'

/** The trainer of this process, as its other roles see it. */
export interface TrainerRole extends Pick<TrainerService, 'status' | 'command'> {
  /** For a person, and whether nothing is amiss; absent: it is ready with its first status. */
  readonly condition?: { readonly ready: boolean; readonly detail: string } | undefined
  /** Where one of several trains. */
  readonly lease?: LeaseState | undefined
}

/** It, and its life. */
export interface TrainerPart extends Service, TrainerRole {}

export type TrainerRoleOptions = Omit<TrainerServiceOptions, 'log' | 'parameters'>

export interface SchedulerParts {
  readonly trainer: TrainerRole | undefined
  readonly serving: ServingRole | undefined
  /** Of the version of the model that answers now. */
  readonly config: () => Config
  readonly onFinished: (run: JobRun) => void
}

export interface JobShape {
  readonly scheduler: Scheduler
  /** Of the trainer, wherever it is; absent: there is none to ask. */
  readonly commands: TrainerCommands | undefined
  /** The replicas that there are now, wherever they are; absent: there is none to ask. */
  readonly replicas: ReplicaJobDependencies['replicas'] | undefined
  /** Absent: there are no checkpoints here. */
  readonly export: TableExport | undefined
  close(): Promise<void>
}

/** Where a model is learned, and where its parameters come out. */
export interface ModelChannel {
  trainer(options: TrainerRoleOptions): TrainerPart
  subscriber(): ParameterSubscriber
  /** What lets other processes ask its replica, and watch it. */
  replica(serving: ServingRole): readonly Service[]
}

export interface Shape {
  readonly log: EventLog
  /** Where the log is this process's own, to be trimmed. */
  readonly fileLog: FileLog | undefined
  /** Events in the log that stand at or after a position, as far as it is known. */
  eventsAfter(position: Position): number
  /** Of a log in partitions: how far a reader at a position is behind in each. */
  partitions(position: Position): readonly PartitionLag[]
  /** What reading in this thread has come to, where the log is a topic. */
  readonly reading: LogReading | undefined
  /** What runs beside the roles: started first, stopped after them. */
  readonly services: readonly Service[]
  /** For a version of the model, whose configuration it gets. */
  model(config: Config): ModelChannel
  jobs(parts: SchedulerParts): JobShape
}

export interface ShapeOptions {
  readonly clock: Clock
  readonly logger: Logger
  readonly metrics: Metrics
}

export class EmbeddedShape implements Shape {
  readonly log: FileLog
  readonly services: readonly Service[] = []
  readonly reading = undefined
  readonly #config: Config
  readonly #clock: Clock
  readonly #end: EndSignal

  constructor(config: Config, clock: Clock, log: FileLog) {
    this.#config = config
    this.#clock = clock
    this.log = log
    this.#end = new EndSignal(log.endSignal)
  }

  /** Throws `LOG_LOCKED` and others of the log. */
  static async open(
    config: Config,
    { logger, metrics, clock }: ShapeOptions,
  ): Promise<EmbeddedShape> {
    const { dataDirectory, log: options } = config.process
    const { fsync, fsyncIntervalMs, segmentBytes, maxPendingEvents } = options
    const log = await FileLog.open({
      directory: dataPaths(dataDirectory).log,
      fsync,
      fsyncIntervalMs,
      segmentBytes,
      maxPendingEvents,
      files: timedFiles(nodeLogFiles, clock, (ms) => metrics.observeFsync(ms / 1000)),
      onTornTail: (tail) => logger.warn(tail, 'cut off an append that a crash had left unfinished'),
    })
    return new EmbeddedShape(config, clock, log)
  }

  get fileLog(): FileLog {
    return this.log
  }

  eventsAfter(position: Position): number {
    return Math.max(0, this.#end.end - Number(position[0] ?? 0))
  }

  partitions(): readonly PartitionLag[] {
    return []
  }

  model(): ModelChannel {
    const { port1, port2 } = new MessageChannel()
    const directory = dataPaths(this.#config.process.dataDirectory).log
    const log = { kind: 'file', directory, endSignal: this.log.endSignal } as const
    return {
      trainer: (options) =>
        new TrainerService({ ...options, log, parameters: () => ({ kind: 'port', port: port1 }) }),
      subscriber: () => new LocalSubscriber(port2),
      replica: () => [],
    }
  }

  jobs({ trainer, serving, config, onFinished }: SchedulerParts): JobShape {
    const { historyRuns } = this.#config.process.jobs
    const replica = serving && localReplica('here', serving, this.#clock)
    return {
      scheduler: new TimerScheduler({
        clock: this.#clock,
        timers: systemTimers,
        historyRuns,
        onFinished,
      }),
      commands: trainer && localTrainerCommands(trainer, config),
      replicas: replica && (() => Promise.resolve([replica])),
      export: trainer && exportJob(this.#config, config),
      close: () => Promise.resolve(),
    }
  }
}
