/**
 * Reads a Kafka topic by plain fetch: every read says where it stands, and nothing but the caller's
 * position decides what comes next. What was fetched ahead is kept for the reader that goes on
 * from there; several readers at several places do not disturb each other.
 *
 * Back-pressure: a partition is fetched when little of it is at hand, one fetch at a time, of
 * bounded size; who does not read is not fetched for.
 */
import { setTimeout as sleep } from 'node:timers/promises'

import { ServiceError } from '../../base/errors.ts'
import type { LogBatch, Position, ReadOptions } from '../event-log.ts'
import { type KafkaConnection, KafkaFailure } from './kafka-connection.ts'
import type { DeadLetters } from './kafka-dead-letters.ts'
import { type KafkaPlace, parsePlace, placeText } from './kafka-offset.ts'
import { PartitionFeed, type PoisonedValue } from './kafka-partition.ts'
import type { KafkaTopic } from './kafka-topic.ts'
import { PlainInteractions } from './plain-interactions.ts'

export interface KafkaReaderOptions {
  readonly topic: KafkaTopic
  readonly connect: () => KafkaConnection
  /** Partitions that are read now. */
  readonly partitions: () => readonly number[]
  readonly deadLetters: DeadLetters
  /** Of one partition in one fetch. */
  readonly fetchBytes: number
  /**
   * Between two fetches of one who has read everything. Without it every append wakes every reader,
   * and a fetch of one event costs broker and reader as much as one of a hundred.
   */
  readonly fetchLingerMs: number
  readonly maxFutureMs: number
  readonly giveUpMs: number
  readonly onFailure: (failure: KafkaFailure) => void
}

interface ReaderCounts {
  events: number
  poison: number
  fetches: number
  failures: number
}

/**
 * Longest wait on a broker that has nothing: so long may a stop or a new partition have to wait.
 */
const longestPollMs = 250
const firstPauseMs = 50
const longestPauseMs = 1_000
/** Places that are kept for a reader to come back to, by partition. */
const maxIdleFeeds = 4
const maxConnections = 16

export class KafkaReader {
  readonly counts: ReaderCounts = { events: 0, poison: 0, fetches: 0, failures: 0 }
  readonly #options: KafkaReaderOptions
  readonly #plain = new PlainInteractions()
  /** By partition; longest idle first. */
  readonly #idle = new Map<number, PartitionFeed[]>()
  /** When the newest event that was read of a partition was accepted, epoch ms. */
  readonly #watermarks = new Map<number, number>()
  /** Where partitions begin that a position does not name. */
  readonly #starts = new Map<number, number>()
  readonly #connections: KafkaConnection[] = []
  readonly #free: KafkaConnection[] = []
  readonly #closed = new AbortController()
  readonly #reading = new Set<Promise<unknown>>()
  /** When the last fetch was answered. */
  #answeredAt = -Infinity
  #turn = 0
  #pauseMs = firstPauseMs
  #failure: KafkaFailure | undefined
  /** Since when the brokers have been refusing what no repetition makes better. */
  #refusedAt = Infinity

  constructor(options: KafkaReaderOptions) {
    this.#options = options
  }

  async read(from: Position, options: ReadOptions): Promise<readonly LogBatch[]> {
    if (this.#closed.signal.aborted) throw new ServiceError('LOG_CLOSED', {})
    const reading = this.#read(from, options)
    this.#reading.add(reading)
    try {
      return await reading
    } finally {
      this.#reading.delete(reading)
    }
  }

  /** When the newest event that was read was accepted, epoch ms, by partition. */
  get watermarks(): Readonly<Record<number, number>> {
    return Object.fromEntries(this.#watermarks)
  }

  async close(): Promise<void> {
    this.#closed.abort()
    for (const connection of this.#connections) connection.close()
    await Promise.allSettled(this.#reading)
    this.#idle.clear()
  }

  async #read(from: Position, options: ReadOptions): Promise<readonly LogBatch[]> {
    using ended = new Ending([options.signal, this.#closed.signal], options.waitMs)
    if (ended.isAborted) return []
    this.#options.topic.refreshIfOld()
    const partitions = options.partitions ?? this.#options.partitions()
    const absent = partitions.filter((partition) => from[partition] === undefined)
    await this.#findStarts(absent, options.waitMs, ended)
    const feeds = this.#feedsAt(from, partitions)
    try {
      return await this.#readFrom(feeds, options, ended)
    } finally {
      for (const feed of feeds) this.#release(feed)
    }
  }

  async #readFrom(
    feeds: readonly PartitionFeed[],
    { maxEvents, waitMs }: ReadOptions,
    ended: Ending,
  ): Promise<readonly LogBatch[]> {
    // What is answered by then was asked for after this read began.
    const due = feeds.map(({ fills, filling }) => fills + (filling === undefined ? 1 : 2))
    const begin = performance.now()
    for (;;) {
      if (ended.isAborted) return []
      this.#requireAccess()
      for (const feed of feeds) await this.#requireInRange(feed)
      const isWaiting = waitMs > 0 && !feeds.some(({ hasMessages }) => hasMessages)
      this.#fetch(feeds, isWaiting ? Math.min(ended.leftMs, longestPollMs) : 0)
      const batches = await this.#take(feeds, maxEvents)
      if (batches.length > 0) return batches
      const isAnswered = feeds.every(({ fills }, i) => fills >= due[i])
      if (waitMs > 0 ? ended.isOver : isAnswered) return []
      if (waitMs === 0) this.#requireAnswer(begin)
      const fillings = feeds.flatMap(({ filling }) => filling ?? [])
      await Promise.race([...fillings, ended.promise])
      if (waitMs > 0 && ended.isOver) return this.#take(feeds, maxEvents)
    }
  }

  /** Events of all partitions in equal shares; or batches without any, whose `next` moved. */
  async #take(feeds: readonly PartitionFeed[], maxEvents: number): Promise<readonly LogBatch[]> {
    const batches: LogBatch[] = []
    const poison: PoisonedValue[] = []
    let left = maxEvents
    for (;;) {
      const full = feeds.filter(({ hasMessages, hasMoved }) => hasMessages || hasMoved)
      if (full.length === 0 || left <= 0) break
      this.#turn += 1
      const share = Math.ceil(left / full.length)
      for (let i = 0; i < full.length && left > 0; i += 1) {
        const feed = full[(i + this.#turn) % full.length]
        const taken = feed.take(Math.min(share, left))
        left -= Math.max(1, taken.values)
        batches.push(taken.batch)
        poison.push(...taken.poison)
        this.#count(taken.batch)
      }
    }
    if (poison.length > 0) {
      this.counts.poison += poison.length
      await this.#options.deadLetters.write(poison)
    }
    return batches
  }

  #count({ partition, events }: LogBatch): void {
    this.counts.events += events.length
    const acceptedAt = events.at(-1)?.acceptedAt
    if (acceptedAt !== undefined) this.#watermarks.set(partition, acceptedAt)
  }

  #fetch(feeds: readonly PartitionFeed[], waitMs: number): void {
    const low = feeds.filter((feed) => feed.filling === undefined && feed.isLow)
    const { topic } = this.#options
    for (const led of Map.groupBy(low, ({ partition }) => topic.leaderOf(partition))) {
      const [leader, wanting] = led
      const filling = this.#fill(leader, wanting, waitMs)
      for (const feed of wanting) feed.filling = filling
    }
  }

  /** One fetch; after a failure a pause. Never rejects. */
  async #fill(
    leader: number | undefined,
    feeds: readonly PartitionFeed[],
    waitMs: number,
  ): Promise<void> {
    const connection = this.#connection()
    try {
      if (leader === undefined) throw new KafkaFailure('moved', 'a partition has no leader')
      const places = feeds.map(({ partition, fetchFrom }) => ({ partition, offset: fetchFrom }))
      if (waitMs > 0) await this.#linger()
      const { fetchBytes: maxBytes } = this.#options
      const fetched = await connection.fetch(leader, places, { waitMs, maxBytes })
      this.counts.fetches += 1
      this.#answeredAt = performance.now()
      for (const part of fetched) {
        feeds.find(({ partition }) => partition === part.partition)?.accept(part)
      }
      this.#failure = undefined
      this.#refusedAt = Infinity
      this.#pauseMs = firstPauseMs
    } catch (error) {
      await this.#afterFailure(error, feeds)
    } finally {
      this.#free.push(connection)
      for (const feed of feeds) feed.filling = undefined
    }
  }

  async #linger(): Promise<void> {
    const leftMs = this.#answeredAt + this.#options.fetchLingerMs - performance.now()
    if (leftMs > 0) await sleep(leftMs, undefined, { signal: this.#closed.signal })
  }

  async #afterFailure(cause: unknown, feeds: readonly PartitionFeed[]): Promise<void> {
    if (this.#closed.signal.aborted) return
    const failure = cause instanceof KafkaFailure ? cause : new KafkaFailure('refused', cause)
    if (failure.kind === 'range') {
      const feed = feeds.find(({ partition }) => partition === failure.partition) ?? feeds[0]
      feed.isOutOfRange = true
      return
    }
    this.counts.failures += 1
    this.#failure = failure
    if (failure.kind !== 'refused') this.#refusedAt = Infinity
    else this.#refusedAt = Math.min(this.#refusedAt, performance.now())
    this.#options.onFailure(failure)
    await sleep(this.#pauseMs, undefined, { signal: this.#closed.signal }).catch(() => undefined)
    this.#pauseMs = Math.min(2 * this.#pauseMs, longestPauseMs)
    await this.#options.topic.refresh().catch(() => undefined)
  }

  /** Throws `LOG_OFFSET_EXPIRED`, `LOG_OFFSET_UNKNOWN` where the broker has no such place. */
  async #requireInRange(feed: PartitionFeed): Promise<void> {
    if (!feed.isOutOfRange) return
    feed.isOutOfRange = false
    const { partition, fetchFrom } = feed
    // What was found for a position without this partition is no longer so.
    this.#starts.delete(partition)
    const offset = placeText(partition, feed.place)
    const { topic } = this.#options
    const start = (await topic.offsets([partition], 'start')).get(partition) ?? 0
    if (fetchFrom < start) {
      const details = { offset, start: placeText(partition, { offset: start, index: 0 }) }
      throw new ServiceError('LOG_OFFSET_EXPIRED', details)
    }
    const end = (await topic.offsets([partition], 'end')).get(partition) ?? 0
    // Within range by now: a new leader may have been behind for a moment.
    if (fetchFrom <= end) return
    const details = { offset, end: placeText(partition, { offset: end, index: 0 }) }
    throw new ServiceError('LOG_OFFSET_UNKNOWN', details)
  }

  /** A refusal may pass when a broker has just started; one that stays is an error. */
  #requireAccess(): void {
    const isLasting = performance.now() - this.#refusedAt > this.#options.giveUpMs
    if (isLasting) throw this.#options.topic.explain(this.#failure)
  }

  /** Whoever does not wait for events waits for an answer, but not for ever. */
  #requireAnswer(begin: number): void {
    const failure = this.#failure
    if (failure === undefined) return
    const isOver = performance.now() - begin > this.#options.giveUpMs
    if (isOver || failure.kind === 'refused') throw this.#options.topic.explain(failure)
  }

  /** Whoever waits for events goes without those of partitions that nobody tells of now. */
  async #findStarts(partitions: readonly number[], waitMs: number, ended: Ending): Promise<void> {
    const unknown = partitions.filter((partition) => !this.#starts.has(partition))
    if (unknown.length === 0) return
    const asking = this.#askForStarts(unknown)
    if (waitMs === 0) await asking
    else await Promise.race([asking.catch(() => undefined), ended.promise])
  }

  async #askForStarts(partitions: readonly number[]): Promise<void> {
    const found = await this.#options.topic.offsets(partitions, 'start')
    for (const [partition, start] of found) this.#starts.set(partition, start)
  }

  #feedsAt(from: Position, partitions: readonly number[]): PartitionFeed[] {
    return partitions.flatMap((partition) => {
      const text = from[partition]
      const start = this.#starts.get(partition)
      if (text === undefined && start === undefined) return []
      const place = text === undefined ? { offset: start ?? 0, index: 0 } : parsePlace(text)
      if (place !== undefined) return this.#acquire(partition, place)
      throw new ServiceError('LOG_OFFSET_UNKNOWN', { offset: text ?? '', end: 'unknown' })
    })
  }

  #acquire(partition: number, { offset, index }: KafkaPlace): PartitionFeed {
    const idle = this.#idle.get(partition) ?? []
    const at = idle.findIndex(({ place }) => place.offset === offset && place.index === index)
    if (at >= 0) return idle.splice(at, 1)[0]
    const { maxFutureMs } = this.#options
    return new PartitionFeed(partition, { offset, index }, { maxFutureMs, plain: this.#plain })
  }

  #release(feed: PartitionFeed): void {
    const idle = this.#idle.get(feed.partition) ?? []
    idle.push(feed)
    if (idle.length > maxIdleFeeds) idle.shift()
    this.#idle.set(feed.partition, idle)
  }

  #connection(): KafkaConnection {
    const free = this.#free.shift()
    if (free !== undefined) return free
    if (this.#connections.length >= maxConnections) {
      this.#turn += 1
      return this.#connections[this.#turn % maxConnections]
    }
    const connection = this.#options.connect()
    this.#connections.push(connection)
    return connection
  }
}

/** What ends a wait: a signal, or the time. */
class Ending implements Disposable {
  readonly promise: Promise<void>
  readonly #signals: readonly AbortSignal[]
  readonly #until: number
  readonly #end: () => void
  readonly #timer: NodeJS.Timeout | undefined

  constructor(signals: readonly AbortSignal[], waitMs: number) {
    const { promise, resolve: settle } = Promise.withResolvers<void>()
    const resolve = (): void => settle()
    this.promise = promise
    this.#end = resolve
    this.#signals = signals
    this.#until = performance.now() + waitMs
    // Who does not wait for events waits for an answer, however long that takes.
    if (waitMs > 0) this.#timer = setTimeout(resolve, waitMs)
    for (const signal of signals) signal.addEventListener('abort', resolve, { once: true })
  }

  get isAborted(): boolean {
    return this.#signals.some(({ aborted }) => aborted)
  }

  get leftMs(): number {
    return Math.max(0, Math.ceil(this.#until - performance.now()))
  }

  get isOver(): boolean {
    return this.leftMs === 0 || this.isAborted
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer)
    for (const signal of this.#signals) signal.removeEventListener('abort', this.#end)
  }
}
