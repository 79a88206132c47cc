/**
 * What is known of the topic: its partitions, who leads them, where they begin and end. Read again
 * when it is old or has proved wrong. Retries stand here, so that whoever asks gets an answer or is
 * told that nobody answers.
 */
import { setTimeout as sleep } from 'node:timers/promises'

import { type ErrorCode, ServiceError } from '../../base/errors.ts'
import { type KafkaConnection, KafkaFailure, type TopicMetadata } from './kafka-connection.ts'
import type { KafkaSettings } from './kafka-settings.ts'

export interface TopicOptions {
  readonly settings: KafkaSettings
  readonly connection: KafkaConnection
  /** After this the partitions are looked up again, in the background. */
  readonly metadataMaxAgeMs: number
  /** How long to ask for what nobody answers. */
  readonly giveUpMs: number
  readonly onFailure: (failure: KafkaFailure) => void
}

const firstPauseMs = 100
const longestPauseMs = 1_000
/** A broker that has just started knows no topics yet. */
const unknownTopicMs = 5_000

export class KafkaTopic {
  readonly #options: TopicOptions
  #metadata: TopicMetadata = { partitions: [], leaders: new Map() }
  #readAt = -Infinity
  #reading: Promise<void> | undefined
  readonly #closed = new AbortController()

  constructor(options: TopicOptions) {
    this.#options = options
  }

  /** Ascending. */
  get partitions(): readonly number[] {
    return this.#metadata.partitions
  }

  /** Undefined while the partition has none. */
  leaderOf(partition: number): number | undefined {
    return this.#metadata.leaders.get(partition)
  }

  get closed(): AbortSignal {
    return this.#closed.signal
  }

  /** Reads the metadata; throws `LOG_UNAVAILABLE`, `LOG_TOPIC_UNKNOWN`, `LOG_REFUSED`. */
  async open(): Promise<void> {
    await this.#persist(() => this.refresh())
  }

  /** Once, without another attempt. */
  refresh(): Promise<void> {
    this.#reading ??= this.#read().finally(() => {
      this.#reading = undefined
    })
    return this.#reading
  }

  refreshIfOld(): void {
    if (performance.now() - this.#readAt < this.#options.metadataMaxAgeMs) return
    this.refresh().catch(() => undefined)
  }

  /** By partition, for all of those; tried until it is known or `giveUpMs` have passed. */
  async offsets(
    partitions: readonly number[],
    at: number | 'start' | 'end',
  ): Promise<ReadonlyMap<number, number>> {
    return this.#persist(async () => {
      const found = new Map<number, number>()
      for (const [leader, led] of this.byLeader(partitions)) {
        if (leader === undefined) {
          await this.refresh()
          throw new KafkaFailure('moved', `partitions ${led.join(', ')} have no leader`)
        }
        const offsets = await this.#options.connection.offsets(leader, led, at)
        for (const [partition, offset] of offsets) found.set(partition, offset)
      }
      return found
    })
  }

  byLeader(partitions: readonly number[]): Map<number | undefined, number[]> {
    return Map.groupBy(partitions, (partition) => this.leaderOf(partition))
  }

  /** What `failure` means to a caller that will not wait any longer. */
  explain(failure: unknown): ServiceError {
    const { brokers, topic } = this.#options.settings
    const reason = failure instanceof Error ? failure.message : String(failure)
    const kind = failure instanceof KafkaFailure ? failure.kind : 'refused'
    const codes: Partial<Record<typeof kind, ErrorCode>> = {
      refused: 'LOG_REFUSED',
      topic: 'LOG_TOPIC_UNKNOWN',
    }
    const details = { brokers: brokers.join(','), topic, reason }
    return new ServiceError(codes[kind] ?? 'LOG_UNAVAILABLE', details, { cause: failure })
  }

  close(): void {
    this.#closed.abort()
    this.#options.connection.close()
  }

  async #read(): Promise<void> {
    try {
      this.#metadata = await this.#options.connection.metadata()
      this.#readAt = performance.now()
    } catch (error) {
      if (error instanceof KafkaFailure) this.#options.onFailure(error)
      throw error
    }
  }

  async #persist<Result>(work: () => Promise<Result>): Promise<Result> {
    const { giveUpMs } = this.#options
    const begin = performance.now()
    let pauseMs = firstPauseMs
    for (;;) {
      try {
        return await work()
      } catch (error) {
        const isFinal = !(error instanceof KafkaFailure) || error.kind === 'refused'
        const isTopic = error instanceof KafkaFailure && error.kind === 'topic'
        const waited = performance.now() - begin
        const isOver = waited > (isTopic ? Math.min(unknownTopicMs, giveUpMs) : giveUpMs)
        if (isFinal || isOver || this.#closed.signal.aborted) throw this.explain(error)
      }
      await sleep(pauseMs, undefined, { signal: this.#closed.signal }).catch(() => undefined)
      pauseMs = Math.min(2 * pauseMs, longestPauseMs)
      await this.refresh().catch(() => undefined)
    }
  }
}
