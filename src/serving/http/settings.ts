/**
 * What the HTTP server can be told, with defaults and units. The configuration file's
 * `process.http` has the same names; a test or an embedding program may set any of them.
 */

/** read: recommendations, catalogue, users, metrics. write: events, items, users. admin: jobs. */
export type Scope = 'read' | 'write' | 'admin'

export interface ApiKey {
  /** Shown in logs and errors, never the key itself. */
  readonly name: string
  /** SHA-256 of the key, 64 hexadecimal digits. */
  readonly sha256: string
  readonly scopes: readonly Scope[]
  /** Requests a second, and how many may come at once; absent: the server's own. */
  readonly ratePerSecond?: number | undefined
  readonly rateBurst?: number | undefined
  /** Epoch ms; from then on it is no key. */
  readonly expiresAt?: number | undefined
}

/** PEM files; read again when they change. */
export interface TlsFiles {
  readonly certFile: string
  readonly keyFile: string
}

export interface HttpSettings {
  /** Address to listen on; any but loopback needs API keys. */
  readonly host: string
  /** 0 takes a free one. */
  readonly port: number
  readonly apiKeys: readonly ApiKey[]
  /** More of them, which may change while the server runs; see `key-file.ts`. */
  readonly keysFile?: string | undefined
  /** Absent: plain HTTP. */
  readonly tls?: TlsFiles | undefined
  /** Sockets; beyond, new ones are closed. */
  readonly maxConnections: number
  /** Largest JSON body, and largest line of NDJSON. */
  readonly bodyLimitBytes: number
  /** Largest NDJSON body; it is read as a stream. */
  readonly ndjsonLimitBytes: number
  /** Events in one JSON array, and ten times as many lines of NDJSON. */
  readonly maxEventsPerRequest: number
  /** Largest `n` of a recommendation and `limit` of a list. */
  readonly listLimit: number
  /** Requests under way; one more is answered 503. Fewer while the event loop is late. */
  readonly maxConcurrent: number
  /** Sum of the bodies of requests under way. */
  readonly maxConcurrentBytes: number
  /** How late the event loop may be before requests are turned away. */
  readonly maxEventLoopDelayMs: number
  /** Until the whole request has come, and until its handler has answered. */
  readonly requestTimeoutMs: number
  /** How long a write waits to be visible, and a read for its `minSequence`. */
  readonly visibilityWaitMs: number
  /** Of each key without its own rate; 0: unlimited. */
  readonly ratePerSecond: number
  readonly rateBurst: number
  /** An event dated further ahead is rejected. */
  readonly futureSkewMs: number
  /** How long a stop waits for requests under way. */
  readonly drainMs: number
  /** Shown in the OpenAPI document. */
  readonly version: string
}

export const defaultHttpSettings: HttpSettings = {
  host: '127.0.0.1',
  port: 8080,
  apiKeys: [],
  maxConnections: 10_000,
  bodyLimitBytes: 1_048_576,
  ndjsonLimitBytes: 16_777_216,
  maxEventsPerRequest: 10_000,
  listLimit: 1_000,
  maxConcurrent: 512,
  maxConcurrentBytes: 67_108_864,
  maxEventLoopDelayMs: 100,
  requestTimeoutMs: 10_000,
  visibilityWaitMs: 1_000,
  ratePerSecond: 0,
  rateBurst: 100,
  futureSkewMs: 300_000,
  drainMs: 5_000,
  version: '0.1.0',
}
