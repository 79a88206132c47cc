/**
 * Appends to a Kafka topic as an idempotent producer, confirmed by all replicas in sync. Appends
 * that come while a request is under way are sent together; one request at a time for each broker,
 * so that the order of appends is the order in each partition, also after a repetition.
 *
 * What holds: an append that resolves is in the log once, however often its request had to be
 * repeated. Events of one append for one partition are together and in order, all or none, as far
 * as they fit into one batch; across partitions Kafka offers no such thing without transactions,
 * which cost each append a quarter of a second with this client. An append that rejects with
 * `LOG_UNAVAILABLE` is not in the log at all; one that rejects with `LOG_UNCONFIRMED` may be, in
 * part or whole, and is to be repeated under the same event ids.
 */
import { setTimeout as sleep } from 'node:timers/promises'

import { ServiceError } from '../../base/errors.ts'
import { type KafkaConnection, KafkaFailure } from './kafka-connection.ts'
import { placeText } from './kafka-offset.ts'
import type { ProducedMessage, ProducerIdentity } from './kafka-produce.ts'
import type { KafkaCompression } from './kafka-settings.ts'
import type { KafkaTopic } from './kafka-topic.ts'

export interface AppenderOptions {
  readonly topic: KafkaTopic
  readonly connection: KafkaConnection
  readonly compression: KafkaCompression
  /** More messages than this waiting: appends are refused. */
  readonly maxPending: number
  /** Until an append is confirmed. */
  readonly appendLimitMs: number
  /** From one request to the next, unless many messages wait. */
  readonly lingerMs: number
  readonly onFailure: (failure: KafkaFailure) => void
}

export interface AddressedMessage extends ProducedMessage {
  readonly partition: number
}

interface Append {
  readonly offsets: string[]
  left: number
  /** Whether a request with some of it has been sent, so that nobody knows but by its answer. */
  isSent: boolean
  isOver: boolean
  readonly expiresAt: number
  readonly resolve: (offsets: readonly string[]) => void
  readonly reject: (error: unknown) => void
}

interface Waiting {
  readonly message: AddressedMessage
  readonly append: Append
  /** Among the messages of the append. */
  readonly i: number
}

/** What goes to one partition in one request, under one sequence however often it is repeated. */
interface PartitionBatch {
  readonly partition: number
  readonly waiting: readonly Waiting[]
  /** How often it may have reached the brokers. */
  sent: number
  isOver: boolean
}

interface Producer {
  readonly identity: ProducerIdentity
  /** Of the next message, by partition. */
  readonly sequences: Map<number, number>
}

/** What is sent together, as one producer until all of it is over. */
interface Round {
  readonly batches: readonly PartitionBatch[]
  producer: Producer | undefined
}

/** Brokers refuse batches of more than 1 MiB unless they are told otherwise. */
const maxBatchBytes = 768 << 10
const maxBatchMessages = 10_000
/** Beside key and value. */
const messageOverheadBytes = 64
/** So many that wait are worth a request of their own. */
const manyMessages = 512
const firstPauseMs = 50
const longestPauseMs = 1_000
const maxSequence = 2 ** 31

/**
 * Invariants: a sequence number is used again only for the very same messages; once it is unknown
 * whether a batch was appended, and nobody will ask any more, the producer is given up with all its
 * sequences - else the broker would take the next batch for a repetition, and drop it.
 */
export class KafkaAppender {
  readonly #options: AppenderOptions
  #waiting: Waiting[] = []
  #sending: Promise<void> | undefined
  #producer: Producer | undefined
  /** When the last round began. */
  #sentAt = -Infinity
  #closed = false

  constructor(options: AppenderOptions) {
    this.#options = options
  }

  /** The offset of each message, in their order. */
  append(messages: readonly AddressedMessage[]): Promise<readonly string[]> {
    if (this.#closed) return Promise.reject(new ServiceError('LOG_CLOSED', {}))
    if (messages.length === 0) return Promise.resolve([])
    const problem = this.#refusal(messages)
    if (problem !== undefined) return Promise.reject(problem)
    const { promise, resolve, reject } = Promise.withResolvers<readonly string[]>()
    const append: Append = {
      offsets: Array.from({ length: messages.length }, () => ''),
      left: messages.length,
      isSent: false,
      isOver: false,
      expiresAt: performance.now() + this.#options.appendLimitMs,
      resolve,
      reject,
    }
    for (const [i, message] of messages.entries()) this.#waiting.push({ message, append, i })
    this.#sending ??= this.#sendAll()
    return promise
  }

  /** Refuses appends; resolves when those under way are over. */
  async close(): Promise<void> {
    this.#closed = true
    await this.#sending
    this.#options.connection.close()
  }

  #refusal(messages: readonly AddressedMessage[]): ServiceError | undefined {
    const waiting = this.#waiting.length
    if (waiting > 0 && waiting + messages.length > this.#options.maxPending) {
      return new ServiceError('LOG_OVERLOADED', { events: waiting })
    }
    if (messages.every((message) => sizeOf(message) <= maxBatchBytes)) return undefined
    const { maxPending: events } = this.#options
    return new ServiceError('LOG_APPEND_TOO_LARGE', { events, bytes: maxBatchBytes })
  }

  async #sendAll(): Promise<void> {
    // Whatever is appended in this turn of the event loop belongs to the first request.
    await Promise.resolve()
    while (this.#waiting.length > 0) {
      await this.#linger()
      this.#sentAt = performance.now()
      await this.#sendUntilOver({ batches: this.#nextBatches(), producer: undefined })
    }
    this.#sending = undefined
  }

  /**
   * Small appends one after the other go together: a request costs the brokers, and every reader
   * that it wakes, as much with one event as with a hundred. One that comes alone need not wait.
   */
  async #linger(): Promise<void> {
    const leftMs = this.#sentAt + this.#options.lingerMs - performance.now()
    const isWorth = leftMs > 0 && this.#waiting.length < manyMessages && !this.#closed
    if (isWorth) await sleep(leftMs)
  }

  /** As many of those that wait longest as fit into one batch for each partition. */
  #nextBatches(): PartitionBatch[] {
    const taken = new Map<number, { waiting: Waiting[]; bytes: number }>()
    const all = this.#waiting
    let n = 0
    for (; n < all.length; n += 1) {
      const { message, append } = all[n]
      if (append.isOver) continue
      const batch = taken.get(message.partition) ?? { waiting: [], bytes: 0 }
      batch.bytes += sizeOf(message)
      const isFull = batch.bytes > maxBatchBytes || batch.waiting.length >= maxBatchMessages
      if (isFull && batch.waiting.length > 0) break
      batch.waiting.push(all[n])
      taken.set(message.partition, batch)
    }
    this.#waiting = all.slice(n)
    return [...taken].map(([partition, { waiting }]) => ({
      partition,
      waiting,
      sent: 0,
      isOver: false,
    }))
  }

  async #sendUntilOver(round: Round): Promise<void> {
    const { topic } = this.#options
    let pauseMs = firstPauseMs
    for (;;) {
      const left = round.batches.filter(({ isOver }) => !isOver)
      if (left.length === 0) return
      const producer = await this.#producerOf(round)
      if (producer !== undefined) {
        const led = [...Map.groupBy(left, ({ partition }) => topic.leaderOf(partition))]
        await Promise.all(led.map(([leader, group]) => this.#send(producer, leader, group)))
        if (left.every(({ isOver }) => isOver)) return
      }
      await sleep(pauseMs, undefined, { signal: topic.closed }).catch(() => undefined)
      pauseMs = Math.min(2 * pauseMs, longestPauseMs)
      await topic.refresh().catch(() => undefined)
    }
  }

  /** Undefined: the brokers have given none. */
  async #producerOf(round: Round): Promise<Producer | undefined> {
    try {
      this.#producer ??= {
        identity: await this.#options.connection.identity(),
        sequences: new Map(),
      }
      round.producer ??= this.#producer
    } catch (error) {
      const unsent = round.batches.filter(({ isOver }) => !isOver)
      if (round.producer === undefined) this.#afterFailure(error, unsent)
    }
    return round.producer
  }

  /** One request. Never rejects. */
  async #send(
    { identity, sequences }: Producer,
    leader: number | undefined,
    batches: readonly PartitionBatch[],
  ): Promise<void> {
    const { connection, compression } = this.#options
    try {
      if (leader === undefined) throw new KafkaFailure('moved', 'a partition has no leader')
      const partitions = batches.map(({ partition, waiting }) => ({
        partition,
        firstSequence: sequences.get(partition) ?? 0,
        messages: waiting.map(({ message }) => message),
      }))
      const onSend = (): void => markSent(batches)
      const request = { partitions, compression, onSend }
      const offsets = await connection.produce(leader, identity, request)
      for (const batch of batches) {
        const { partition, waiting } = batch
        const next = (sequences.get(partition) ?? 0) + waiting.length
        sequences.set(partition, next % maxSequence)
        this.#confirm(batch, offsets.get(partition) ?? 0)
      }
    } catch (error) {
      this.#afterFailure(error, batches)
    }
  }

  #confirm(batch: PartitionBatch, first: number): void {
    const { partition, waiting } = batch
    batch.isOver = true
    for (const [n, { append, i }] of waiting.entries()) {
      append.offsets[i] = placeText(partition, { offset: first + n, index: 0 })
      append.left -= 1
      if (append.left > 0 || append.isOver) continue
      append.isOver = true
      append.resolve(append.offsets)
    }
  }

  #afterFailure(error: unknown, batches: readonly PartitionBatch[]): void {
    const failure = error instanceof KafkaFailure ? error : new KafkaFailure('refused', error)
    this.#options.onFailure(failure)
    const now = performance.now()
    const isFinal = failure.kind === 'refused' || failure.kind === 'producer'
    for (const batch of batches) {
      const isExpired = batch.waiting.every(({ append }) => append.expiresAt <= now)
      // An answer is of one batch, the first that was refused.
      const isSure = isFinal && batches.length === 1 && batch.sent <= 1
      if (isFinal || isExpired) this.#giveUp(batch, failure, isSure)
    }
  }

  /** `isSure`: the brokers have said that it was not appended. */
  #giveUp(batch: PartitionBatch, failure: KafkaFailure, isSure: boolean): void {
    const { topic, appendLimitMs } = this.#options
    batch.isOver = true
    if (batch.sent > 0) this.#producer = undefined
    for (const { append } of batch.waiting) {
      if (append.isOver) continue
      append.isOver = true
      const events = append.offsets.length
      const details = { events, limitMs: appendLimitMs, reason: failure.message }
      const isKnown = !append.isSent || (isSure && append.left === events)
      append.reject(
        isKnown
          ? topic.explain(failure)
          : new ServiceError('LOG_UNCONFIRMED', details, { cause: failure }),
      )
    }
  }
}

function markSent(batches: readonly PartitionBatch[]): void {
  for (const batch of batches) {
    batch.sent += 1
    for (const { append } of batch.waiting) append.isSent = true
  }
}

const sizeOf = ({ key, value }: AddressedMessage): number =>
  (key?.length ?? 0) + Buffer.byteLength(value) + messageOverheadBytes
