/**
 * The servers of a crash test of many processes: one broker, one Redis and, where checkpoints are
 * in a bucket, one object store, real ones, and between them and each process a network of its own. They outlive a run; every run has its own topic and
 * begins with an empty Redis.
 */
import { KafkaServer, makeTopic, withAdmin } from '../../support/kafka-server.ts'
import { NetworkLink } from '../../support/network-link.ts'
import { RedisServer } from '../../support/redis-server.ts'
import { S3Server } from '../../support/s3-server.ts'

/** The processes of a run. */
export const memberNames = [
  'ingest',
  'trainer 1',
  'trainer 2',
  'serving 1',
  'serving 2',
  'jobs',
] as const
export type MemberName = (typeof memberNames)[number]

/** The networks of one process. */
export interface Links {
  readonly broker: NetworkLink
  readonly redis: NetworkLink
  readonly store: NetworkLink | undefined
}

interface Parts {
  readonly door: NetworkLink
  readonly broker: KafkaServer
  readonly redis: RedisServer
  readonly store: S3Server | undefined
  readonly links: ReadonlyMap<MemberName, Links>
}

/** Enough for the order of partitions to be chance. */
const partitions = 3

export class ChaosServers implements AsyncDisposable {
  readonly broker: KafkaServer
  readonly redis: RedisServer
  /** Undefined: checkpoints are in a folder. */
  readonly store: S3Server | undefined
  /** Between who sends events and the process that takes them. */
  readonly door: NetworkLink
  readonly #links: ReadonlyMap<MemberName, Links>

  private constructor({ door, broker, redis, store, links }: Parts) {
    this.door = door
    this.broker = broker
    this.redis = redis
    this.store = store
    this.#links = links
  }

  static async start(checkpoints: 'folder' | 's3' = 'folder'): Promise<ChaosServers> {
    const links = new Map<MemberName, Links>()
    for (const name of memberNames) {
      links.set(name, {
        broker: await NetworkLink.open(),
        redis: await NetworkLink.open(),
        store: checkpoints === 's3' ? await NetworkLink.open() : undefined,
      })
    }
    const all = [...links.values()]
    const doors = all.map((link) => link.broker.port)
    const [broker, redis, store] = await Promise.all([
      KafkaServer.start({ doors, quickStart: true }),
      RedisServer.start({ appendOnly: true }),
      checkpoints === 's3' ? S3Server.start() : undefined,
    ])
    for (const [i, link] of all.entries()) {
      link.broker.target = broker.doors[i] ?? 0
      link.redis.target = redis.port
      if (link.store !== undefined) link.store.target = store?.port ?? 0
    }
    return new ChaosServers({ door: await NetworkLink.open(), broker, redis, store, links })
  }

  links(name: MemberName): Links {
    const found = this.#links.get(name)
    if (found === undefined) throw new Error(`${name} has no network`)
    return found
  }

  get allLinks(): readonly NetworkLink[] {
    const ofMembers = [...this.#links.values()].flatMap(({ broker, redis, store }) =>
      store === undefined ? [broker, redis] : [broker, redis, store],
    )
    return [this.door, ...ofMembers]
  }

  /** A new topic, nothing in Redis, all networks whole. */
  async makeReady(): Promise<string> {
    this.heal()
    await this.#revive()
    await this.redis.command('FLUSHALL')
    return await makeTopic(this.broker.address, partitions)
  }

  /** What the run before has not brought back. */
  async #revive(): Promise<void> {
    const { broker, redis } = this
    if (!(await broker.isUp())) {
      await broker.kill()
      await broker.start()
    }
    const isThere = await redis.command('PING').catch(() => undefined)
    if (isThere !== undefined) return
    await redis.kill()
    await redis.start()
  }

  /** A broker that starts again opens every log that it has. */
  async forget(topic: string): Promise<void> {
    await withAdmin(this.broker.address, (admin) => admin.deleteTopics({ topics: [topic] }))
  }

  heal(): void {
    for (const link of this.allLinks) link.heal()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const link of this.allLinks) await link[Symbol.asyncDispose]()
    await Promise.all([this.broker.stop(), this.redis.stop(), this.store?.stop()])
  }
}
