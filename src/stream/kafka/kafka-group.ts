/**
 * Which partitions a member of a consumer group has: the group protocol alone. The member's kafkajs
 * consumer is paused from the start; events are read by plain fetch from the positions that the
 * caller owns, so that nothing here ever moves one.
 */
import { setTimeout as sleep } from 'node:timers/promises'

import type kafkajs from 'kafkajs'

import { kafkaClient } from './kafka-connection.ts'
import type { KafkaSettings } from './kafka-settings.ts'

export interface GroupOptions {
  readonly settings: KafkaSettings
  readonly groupId: string
  /** A member that is silent for so long has left. Default 10,000. */
  readonly sessionTimeoutMs?: number
  /** Told after every change, with what this member has now. */
  readonly onAssigned?: (partitions: readonly number[]) => void
}

const defaultSessionTimeoutMs = 10_000
const idlePollMs = 250
const rejoinPauseMs = 500

export class KafkaGroup {
  readonly #options: GroupOptions
  readonly #consumer: kafkajs.Consumer
  readonly #closed = new AbortController()
  #partitions: readonly number[] = []
  #joining: Promise<void> = Promise.resolve()

  /** Joins in the background, and again whenever the group is lost. */
  constructor(options: GroupOptions) {
    this.#options = options
    const sessionTimeout = options.sessionTimeoutMs ?? defaultSessionTimeoutMs
    this.#consumer = kafkaClient(options.settings).consumer({
      groupId: options.groupId,
      sessionTimeout,
      heartbeatInterval: Math.floor(sessionTimeout / 5),
      maxWaitTimeInMs: idlePollMs,
      allowAutoTopicCreation: false,
      retry: { retries: 5, initialRetryTime: 100, maxRetryTime: 1_000, restartOnFailure },
    })
    this.#listen()
    this.#joining = this.#join()
  }

  /** None until the group has assigned some. */
  get partitions(): readonly number[] {
    return this.#partitions
  }

  async close(): Promise<void> {
    this.#closed.abort()
    await this.#joining
    await this.#consumer.disconnect().catch(() => undefined)
  }

  #listen(): void {
    const { events } = this.#consumer
    const { topic } = this.#options.settings
    this.#consumer.on(events.GROUP_JOIN, ({ payload }) => {
      this.#assign(payload.memberAssignment[topic] ?? [])
    })
    this.#consumer.on(events.REBALANCING, () => this.#assign([]))
    this.#consumer.on(events.CRASH, ({ payload }) => {
      this.#assign([])
      if (!payload.restart) this.#joining = this.#join()
    })
  }

  #assign(partitions: readonly number[]): void {
    this.#partitions = [...partitions].toSorted((a, b) => a - b)
    this.#options.onAssigned?.(this.#partitions)
  }

  async #join(): Promise<void> {
    const { topic } = this.#options.settings
    while (!this.#closed.signal.aborted) {
      try {
        await this.#consumer.connect()
        await this.#consumer.subscribe({ topics: [topic] })
        const running = this.#consumer.run({
          autoCommit: false,
          eachBatchAutoResolve: false,
          eachBatch: () => Promise.resolve(),
        })
        await running
        this.#consumer.pause([{ topic }])
        return
      } catch {
        await this.#consumer.stop().catch(() => undefined)
        const { signal } = this.#closed
        await sleep(rejoinPauseMs, undefined, { signal }).catch(() => undefined)
      }
    }
  }
}

const restartOnFailure = (): Promise<boolean> => Promise.resolve(true)
