/**
 * A process of the distributed shape: the log is a Kafka topic; in Redis are the parameters, the
 * lease of the trainer, jobs and commands. Processes know nothing of each other.
 */
import type { Service } from '../base/service.ts'
import { BullMqScheduler } from '../jobs/bullmq-scheduler.ts'
import type { RedisSettings } from '../redis/redis-connection.ts'
import type { Position } from '../stream/event-log.ts'
import { KafkaEnds, type PartitionLag } from '../stream/kafka/kafka-ends.ts'
import {
  KafkaLog,
  type KafkaLogOptions,
  type LogReading,
  openKafkaLog,
} from '../stream/kafka/kafka-log.ts'
import { AskedVersions } from './asked-versions.ts'
import type { Config } from './config/config-schema.ts'
import { kafkaLogOptions, redisSettings } from './config/servers-options.ts'
import { DistributedModel, processName } from './distributed-model.ts'
import type { JobShape, ModelChannel, SchedulerParts, Shape, ShapeOptions } from './shape.ts'
import { familyTag } from './versions/version-paths.ts'

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

  private constructor(config: Config, options: ShapeOptions, log: KafkaLog) {
    this.#config = config
    this.#options = options
    this.log = log
    this.#tag = familyTag(config)
    this.#ends = new KafkaEnds(log)
  }

  /** Throws `LOG_UNAVAILABLE`, `LOG_TOPIC_UNKNOWN`, `LOG_REFUSED`, `CONFIG_INVALID`. */
  static async open(config: Config, options: ShapeOptions): Promise<DistributedShape> {
    const { logger } = options
    const settings: KafkaLogOptions = {
      ...kafkaLogOptions(config),
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

  model(config: Config): ModelChannel {
    return new DistributedModel(
      { config, family: familyTag(this.#config), log: this.log },
      this.#options,
    )
  }

  jobs({ onFinished, config }: SchedulerParts): JobShape {
    const { clock } = this.#options
    const { process } = this.#config
    const redis = this.#redis()
    const scheduler = new BullMqScheduler({
      clock,
      redis,
      tag: this.#tag,
      process: processName(),
      historyRuns: process.jobs.historyRuns,
      limits: { lockMs: process.jobs.lockMs, stalledMs: process.jobs.lockMs / 3 },
      onFinished,
      onError: ({ message }) => this.#warn(message, 'jobs: trouble with Redis'),
    })
    const asked = new AskedVersions({ redis, clock, config })
    return { scheduler, ...asked.parts(), close: () => asked.close() }
  }

  /** The same once in a while only: each of many connections says it, at every attempt. */
  #warn(error: string, text: string): void {
    const { clock, logger } = this.#options
    const now = clock.monotonic()
    if (this.#warned.error === error && now - this.#warned.at < warningIntervalMs) return
    this.#warned = { error, at: now }
    logger.warn({ error }, text)
  }

  #redis(): RedisSettings {
    return redisSettings(this.#config.process.redis, 'process.redis')
  }
}

/** Jobs ask trainers and replicas through Redis. */
const needsLog = ({ process }: Config): boolean => process.roles.some((role) => role !== 'jobs')
