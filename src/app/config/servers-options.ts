/** From the configuration of servers to how they are reached, with the contents of named files. */
import { readFileSync } from 'node:fs'

import * as z from 'zod'

import { ServiceError } from '../../base/errors.ts'
import type { RedisSettings } from '../../redis/redis-connection.ts'
import type { KafkaLogOptions } from '../../stream/kafka/kafka-log.ts'
import type { KafkaSettings } from '../../stream/kafka/kafka-settings.ts'
import type { CopiesOptions } from '../../trainer/checkpoint/open-copies.ts'
import type { ProcessConfig } from './config-process-schema.ts'
import type { Config } from './config-schema.ts'
import { redisConnection } from './config-servers-schema.ts'

type RedisConfig = Omit<ProcessConfig['redis'], 'tag'>

/** Throws `CONFIG_INVALID` for a file that cannot be read; `path`: of the part that names it. */
export function redisSettings(redis: RedisConfig, path: string): RedisSettings {
  const read = readerOf(path)
  const { username, sentinelUsername, sentinelPassword, connectTimeoutMs, masterName } = redis
  const { mode, addresses, database, url } = placeOf(redis)
  const password =
    redis.passwordFile === undefined ? redis.password : firstLine(read(redis.passwordFile))
  const isEncrypted = redis.tls.enabled || url?.protocol === 'rediss:'
  return {
    mode,
    addresses,
    connectTimeoutMs,
    ...(mode === 'sentinel' && { masterName }),
    ...(database !== undefined && { database }),
    ...optional('username', username ?? decoded(url?.username)),
    ...optional('password', password ?? decoded(url?.password)),
    ...optional('sentinelUsername', sentinelUsername),
    ...optional('sentinelPassword', sentinelPassword),
    ...(isEncrypted && { tls: tlsOf(redis.tls, read) }),
  }
}

/** One server, by its `redis://host:port/database`; all else by default. */
export const redisServer = (url: string): RedisSettings =>
  redisSettings(z.object(redisConnection('the environment')).parse({ url }), 'url')

interface Place extends Pick<RedisSettings, 'mode' | 'addresses' | 'database'> {
  readonly url?: URL
}

function placeOf({ url, sentinels, nodes }: RedisConfig): Place {
  if (sentinels.length > 0) return { mode: 'sentinel', addresses: sentinels.map(addressOf) }
  if (nodes.length > 0) return { mode: 'cluster', addresses: nodes.map(addressOf) }
  const parsed = new URL(url ?? 'redis://127.0.0.1:6379')
  const database = Number(parsed.pathname.slice(1))
  const port = parsed.port === '' ? 6379 : Number(parsed.port)
  return { mode: 'standalone', addresses: [{ host: parsed.hostname, port }], database, url: parsed }
}

function addressOf(text: string): { readonly host: string; readonly port: number } {
  const at = text.lastIndexOf(':')
  return { host: text.slice(0, at), port: Number(text.slice(at + 1)) }
}

export function kafkaSettings({ sasl, tls, ...kafka }: ProcessConfig['kafka']): KafkaSettings {
  const read = readerOf('process.kafka')
  const { mechanism, username = '', passwordFile, password = '' } = sasl
  const secret = passwordFile === undefined ? password : firstLine(read(passwordFile))
  const { brokers, topic, clientId, connectTimeoutMs, requestTimeoutMs } = kafka
  return {
    brokers,
    topic,
    clientId,
    connectTimeoutMs,
    requestTimeoutMs,
    ...(mechanism !== undefined && { sasl: { mechanism, username, password: secret } }),
    ...(tls.enabled && { tls: tlsOf(tls, read) }),
  }
}

/** Of the event log as a topic. */
export function kafkaLogOptions({ model, process }: Config): Omit<KafkaLogOptions, 'report'> {
  const { compression, maxPendingEvents, appendLimitMs, giveUpMs, metadataMaxAgeMs } = process.kafka
  const { lingerMs, fetchLingerMs } = process.kafka
  return {
    ...kafkaSettings(process.kafka),
    compression,
    maxPendingEvents,
    appendLimitMs,
    lingerMs,
    fetchLingerMs,
    giveUpMs,
    metadataMaxAgeMs,
    maxFutureMs: model.facts.futureSkewMs,
  }
}

/** Undefined: checkpoints are in a folder that trainers share. */
export function copiesOptions({ model, process }: Config): CopiesOptions | undefined {
  const { store, s3 } = process.checkpoints
  if (store === 'folder') return undefined
  const read = readerOf('process.checkpoints.s3')
  const { bucket = '', region, endpoint, accessKeyId, requestTimeoutMs } = s3
  const { pathStyle = endpoint !== undefined, secretAccessKeyFile: file } = s3
  const secretAccessKey = file === undefined ? s3.secretAccessKey : firstLine(read(file))
  const hasKey = accessKeyId !== undefined && secretAccessKey !== undefined
  return {
    prefix: s3.prefix ?? `freshet/${process.redis.tag ?? model.name}/`,
    s3: {
      bucket,
      region,
      pathStyle,
      requestTimeoutMs,
      ...(endpoint !== undefined && { endpoint }),
      ...(hasKey && { credentials: { accessKeyId, secretAccessKey } }),
    },
  }
}

type ReadText = (file: string) => string

const tlsOf = ({ caFile, certFile, keyFile, servername }: RedisConfig['tls'], read: ReadText) => ({
  ...(caFile !== undefined && { ca: read(caFile) }),
  ...(certFile !== undefined && { cert: read(certFile) }),
  ...(keyFile !== undefined && { key: read(keyFile) }),
  ...(servername !== undefined && { servername }),
})

const firstLine = (text: string): string => text.split(/\r?\n/, 1)[0]

const decoded = (text: string | undefined): string | undefined =>
  text === undefined || text === '' ? undefined : decodeURIComponent(text)

const optional = <Name extends string>(
  name: Name,
  value: string | undefined,
): { readonly [Key in Name]?: string } => {
  const none: { readonly [Key in Name]?: string } = {}
  return value === undefined ? none : { ...none, [name]: value }
}

const readerOf =
  (path: string): ReadText =>
  (file) => {
    try {
      return readFileSync(file, 'utf8')
    } catch (cause) {
      const details = { source: file, path, reason: String(cause) }
      throw new ServiceError('CONFIG_INVALID', details, { cause })
    }
  }
