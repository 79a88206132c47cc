/**
 * A topic named by a URL, for the commands that read past events from one:
 * `kafka://[user@]host:port[,host:port]/topic?from=…`. `from` is an offset (the same in every
 * partition), a position as such a command prints it (`0:17,1:20`), or a time (RFC 3339).
 */
import { readFileSync } from 'node:fs'

import { ServiceError } from '../../base/errors.ts'
import type { Position } from '../../stream/event-log.ts'
import { type KafkaLog, type KafkaLogOptions, openKafkaLog } from '../../stream/kafka/kafka-log.ts'
import type { KafkaSettings } from '../../stream/kafka/kafka-settings.ts'
import { TimeMerge } from '../../stream/recorded/time-merge.ts'

export const isKafkaUrl = (text: string): boolean => text.startsWith('kafka://')

interface KafkaSource {
  readonly settings: KafkaSettings
  /** As it stands in the URL; absent: the start of what is kept. */
  readonly from: string | undefined
}

const pattern = /^kafka:\/\/(?:([^@/]+)@)?([^/?]+)\/([\w.-]+)(?:\?(.*))?$/

/** Throws `USAGE_INVALID`. */
export function parseKafkaUrl(url: string): KafkaSource {
  const [, user, brokers = '', topic, query = ''] = pattern.exec(url) ?? []
  if (topic === undefined) throw invalid(url, 'expected kafka://host:port/topic')
  const parameters = new URLSearchParams(query)
  const known = ['from', 'tls', 'ca-file', 'sasl', 'password-file']
  const unknown = [...parameters.keys()].find((name) => !known.includes(name))
  if (unknown !== undefined) throw invalid(url, `${unknown} is none of ${known.join(', ')}`)
  const settings = {
    brokers: brokers.split(',').map((broker) => (broker.includes(':') ? broker : `${broker}:9092`)),
    topic,
    ...tlsOf(parameters),
    ...saslOf(url, user, parameters),
  }
  return { settings, from: parameters.get('from') ?? undefined }
}

const invalid = (url: string, reason: string): ServiceError =>
  new ServiceError('USAGE_INVALID', { what: url, reason })

function tlsOf(parameters: URLSearchParams): Pick<KafkaSettings, 'tls'> {
  const file = parameters.get('ca-file')
  if (file !== null) return { tls: { ca: textOf(file) } }
  return parameters.get('tls') === 'true' ? { tls: {} } : {}
}

function saslOf(
  url: string,
  user: string | undefined,
  parameters: URLSearchParams,
): Pick<KafkaSettings, 'sasl'> {
  if (user === undefined) return {}
  const mechanism = parameters.get('sasl') ?? 'scram-sha-512'
  const file = parameters.get('password-file')
  if (file === null) throw invalid(url, `password-file must name a file with the password`)
  const isKnown =
    mechanism === 'plain' || mechanism === 'scram-sha-256' || mechanism === 'scram-sha-512'
  if (!isKnown) throw invalid(url, 'sasl is none of plain, scram-sha-256, scram-sha-512')
  const login = { username: decodeURIComponent(user), password: textOf(file).trimEnd() }
  return { sasl: { mechanism, ...login } }
}

function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw new ServiceError('INPUT_UNREADABLE', { file, reason: String(error) }, { cause: error })
  }
}

export interface OpenedTopic {
  /** What the topic has now, from where the URL says, in the order of time. */
  readonly reader: TimeMerge
  readonly log: KafkaLog
}

/**
 * Throws `USAGE_INVALID`, `INPUT_UNREADABLE`, `LOG_OFFSET_EXPIRED`, `LOG_OFFSET_UNKNOWN` and what
 * opening a Kafka log throws.
 */
export async function openTopic(
  url: string,
  options: Pick<KafkaLogOptions, 'deadLetters' | 'maxFutureMs' | 'report'>,
): Promise<OpenedTopic> {
  const { settings, from } = parseKafkaUrl(url)
  const log = await openKafkaLog({ ...settings, ...options })
  try {
    const [start, until] = [await log.start(), await log.end()]
    const reader = new TimeMerge(log, await beginning(log, url, { from, start, until }), until)
    return { reader, log }
  } catch (error) {
    await log.close()
    throw error
  }
}

interface Bounds {
  readonly from: string | undefined
  readonly start: Position
  readonly until: Position
}

async function beginning(log: KafkaLog, url: string, bounds: Bounds): Promise<Position> {
  const { from, start } = bounds
  if (from === undefined) return start
  const time = /^\d{4}-/.test(from) ? Date.parse(from) : Number.NaN
  if (Number.isFinite(time)) return log.at(time)
  const isOffset = /^\d+$/.test(from)
  if (!isOffset && !/^\d+:\d+(\.\d+)?(,\d+:\d+(\.\d+)?)*$/.test(from)) {
    throw invalid(url, 'from is an offset, a position such as 0:17,1:20, or a time (RFC 3339)')
  }
  return isOffset ? nearest(log, Number(from), bounds) : exactly(log, url, { ...bounds, from })
}

/** An offset for all partitions need not be there in each. */
function nearest(log: KafkaLog, offset: number, { start, until }: Bounds): Position {
  return Object.fromEntries(
    Object.entries(start).map(([partition, first]) => {
      const wanted = `${partition}:${offset}`
      const last = until[Number(partition)] ?? first
      if (log.compare(wanted, first) < 0) return [partition, first]
      return [partition, log.compare(wanted, last) > 0 ? last : wanted]
    }),
  )
}

/** What a position names must be there; partitions that it does not name are read whole. */
function exactly(log: KafkaLog, url: string, bounds: Bounds & { readonly from: string }): Position {
  const position: Record<number, string> = { ...bounds.start }
  for (const offset of bounds.from.split(',')) {
    const partition = Number(offset.split(':')[0])
    const [start, end] = [bounds.start[partition], bounds.until[partition]]
    if (start === undefined || end === undefined) {
      throw invalid(url, `the topic has no partition ${partition}`)
    }
    if (log.compare(offset, start) < 0) {
      throw new ServiceError('LOG_OFFSET_EXPIRED', { offset, start })
    }
    if (log.compare(offset, end) > 0) throw new ServiceError('LOG_OFFSET_UNKNOWN', { offset, end })
    position[partition] = offset
  }
  return position
}

/** As `from` takes it. */
export const positionText = (position: Position): string =>
  Object.entries(position)
    .map(([partition, offset]) => (offset.includes(':') ? offset : `${partition}:${offset}`))
    .join(',')
