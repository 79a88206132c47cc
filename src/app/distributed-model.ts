/**
 * A version of the model in a process of many: its trainer under a lease, its parameters in Redis,
 * and what is asked of both from elsewhere, all under the version's own tag.
 */
import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { pid } from 'node:process'

import type { Service } from '../base/service.ts'
import type { CommandChannel } from '../jobs/command-channel.ts'
import type { RedisSettings } from '../redis/redis-connection.ts'
import type { ServingRole } from '../serving/serving-service.ts'
import type { Position } from '../stream/event-log.ts'
import { type CommitOptions, KafkaCommits } from '../stream/kafka/kafka-ends.ts'
import type { KafkaLog } from '../stream/kafka/kafka-log.ts'
import type { ParameterSubscriber } from '../sync/parameter-sync.ts'
import { RedisSubscriber } from '../sync/redis/redis-subscriber.ts'
import { LeasedTrainer } from '../trainer/lease/leased-trainer.ts'
import { RedisLeaseStore } from '../trainer/lease/redis-lease.ts'
import type { TrainerStatus } from '../trainer/trainer-status.ts'
import type { Config } from './config/config-schema.ts'
import { kafkaLogOptions, redisSettings } from './config/servers-options.ts'
import { exportJob, serveExports } from './export-job.ts'
import { deadLettersFile } from './options.ts'
import { localReplica, serveReplicaCommands } from './replica-commands.ts'
import type { ModelChannel, ShapeOptions, TrainerPart, TrainerRoleOptions } from './shape.ts'
import { localTrainerCommands, serveTrainerCommands } from './trainer-commands.ts'
import { familyTag } from './versions/version-paths.ts'

/** For those who want to know who has the lease, or a run. */
export const processName = (): string => `${hostname()}:${pid}`

export interface DistributedModelParts {
  /** Of the version. */
  readonly config: Config
  /** The tag of the first version. */
  readonly family: string
  readonly log: KafkaLog
}

export class DistributedModel implements ModelChannel {
  readonly #parts: DistributedModelParts
  readonly #options: ShapeOptions
  readonly #tag: string
  /** Under which its replica in this process says where it stands, and is asked. */
  readonly #reader = `${processName()}:${randomUUID().slice(0, 8)}`

  constructor(parts: DistributedModelParts, options: ShapeOptions) {
    this.#parts = parts
    this.#options = options
    this.#tag = familyTag(parts.config)
  }

  trainer(options: TrainerRoleOptions): TrainerPart {
    const { logger } = this.#options
    const { config } = this.#parts
    const redis = this.#redis()
    const version = this.#isFirst ? {} : { version: config.model.name }
    const leased = new LeasedTrainer({
      ...options,
      onStatus: this.#noting(options.onStatus),
      log: {
        kind: 'kafka',
        options: { ...kafkaLogOptions(config), deadLetters: this.#deadLetters() },
        ...this.#commits('trainer'),
      },
      parameters: { model: this.#tag, connection: redis },
      leases: new RedisLeaseStore({ model: this.#tag, connection: redis }),
      holder: processName(),
      leaseMs: config.process.trainer.leaseMs,
      onWait: (holder) =>
        logger.info({ ...version, holder }, 'another trainer is active: stands by'),
      onActive: (epoch) => logger.info({ ...version, epoch }, 'this trainer is active'),
    })
    const commands = serveTrainerCommands({
      channel: this.#channel(redis),
      commands: localTrainerCommands(leased, () => config),
      isOwner: () => leased.isActive,
    })
    const exports = serveExports(this.#channel(redis, 'export'), exportJob(config))
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
    return [commands, new KafkaCommits({ ...commits, log: this.#parts.log, position })]
  }

  get #isFirst(): boolean {
    return this.#tag === this.#parts.family
  }

  /** Every trainer reads the same topic: one of them tells others what is no event. */
  #deadLetters() {
    const { dataDirectory, kafka } = this.#parts.config.process
    const { deadLettersTopic: topic } = kafka
    const file = deadLettersFile(dataDirectory)
    return topic === undefined || !this.#isFirst ? { file } : { topic }
  }

  /** Who stands where, for whoever watches lag at the brokers. */
  #commits(reader: string): { readonly commits?: Pick<CommitOptions, 'groupId' | 'intervalMs'> } {
    const { group = `freshet-${this.#tag}`, commitMs } = this.#parts.config.process.kafka
    if (commitMs === 0) return {}
    return { commits: { groupId: `${group}-${reader}`, intervalMs: commitMs } }
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
    return redisSettings(this.#parts.config.process.redis, 'process.redis')
  }

  #channel(redis: RedisSettings, owner = 'trainer'): CommandChannel {
    return { redis, tag: this.#tag, owner }
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
