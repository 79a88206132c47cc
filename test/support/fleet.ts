/** Processes of the distributed shape, around a broker and a Redis of their own. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import { ServiceClient } from '../../src/app/service-client.ts'
import { smallShop } from '../app/small-service.ts'
import { ChaosService } from '../simulation/chaos-service.ts'

const pollMs = 20

export interface Servers {
  /** `host:port` of a broker. */
  readonly broker: string
  readonly topic: string
  /** `redis://host:port`. */
  readonly redis: string
}

export interface Member {
  readonly name: string
  readonly client: ServiceClient
  /** What it wrote to stderr. */
  readonly log: readonly string[]
  readonly pid: number | undefined
  /** The exit code when it has ended by itself; null: a signal ended it. */
  readonly ended: Promise<number | null>
  /** Stops it in the middle of whatever it does, until it is told to go on; it is not told. */
  pause(): void
  resume(): void
  end(signal: 'SIGKILL' | 'SIGTERM'): Promise<number | null>
  /** The exit code when it has ended, by itself or told to; null: a signal ended it. */
  readonly exited: Promise<number | null>
}

export class Fleet implements AsyncDisposable {
  /** Of trainers: shared by the active one and its standbys. */
  readonly trainerDirectory = mkdtempSync(join(tmpdir(), 'freshet-fleet-'))
  readonly #flags: readonly string[]
  readonly #members = new Set<Member>()

  constructor({ broker, topic, redis }: Servers, more: readonly string[] = []) {
    const values = [
      'process.shape=distributed',
      `process.kafka.brokers=[${broker}]`,
      `process.kafka.topic=${topic}`,
      `process.redis.url=${redis}`,
      'process.trainer.leaseMs=2000',
      'process.checkpoints.intervalMs=2000',
      ...smallShop,
      ...more,
    ]
    this.#flags = values.flatMap((value) => ['--set', value])
  }

  /**
   * Resolves when it listens; only a trainer has a directory that is there already. `more`: values
   * of `--set` for it alone.
   */
  async start(name: string, roles: string, more: readonly string[] = []): Promise<Member> {
    const log: string[] = []
    const child = new ChaosService({
      dataDirectory: roles.includes('trainer')
        ? this.trainerDirectory
        : join(this.trainerDirectory, 'none'),
      flags: ['--role', roles, ...this.#flags, ...more.flatMap((value) => ['--set', value])],
      onLog: (line) => log.push(line),
    })
    const address = await child.address()
    if (address === undefined) throw new Error(`${name} did not start: ${log.join('\n')}`)
    const client = new ServiceClient(address)
    const member: Member = {
      name,
      client,
      log,
      pid: child.pid,
      ended: child.exited,
      pause: () => child.pause(),
      resume: () => child.resume(),
      end: (signal) => child.end(signal),
      exited: child.exited,
    }
    this.#members.add(member)
    return member
  }

  /** What all of them said, for the message of a test that failed. */
  get said(): string {
    return [...this.#members]
      .map(({ name, log }) => `${name}:\n${log.slice(-10).join('\n')}`)
      .join('\n\n')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#members].map((member) => member.end('SIGKILL')))
    rmSync(this.trainerDirectory, { recursive: true, force: true })
  }
}

/** Waits until something is so, and fails with what all of the fleet said after `limitMs`. */
export const eventuallyWithin =
  (limitMs: number) =>
  async (fleet: Fleet, what: string, isSo: () => Promise<boolean>): Promise<void> => {
    const limit = performance.now() + limitMs
    while (!(await isSo().catch(() => false))) {
      if (performance.now() > limit) throw new Error(`${what}: not in time\n${fleet.said}`)
      await sleep(pollMs)
    }
  }
