/**
 * Connections to Kafka brokers: the only file that knows the client, kafkajs. Of it we use what
 * speaks the protocol - connections, authentication, requests - and not its producer and consumer:
 * a consumer of a group cannot stand at several places at once, and its producer copies a batch
 * once per message and does not say what is in doubt after a failure. `kafka-reader.ts` and
 * `kafka-appender.ts` decide what to ask for and when to ask again.
 *
 * kafkajs is frozen at 2.2.4 and pinned to it, so that what it exports to itself stays as it is.
 */
import { connect, isIP, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'

import kafkajs from 'kafkajs'
import Cluster, {
  type Broker,
  type FetchedRecords,
  type RawMessage,
} from 'kafkajs/src/cluster/index.js'
import filterAborted from 'kafkajs/src/consumer/filterAbortedMessages.js'
import RequestQueue from 'kafkajs/src/network/requestQueue/index.js'
import fetchAnswer from 'kafkajs/src/protocol/requests/fetch/v11/response.js'
import produceAnswer from 'kafkajs/src/protocol/requests/produce/v7/response.js'

import { present } from '../../base/assert.ts'
import { addKafkaCodecs } from './kafka-codecs.ts'
import {
  encodeProduce,
  type ProducedPartition,
  type ProducerIdentity,
  produceVersion,
} from './kafka-produce.ts'
import { decodeFetch } from './kafka-records.ts'
import type { KafkaCompression, KafkaSettings } from './kafka-settings.ts'

export type KafkaMessage = Pick<RawMessage, 'offset' | 'key' | 'value' | 'timestamp' | 'headers'>

export interface FetchPlace {
  readonly partition: number
  readonly offset: number
}

export interface FetchedPartition {
  readonly partition: number
  /** Records that are committed, in order; markers and aborted ones are left out. */
  readonly messages: readonly KafkaMessage[]
  /** Where to fetch on. */
  readonly next: number
}

/** What the brokers know of the topic. */
export interface TopicMetadata {
  readonly partitions: readonly number[]
  /** By partition; absent while there is none. */
  readonly leaders: ReadonlyMap<number, number>
}

/**
 * `connection`: nobody is there, or the connection is lost; what was asked may have been done.
 * `moved`: another broker is meant, or it is not ready: metadata is to be read again. `range`: the
 * partition has no such offset. `producer`: the brokers no longer know the producer by this
 * identity, and nothing was appended. `topic`: there is no such topic. `refused`: no repetition
 * helps.
 */
export type KafkaFailureKind = 'connection' | 'moved' | 'range' | 'producer' | 'topic' | 'refused'

export class KafkaFailure extends Error {
  readonly kind: KafkaFailureKind
  /** For `range`. */
  readonly partition: number | undefined

  constructor(kind: KafkaFailureKind, cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause), { cause })
    this.name = 'KafkaFailure'
    this.kind = kind
    this.partition = cause instanceof kafkajs.KafkaJSOffsetOutOfRange ? cause.partition : undefined
  }
}

mendTimers(RequestQueue.prototype)
hastenFetches(fetchAnswer)
addKafkaCodecs(kafkajs.CompressionCodecs)

const produceKey = 0
const readCommitted = 1
const beforeAll = -2
const afterAll = -1

export class KafkaConnection {
  readonly #settings: KafkaSettings
  readonly #sockets = new Set<Socket>()
  #cluster: Promise<Cluster> | undefined
  #closed = false

  /** Connects when first asked for something, and again after a connection was lost. */
  constructor(settings: KafkaSettings) {
    this.#settings = settings
  }

  async metadata(): Promise<TopicMetadata> {
    const { topic } = this.#settings
    return this.#call(async (cluster) => {
      await cluster.refreshMetadata()
      const found = cluster.findTopicPartitionMetadata(topic)
      const partitions = found.map(({ partitionId }) => partitionId).toSorted((a, b) => a - b)
      const led = found.filter(({ leader }) => leader >= 0)
      return { partitions, leaders: new Map(led.map((of) => [of.partitionId, of.leader])) }
    })
  }

  /** Waits up to `waitMs` on the broker while it has nothing; at least a batch where it has. */
  async fetch(
    leader: number,
    places: readonly FetchPlace[],
    { waitMs, maxBytes }: { readonly waitMs: number; readonly maxBytes: number },
  ): Promise<readonly FetchedPartition[]> {
    const { topic } = this.#settings
    const partitions = places.map(({ partition, offset }) => ({
      partition,
      fetchOffset: String(offset),
      maxBytes,
    }))
    const { responses } = await this.#ask(leader, (broker) =>
      broker.fetch({
        isolationLevel: readCommitted,
        maxWaitTime: waitMs,
        minBytes: 1,
        maxBytes: maxBytes * places.length,
        topics: [{ topic, partitions }],
      }),
    )
    return responses.flatMap((response) =>
      response.partitions.map((fetched) => {
        const place = places.find(({ partition }) => partition === fetched.partition)
        return committed(fetched, present(place, `partition ${fetched.partition}`).offset)
      }),
    )
  }

  /** By partition: the first offset from that time on, epoch ms, or the first or last of all. */
  async offsets(
    leader: number,
    partitions: readonly number[],
    at: number | 'start' | 'end',
  ): Promise<ReadonlyMap<number, number>> {
    const { topic } = this.#settings
    const timestamp = at === 'start' ? beforeAll : at === 'end' ? afterAll : at
    const { responses } = await this.#ask(leader, (broker) =>
      broker.listOffsets({
        isolationLevel: readCommitted,
        topics: [{ topic, partitions: partitions.map((partition) => ({ partition, timestamp })) }],
      }),
    )
    const found = responses.flatMap((response) => response.partitions)
    return new Map(found.map(({ partition, offset }) => [partition, Number(offset)]))
  }

  async identity(): Promise<ProducerIdentity> {
    return this.#call(async (cluster) => {
      const broker = await cluster.findControllerBroker()
      return broker.initProducerId({ transactionTimeout: 60_000 })
    })
  }

  /**
   * Appends a batch to each partition, confirmed by all replicas in sync. The offset of the first
   * message of each. The same batches with the same sequences again: appended once. A failure says
   * nothing about any of the partitions.
   */
  async produce(
    leader: number,
    identity: ProducerIdentity,
    { partitions, compression, onSend }: Production,
  ): Promise<ReadonlyMap<number, number>> {
    const { topic } = this.#settings
    const codec = compressionTypes[compression]
    const timeoutMs = this.#requestTimeoutMs
    const payload = await encodeProduce({ topic, identity, timeoutMs, codec, partitions })
    const { topics } = await this.#ask(leader, (broker) => {
      onSend()
      return broker.connectionPool.send({
        request: {
          apiKey: produceKey,
          apiVersion: produceVersion,
          apiName: 'Produce',
          encode: () => Promise.resolve({ buf: payload, buffer: payload }),
        },
        response: produceAnswer,
      })
    })
    const found = topics.flatMap((response) => response.partitions)
    return new Map(found.map(({ partition, baseOffset }) => [partition, Number(baseOffset)]))
  }

  /** Tells the brokers where a group stands, for whoever watches lag there. */
  async commit(groupId: string, places: readonly FetchPlace[]): Promise<void> {
    const { topic } = this.#settings
    await this.#call(async (cluster) => {
      const coordinator = await cluster.findGroupCoordinator({ groupId })
      const partitions = places.map(({ partition, offset }) => ({
        partition,
        offset: String(offset),
      }))
      await coordinator.offsetCommit({
        groupId,
        groupGenerationId: -1,
        memberId: '',
        topics: [{ topic, partitions }],
      })
    })
  }

  /** Ends what is under way; it fails as if the connection were lost. */
  close(): void {
    this.#closed = true
    this.#discard()
  }

  get #requestTimeoutMs(): number {
    return this.#settings.requestTimeoutMs ?? defaultRequestTimeoutMs
  }

  #ask<Result>(leader: number, work: (broker: Broker) => Promise<Result>): Promise<Result> {
    return this.#call(async (cluster) => work(await cluster.findBroker({ nodeId: leader })))
  }

  async #call<Result>(work: (cluster: Cluster) => Promise<Result>): Promise<Result> {
    if (this.#closed) throw new KafkaFailure('connection', 'the connection is closed')
    this.#cluster ??= this.#connect()
    const cluster = this.#cluster
    try {
      return await work(await cluster)
    } catch (error) {
      const kind = kindOf(error)
      // What is left of a lost connection is of no use to anybody.
      if (this.#cluster === cluster && kind !== 'range') this.#discard()
      throw new KafkaFailure(kind, error)
    }
  }

  async #connect(): Promise<Cluster> {
    const cluster = new Cluster({
      ...connectionOptions(this.#settings, this.#sockets),
      logger: silent,
      metadataMaxAge: metadataMaxAgeMs,
      allowAutoTopicCreation: false,
      isolationLevel: readCommitted,
    })
    try {
      await cluster.connect()
      await cluster.addTargetTopic(this.#settings.topic)
      return cluster
    } catch (error) {
      // Its timers would keep the process from ending.
      await cluster.disconnect().catch(() => undefined)
      throw error
    }
  }

  #discard(): void {
    this.#cluster?.then((cluster) => cluster.disconnect()).catch(() => undefined)
    this.#cluster = undefined
    // Else disconnecting waits for answers.
    for (const socket of this.#sockets) socket.destroy()
    this.#sockets.clear()
  }
}

interface Production {
  readonly partitions: readonly ProducedPartition[]
  readonly compression: KafkaCompression
  /** From here on the brokers may have appended. */
  readonly onSend: () => void
}

const compressionTypes = {
  none: kafkajs.CompressionTypes.None,
  gzip: kafkajs.CompressionTypes.GZIP,
  snappy: kafkajs.CompressionTypes.Snappy,
  lz4: kafkajs.CompressionTypes.LZ4,
  zstd: kafkajs.CompressionTypes.ZSTD,
} as const satisfies Record<KafkaCompression, kafkajs.CompressionTypes>

const defaultConnectTimeoutMs = 2_000
const defaultRequestTimeoutMs = 10_000
const keepAliveMs = 60_000
/** Of kafkajs' own copy; kafka-topic.ts says when it is read again. */
const metadataMaxAgeMs = 300_000

/** How both kafkajs' client and its inner cluster are told to connect. */
function connectionOptions(settings: KafkaSettings, sockets: Set<Socket>) {
  const { brokers, clientId = 'freshet', sasl, tls } = settings
  return {
    brokers: [...brokers],
    clientId,
    // Copies: kafkajs keeps in them how it has logged in.
    ...(sasl && { sasl: { ...sasl } }),
    ...(tls && { ssl: { ...tls } }),
    connectionTimeout: settings.connectTimeoutMs ?? defaultConnectTimeoutMs,
    requestTimeout: settings.requestTimeoutMs ?? defaultRequestTimeoutMs,
    enforceRequestTimeout: true,
    // Whoever asked asks again, and knows for how long.
    retry: { retries: 1, initialRetryTime: 100, maxRetryTime: 500 },
    socketFactory: socketFactory(sockets),
  }
}

/** For what is not done by plain requests: a member of a group. */
export function kafkaClient(settings: KafkaSettings): kafkajs.Kafka {
  const logLevel = kafkajs.logLevel.NOTHING
  const retry = { retries: 8, initialRetryTime: 100, maxRetryTime: 1_000 }
  return new kafkajs.Kafka({ ...connectionOptions(settings, new Set()), retry, logLevel })
}

const silent = {
  namespace: () => silent,
  error() {},
  warn() {},
  info() {},
  debug() {},
}

/** Sockets that can be told to end at once. */
function socketFactory(sockets: Set<Socket>): kafkajs.ISocketFactory {
  return ({ host, port, ssl, onConnect }) => {
    const name = isIP(host) === 0 ? { servername: host } : {}
    const socket =
      ssl === undefined || ssl === null
        ? connect({ host, port }, onConnect)
        : connectTls({ host, port, ...name, ...ssl }, onConnect)
    socket.setKeepAlive(true, keepAliveMs)
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    return socket
  }
}

/**
 * kafkajs looks again and again, with a delay that is negative, whether requests wait that it has
 * throttled - also when none do. That costs a timer per millisecond, and newer Nodes warn.
 */
function mendTimers(queue: RequestQueue): void {
  const { scheduleCheckPendingRequests: schedule } = queue
  queue.scheduleCheckPendingRequests = function scheduleIfPending(this: RequestQueue): void {
    if (this.pending.length > 0) schedule.call(this)
  }
}

/** Has answers to fetches read by `decodeFetch`, as far as that knows their format. */
function hastenFetches(answer: typeof fetchAnswer): void {
  const { decode } = answer
  answer.decode = async (payload) => (await decodeFetch(payload)) ?? decode(payload)
}

function committed(fetched: FetchedRecords, offset: number): FetchedPartition {
  const { partition, messages: raw, abortedTransactions = [] } = fetched
  const sound =
    abortedTransactions.length === 0 ? raw : filterAborted({ messages: raw, abortedTransactions })
  const messages = sound.filter(
    (message) => message.isControlRecord !== true && Number(message.offset) >= offset,
  )
  return {
    partition,
    messages,
    next: Math.max(offset, endOf(raw)),
  }
}

/** After the last record, also where it has been compacted away. */
function endOf(messages: readonly RawMessage[]): number {
  const last = messages.at(-1)
  if (last === undefined) return 0
  const { batchContext, offset } = last
  if (batchContext === undefined) return Number(offset) + 1
  return Number(batchContext.firstOffset) + batchContext.lastOffsetDelta + 1
}

const connectionErrors = new Set([
  'KafkaJSConnectionError',
  'KafkaJSConnectionClosedError',
  'KafkaJSRequestTimeoutError',
  'KafkaJSBrokerNotFound',
  'KafkaJSLockTimeout',
  'KafkaJSMetadataNotLoaded',
  'KafkaJSTopicMetadataNotLoaded',
  'KafkaJSGroupCoordinatorNotFound',
  'KafkaFailure',
])

const producerErrors = new Set([
  'OUT_OF_ORDER_SEQUENCE_NUMBER',
  'UNKNOWN_PRODUCER_ID',
  'INVALID_PRODUCER_EPOCH',
  'INVALID_PRODUCER_ID_MAPPING',
])

function kindOf(error: unknown): KafkaFailureKind {
  const name = textOf(error, 'name')
  if (name === 'KafkaJSNumberOfRetriesExceeded') {
    return kindOf(error instanceof Error ? error.cause : undefined)
  }
  const type = textOf(error, 'type')
  if (type === 'OFFSET_OUT_OF_RANGE') return 'range'
  if (type === 'UNKNOWN_TOPIC_OR_PARTITION') return 'topic'
  if (producerErrors.has(type)) return 'producer'
  if (connectionErrors.has(name)) return 'connection'
  const isRetriable = error instanceof kafkajs.KafkaJSError && error.retriable
  return isRetriable ? 'moved' : 'refused'
}

const textOf = (of: unknown, name: string): string => {
  const value: unknown = of instanceof Object ? Reflect.get(of, name) : undefined
  return typeof value === 'string' ? value : ''
}
