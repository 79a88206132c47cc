/**
 * The event log as a Kafka topic: several partitions, keyed by user, each in a total order. Where a
 * reader stands is the reader's own affair and goes into its checkpoints; the brokers may be told
 * for monitoring. What an append promises stands in kafka-appender.ts.
 */
import { type Clock, systemClock } from '../../base/clock.ts'
import { ServiceError } from '../../base/errors.ts'
import type { EventLog, LogBatch, Position, ReadOptions } from '../event-log.ts'
import type { Event } from '../event.ts'
import { type AddressedMessage, KafkaAppender } from './kafka-appender.ts'
import { KafkaConnection, type KafkaFailure } from './kafka-connection.ts'
import {
  type DeadLetter,
  deadLetters,
  deadMessage,
  type DeadLetters,
  noDeadLetters,
  toFile,
} from './kafka-dead-letters.ts'
import { KafkaGroup } from './kafka-group.ts'
import { comparePlaces, parsePlace, placeText } from './kafka-offset.ts'
import { partitionOf } from './kafka-partitioner.ts'
import { KafkaReader } from './kafka-reader.ts'
import type { KafkaCompression, KafkaSettings } from './kafka-settings.ts'
import { KafkaTopic } from './kafka-topic.ts'
import { encodeEvent } from './kafka-wire.ts'

export interface KafkaLogOptions extends KafkaSettings {
  /** What is read: default all partitions, also those that are added later. */
  readonly partitions?: readonly number[] | KafkaGroupOptions
  readonly compression?: KafkaCompression
  /** Where values go that are no events. Absent: they are counted and passed over. */
  readonly deadLetters?: { readonly topic: string } | { readonly file: string }
  /** A timestamp further ahead of the message's time is rejected. Default 300,000. */
  readonly maxFutureMs?: number
  /** Of one partition in one fetch. Default 256 KiB. */
  readonly fetchBytes?: number
  /** More events than this waiting to be confirmed: appends are refused. Default 100,000. */
  readonly maxPendingEvents?: number
  /** Until an append is confirmed, or rejected with `LOG_UNCONFIRMED`. Default 30,000. */
  readonly appendLimitMs?: number
  /**
   * Small appends are sent together, a request of them every so often; an append that comes alone
   * does not wait. Default 5.
   */
  readonly lingerMs?: number
  /** From fetch to fetch of a reader that has read everything. Default 10. */
  readonly fetchLingerMs?: number
  /** How long to look for an answer before `LOG_UNAVAILABLE`. Default 30,000. */
  readonly giveUpMs?: number
  /** After this, partitions and their leaders are looked up again. Default 30,000. */
  readonly metadataMaxAgeMs?: number
  readonly clock?: Clock
  readonly report?: (report: KafkaReport) => void
}

interface KafkaGroupOptions {
  readonly groupId: string
  readonly sessionTimeoutMs?: number
  readonly onAssigned?: (partitions: readonly number[]) => void
}

type KafkaReport =
  /** Brokers cannot be reached or refuse something: the first of a row of failures, and the end. */
  | { readonly code: 'brokersUnavailable'; readonly message: string }
  | { readonly code: 'brokersBack'; readonly message: string }
  | {
      readonly code: 'deadLettersLost'
      readonly message: string
      readonly letters: readonly DeadLetter[]
    }

/** What reading has come to, for monitoring; counts are since it was opened. */
export interface LogReading {
  /** Whether the brokers have answered of late. */
  readonly isUp: boolean
  readonly events: number
  /** Values that were no events, and those that could not be delivered as such. */
  readonly deadLetters: number
  readonly lostLetters: number
  readonly fetches: number
  readonly failures: number
  /** When the newest event that was read was accepted, epoch ms, by partition. */
  readonly watermarks: Readonly<Record<number, number>>
}

/** Of letters that were lost, in one report. */
const lettersNamed = 10

const defaults = {
  compression: 'none',
  maxFutureMs: 300_000,
  fetchBytes: 256 << 10,
  maxPendingEvents: 100_000,
  appendLimitMs: 30_000,
  lingerMs: 5,
  fetchLingerMs: 10,
  giveUpMs: 30_000,
  metadataMaxAgeMs: 30_000,
  clock: systemClock,
} as const satisfies Partial<KafkaLogOptions>

type SettledOptions = KafkaLogOptions & Required<Pick<KafkaLogOptions, keyof typeof defaults>>

/** Throws `LOG_UNAVAILABLE`, `LOG_TOPIC_UNKNOWN`, `LOG_REFUSED`. */
export async function openKafkaLog(options: KafkaLogOptions): Promise<KafkaLog> {
  const log = new KafkaLog(options)
  try {
    await log.open()
    return log
  } catch (error) {
    await log.close()
    throw error
  }
}

export class KafkaLog implements EventLog {
  readonly #options: SettledOptions
  readonly #topic: KafkaTopic
  readonly #reader: KafkaReader
  readonly #appender: KafkaAppender
  readonly #letters: { readonly topic: KafkaTopic; readonly appender: KafkaAppender } | undefined
  readonly #group: KafkaGroup | undefined
  readonly #commits: KafkaConnection
  #isFailing = false
  #lostLetters = 0
  #closed: Promise<void> | undefined

  /** `open` it before use: `openKafkaLog` does. */
  constructor(options: KafkaLogOptions) {
    this.#options = { ...defaults, ...options }
    const { partitions, fetchBytes, fetchLingerMs, maxFutureMs, giveUpMs } = this.#options
    this.#topic = this.#topicOf(options)
    this.#commits = new KafkaConnection(options)
    this.#appender = this.#appenderTo(this.#topic, options)
    if (options.deadLetters !== undefined && 'topic' in options.deadLetters) {
      const settings = { ...options, topic: options.deadLetters.topic }
      const topic = this.#topicOf(settings)
      this.#letters = { topic, appender: this.#appenderTo(topic, settings) }
    }
    if (partitions !== undefined && 'groupId' in partitions) {
      this.#group = new KafkaGroup({ settings: options, ...partitions })
    }
    this.#reader = new KafkaReader({
      topic: this.#topic,
      connect: () => new KafkaConnection(options),
      partitions: () => this.#partitions(),
      deadLetters: this.#deadLetters(),
      fetchBytes,
      fetchLingerMs,
      maxFutureMs,
      giveUpMs,
      onFailure: (failure) => this.#onFailure(failure),
    })
  }

  async open(): Promise<void> {
    await this.#topic.open()
    await this.#letters?.topic.open()
  }

  async append(events: readonly Event[]): Promise<readonly string[]> {
    this.#topic.refreshIfOld()
    const { partitions } = this.#topic
    const now = this.#options.clock.now()
    const messages = events.map((event): AddressedMessage => {
      const encoded = encodeEvent(event, now)
      return { partition: partitionOf(encoded.key, partitions.length), ...encoded }
    })
    const offsets = await this.#appender.append(messages)
    this.#recovered()
    return offsets
  }

  async read(from: Position, options: ReadOptions): Promise<readonly LogBatch[]> {
    const batches = await this.#reader.read(from, options)
    if (batches.length > 0) this.#recovered()
    return batches
  }

  async end(): Promise<Position> {
    return this.#positions('end')
  }

  async start(): Promise<Position> {
    return this.#positions('start')
  }

  /** Where the first message stands that has the time `time` (epoch ms) or a later one. */
  async at(time: number): Promise<Position> {
    return this.#positions(time)
  }

  compare(a: string, b: string): number {
    return comparePlaces(a, b)
  }

  get reading(): LogReading {
    const { counts, watermarks } = this.#reader
    const { events, poison, fetches, failures } = counts
    return {
      isUp: !this.#isFailing,
      events,
      deadLetters: poison,
      lostLetters: this.#lostLetters,
      fetches,
      failures,
      watermarks,
    }
  }

  /** Partitions that are read now: all, those listed, or what the group has assigned. */
  get partitions(): readonly number[] {
    return this.#partitions()
  }

  /** Tells the brokers where a reader stands, as a group that is only looked at. */
  async commit(groupId: string, position: Position): Promise<void> {
    const places = Object.entries(position).flatMap(([partition, text]) => {
      const place = parsePlace(text)
      return place === undefined ? [] : { partition: Number(partition), offset: place.offset }
    })
    try {
      if (places.length > 0) await this.#commits.commit(groupId, places)
    } catch (error) {
      throw this.#topic.explain(error)
    }
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    await Promise.all([this.#group?.close(), this.#appender.close(), this.#reader.close()])
    await this.#letters?.appender.close()
    this.#commits.close()
    this.#letters?.topic.close()
    this.#topic.close()
  }

  #partitions(): readonly number[] {
    const { partitions } = this.#options
    if (partitions === undefined) return this.#topic.partitions
    if ('groupId' in partitions) return this.#group?.partitions ?? []
    return partitions
  }

  async #positions(at: number | 'start' | 'end'): Promise<Position> {
    if (this.#closed !== undefined) throw new ServiceError('LOG_CLOSED', {})
    this.#topic.refreshIfOld()
    const partitions = this.#partitions()
    const found = await this.#topic.offsets(partitions, at)
    // No event that late: the next one will be.
    const late = partitions.filter((partition) => (found.get(partition) ?? -1) < 0)
    const ends = late.length === 0 ? found : await this.#topic.offsets(late, 'end')
    this.#recovered()
    return Object.fromEntries(
      partitions.map((partition) => {
        const offset = (late.includes(partition) ? ends : found).get(partition) ?? 0
        return [partition, placeText(partition, { offset, index: 0 })]
      }),
    )
  }

  #topicOf(settings: KafkaSettings): KafkaTopic {
    const { metadataMaxAgeMs, giveUpMs } = this.#options
    return new KafkaTopic({
      settings,
      connection: new KafkaConnection(settings),
      metadataMaxAgeMs,
      giveUpMs,
      onFailure: (failure) => this.#onFailure(failure),
    })
  }

  #appenderTo(topic: KafkaTopic, settings: KafkaSettings): KafkaAppender {
    const { compression, maxPendingEvents: maxPending, appendLimitMs, lingerMs } = this.#options
    return new KafkaAppender({
      topic,
      connection: new KafkaConnection(settings),
      compression,
      maxPending,
      appendLimitMs,
      lingerMs,
      onFailure: (failure) => this.#onFailure(failure),
    })
  }

  #deadLetters(): DeadLetters {
    const { deadLetters: target, topic, report } = this.#options
    if (target === undefined) return noDeadLetters
    const letters = this.#letters
    return deadLetters({
      topic,
      deliver:
        'file' in target
          ? toFile(target.file)
          : async (found) => {
              const partitions = letters?.topic.partitions.length ?? 1
              await letters?.appender.append(
                found.map((letter) => {
                  const message = deadMessage(letter)
                  const key = String(message.key ?? '')
                  return { ...message, partition: partitionOf(key, partitions) }
                }),
              )
            },
      onLost: (lost, error) => {
        this.#lostLetters += lost.length
        const places = lost
          .slice(0, lettersNamed)
          .map(({ partition, offset }) =>
            placeText(partition, { offset: Number(offset), index: 0 }),
          )
        const named = `${lost.length} dead letters (${places.join(', ')}) were lost`
        const message = `${named}: ${String(error)}`
        report?.({ code: 'deadLettersLost', message, letters: lost })
      },
    })
  }

  #onFailure({ kind, message }: KafkaFailure): void {
    // A leader that moves is everyday business.
    if (this.#isFailing || kind === 'moved' || this.#closed !== undefined) return
    this.#isFailing = true
    this.#options.report?.({ code: 'brokersUnavailable', message })
  }

  #recovered(): void {
    if (!this.#isFailing) return
    this.#isFailing = false
    this.#options.report?.({ code: 'brokersBack', message: 'the brokers answer again' })
  }
}
