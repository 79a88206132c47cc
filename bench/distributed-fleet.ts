/**
 * The processes of `freshet bench distributed`: a broker, a Redis, a trainer and some that serve,
 * and how much processor time each has taken.
 */
import { readFileSync } from 'node:fs'
import { setPriority } from 'node:os'

import { ChildService } from '../src/app/bench/child-service.ts'
import { ServiceClient } from '../src/app/service-client.ts'
import { KafkaServer, makeTopic } from '../test/support/kafka-server.ts'
import { RedisServer } from '../test/support/redis-server.ts'

export interface FleetOptions {
  readonly partitions: number
  readonly replicas: number
  readonly config: string
  readonly set: readonly string[]
  readonly trainerDirectory: string
  /** Of the processes that serve, where they share processors with who learns. */
  readonly niceness: number
  /** Of each process, there. Absent: none are written. */
  readonly profiles?: string | undefined
}

export interface Member {
  readonly name: string
  readonly processId: number
  readonly client: ServiceClient
}

const readyLimitMs = 60_000
/** Clock ticks of the kernel, per second. */
const ticks = 100

/** Stopped in the order in which a person would: first who asks, then who is asked. */
export class BenchFleet implements AsyncDisposable {
  readonly broker: KafkaServer
  readonly topic: string
  readonly trainer: Member
  readonly replicas: readonly Member[]
  readonly #redis: RedisServer
  readonly #services: readonly ChildService[]

  private constructor(parts: Pick<BenchFleet, 'broker' | 'topic'>, more: StartedServices) {
    this.broker = parts.broker
    this.topic = parts.topic
    this.#redis = more.redis
    this.#services = more.services
    const [trainer, ...replicas] = more.services.map((service, i): Member => {
      const client = new ServiceClient(service.address)
      const name = i === 0 ? 'trainer' : `replica${i}`
      return { name, processId: service.processId, client }
    })
    this.trainer = trainer
    this.replicas = replicas
  }

  static async start(options: FleetOptions): Promise<BenchFleet> {
    await using started = new AsyncDisposableStack()
    // A Java that compiles with care takes twice as long over that as the broker over a short run.
    const broker = started.use(await KafkaServer.start({ heapMb: 512, quickStart: true }))
    const redis = started.use(await RedisServer.start({ appendOnly: true }))
    const topic = await makeTopic(broker.address, options.partitions)
    const flags = flagsOf(options, { broker, redis, topic })
    const services: ChildService[] = []
    for (const role of ['trainer', ...rolesOf(options.replicas)]) {
      const service = await ChildService.start({
        flags: ['--role', role, ...flags],
        ...(role === 'trainer' && { dataDirectory: options.trainerDirectory }),
        ...(options.profiles !== undefined && {
          nodeFlags: ['--cpu-prof', `--cpu-prof-dir=${options.profiles}/${role}`],
        }),
      })
      started.defer(() => service.stop('SIGKILL').then(() => undefined))
      services.push(service)
      if (role !== 'trainer') setPriority(service.processId, options.niceness)
    }
    const fleet = new BenchFleet({ broker, topic }, { redis, services })
    await fleet.trainer.client.waitUntilReady(readyLimitMs)
    // Of before the first batch, so that the journal is kept whole.
    const { state, error } = await fleet.replicas[0].client.runJob('checkpoint')
    if (state !== 'done') throw new Error(`no first checkpoint: ${state}, ${String(error)}`)
    started.move()
    return fleet
  }

  /** Seconds of processor time since their start, by name. */
  processorSeconds(): Readonly<Record<string, number>> {
    const services = [this.trainer, ...this.replicas].map(({ name, processId }) => [
      name,
      secondsOf(processId),
    ])
    return {
      broker: secondsOf(this.broker.processId),
      redis: secondsOf(this.#redis.processId),
      load: secondsOf(process.pid),
      ...Object.fromEntries(services),
    }
  }

  /** Ends all that learn and serve, in order: the trainer writes its last checkpoint. */
  async stopServices(): Promise<void> {
    for (const service of this.#services.toReversed()) await service.stop()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#services.map((service) => service.stop('SIGKILL')))
    await this.#redis.stop()
    await this.broker.stop()
  }
}

interface StartedServices {
  readonly redis: RedisServer
  readonly services: readonly ChildService[]
}

interface Servers {
  readonly broker: KafkaServer
  readonly redis: RedisServer
  readonly topic: string
}

/** One of them has the jobs too. */
const rolesOf = (replicas: number): readonly string[] =>
  Array.from({ length: replicas }, (_, i) => (i === 0 ? 'serving,jobs' : 'serving'))

function flagsOf({ config, set }: FleetOptions, { broker, redis, topic }: Servers): string[] {
  const values = [
    'process.shape=distributed',
    `process.kafka.brokers=[${broker.address}]`,
    `process.kafka.topic=${topic}`,
    `process.redis.url=redis://127.0.0.1:${redis.port}`,
    'process.logging.level=warn',
    // The journal is to be replayed from its first batch on: none of its checkpoints goes.
    'process.checkpoints.keep=1000',
    ...set,
  ]
  return ['--config', config, ...values.flatMap((value) => ['--set', value])]
}

/** User and system time of a process, from the kernel. */
function secondsOf(processId: number): number {
  const stat = readFileSync(`/proc/${processId}/stat`, 'utf8')
  // After the name, which may hold anything, in brackets.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / ticks
}
