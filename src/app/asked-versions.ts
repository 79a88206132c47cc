/**
 * What jobs of one process ask of trainers and replicas of others: of those of the version that
 * answers when a run begins. Each version has a channel of its own in Redis.
 */
import type { Clock } from '../base/clock.ts'
import type { TableExport, TrainerCommands } from '../jobs/jobs.ts'
import type { RedisSettings } from '../redis/redis-connection.ts'
import type { Config } from './config/config-schema.ts'
import { askExports } from './export-job.ts'
import { RemoteReplicas } from './replica-commands.ts'
import type { JobShape } from './shape.ts'
import { askTrainerCommands, type RemoteTrainerCommands } from './trainer-commands.ts'
import { familyTag } from './versions/version-paths.ts'

export interface AskedVersionsOptions {
  readonly redis: RedisSettings
  readonly clock: Clock
  /** Of the version that answers now. */
  readonly config: () => Config
}

interface Asked {
  readonly commands: RemoteTrainerCommands
  readonly exports: ReturnType<typeof askExports>
  readonly replicas: RemoteReplicas
}

export class AskedVersions {
  readonly #options: AskedVersionsOptions
  /** By tag; as many as versions that have answered in this life. */
  readonly #asked = new Map<string, Asked>()

  constructor(options: AskedVersionsOptions) {
    this.#options = options
  }

  parts(): Required<Pick<JobShape, 'commands' | 'replicas' | 'export'>> {
    const now = (): Asked => this.#now()
    return {
      commands: {
        get tables() {
          return now().commands.tables
        },
        restrict: (...given) => now().commands.restrict(...given),
        checkpoint: (context) => now().commands.checkpoint(context),
        compact: (context) => now().commands.compact(context),
        rollBack: (...given) => now().commands.rollBack(...given),
      } satisfies TrainerCommands,
      replicas: (signal) => now().replicas.list(signal),
      export: {
        get tables() {
          return now().exports.tables
        },
        write: (...given) => now().exports.write(...given),
      } satisfies TableExport,
    }
  }

  close(): Promise<void> {
    for (const { commands, exports, replicas } of this.#asked.values()) {
      for (const asked of [commands, exports, replicas]) asked.close()
    }
    return Promise.resolve()
  }

  #now(): Asked {
    const { redis, clock, config } = this.#options
    const current = config()
    const tag = familyTag(current)
    const known = this.#asked.get(tag)
    if (known !== undefined) return known
    const asking = { tables: current.model.tables.map(({ name }) => name), clock }
    const made = {
      commands: askTrainerCommands({ redis, tag, owner: 'trainer' }, asking),
      exports: askExports({ redis, tag, owner: 'export' }, asking),
      replicas: new RemoteReplicas({ redis, tag }, clock),
    }
    this.#asked.set(tag, made)
    return made
  }
}
