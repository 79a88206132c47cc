/**
 * A process of the distributed shape: the log is a Kafka topic; in Redis are the parameters, the
 * lease of the trainer, jobs and commands. Processes know nothing of each other.
 */
import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { pid } from 'node:process'

import type { Service } from '../base/service.ts'
import { BullMqScheduler } from '../jobs/bullmq-scheduler.ts'
import type { CommandChannel } from '../jobs/command-channel.ts'
import type { RedisSettings } from '../redis/redis-connection.ts'
import type { ServingRole } from '../serving/serving-service.ts'
import type { Position } from '../stream/event-log.ts'
import {
  type CommitOptions,
  KafkaCommits,
  KafkaEnds,
  type PartitionLag,
} from '../stream/kafka/kafka-ends.ts'
import {
  KafkaLog,
  type KafkaLogOptions,
  type LogReading,
  openKafkaLog,
} from '../stream/kafka/kafka-log.ts'
import type { ParameterSubscriber } from '../sync/parameter-sync.ts'
import { RedisSubscriber } from '../sync/redis/redis-subscriber.ts'
import { LeasedTrainer } from '../trainer/lease/leased-trainer.ts'
import { RedisLeaseStore } from '../trainer/lease/redis-lease.ts'
import type { TrainerStatus } from '../trainer/trainer-status.ts'
import type { Config } from './config/config-schema.ts'
import { kafkaSettings, redisSettings } from './config/servers-options.ts'
import { askExports, exportJob, serveExports } from './export-job.ts'
import { deadLettersFile } from './options.ts'
import { localReplica, RemoteReplicas, serveReplicaCommands } from './replica-commands.ts'
import type {
  JobShape,
  SchedulerParts,
  Shape,
  ShapeOptions,
  TrainerPart,
  TrainerRoleOptions,
} from './shape.ts'
import {
  askTrainerCommands,
  localTrainerCommands,
  serveTrainerCommands,
} from './trainer-commands.ts'

/** Between two warnings of the same. */
const warningIntervalMs = 30_000

export class DistributedShape implements Shape {
  readonly log: KafkaLog
  readonly fileLog = undefined
  readonly #config: Config
  readonly #options: ShapeOptions
  readonly #tag: string
  readonly #ends: KafkaEnds
  #warned = { error: '', at: 0 }
  /** For those who want to know who has the lease, or a run. */
  readonly #process = `${hostname()}:${pid}`
  /** Under which the replica of this process says where it stands, and is asked. */
  readonly #reader = `${this.#process}:${randomUUID().slice(0, 8)}`

  private constructor(config: Config, options: ShapeOptions, log: KafkaLog) {
    this.#config = config
    this.#options = options
    this.log = log
    this.#tag = config.process.redis.tag ?? config.model.name
    this.#ends = new KafkaEnds(log)
  }

  /** Throws `LOG_UNAVAILABLE`, `LOG_TOPIC_UNKNOWN`, `LOG_REFUSED`, `CONFIG_INVALID`. */
  static async open(config: Config, options: ShapeOptions): Promise<DistributedShape> {
    const { logger } = options
    const settings: KafkaLogOptions = {
      ...logOptions(config),
      report({ code, message }) {
        if (code === 'brokersBack') logger.info({ code }, message)
        else logger.error({ code }, message)
      },
    }
    // One that is never asked connects to nobody.
    const log = needsLog(config) ? await openKafkaLog(settings) : new KafkaLog(settings)
    return new DistributedShape(config, options, log)
  }

  get services(): readonly Service[] {
    return needsLog(this.#config) ? [this.#ends] : []
  }

  eventsAfter(position: Position): number {
    return this.#ends.lag(position).reduce((sum, { lag }) => sum + lag, 0)
  }

  partitions(position: Position): readonly PartitionLag[] {
    return this.#ends.lag(position)
  }

  get reading(): LogReading | undefined {
    return needsLog(this.#config) ? this.log.reading : undefined
  }

  trainer(options: TrainerRoleOptions): TrainerPart {
    const { logger } = this.#options
    const { dataDirectory, trainer, kafka } = this.#config.process
    const redis = this.#redis()
    const { deadLettersTopic: topic } = kafka
    const file = deadLettersFile(dataDirectory)
    const deadLetters = topic === undefined ? { file } : { topic }
    const leased = new LeasedTrainer({
      ...options,
      onStatus: this.#noting(options.onStatus),
      log: {
        kind: 'kafka',
        options: { ...logOptions(this.#config), deadLetters },
        ...this.#commits('trainer'),
      },
      parameters: { model: this.#tag, connection: redis },
      leases: new RedisLeaseStore({ model: this.#tag, connection: redis }),
      holder: this.#process,
      leaseMs: trainer.leaseMs,
      onWait: (holder) => logger.info({ holder }, 'another trainer is active: stands by'),
      onActive: (epoch) => logger.info({ epoch }, 'this trainer is active'),
    })
    const commands = serveTrainerCommands({
      channel: this.#channel(redis),
      commands: localTrainerCommands(leased, () => this.#config),
      isOwner: () => leased.isActive,
    })
    const exports = serveExports(this.#channel(redis, 'export'), exportJob(this.#config))
    return withCommands(leased, [commands, exports])
  }

  subscriber(): ParameterSubscriber {
    const connection = this.#redis()
    return new RedisSubscriber({ model: this.#tag, connection, reader: this.#reader })
  }

  replica(serving: ServingRole): readonly Service[] {
    const replica = localReplica(this.#reader, serving, this.#options.clock)
    const commands = serveReplicaCommands({ redis: this.#redis(), tag: this.#tag }, replica)
    const { commits } = this.#commits(`serving-${hostname()}`)
    if (commits === undefined) return [commands]
    const position = (): Position => serving.replica.position
    return [commands, new KafkaCommits({ ...commits, log: this.log, position })]
  }

  jobs({ onFinished }: SchedulerParts): JobShape {
    const { clock } = this.#options
    const { model, process } = this.#config
    const redis = this.#redis()
    const asking = { tables: model.tables.map(({ name }) => name), clock }
    const commands = askTrainerCommands(this.#channel(redis), asking)
    const exports = askExports(this.#channel(redis, 'export'), asking)
    const replicas = new RemoteReplicas({ redis, tag: this.#tag }, clock)
    const scheduler = new BullMqScheduler({
      clock,
      redis,
      tag: this.#tag,
      process: this.#process,
      historyRuns: process.jobs.historyRuns,
      limits: { lockMs: process.jobs.lockMs, stalledMs: process.jobs.lockMs / 3 },
      onFinished,
      onError: ({ message }) => this.#warn(message, 'jobs: trouble with Redis'),
    })
    const close = (): Promise<void> => {
      for (const asked of [commands, exports, replicas]) asked.close()
      return Promise.resolve()
    }
    return {
      scheduler,
      commands,
      replicas: (signal) => replicas.list(signal),
      export: exports,
      close,
    }
  }

  /** Who stands where, for whoever watches lag at the brokers. */
  #commits(reader: string): { readonly commits?: Pick<CommitOptions, 'groupId' | 'intervalMs'> } {
    const { group = `freshet-${this.#tag}`, commitMs: intervalMs } = this.#config.process.kafka
    return intervalMs === 0 ? {} : { commits: { groupId: `${group}-${reader}`, intervalMs } }
  }

  /** The same once in a while only: each of many connections says it, at every attempt. */
  #warn(error: string, text: string): void {
    const { clock, logger } = this.#options
    const now = clock.monotonic()
    if (this.#warned.error === error && now - this.#warned.at < warningIntervalMs) return
    this.#warned = { error, at: now }
    logger.warn({ error }, text)
  }

  /** Says once that deltas wait, and once that they go again. */
  #noting(onStatus: TrainerRoleOptions['onStatus']): (status: TrainerStatus) => void {
    const { logger } = this.#options
    let last: string | undefined
    return (status) => {
      const reason = status.published?.failure
      if (last === undefined && reason !== undefined) logger.warn({ reason }, 'deltas wait')
      if (last !== undefined && reason === undefined) logger.info({}, 'deltas go again')
      last = reason
      onStatus?.(status)
    }
  }

  #redis(): RedisSettings {
    return redisSettings(this.#config.process.redis, 'process.redis')
  }

  #channel(redis: RedisSettings, owner = 'trainer'): CommandChannel {
    return { redis, tag: this.#tag, owner }
  }
}

/** Jobs ask trainers and replicas through Redis. */
const needsLog = ({ process }: Config): boolean => process.roles.some((role) => role !== 'jobs')

function logOptions({ model, process }: Config): Omit<KafkaLogOptions, 'report'> {
  const { compression, maxPendingEvents, appendLimitMs, giveUpMs, metadataMaxAgeMs } = process.kafka
  const { lingerMs, fetchLingerMs } = process.kafka
  return {
    ...kafkaSettings(process.kafka),
    compression,
    maxPendingEvents,
    appendLimitMs,
    lingerMs,
    fetchLingerMs,
    giveUpMs,
    metadataMaxAgeMs,
    maxFutureMs: model.facts.futureSkewMs,
  }
}

/** The trainer takes commands while it lives. */
const withCommands = (trainer: LeasedTrainer, commands: readonly Service[]): TrainerPart => ({
  name: trainer.name,
  get status() {
    return trainer.status
  },
  get condition() {
    const { detail, isActive, isStandby } = trainer
    return { ready: isActive || isStandby, detail }
  },
  get lease() {
    return trainer.lease
  },
  command: (command, onProgress) => trainer.command(command, onProgress),
  async start(signal) {
    await trainer.start()
    for (const service of commands) await service.start(signal)
  },
  async drain() {
    // At once: a command under way ends with the trainer, if it must.
    const all = [...commands, trainer].map((service) => service.drain())
    for (const result of await Promise.allSettled(all)) {
      if (result.status === 'rejected') throw result.reason
    }
  },
  async stop() {
    for (const service of commands) await service.stop()
    await trainer.stop()
  },
})
