/**
 * Real Redis servers for tests, started as processes of their own on free ports and temporary
 * directories, and killed when they are disposed. An address in `FRESHET_TEST_REDIS` (host:port, no
 * password) serves the tests that need just a server instead. Nothing is skipped: where there is no
 * server and none can be installed, a test fails.
 */
import type { ChildProcess } from 'node:child_process'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import { Redis } from 'ioredis'

import type { RedisAddress, RedisSettings } from '../../src/redis/redis-connection.ts'
import { redisServerProgram } from './fetch-redis.ts'
import { freePort } from './ports.ts'
import { hasEnded } from './programs.ts'

const host = '127.0.0.1'
const readyLimitMs = 20_000

export interface ServerOptions {
  readonly appendOnly?: boolean
  /** More of the configuration, as `name value`. */
  readonly config?: readonly string[]
  readonly sentinel?: boolean
  /** Path of the server; absent: any. */
  readonly program?: string
  /** How a client of this file reaches it, beyond the port. */
  readonly client?: object
}

/** One server process. Killed and started again it has the same port and directory. */
export class RedisServer implements AsyncDisposable {
  readonly port: number
  readonly directory: string
  readonly #options: ServerOptions
  #process: ChildProcess | undefined

  private constructor(port: number, options: ServerOptions) {
    this.port = port
    this.directory = mkdtempSync(join(tmpdir(), 'freshet-redis-'))
    this.#options = options
    const lines = [`bind ${host}`, 'save ""', `dir ${this.directory}`, 'daemonize no']
    const tls = options.config?.some((line) => line.startsWith('tls-port')) === true
    lines.push(tls ? 'port 0' : `port ${port}`)
    if (options.sentinel !== true) {
      lines.push(`appendonly ${options.appendOnly === true ? 'yes' : 'no'}`)
      lines.push('maxmemory-policy noeviction', 'repl-diskless-sync-delay 0')
    }
    lines.push(...(options.config ?? []).map((line) => line.replace('PORT', String(port))))
    writeFileSync(this.#config, `${lines.join('\n')}\n`)
  }

  static async start(options: ServerOptions = {}): Promise<RedisServer> {
    const server = new RedisServer(await freePort(), options)
    try {
      await server.start()
    } catch (error) {
      await server.stop()
      throw error
    }
    return server
  }

  get address(): RedisAddress {
    return { host, port: this.port }
  }

  get settings(): RedisSettings {
    return { mode: 'standalone', addresses: [this.address] }
  }

  get processId(): number {
    return this.#process?.pid ?? -1
  }

  async start(): Promise<void> {
    const mode = this.#options.sentinel === true ? ['--sentinel'] : []
    const { program = redisServerProgram() } = this.#options
    const child = spawn(program, [this.#config, ...mode], { stdio: 'ignore' })
    this.#process = child
    // Also when the test process is stopped in the middle.
    const kill = (): void => void child.kill('SIGKILL')
    process.once('exit', kill)
    child.once('exit', () => process.off('exit', kill))
    await this.#answering()
  }

  async kill(): Promise<void> {
    const child = this.#process
    this.#process = undefined
    if (child === undefined || hasEnded(child)) return
    const gone = once(child, 'exit')
    child.kill('SIGKILL')
    await gone
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

  /** One command on a connection of its own. */
  async command(name: string, ...args: readonly (string | number)[]): Promise<unknown> {
    const client = new Redis({
      host,
      port: this.port,
      retryStrategy: () => null,
      maxRetriesPerRequest: 0,
      connectTimeout: 1_000,
      enableReadyCheck: false,
      ...this.#options.client,
    })
    client.on('error', () => undefined)
    try {
      return await client.call(name, ...args)
    } finally {
      client.disconnect()
    }
  }

  get #config(): string {
    return join(this.directory, 'server.conf')
  }

  async #answering(): Promise<void> {
    await until(`a server on port ${this.port}`, async () => {
      if (this.#process === undefined || hasEnded(this.#process)) throw new Error('it has ended')
      return (await this.command('PING')) === 'PONG'
    })
  }
}

/** Waits until something is so; errors count as not yet. */
export async function until(what: string, isSo: () => Promise<boolean> | boolean): Promise<void> {
  const limit = performance.now() + readyLimitMs
  let last: unknown
  while (performance.now() < limit) {
    try {
      if (await isSo()) return
    } catch (error) {
      last = error
    }
    await sleep(20)
  }
  throw new Error(`${what}: not within ${readyLimitMs} ms`, { cause: last })
}

/** The server that the environment names, or one of its own. */
export async function anyServer(): Promise<{ settings: RedisSettings } & AsyncDisposable> {
  const given = process.env['FRESHET_TEST_REDIS']
  if (given === undefined || given === '') return await RedisServer.start()
  const [givenHost = host, port = '6379'] = given.split(':')
  const settings: RedisSettings = {
    mode: 'standalone',
    addresses: [{ host: givenHost, port: Number(port) }],
  }
  return { settings, [Symbol.asyncDispose]: () => Promise.resolve() }
}

/** A group of servers that a test disposes together. */
interface ServerGroup extends AsyncDisposable {
  readonly settings: RedisSettings
  readonly servers: readonly RedisServer[]
}

const disposeAll = async (servers: readonly RedisServer[]): Promise<void> => {
  await Promise.all(servers.map((server) => server.stop()))
}

/** Three masters that share the hash slots. */
export async function startCluster(options: ServerOptions = {}): Promise<ServerGroup> {
  const config = [
    ...(options.config ?? []),
    'cluster-enabled yes',
    'cluster-config-file nodes.conf',
    'cluster-node-timeout 2000',
    'cluster-require-full-coverage no',
  ]
  const servers: RedisServer[] = []
  try {
    for (let i = 0; i < 3; i += 1) servers.push(await RedisServer.start({ ...options, config }))
    const ends = [0, 5_461, 10_923, 16_384]
    for (const [i, server] of servers.entries()) {
      const [first = 0, end = 0] = ends.slice(i, i + 2)
      const slots = Array.from({ length: end - first }, (_, slot) => first + slot)
      await server.command('CLUSTER', 'ADDSLOTS', ...slots)
      await server.command('CLUSTER', 'SET-CONFIG-EPOCH', i + 1)
    }
    const [first, ...others] = servers
    for (const { port } of others) await first?.command('CLUSTER', 'MEET', host, port)
    await Promise.all(servers.map((server) => clusterReady(server, servers.length)))
  } catch (error) {
    await disposeAll(servers)
    throw error
  }
  return {
    servers,
    settings: { mode: 'cluster', addresses: servers.map(({ address }) => address) },
    [Symbol.asyncDispose]: () => disposeAll(servers),
  }
}

/** Waits until a node knows who has which slots. */
export const clusterReady = (server: RedisServer, nodes: number): Promise<void> =>
  until('a cluster in order', async () => {
    const info = String(await server.command('CLUSTER', 'INFO'))
    const known = String(await server.command('CLUSTER', 'NODES'))
      .trim()
      .split('\n')
    const connected = known.filter((line) => / connected( |$)/.test(line) && !line.includes('fail'))
    return (
      info.includes('cluster_state:ok') &&
      info.includes('cluster_slots_ok:16384') &&
      connected.length === nodes
    )
  })

export interface SentinelGroup extends ServerGroup {
  readonly master: RedisServer
  readonly replica: RedisServer
  readonly sentinel: RedisServer
}

/** A master, a replica, and a Sentinel that alone decides. */
export async function startSentinel(options: ServerOptions = {}): Promise<SentinelGroup> {
  const servers: RedisServer[] = []
  try {
    const master = await RedisServer.start(options)
    servers.push(master)
    const replica = await RedisServer.start({
      ...options,
      config: [...(options.config ?? []), `replicaof ${host} ${master.port}`],
    })
    servers.push(replica)
    const config = [
      `sentinel monitor rows ${host} ${master.port} 1`,
      'sentinel down-after-milliseconds rows 1000',
      'sentinel failover-timeout rows 5000',
    ]
    const sentinel = await RedisServer.start({ sentinel: true, config })
    servers.push(sentinel)
    await until('a replica in step', async () => {
      const info = String(await replica.command('INFO', 'replication'))
      const seen = String(await sentinel.command('SENTINEL', 'REPLICAS', 'rows'))
      return info.includes('master_link_status:up') && seen.includes(String(replica.port))
    })
    return {
      master,
      replica,
      sentinel,
      servers,
      settings: { mode: 'sentinel', addresses: [sentinel.address], masterName: 'rows' },
      [Symbol.asyncDispose]: () => disposeAll(servers),
    }
  } catch (error) {
    await disposeAll(servers)
    throw error
  }
}

/** Lines of configuration of a server that speaks TLS alone, to clients without certificates. */
export const tlsConfig = ({ key, cert }: { key: string; cert: string }): readonly string[] => [
  'tls-port PORT',
  `tls-cert-file ${cert}`,
  `tls-key-file ${key}`,
  `tls-ca-cert-file ${cert}`,
  'tls-auth-clients no',
]

/** A certificate of its own authority for 127.0.0.1, made by openssl: paths of PEM files. */
export function makeCertificate(directory: string): { key: string; cert: string } {
  const [key, cert] = [join(directory, 'key.pem'), join(directory, 'cert.pem')]
  const subject = [
    '-subj',
    '/CN=freshet test',
    '-addext',
    `subjectAltName=IP:${host},DNS:localhost`,
  ]
  const kind = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  execFileSync(
    'openssl',
    ['req', ...kind, '-days', '2', ...subject, '-keyout', key, '-out', cert],
    {
      stdio: 'pipe',
    },
  )
  return { key, cert }
}
