/**
 * How a process reaches the servers that it shares with others: Kafka for the events, Redis for
 * parameters, the trainer's lease and jobs, and for rows. Secrets belong in files or variables.
 */
import * as z from 'zod'

const count = z.int().min(1)
const milliseconds = z.number().min(0).meta({ unit: 'ms' })

const address = z
  .string()
  .regex(/^[^\s:/]+:\d{1,5}$/, 'expected host:port')
  .describe('host:port')

const tlsOptions = (enabled: string) =>
  z
    .strictObject({
      enabled: z.boolean().default(false).describe(enabled),
      caFile: z.string().exactOptional().describe('PEM; absent: the authorities of the system'),
      certFile: z.string().exactOptional().describe('PEM, of a client that must show one'),
      keyFile: z.string().exactOptional().describe('PEM'),
      servername: z.string().exactOptional().describe('name in the certificate of the server'),
    })
    .prefault({})

/** `variable`: where the password is better than in the file. */
export const redisConnection = (variable: string) => ({
  url: z
    .string()
    .regex(/^rediss?:\/\/[^\s/]+(\/\d+)?$/, 'expected redis://host:port/database')
    .exactOptional()
    .describe('of one server, `redis://host:port/database`; or one of the next two'),
  sentinels: z.array(address).max(64).default([]).describe('that know the master'),
  masterName: z.string().min(1).default('mymaster').describe('what the Sentinels call it'),
  nodes: z.array(address).max(256).default([]).describe('some nodes of a cluster'),
  username: z.string().min(1).exactOptional().describe('of the ACL; absent: `default`'),
  passwordFile: z.string().min(1).exactOptional().describe('whose first line is the password'),
  password: z.string().min(1).exactOptional().describe(`better in a file or in ${variable}`),
  sentinelUsername: z.string().min(1).exactOptional().describe('for the Sentinels themselves'),
  sentinelPassword: z.string().min(1).exactOptional(),
  tls: tlsOptions('encrypt; `rediss://` says so, too'),
  connectTimeoutMs: milliseconds.default(2_000).describe('until a server takes the connection'),
})

export const tag = z.string().regex(/^[\w.-]{1,100}$/)

export const redis = z
  .strictObject({
    ...redisConnection('FRESHET_REDIS_PASSWORD'),
    tag: tag
      .exactOptional()
      .describe('of parameters, lease and jobs, one for each trained model; absent: its name'),
  })
  .prefault({})

export const s3 = z
  .strictObject({
    bucket: z
      .string()
      .regex(/^[\w.-]{3,255}$/)
      .exactOptional()
      .describe('it must exist'),
    prefix: z
      .string()
      .regex(/^[\w./-]{1,200}\/$/, 'expected a path that ends with "/"')
      .exactOptional()
      .describe('of all names, one for each trained model; absent: `freshet/` and its name'),
    region: z.string().min(1).default('us-east-1'),
    endpoint: z
      .url({ protocol: /^https?$/ })
      .exactOptional()
      .describe('of what speaks the protocol; absent: Amazon itself'),
    pathStyle: z
      .boolean()
      .exactOptional()
      .describe('the bucket in the path; absent: where there is an endpoint'),
    accessKeyId: z.string().min(1).exactOptional().describe('absent: as the AWS SDK finds them'),
    secretAccessKey: z
      .string()
      .min(1)
      .exactOptional()
      .describe('better in a file or in FRESHET_CHECKPOINTS_S3_SECRET_ACCESS_KEY'),
    secretAccessKeyFile: z
      .string()
      .min(1)
      .exactOptional()
      .describe('whose first line is the secret'),
    requestTimeoutMs: milliseconds.default(20_000).describe('of a piece of 16 MiB; four tries'),
  })
  .prefault({})

const sasl = z
  .strictObject({
    mechanism: z
      .enum(['plain', 'scram-sha-256', 'scram-sha-512'])
      .exactOptional()
      .describe('absent: no login'),
    username: z.string().min(1).exactOptional(),
    passwordFile: z.string().min(1).exactOptional().describe('whose first line is the password'),
    password: z
      .string()
      .min(1)
      .exactOptional()
      .describe('better in a file or in FRESHET_KAFKA_SASL_PASSWORD'),
  })
  .prefault({})

export const kafka = z
  .strictObject({
    brokers: z.array(address).max(64).default([]).describe('some brokers, which tell the others'),
    topic: z
      .string()
      .regex(/^[\w.-]{1,249}$/, 'expected letters, digits, ".", "_", "-"')
      .default('freshet-events')
      .describe('the event log; it must exist'),
    clientId: z.string().min(1).max(100).default('freshet').describe('what brokers call it'),
    compression: z
      .enum(['none', 'gzip', 'snappy', 'lz4', 'zstd'])
      .default('none')
      .describe('of what is appended'),
    deadLettersTopic: z
      .string()
      .regex(/^[\w.-]{1,249}$/)
      .exactOptional()
      .describe('what is no event goes there; absent: into a file of the trainer'),
    maxPendingEvents: count.default(100_000).describe('appends beyond are refused: 503'),
    appendLimitMs: milliseconds.default(10_000).describe('until an append is confirmed, or 503'),
    lingerMs: milliseconds
      .max(1_000)
      .default(5)
      .describe('small appends are sent together, so often; one that comes alone does not wait'),
    fetchLingerMs: milliseconds
      .max(1_000)
      .default(10)
      .describe('from fetch to fetch of a reader that has read everything'),
    giveUpMs: milliseconds.default(10_000).describe('how long an answer of brokers is looked for'),
    connectTimeoutMs: milliseconds.default(2_000).describe('until a broker takes the connection'),
    requestTimeoutMs: milliseconds.default(10_000).describe('until a broker answers a request'),
    metadataMaxAgeMs: milliseconds
      .default(30_000)
      .describe('until partitions that were added are noticed'),
    group: z
      .string()
      .regex(/^[\w.-]{1,100}$/)
      .exactOptional()
      .describe('under GROUP-trainer and GROUP-serving-HOST brokers are told who stands where'),
    commitMs: milliseconds.default(5_000).describe('how often they are, for monitoring; 0: never'),
    sasl,
    tls: tlsOptions('encrypt'),
  })
  .prefault({})
