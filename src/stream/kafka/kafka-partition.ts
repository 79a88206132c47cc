/**
 * One partition as one reader sees it: messages that were fetched and not yet asked for, and where
 * to fetch on. Values become events only when they are taken, so that what is fetched ahead costs
 * memory and no time.
 */
import type { LogBatch } from '../event-log.ts'
import type { EventRejection } from '../event-schema.ts'
import type { Event } from '../event.ts'
import type { FetchedPartition, KafkaMessage } from './kafka-connection.ts'
import { type KafkaPlace, placeText } from './kafka-offset.ts'
import { acceptanceOf, decodeMessage } from './kafka-wire.ts'
import type { PlainInteractions } from './plain-interactions.ts'

/** A value that is no event, or a message of which no value can be told. */
export interface PoisonedValue {
  readonly partition: number
  readonly message: KafkaMessage
  /** Of the value in the message; absent: the message as a whole. */
  readonly index?: number
  readonly rejection: EventRejection
}

export interface TakenEvents {
  readonly batch: LogBatch
  /** How many events and other values were gone through. */
  readonly values: number
  readonly poison: readonly PoisonedValue[]
}

export interface FeedOptions {
  readonly maxFutureMs: number
  /** What is known of values, for all feeds of a reader. */
  readonly plain: PlainInteractions
}

/** Below this many messages more are fetched. */
const lowMessages = 1_024

/**
 * Invariants: `#messages[#at..]` stand at ascending offsets from `place.offset` on and below
 * `#fetchFrom`; of the first of them `place.index` values have been taken.
 */
export class PartitionFeed {
  readonly partition: number
  /** Set while a fetch for it is under way. */
  filling: Promise<void> | undefined
  /** Set when the broker has nothing at `fetchFrom`. */
  isOutOfRange = false
  /** How many fetches have been answered. */
  fills = 0
  readonly #options: FeedOptions
  #messages: readonly KafkaMessage[] = []
  #ahead: readonly KafkaMessage[] = []
  #at = 0
  #place: KafkaPlace
  /** Where the reader has been told that it stands. */
  #taken: KafkaPlace
  #fetchFrom: number

  constructor(partition: number, place: KafkaPlace, options: FeedOptions) {
    this.partition = partition
    this.#place = place
    this.#taken = place
    this.#fetchFrom = place.offset
    this.#options = options
  }

  /** Where the reader has been told that it stands. */
  get place(): KafkaPlace {
    return this.#taken
  }

  get fetchFrom(): number {
    return this.#fetchFrom
  }

  get hasMessages(): boolean {
    return this.#at < this.#messages.length || this.#ahead.length > 0
  }

  /** Whether the place has moved past what was no message: taking tells. */
  get hasMoved(): boolean {
    return this.#place.offset > this.#taken.offset
  }

  /** Whether more may be fetched: what is at hand is bounded by one fetch more than a low level. */
  get isLow(): boolean {
    return this.#messages.length - this.#at < lowMessages && this.#ahead.length === 0
  }

  accept({ messages, next }: FetchedPartition): void {
    this.fills += 1
    this.#fetchFrom = next
    if (this.#at < this.#messages.length) this.#ahead = messages
    else this.#advanceTo(messages)
  }

  /** Up to so many values; the batch has no events where there were none but its `next` moved. */
  take(maxValues: number): TakenEvents {
    const batch = new KafkaBatch(this.partition)
    const poison: PoisonedValue[] = []
    let values = 0
    while (values < maxValues && this.#current() !== undefined) {
      values += this.#takeFrom(maxValues - values, batch, poison)
    }
    this.#taken = this.#place
    batch.end = this.#place
    return { batch, values, poison }
  }

  #current(): KafkaMessage | undefined {
    if (this.#at >= this.#messages.length && this.#ahead.length > 0) this.#advanceTo(this.#ahead)
    return this.#messages[this.#at]
  }

  #advanceTo(messages: readonly KafkaMessage[]): void {
    this.#messages = messages
    this.#ahead = []
    this.#at = 0
    // Markers before the first message, or nothing but markers, are behind us.
    if (messages.length === 0) this.#moveTo(this.#fetchFrom)
  }

  #moveTo(offset: number): void {
    if (offset > this.#place.offset) this.#place = { offset, index: 0 }
  }

  /** Values of the message at hand; how many. */
  #takeFrom(maxValues: number, batch: KafkaBatch, poison: PoisonedValue[]): number {
    const message = this.#messages[this.#at]
    const offset = Number(message.offset)
    this.#moveTo(offset)
    const { maxFutureMs, plain } = this.#options
    const { value: bytes } = message
    const options = { now: acceptanceOf(message), maxFutureMs }
    const event = bytes === null ? undefined : plain.read(bytes, options)
    if (event !== undefined) {
      batch.add(event, offset, 0)
      this.#passMessage(offset)
      return 1
    }
    const decoded = decodeMessage(bytes, options)
    if ('problem' in decoded) {
      const rejection = {
        code: 'EVENT_INVALID',
        path: 'message',
        message: decoded.problem,
      } as const
      poison.push({ partition: this.partition, message, rejection })
      this.#passMessage(offset)
      return 1
    }
    const from = this.#place.index
    const until = Math.min(decoded.length, from + maxValues)
    for (let index = from; index < until; index += 1) {
      const value = decoded[index]
      if ('event' in value) batch.add(value.event, offset, index)
      else poison.push({ partition: this.partition, message, index, rejection: value.error })
    }
    if (until < decoded.length) this.#place = { offset, index: until }
    else this.#passMessage(offset)
    return Math.max(1, until - from)
  }

  #passMessage(offset: number): void {
    this.#at += 1
    const isLast = this.#at >= this.#messages.length && this.#ahead.length === 0
    this.#moveTo(isLast ? this.#fetchFrom : offset + 1)
  }
}

/** Its offsets are texts only if asked for. */
class KafkaBatch implements LogBatch {
  readonly partition: number
  readonly events: Event[] = []
  readonly #recordOffsets: number[] = []
  readonly #indexes: number[] = []
  end: KafkaPlace = { offset: 0, index: 0 }

  constructor(partition: number) {
    this.partition = partition
  }

  add(event: Event, offset: number, index: number): void {
    this.events.push(event)
    this.#recordOffsets.push(offset)
    this.#indexes.push(index)
  }

  get offsets(): readonly string[] {
    return this.#recordOffsets.map((offset, i) =>
      placeText(this.partition, { offset, index: this.#indexes[i] }),
    )
  }

  get next(): string {
    return placeText(this.partition, this.end)
  }
}
