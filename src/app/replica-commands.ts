/**
 * What jobs ask of replicas: of the one in this process, or over Redis of every process that
 * serves. A replica takes commands under the name with which it says where it stands.
 */
import { randomUUID } from 'node:crypto'

import type { Clock } from '../base/clock.ts'
import { ServiceError } from '../base/errors.ts'
import type { CommandChannel } from '../jobs/command-channel.ts'
import { type Command, CommandClient, CommandServer } from '../jobs/owner-commands.ts'
import type { RecallReport, ReplicaCommands } from '../jobs/replica-jobs.ts'
import type { JobContext, JobResult } from '../jobs/scheduler.ts'
import type { RedisSettings } from '../redis/redis-connection.ts'
import type { ServingRole } from '../serving/serving-service.ts'
import { RedisReaders } from '../sync/redis/redis-readers.ts'
import { waitFor } from './visibility.ts'

/** How long a replica may take to fold what was appended, in milliseconds. */
const foldLimitMs = 10_000
/** A replica that has said nothing for so long is not asked. */
const heardWithinMs = 10_000
/** Until it must have begun a command: others need not wait for one that was lost. */
const beginMs = 5_000

export const localReplica = (
  name: string,
  serving: ServingRole,
  clock: Clock,
): ReplicaCommands => ({
  name,
  audit: ({ signal }) => serving.alignment.audit(signal),
  rebuild: ({ signal, progress }) => serving.rebuildIndex(signal, progress),
  expired(limit) {
    const found = serving.replica.facts.catalogue.expired(clock.now(), limit)
    return Promise.resolve(found.map(({ id }) => id))
  },
  folded: (written) => waitFor(serving, written, foldLimitMs),
})

export interface ReplicaChannel {
  readonly redis: RedisSettings
  /** Of the model. */
  readonly tag: string
}

const ownerOf = (replica: string): string => `replica:${replica}`

const channelOf = ({ redis, tag }: ReplicaChannel, replica: string): CommandChannel => ({
  redis,
  tag,
  owner: ownerOf(replica),
})

/** A service: executes what jobs of other processes ask of this replica. */
export function serveReplicaCommands(
  channel: ReplicaChannel,
  replica: ReplicaCommands,
): CommandServer {
  const execute = async (command: Command, context: JobContext): Promise<JobResult> => {
    switch (command.kind) {
      case 'audit':
        return { ...(await replica.audit(context)) }
      case 'rebuild':
        return { ...(await replica.rebuild(context)) }
      case 'expired':
        return { itemIds: await replica.expired(Number(command['limit']), context) }
      case 'folded':
        return { isFolded: await replica.folded(text(command['written']), context) }
      default:
        throw new ServiceError('REQUEST_INVALID', {
          path: 'kind',
          reason: `no command ${command.kind}`,
        })
    }
  }
  return new CommandServer({ channel: channelOf(channel, replica.name), execute })
}

const text = (value: unknown): string => (typeof value === 'string' ? value : '')

const texts = (value: unknown): readonly string[] => (Array.isArray(value) ? value.map(String) : [])

/** The replicas of all processes. */
export class RemoteReplicas {
  readonly #readers: RedisReaders
  readonly #client: CommandClient

  constructor(channel: ReplicaChannel, clock: Clock) {
    const { redis, tag } = channel
    this.#readers = new RedisReaders({ model: tag, connection: redis })
    this.#client = new CommandClient({
      channel: channelOf(channel, 'any'),
      clock,
      limits: { beginMs },
    })
  }

  /** Those that there are now. Throws what asking for them throws, and the signal's reason. */
  async list(signal: AbortSignal): Promise<readonly ReplicaCommands[]> {
    const readers = await this.#readers.list(heardWithinMs, signal)
    return readers.map(({ reader }) => this.#replica(reader))
  }

  close(): void {
    this.#readers.close()
    this.#client.close()
  }

  #replica(name: string): ReplicaCommands {
    const ask = (command: Command, id: string, context: JobContext): Promise<JobResult> =>
      this.#client.ask(command, { ...context, id, owner: ownerOf(name) })
    return {
      name,
      async audit(context) {
        const found = await ask({ kind: 'audit' }, context.run, context)
        // The replica's half of this file has written it.
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion
        return found as unknown as RecallReport
      },
      async rebuild(context) {
        const { items } = await ask({ kind: 'rebuild' }, context.run, context)
        return { items: Number(items) }
      },
      async expired(limit, context) {
        // What is only looked at is looked at anew each time.
        const { itemIds } = await ask({ kind: 'expired', limit }, randomUUID(), context)
        return texts(itemIds)
      },
      async folded(written, context) {
        const { isFolded } = await ask({ kind: 'folded', written }, randomUUID(), context)
        return isFolded === true
      },
    }
  }
}
