/**
 * Events as the values of Kafka messages: JSON as a client would post it, one event per message
 * where we write, and one, an array or a line each where we read. What the key and the time of a
 * message mean stands in docs/formats.md.
 */
import { isUtf8 } from 'node:buffer'

import { type ParsedEvent, parseEvent, type ParseOptions } from '../event-schema.ts'
import type { Event } from '../event.ts'

export interface EncodedEvent {
  /** What decides on the partition: the user's id, or the item's where there is no user. */
  readonly key: string
  readonly value: string
  /** When it was accepted, epoch ms; of an event from the past, when it was written. */
  readonly timestamp: string
  readonly headers?: { readonly [acceptedAtHeader]: string }
}

/** Of an event that was accepted at another time than that of its message: epoch ms. */
const acceptedAtHeader = 'freshet-accepted-at'

/**
 * Brokers delete messages that are old, and forget which batches they have of a producer that was
 * silent for long - judging both by the time of messages. So what comes from the past has the time
 * at which it is written, and its own in a header.
 */
const pastMs = 3_600_000
const futureMs = 60_000

/** `now`: of the writer's clock, epoch ms. */
export function encodeEvent(event: Event, now: number): EncodedEvent {
  const { acceptedAt, ...fields } = event
  const isNear = acceptedAt > now - pastMs && acceptedAt < now + futureMs
  const encoded = {
    key: 'userId' in event ? event.userId : event.itemId,
    value: JSON.stringify(fields),
  }
  if (isNear && Number.isInteger(acceptedAt)) return { ...encoded, timestamp: String(acceptedAt) }
  const headers = { [acceptedAtHeader]: String(acceptedAt) }
  return { ...encoded, timestamp: String(now), headers }
}

/** When the events of a message were accepted, epoch ms; -1: it does not say. */
export function acceptanceOf({ timestamp, headers }: MessageTime): number {
  const own = headers?.[acceptedAtHeader]
  const given =
    typeof own === 'string' || Buffer.isBuffer(own) ? Number(own.toString()) : Number.NaN
  return Number.isFinite(given) ? given : Number(timestamp)
}

interface MessageTime {
  readonly timestamp: string | number
  readonly headers?: Readonly<Record<string, unknown>>
}

/** A message of more values is refused whole. */
export const maxMessageValues = 10_000

/** One per value of the message, or why it has none that can be told apart. */
export type DecodedMessage = readonly ParsedEvent[] | { readonly problem: string }

export function decodeMessage(bytes: Buffer | null, options: ParseOptions): DecodedMessage {
  if (bytes === null || bytes.length === 0) return { problem: 'the message is empty' }
  if (!isUtf8(bytes)) return { problem: 'the message is not UTF-8' }
  if (options.now < 0) return { problem: 'the message has no time' }
  const values = valuesOf(bytes.toString())
  if (!Array.isArray(values)) return values
  return values.map((value) =>
    value instanceof BadLine ? value.parsed : parseEvent(value, options),
  )
}

/** A line that is no JSON, among others that are. */
class BadLine {
  readonly parsed: ParsedEvent

  constructor(message: string) {
    this.parsed = { error: { code: 'EVENT_INVALID', path: 'event', message } }
  }
}

function valuesOf(text: string): unknown[] | { readonly problem: string } {
  const whole = parseJson(text)
  if (!(whole instanceof BadLine)) {
    const values: unknown[] = Array.isArray(whole) ? whole : [whole]
    return bounded(values)
  }
  const lines = text.split('\n').filter((line) => line.trim() !== '')
  if (lines.length < 2) return { problem: 'the message is not JSON' }
  const values = lines.length > maxMessageValues ? lines : lines.map((line) => parseJson(line))
  if (values.every((value) => value instanceof BadLine)) {
    return { problem: 'the message is not JSON, and none of its lines is' }
  }
  return bounded(values)
}

function bounded(values: unknown[]): unknown[] | { readonly problem: string } {
  if (values.length === 0) return { problem: 'the message is an empty list' }
  if (values.length <= maxMessageValues) return values
  return { problem: `the message has ${values.length} values, more than ${maxMessageValues}` }
}

function parseJson(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text)
    return value
  } catch {
    return new BadLine('the line is not JSON')
  }
}
