/**
 * A log of several partitions as one sequence: always the event that was accepted first among the
 * next ones of all partitions, up to an end that is fixed beforehand. So a replay of a topic has
 * one order, whatever comes first from which broker, and one near the order in which things
 * happened.
 */
import type { EventLogReader, LogBatch, Position, ReadOptions } from '../event-log.ts'
import type { Event } from '../event.ts'

/** Of one partition in one read. */
const maxAhead = 1_024

/** Events of one partition that were read and not handed out. */
class Queue {
  readonly partition: number
  /** Where the next event stands, or the next read. */
  position: string
  #batch: LogBatch | undefined
  #offsets: readonly string[] = []
  #at = 0

  constructor(partition: number, position: string) {
    this.partition = partition
    this.position = position
  }

  get head(): Event | undefined {
    return this.#batch?.events[this.#at]
  }

  /** Takes what was read, as far as it stands before `isPast`. */
  accept(batch: LogBatch, isPast: (offset: string) => boolean): void {
    const { offsets } = batch
    const end = offsets.findIndex(isPast)
    const kept = end < 0 ? batch.events : batch.events.slice(0, end)
    this.#batch = { ...batch, events: kept, next: end < 0 ? batch.next : offsets[end] }
    this.#offsets = offsets
    this.#at = 0
    if (kept.length === 0) this.position = this.#batch.next
  }

  /** The head and what follows of it while `isFirst`; `most` events. */
  take(most: number, isFirst: (event: Event) => boolean): LogBatch {
    const events: Event[] = []
    const offsets: string[] = []
    for (;;) {
      const event = this.head
      if (event === undefined || events.length >= most || !isFirst(event)) break
      events.push(event)
      offsets.push(this.#offsets[this.#at])
      this.#at += 1
    }
    const next = this.head === undefined ? this.#batch?.next : this.#offsets[this.#at]
    this.position = next ?? this.position
    return { partition: this.partition, events, offsets, next: this.position }
  }
}

export class TimeMerge implements EventLogReader {
  readonly #log: EventLogReader
  readonly #from: Position
  readonly #until: Position
  #queues: Queue[] = []

  /** `from` and `until` name the same partitions. Closing it closes the log. */
  constructor(log: EventLogReader, from: Position, until: Position) {
    this.#log = log
    this.#from = from
    this.#until = until
  }

  async read(from: Position, { maxEvents, signal }: ReadOptions): Promise<readonly LogBatch[]> {
    this.#seek(from)
    const batches: LogBatch[] = []
    for (let left = maxEvents; left > 0 && !signal.aborted;) {
      for (const queue of this.#queues) await this.#fill(queue, signal)
      const first = this.#first()
      if (first === undefined || signal.aborted) break
      const batch = first.take(left, (event) => this.#isFirst(event, first))
      batches.push(batch)
      left -= batch.events.length
    }
    return batches
  }

  end(): Promise<Position> {
    return Promise.resolve(this.#until)
  }

  start(): Promise<Position> {
    return Promise.resolve(this.#from)
  }

  compare(a: string, b: string): number {
    return this.#log.compare(a, b)
  }

  close(): Promise<void> {
    return this.#log.close()
  }

  #seek(from: Position): void {
    const isThere = this.#queues.every(({ partition, position }) => from[partition] === position)
    if (isThere && this.#queues.length > 0) return
    this.#queues = Object.keys(this.#until).map((name) => {
      const partition = Number(name)
      return new Queue(partition, from[partition] ?? this.#from[partition] ?? '')
    })
  }

  async #fill(queue: Queue, signal: AbortSignal): Promise<void> {
    const { partition } = queue
    const until = this.#until[partition] ?? ''
    const isPast = (offset: string): boolean => this.#log.compare(offset, until) >= 0
    while (queue.head === undefined && !isPast(queue.position) && !signal.aborted) {
      const options = { maxEvents: maxAhead, waitMs: 0, signal, partitions: [partition] }
      const [batch] = await this.#log.read({ [partition]: queue.position }, options)
      if (batch === undefined) return
      queue.accept(batch, isPast)
    }
  }

  /** Among equals that of the lowest partition. */
  #first(): Queue | undefined {
    let first: Queue | undefined
    for (const queue of this.#queues) {
      const time = queue.head?.acceptedAt
      if (time !== undefined && time < (first?.head?.acceptedAt ?? Infinity)) first = queue
    }
    return first
  }

  #isFirst({ acceptedAt }: Event, of: Queue): boolean {
    return this.#queues.every(({ head, partition }) => {
      if (head === undefined || partition === of.partition) return true
      return (
        acceptedAt < head.acceptedAt || (acceptedAt === head.acceptedAt && of.partition < partition)
      )
    })
  }
}
