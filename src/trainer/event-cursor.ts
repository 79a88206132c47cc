/**
 * Hands out the events of a log one by one and knows where it stands: the position after the event
 * handed out last, which is where a restart has to read on. Where the log has several partitions it
 * also knows in which order they took turns, so that the same order can be taken again.
 */
import { assert } from '../base/assert.ts'
import type { EventLogReader, LogBatch, Position } from '../stream/event-log.ts'
import type { Event } from '../stream/event.ts'
import type { Run } from '../stream/files/journal.ts'

export interface WaitOptions {
  /** How long to wait for an event when there is none at hand, in milliseconds. */
  readonly waitMs: number
  readonly signal: AbortSignal
}

/** A batch of the log and how many of its events have been handed out. */
interface Started {
  readonly batch: LogBatch
  at: number
  /** Asked for once per batch: a log may have to make them. */
  offsets: readonly string[] | undefined
}

/** Invariants: batches of one partition stand in its order; none of them is used up. */
export class EventCursor {
  readonly #reader: EventLogReader
  readonly #maxEvents: number
  /** Behind every batch that is used up. */
  #base: Position
  readonly #batches: Started[] = []
  #runs: [partition: number, events: number][] = []

  constructor(reader: EventLogReader, from: Position, maxEvents: number) {
    this.#reader = reader
    this.#base = from
    this.#maxEvents = maxEvents
  }

  /** Where the next event of each partition stands. */
  get position(): Position {
    const position: Record<number, string> = { ...this.#base }
    // The first batch of a partition last.
    for (const started of this.#batches.toReversed()) {
      if (started.at === 0) continue
      const { batch, at } = started
      started.offsets ??= batch.offsets
      position[batch.partition] = started.offsets[at] ?? batch.next
    }
    return position
  }

  /** Which partitions the events since `beginRuns` came from; undefined: there is only one. */
  get runs(): readonly Run[] | undefined {
    return Object.keys(this.#base).length > 1 ? this.#runs : undefined
  }

  beginRuns(): void {
    this.#runs = []
  }

  /** Makes sure that `next` has an event to give; false when none came in time. */
  async ready(options: WaitOptions): Promise<boolean> {
    if (this.#batches.length === 0) await this.#read(options)
    return this.#batches.length > 0
  }

  /** The next event of one partition. It must be there. */
  async nextOf(partition: number): Promise<Event> {
    const isOfIt = ({ batch }: Started): boolean => batch.partition === partition
    if (!this.#batches.some(isOfIt)) {
      const signal = new AbortController().signal
      await this.#read({ waitMs: 0, signal, partitions: [partition] })
    }
    const event = this.#take(this.#batches.findIndex(isOfIt))
    assert(event !== undefined, 'the log holds what the journal speaks of')
    return event
  }

  /** Events at hand after the next, without taking them; `most` of them. */
  upcoming(most: number): readonly Event[] {
    const events: Event[] = []
    for (const { batch, at } of this.#batches) {
      events.push(...batch.events.slice(at, at + most - events.length))
      if (events.length >= most) break
    }
    return events
  }

  /** The next event at hand; undefined when `ready` has to be asked. */
  next(): Event | undefined {
    return this.#take(0)
  }

  /** Reads on from the position; what is at hand already is of other partitions. */
  async #read(options: WaitOptions & { readonly partitions?: readonly number[] }): Promise<void> {
    for (;;) {
      const read = await this.#reader.read(this.#base, { maxEvents: this.#maxEvents, ...options })
      const empty = read.filter(({ events }) => events.length === 0)
      for (const { partition, next } of empty) this.#base = { ...this.#base, [partition]: next }
      for (const batch of read) {
        if (batch.events.length > 0) this.#batches.push({ batch, at: 0, offsets: undefined })
      }
      // Where nothing but positions moved there may be more.
      if (read.length === 0 || empty.length < read.length) return
    }
  }

  #take(index: number): Event | undefined {
    const started = this.#batches.at(index)
    if (started === undefined || index < 0) return undefined
    const { batch } = started
    const event = batch.events[started.at]
    assert(event !== undefined, 'a batch that is used up has left')
    started.at += 1
    if (started.at === batch.events.length) {
      this.#base = { ...this.#base, [batch.partition]: batch.next }
      this.#batches.splice(index, 1)
    }
    const run = this.#runs.at(-1)
    if (run?.[0] === batch.partition) run[1] += 1
    else this.#runs.push([batch.partition, 1])
    return event
  }
}
