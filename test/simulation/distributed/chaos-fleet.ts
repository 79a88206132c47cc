/** Processes of a run of the crash test: one takes events, two train, two answer, one has jobs. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import type { Config } from '../../../src/app/config/config-schema.ts'
import { loadConfig, parseOverride } from '../../../src/app/config/config.ts'
import { smallShop } from '../../app/small-service.ts'
import { ChaosBucket, type ChaosCheckpoints, sharedFolder } from './chaos-checkpoints.ts'
import { ChaosMember } from './chaos-member.ts'
import { type ChaosServers, type MemberName, memberNames } from './chaos-servers.ts'

const replicaProgram = fileURLToPath(new URL('../../support/replica-process.ts', import.meta.url))

/**
 * Frequent checkpoints, so that faults meet them; all are kept, so that the journal is kept whole
 * for the run without faults. Small tables, so that rows leave. Short limits, so that silence is
 * noticed; a machine that is busy with other things sheds no requests.
 */
const overrides = [
  ...smallShop,
  'process.shape=distributed',
  'process.checkpoints.intervalMs=500',
  'process.checkpoints.keep=1000',
  'process.http.maxEventLoopDelayMs=60000',
  'process.jobs.expireMs=0',
  'process.jobs.restrictMs=1000',
  'process.kafka.appendLimitMs=4000',
  'process.kafka.requestTimeoutMs=2000',
  'process.logging.level=warn',
  'process.trainer.leaseMs=2000',
  'model.tables.user.restrict={policy: timestamp, numReserved: 30, trigger: 40}',
  'model.tables.words.restrict={policy: frequency, numReserved: 300, trigger: 400}',
]

/** For who reads the trainer's directory; where the servers are is all the same to them. */
export const fleetConfig = (): Config => {
  const nowhere = ['process.kafka.brokers=[localhost:1]', 'process.redis.url=redis://localhost:1']
  const values = [...overrides, ...nowhere]
  return loadConfig({ environment: {}, overrides: values.map(parseOverride) }).config
}

const roleOf = (name: MemberName): string => name.split(' ')[0]

interface FleetOptions {
  readonly onLog: (line: string) => void
  /** More of the configuration, of every process. */
  readonly more: readonly string[]
}

export class ChaosFleet implements AsyncDisposable {
  readonly checkpoints: ChaosCheckpoints
  readonly #directory = mkdtempSync(join(tmpdir(), 'freshet-chaos-'))
  readonly #members: ReadonlyMap<MemberName, ChaosMember>

  constructor(servers: ChaosServers, topic: string, { onLog, more }: FleetOptions) {
    const root = this.#directory
    const checkpoints =
      servers.store === undefined ? sharedFolder(root) : new ChaosBucket(servers.store, topic, root)
    this.checkpoints = checkpoints
    const start = (name: MemberName): [MemberName, ChaosMember] => {
      const { broker, redis, store } = servers.links(name)
      const values = [
        ...overrides,
        ...more,
        ...checkpoints.settings(store?.port ?? 0),
        `process.kafka.brokers=[127.0.0.1:${broker.port}]`,
        `process.kafka.topic=${topic}`,
        `process.redis.url=redis://127.0.0.1:${redis.port}`,
      ]
      const role = roleOf(name)
      const member = new ChaosMember({
        name,
        onLog,
        dataDirectory: role === 'trainer' ? checkpoints.directoryOf(name) : join(root, 'none'),
        flags: ['--role', role, ...values.flatMap((value) => ['--set', value])],
        ...(role === 'serving' && { program: replicaProgram }),
        ...(role === 'ingest' && { door: servers.door }),
      })
      return [name, member]
    }
    this.#members = new Map(memberNames.map(start))
  }

  member(name: MemberName): ChaosMember {
    const found = this.#members.get(name)
    if (found === undefined) throw new Error(`no member ${name}`)
    return found
  }

  get members(): readonly ChaosMember[] {
    return [...this.#members.values()]
  }

  get trainers(): readonly ChaosMember[] {
    return [this.member('trainer 1'), this.member('trainer 2')]
  }

  get replicas(): readonly ChaosMember[] {
    return [this.member('serving 1'), this.member('serving 2')]
  }

  /** The trainer that says to be active; undefined where none does now. */
  async activeTrainer(): Promise<ChaosMember | undefined> {
    for (const trainer of this.trainers) {
      const metrics = await trainer.client?.metrics().catch(() => undefined)
      if (metrics?.get('freshet_trainer_events_total') !== undefined) return trainer
    }
    return undefined
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.members.map((member) => member.end('SIGKILL')))
    rmSync(this.#directory, { recursive: true, force: true })
  }
}
