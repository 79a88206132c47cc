/**
 * The `process` part of the configuration: what may differ from process to process without changing
 * what is learned. Declared once each, as in `config-model-schema.ts`.
 */
import * as z from 'zod'

import { kafka, redis, s3 } from './config-servers-schema.ts'
import { tables } from './config-tables-schema.ts'
import { experiment, versions } from './config-versions-schema.ts'

const whole = z.int().min(0)
const count = z.int().min(1)
const milliseconds = z.number().min(0).meta({ unit: 'ms' })
const bytes = z.int().min(1).meta({ unit: 'bytes' })

const apiKey = z.strictObject({
  name: z.string().min(1).max(64).describe('shown in logs; never the key itself'),
  sha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .describe('SHA-256 of the key, hexadecimal: `printf %s KEY | sha256sum`'),
  scopes: z
    .array(z.enum(['read', 'write', 'admin']))
    .min(1)
    .describe('read: ask; write: events, items, users; admin: jobs'),
  ratePerSecond: z.number().positive().exactOptional().describe('requests; absent: the common one'),
  rateBurst: count.exactOptional().describe('requests at once; absent: the common one'),
})

const http = z
  .strictObject({
    host: z
      .string()
      .min(1)
      .default('127.0.0.1')
      .describe('address to listen on; any but loopback needs API keys'),
    port: whole.max(65_535).default(8080).describe('0: any free one'),
    apiKeys: z.array(apiKey).max(1000).default([]).describe('who may call; empty: loopback only'),
    keysFile: z
      .string()
      .min(1)
      .exactOptional()
      .describe('keys that `freshet keys` makes; absent: `keys.json` of the data directory'),
    tls: z
      .strictObject({
        certFile: z.string().min(1).describe('PEM: the certificate, and those that vouch for it'),
        keyFile: z.string().min(1).describe('PEM: its private key'),
      })
      .exactOptional()
      .describe('HTTPS instead of HTTP; changed files are taken up while it runs'),
    maxConnections: count.max(1_000_000).default(10_000).describe('sockets; more are closed'),
    bodyLimitBytes: bytes
      .max(2 ** 30)
      .default(1_048_576)
      .describe('largest JSON body and line of NDJSON'),
    ndjsonLimitBytes: bytes
      .max(2 ** 32)
      .default(16_777_216)
      .describe('largest NDJSON body, read as a stream'),
    maxEventsPerRequest: count.max(100_000).default(10_000).describe('events in one JSON array'),
    maxConcurrent: count.max(100_000).default(512).describe('requests beyond are answered 503'),
    maxConcurrentBytes: bytes.default(67_108_864).describe('of the bodies of requests under way'),
    maxEventLoopDelayMs: milliseconds
      .default(200)
      .describe(
        'requests are shed while the loop is so late, or each answer takes a quarter of it',
      ),
    requestTimeoutMs: milliseconds.default(10_000).describe('a request taking longer is cut off'),
    visibilityWaitMs: milliseconds
      .default(1_000)
      .describe('how long a write waits to be visible, and a read for its minSequence'),
    ratePerSecond: z.number().min(0).default(0).describe('requests of each API key; 0: unlimited'),
    rateBurst: count.default(100).describe('requests of a key that may come at once'),
    drainMs: milliseconds.default(5_000).describe('how long a stop waits for requests under way'),
  })
  .prefault({})

const log = z
  .strictObject({
    fsync: z
      .enum(['always', 'interval', 'never'])
      .default('always')
      .describe(
        'what an acknowledged append survives: a power cut (`always`), else the end of the process',
      ),
    fsyncIntervalMs: milliseconds.default(50).describe('between two syncs, with `interval`'),
    segmentBytes: bytes
      .min(4096)
      .max(2 ** 31)
      .default(67_108_864)
      .describe('a log file ends here'),
    retentionBytes: bytes.default(8_589_934_592).describe('oldest segments go beyond this size'),
    retentionMs: milliseconds.default(2_592_000_000).describe('and beyond this age'),
    maxPendingEvents: count.default(200_000).describe('appends beyond are refused: 503'),
  })
  .prefault({})

const trainer = z
  .strictObject({
    threads: count.max(64).default(1).describe('threads of the dense kernels; same bits with any'),
    niceness: whole
      .max(19)
      .default(5)
      .describe('how far training stands behind queries of its process for a processor (Linux)'),
    deltaIntervalMs: milliseconds.default(100).describe('between two deltas to the readers'),
    deltaMaxRows: count
      .default(65_536)
      .describe('a delta is made earlier when so many rows of a table have changed'),
    readMaxEvents: count.max(1_000_000).default(4096).describe('events read from the log at once'),
    leaseMs: milliseconds
      .min(1_000)
      .default(5_000)
      .describe('distributed: a trainer that is silent for so long is replaced'),
  })
  .prefault({})

const checkpoints = z
  .strictObject({
    intervalMs: milliseconds.default(60_000).describe('between two; one more when it stops'),
    keep: count.max(1000).default(3).describe('older ones are removed'),
    fullEvery: count
      .max(1000)
      .default(8)
      .describe('of so many one is full; the others hold of tables what has changed since'),
    store: z
      .enum(['folder', 's3'])
      .default('folder')
      .describe('where a standby finds them: in the same folder, or in a bucket'),
    s3,
  })
  .prefault({})

const serving = z
  .strictObject({
    listLimit: count.max(1_000).default(1_000).describe('largest n of a recommendation'),
    embedPerSecond: count.default(50_000).describe('items embedded again, at most'),
    sweepPerSecond: count
      .default(20_000)
      .describe('of these, items whose own rows have not changed, at most'),
    popularitiesPerSecond: count
      .default(10_000)
      .describe('popularities written to the index in turn'),
    sliceIntervalMs: milliseconds.default(4).describe('between two slices of index work'),
    sliceMs: milliseconds
      .default(1)
      .describe('what a slice of work may take: what a query waits at most for maintenance'),
    upkeepShare: z
      .number()
      .min(0)
      .max(1)
      .default(0.03)
      .describe('share of the thread for steady upkeep of the index; growing one may take more'),
    saveIntervalMs: milliseconds
      .min(1_000)
      .default(300_000)
      .describe('between two saves of a large index, which the next start takes up'),
    foldEvents: count.default(256).describe('events read from the log at a time'),
    exactBelow: whole
      .default(10_000)
      .describe('up to so many items are all scored; above, in the nearest leaves alone'),
    recallTarget: z
      .number()
      .min(0.5)
      .max(1)
      .default(0.97)
      .describe('recall@10 that the index chooses its effort to hold'),
    sampleQueries: count.max(10_000).default(32).describe('queries kept for the audit'),
    sampleEvery: count.default(64).describe('one query in so many is kept'),
  })
  .prefault({})

const jobs = z
  .strictObject({
    trimLogMs: milliseconds.default(60_000).describe('between two looks at how much log is kept'),
    restrictMs: milliseconds.default(0).describe('between runs of `restrict`; 0: only when full'),
    compactMs: milliseconds.default(0).describe('between runs of `compact`; 0: only by itself'),
    checkpointMs: milliseconds
      .default(0)
      .describe('between runs of `checkpoint`, beside `checkpoints.intervalMs`; 0: never'),
    rebuildIndexMs: milliseconds
      .default(0)
      .describe('between runs of `rebuildIndex`; 0: below the floor only'),
    exportMs: milliseconds.default(0).describe('between runs of `export` of all tables; 0: never'),
    auditRecallMs: milliseconds.default(30_000).describe('between runs of `auditRecall`; 0: never'),
    recallFloor: z
      .number()
      .min(0)
      .max(1)
      .default(0.7)
      .describe('less recall@10, of answers and of the structure, begins `rebuildIndex`; 0: never'),
    expireMs: milliseconds.default(60_000).describe('between runs of `expire`; 0: never'),
    lockMs: milliseconds
      .min(1_000)
      .default(15_000)
      .describe('a process of several that is silent for so long has lost its runs to others'),
    historyRuns: count.max(10_000).default(100).describe('finished runs remembered'),
  })
  .prefault({})

const logging = z
  .strictObject({
    level: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'silent']).default('info'),
    redactIds: z.boolean().default(false).describe('no user or item ids in the log'),
  })
  .prefault({})

const roles = ['ingest', 'trainer', 'serving', 'jobs'] as const

export type Role = (typeof roles)[number]

export const processSchema = z
  .strictObject({
    shape: z
      .enum(['embedded', 'distributed'])
      .default('embedded')
      .describe(
        'embedded: one process with a log on disk; distributed: many, around Kafka and Redis',
      ),
    roles: z
      .array(z.enum(roles))
      .min(1)
      .default([...roles])
      .describe(
        'ingest: takes writes; trainer: learns; serving: answers; jobs: runs what is periodic',
      ),
    dataDirectory: z
      .string()
      .min(1)
      .default('data')
      .describe('log, journal, checkpoints; one owner'),
    kernels: z
      .enum(['wasm', 'reference'])
      .default('wasm')
      .describe('the kernels, or their slow plain twins (same bits)'),
    http,
    log,
    kafka,
    redis,
    trainer,
    tables,
    checkpoints,
    serving,
    versions,
    experiment,
    jobs,
    logging,
  })
  .prefault({})

export type ProcessConfig = z.infer<typeof processSchema>
