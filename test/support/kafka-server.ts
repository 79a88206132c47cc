/**
 * A real Kafka broker for tests (KRaft, broker and controller in one process), started on free
 * ports and a temporary directory, and killed when it is disposed. An address in
 * `FRESHET_TEST_KAFKA` (host:port, no authentication) serves the tests that need just a broker
 * instead. Nothing is skipped: where there is none and none can be fetched, a test fails.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { env } from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'

import kafkajs from 'kafkajs'

import { kafkaJars } from './fetch-kafka.ts'
import { freePort } from './ports.ts'
import { hasEnded } from './programs.ts'
import { makeCertificate } from './redis-server.ts'

const host = '127.0.0.1'
const readyLimitMs = 120_000

export interface BrokerOptions {
  /** More of the configuration, as `name=value`. */
  readonly config?: readonly string[]
  /** Listeners with SASL (plain, scram) and with TLS beside the open one. */
  readonly secure?: boolean
  readonly heapMb?: number
  /** Half the time to start, and a slower broker: for one that is killed again and again. */
  readonly quickStart?: boolean
  /**
   * More open listeners, each of which tells its clients to come to this port, where a proxy of
   * the test's stands before it.
   */
  readonly doors?: readonly number[]
}

/** Who may log in where `secure` is set. */
export const brokerUser = { username: 'alice', password: 'open sesame' } as const

/** One broker process. Killed and started again it has the same ports and data. */
export class KafkaServer implements AsyncDisposable {
  readonly directory = mkdtempSync(join(dataRoot(), 'freshet-kafka-'))
  /** PEM of the authority of the TLS listener. */
  readonly certificate: string
  /** Where the proxies of the doors connect to. */
  readonly doors: readonly number[]
  readonly #ports: Ports
  readonly #options: BrokerOptions
  #process: ChildProcess | undefined

  private constructor(ports: Ports, options: BrokerOptions) {
    this.#ports = ports
    this.doors = ports.doors
    this.#options = options
    const pem = options.secure === true ? makeCertificate(this.directory) : undefined
    this.certificate = pem === undefined ? '' : readFileSync(pem.cert, 'utf8')
    const base = baseConfig(ports, options.doors ?? [])
    const lines = [...base, `log.dirs=${join(this.directory, 'data')}`, ...(options.config ?? [])]
    if (pem !== undefined) {
      const keystore = join(this.directory, 'keystore.pem')
      writeFileSync(keystore, readFileSync(pem.key, 'utf8') + this.certificate)
      lines.push(...secureConfig(keystore))
    }
    writeFileSync(this.#config, `${lines.join('\n')}\n`)
  }

  static async start(options: BrokerOptions = {}): Promise<KafkaServer> {
    const open = await freePort()
    const controller = await freePort()
    const sasl = options.secure === true ? await freePort() : 0
    const tls = options.secure === true ? await freePort() : 0
    const doors: number[] = []
    while (doors.length < (options.doors?.length ?? 0)) doors.push(await freePort())
    const server = new KafkaServer({ open, controller, sasl, tls, doors }, options)
    try {
      server.#format()
      await server.start()
    } catch (error) {
      await server.stop()
      throw error
    }
    return server
  }

  get address(): string {
    return `${host}:${this.#ports.open}`
  }

  get port(): number {
    return this.#ports.open
  }

  /** Asks for `brokerUser`. */
  get saslAddress(): string {
    return `${host}:${this.#ports.sasl}`
  }

  get tlsAddress(): string {
    return `${host}:${this.#ports.tls}`
  }

  get processId(): number {
    return this.#process?.pid ?? -1
  }

  async start(): Promise<void> {
    const log = openSync(this.#log, 'a')
    const heap = `${this.#options.heapMb ?? 256}m`
    const quick = this.#options.quickStart === true ? ['-XX:TieredStopAtLevel=1'] : []
    const java = [`-Xms${heap}`, `-Xmx${heap}`, '-XX:+UseSerialGC', ...quick, ...logging('warn')]
    const child = spawn('java', [...java, '-cp', classPath(), 'kafka.Kafka', this.#config], {
      stdio: ['ignore', log, log],
    })
    this.#process = child
    // Also when the test process is stopped in the middle.
    const kill = (): void => void child.kill('SIGKILL')
    process.once('exit', kill)
    child.once('exit', () => process.off('exit', kill))
    const limit = performance.now() + readyLimitMs
    while (!(await takesConnections(this.port))) {
      if (hasEnded(child)) throw new Error(`the broker has ended:\n${this.#said()}`)
      if (performance.now() > limit) throw new Error(`the broker is not ready:\n${this.#said()}`)
      await sleep(50)
    }
  }

  /**
   * SIGKILL: what was not on disk is with the operating system, as after a crash of the process.
   */
  async kill(): Promise<void> {
    const child = this.#process
    this.#process = undefined
    if (child === undefined || hasEnded(child)) return
    const gone = once(child, 'exit')
    child.kill('SIGKILL')
    await gone
  }

  /** Whether it takes connections. */
  isUp(): Promise<boolean> {
    return takesConnections(this.port)
  }

  /** Neither dead nor alive: connections stay open and nothing answers. */
  pause(): void {
    this.#process?.kill('SIGSTOP')
  }

  resume(): void {
    this.#process?.kill('SIGCONT')
  }

  async stop(): Promise<void> {
    await this.kill()
    rmSync(this.directory, { recursive: true, force: true })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  #format(): void {
    const java = ['-Xmx128m', '-XX:TieredStopAtLevel=1', ...logging('error'), '-cp', classPath()]
    const tool = ['kafka.tools.StorageTool', 'format', '-t', 'MkU3OEVBNTcwNTJENDM2Qk']
    const { username, password } = brokerUser
    const scram = ['SCRAM-SHA-256', 'SCRAM-SHA-512'].flatMap((mechanism) => [
      '--add-scram',
      `${mechanism}=[name=${username},password=${password}]`,
    ])
    const users = this.#options.secure === true ? scram : []
    const said = execFileSync('java', [...java, ...tool, ...users, '-c', this.#config], {
      encoding: 'utf8',
      stdio: 'pipe',
    })
    appendFileSync(this.#log, said)
  }

  #said(): string {
    return existsSync(this.#log) ? readFileSync(this.#log, 'utf8').slice(-4_000) : ''
  }

  get #config(): string {
    return join(this.directory, 'server.properties')
  }

  get #log(): string {
    return join(this.directory, 'broker.log')
  }
}

/** The broker that the environment names, or one of its own. */
export async function anyBroker(): Promise<{ readonly address: string } & AsyncDisposable> {
  const given = env['FRESHET_TEST_KAFKA']
  if (given === undefined || given === '') return await KafkaServer.start()
  return { address: given, [Symbol.asyncDispose]: () => Promise.resolve() }
}

/** What a test does to a broker beside the log under test. */
export async function withAdmin<Result>(
  address: string,
  work: (admin: kafkajs.Admin, kafka: kafkajs.Kafka) => Promise<Result>,
): Promise<Result> {
  const kafka = new kafkajs.Kafka({
    brokers: [address],
    clientId: 'test',
    logLevel: kafkajs.logLevel.NOTHING,
    retry: { initialRetryTime: 100, retries: 20, maxRetryTime: 1_000 },
  })
  const admin = kafka.admin()
  await admin.connect()
  try {
    return await work(admin, kafka)
  } finally {
    await admin.disconnect()
  }
}

let topics = 0

/** A topic that no other test uses. */
export async function makeTopic(
  address: string,
  numPartitions = 1,
  config: Readonly<Record<string, string>> = {},
): Promise<string> {
  topics += 1
  const topic = `events-${process.pid}-${topics}`
  // Events of tests are as old as they like.
  const configEntries = Object.entries({ 'retention.ms': '-1', ...config }).map(
    ([name, value]) => ({ name, value }),
  )
  await withAdmin(address, async (admin) => {
    const made = { topic, numPartitions, replicationFactor: 1, configEntries }
    await admin.createTopics({ topics: [made], waitForLeaders: false })
    // The topic is made before the broker that is asked knows of it.
    const limit = performance.now() + readyLimitMs
    for (;;) {
      const offsets = await admin.fetchTopicOffsets(topic).catch(() => [])
      if (offsets.length === numPartitions || performance.now() > limit) break
      await sleep(50)
    }
  })
  return topic
}

/** In memory where that can be: a broker that syncs to a busy disk stands still for seconds. */
const dataRoot = (): string => (existsSync('/dev/shm') ? '/dev/shm' : tmpdir())

type Listener = 'open' | 'controller' | 'sasl' | 'tls'
type Ports = Readonly<Record<Listener, number>> & { readonly doors: readonly number[] }

const classPath = (): string => join(kafkaJars(), '*')

const logging = (level: string): string[] => [
  `-Dorg.slf4j.simpleLogger.defaultLogLevel=${level}`,
  '-Dorg.slf4j.simpleLogger.showDateTime=true',
]

function takesConnections(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, host)
    const settle = (isOpen: boolean) => () => {
      socket.destroy()
      resolve(isOpen)
    }
    socket.once('connect', settle(true)).once('error', settle(false))
  })
}

function baseConfig(ports: Ports, advertised: readonly number[]): string[] {
  const open = [`PLAINTEXT://${host}:${ports.open}`]
  if (ports.sasl > 0) open.push(`SASL://${host}:${ports.sasl}`, `TLS://${host}:${ports.tls}`)
  const doors = (at: readonly number[]) => at.map((port, i) => `DOOR${i}://${host}:${port}`)
  const listeners = [...open, ...doors(ports.doors), `CONTROLLER://${host}:${ports.controller}`]
  return [
    'process.roles=broker,controller',
    'node.id=1',
    `controller.quorum.voters=1@${host}:${ports.controller}`,
    `listeners=${listeners.join(',')}`,
    `advertised.listeners=${[...open, ...doors(advertised)].join(',')}`,
    `listener.security.protocol.map=${[
      'PLAINTEXT:PLAINTEXT',
      'CONTROLLER:PLAINTEXT',
      'SASL:SASL_PLAINTEXT',
      'TLS:SSL',
      ...advertised.map((_, i) => `DOOR${i}:PLAINTEXT`),
    ].join(',')}`,
    'controller.listener.names=CONTROLLER',
    'inter.broker.listener.name=PLAINTEXT',
    // One node: internal topics cannot have three replicas.
    'offsets.topic.replication.factor=1',
    'offsets.topic.num.partitions=2',
    'transaction.state.log.replication.factor=1',
    'transaction.state.log.min.isr=1',
    'transaction.state.log.num.partitions=2',
    'share.coordinator.state.topic.replication.factor=1',
    'share.coordinator.state.topic.min.isr=1',
    // The default waits three seconds before it assigns anything.
    'group.initial.rebalance.delay.ms=0',
    'group.min.session.timeout.ms=1000',
    // After a SIGKILL the controller refuses the broker until the dead one's session has ended.
    'broker.session.timeout.ms=2000',
    'broker.heartbeat.interval.ms=500',
    'auto.create.topics.enable=false',
    'num.network.threads=2',
    'num.io.threads=2',
    'log.segment.bytes=67108864',
  ]
}

function secureConfig(keystore: string): string[] {
  const login = 'org.apache.kafka.common.security'
  const { username, password } = brokerUser
  return [
    'sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512',
    'listener.name.sasl.plain.sasl.jaas.config=' +
      `${login}.plain.PlainLoginModule required user_${username}="${password}";`,
    ...['scram-sha-256', 'scram-sha-512'].map(
      (mechanism) =>
        `listener.name.sasl.${mechanism}.sasl.jaas.config=` +
        `${login}.scram.ScramLoginModule required;`,
    ),
    'listener.name.tls.ssl.keystore.type=PEM',
    `listener.name.tls.ssl.keystore.location=${keystore}`,
  ]
}
