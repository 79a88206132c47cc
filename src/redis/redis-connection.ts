/**
 * Connections to Redis 6.2 or later, or Valkey: one server, a master found through Sentinels, or a
 * cluster. The only file that knows the client (ioredis). It reconnects by itself and resends
 * nothing: a command whose connection was lost is rejected at once, and the caller decides.
 */
import { Cluster, Redis } from 'ioredis'

export interface RedisAddress {
  readonly host: string
  readonly port: number
}

/** PEM texts; `{}`: the system's certificate authorities. */
interface RedisTls {
  readonly ca?: string
  readonly cert?: string
  readonly key?: string
  readonly servername?: string
}

export interface RedisSettings {
  readonly mode: 'standalone' | 'sentinel' | 'cluster'
  /** The server; the Sentinels; or some nodes of the cluster, which tell the others. */
  readonly addresses: readonly RedisAddress[]
  /** What the Sentinels call the master. */
  readonly masterName?: string
  /** Of an ACL user; absent: `default`. */
  readonly username?: string
  readonly password?: string
  /** Of the Sentinels, where they ask for one. */
  readonly sentinelUsername?: string
  readonly sentinelPassword?: string
  readonly tls?: RedisTls
  /** Number of the database; a cluster has only 0. */
  readonly database?: number
  /** Until a server takes the connection; default 2,000 ms. */
  readonly connectTimeoutMs?: number
}

export type RedisArgument = string | Buffer | number

export interface RedisConnection {
  /** The reply with strings as bytes. Never waits for a connection: rejects when there is none. */
  call(command: string, args: RedisArgument[]): Promise<unknown>
  /** Resolves with the first connection, or rejects when `signal` ends the wait. */
  connected(signal: AbortSignal): Promise<void>
  /** What the last attempt to connect failed with. */
  readonly lastError: Error | undefined
  /** Begins anew where a connection is there but silent. */
  reconnect(): void
  close(): void
}

const defaultConnectTimeoutMs = 2_000
const longestPauseMs = 1_000

/**
 * 50 ms, doubled each time, to a second; a random half of it, so that clients do not come at once.
 */
export function reconnectPauseMs(attempt: number): number {
  const pause = Math.min(longestPauseMs, 50 * 2 ** Math.min(attempt, 10))
  return Math.round(pause * (0.5 + Math.random() / 2))
}

export function connectRedis(settings: RedisSettings): RedisConnection {
  const client = settings.mode === 'cluster' ? clusterClient(settings) : singleClient(settings)
  let lastError: Error | undefined
  let isClosed = false
  let ends = 0
  client.on('error', (error: Error) => {
    lastError = error
  })
  client.on('ready', () => {
    lastError = undefined
    ends = 0
  })
  // A disconnection (a fail-over, say) in the middle of connecting ends the client's own attempts.
  client.on('end', () => {
    if (isClosed) return
    ends += 1
    setTimeout(() => {
      if (!isClosed && client.status === 'end') client.connect().catch(() => undefined)
    }, reconnectPauseMs(ends))
  })
  return {
    call: (command, args) => client.callBuffer(command, args),
    connected: (signal) => whenReady(client, signal),
    get lastError() {
      return lastError
    },
    reconnect() {
      client.disconnect(true)
    },
    close() {
      isClosed = true
      client.disconnect()
    },
  }
}

/**
 * A client for a library that brings its own commands and waits for replies as long as it takes:
 * what it sends is kept until there is a connection, and is sent again when one was lost. Its
 * owner disconnects it.
 */
export function connectPatiently(settings: RedisSettings): Redis | Cluster {
  return settings.mode === 'cluster' ? clusterClient(settings, true) : singleClient(settings, true)
}

function whenReady(client: Redis | Cluster, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (client.status === 'ready') {
      resolve()
      return
    }
    const onReady = (): void => {
      signal.removeEventListener('abort', onAbort)
      resolve()
    }
    const onAbort = (): void => {
      client.off('ready', onReady)
      reject(new Error('no connection'))
    }
    client.once('ready', onReady)
    signal.addEventListener('abort', onAbort, { once: true })
  })
}

/** A replica that was the master until now: its connection leads nowhere. */
const isReadOnly = (error: Error): boolean => error.message.includes('READONLY')

function sharedOptions(settings: RedisSettings, isPatient: boolean) {
  const { username, password, tls, database = 0, connectTimeoutMs } = settings
  return {
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...(tls === undefined ? {} : { tls: { ...tls } }),
    db: database,
    connectTimeout: connectTimeoutMs ?? defaultConnectTimeoutMs,
    enableOfflineQueue: isPatient,
    autoResendUnfulfilledCommands: isPatient,
    // With 0 what was sent is rejected as soon as the connection is lost.
    maxRetriesPerRequest: isPatient ? null : 0,
    maxLoadingRetryTime: 500,
    reconnectOnError: isReadOnly,
    connectionName: 'freshet',
    disableClientInfo: true,
  }
}

function singleClient(settings: RedisSettings, isPatient = false): Redis {
  const { addresses, mode, masterName, tls, sentinelUsername, sentinelPassword } = settings
  const shared = { ...sharedOptions(settings, isPatient), retryStrategy: reconnectPauseMs }
  if (mode !== 'sentinel') return new Redis({ ...shared, ...addresses[0] })
  return new Redis({
    ...shared,
    sentinels: addresses.map(({ host, port }) => ({ host, port })),
    name: masterName ?? 'mymaster',
    ...(sentinelUsername === undefined ? {} : { sentinelUsername }),
    ...(sentinelPassword === undefined ? {} : { sentinelPassword }),
    ...(tls === undefined ? {} : { sentinelTLS: { ...tls }, enableTLSForSentinelMode: true }),
    sentinelRetryStrategy: reconnectPauseMs,
    sentinelCommandTimeout: settings.connectTimeoutMs ?? defaultConnectTimeoutMs,
    // It disconnects, and in the middle of connecting that ends a client's own attempts. Then
    // `connectRedis` goes on; for a client of a library nobody would. That one hears of another
    // master by its connection, or by being told that it may only read.
    failoverDetector: !isPatient,
  })
}

function clusterClient(settings: RedisSettings, isPatient = false): Cluster {
  return new Cluster(
    settings.addresses.map(({ host, port }) => ({ host, port })),
    {
      redisOptions: sharedOptions(settings, isPatient),
      enableOfflineQueue: isPatient,
      scaleReads: 'master',
      clusterRetryStrategy: reconnectPauseMs,
      slotsRefreshTimeout: settings.connectTimeoutMs ?? defaultConnectTimeoutMs,
      slotsRefreshInterval: 5_000,
      // Certificates are made for names, which addresses of nodes are not.
      ...(settings.tls === undefined ? {} : { dnsLookup: keepName }),
    },
  )
}

const keepName = (name: string, found: (error: null, address: string) => void): void => {
  found(null, name)
}
