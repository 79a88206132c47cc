/**
 * Where a topic ends, looked up from time to time: how far readers are behind, whoever they are and
 * whether or not they read; and what the brokers are told of it for their own monitoring.
 */
import { setTimeout as sleep } from 'node:timers/promises'

import type { Service } from '../../base/service.ts'
import type { Position } from '../event-log.ts'
import type { KafkaLog } from './kafka-log.ts'
import { parsePlace } from './kafka-offset.ts'

/** Of one reader in one partition. In messages: one may hold several events. */
export interface PartitionLag {
  readonly partition: number
  /** Of the next message to be read, and after the newest. */
  readonly position: number
  readonly end: number
  readonly lag: number
}

const lookMs = 500

export class KafkaEnds implements Service {
  readonly name = 'log end'
  readonly #log: KafkaLog
  readonly #stopping = new AbortController()
  #ends: Position = {}
  #looking: Promise<void> = Promise.resolve()

  constructor(log: KafkaLog) {
    this.#log = log
  }

  /** As far as it was looked up. */
  lag(reader: Position): readonly PartitionLag[] {
    return Object.entries(this.#ends).map(([id, text]) => {
      const partition = Number(id)
      const end = offsetOf(text)
      const position = offsetOf(reader[partition])
      return { partition, position, end, lag: Math.max(0, end - position) }
    })
  }

  start(): Promise<void> {
    this.#looking = this.#look()
    return Promise.resolve()
  }

  drain(): Promise<void> {
    return Promise.resolve()
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#looking
  }

  async #look(): Promise<void> {
    const { signal } = this.#stopping
    while (!signal.aborted) {
      // Brokers that are away are reported by the log.
      this.#ends = await this.#log.end().catch(() => this.#ends)
      await sleep(lookMs, undefined, { signal }).catch(() => undefined)
    }
  }
}

const offsetOf = (text = ''): number => parsePlace(text)?.offset ?? 0

/** Who stands where, and how often the brokers are told. */
export interface CommitOptions {
  readonly log: KafkaLog
  readonly groupId: string
  readonly intervalMs: number
  readonly position: () => Position
}

/** Commits a reader's position for whoever watches lag at the brokers; nobody reads it here. */
export class KafkaCommits implements Service {
  readonly name = 'offsets'
  readonly #options: CommitOptions
  readonly #stopping = new AbortController()
  #committing: Promise<void> = Promise.resolve()

  constructor(options: CommitOptions) {
    this.#options = options
  }

  start(): Promise<void> {
    this.#committing = this.#commitAll()
    return Promise.resolve()
  }

  drain(): Promise<void> {
    return Promise.resolve()
  }

  /** Commits a last time. */
  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#committing
  }

  async #commitAll(): Promise<void> {
    const { intervalMs } = this.#options
    const { signal } = this.#stopping
    do {
      await sleep(intervalMs, undefined, { signal }).catch(() => undefined)
      // What is not told now is told next time.
      await this.#commit().catch(() => undefined)
    } while (!signal.aborted)
  }

  async #commit(): Promise<void> {
    const { log, groupId, position } = this.#options
    await log.commit(groupId, position())
  }
}
