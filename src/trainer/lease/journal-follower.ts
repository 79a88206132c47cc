/**
 * What a standby does with the state of a checkpoint: the same as the active trainer, batch after
 * batch and command after command, as soon as they are in the journal. So a take-over has next to
 * nothing to repeat. An entry is there before it takes effect, so the standby never does what the
 * active one has not begun; should a journal of another life say otherwise, that is noticed, and
 * the state is of no more use.
 */
import { setImmediate as yieldToEvents } from 'node:timers/promises'

import type { Clock } from '../../base/clock.ts'
import type { EventLogReader, Position } from '../../stream/event-log.ts'
import type { Event } from '../../stream/event.ts'
import type { JournalPlace } from '../../stream/files/journal-tail.ts'
import type { JournalEntry, NumberedEntry } from '../../stream/files/journal.ts'
import type { Checkpoint } from '../checkpoint/checkpoint.ts'
import { EventCursor } from '../event-cursor.ts'
import { continuesFrom, eventsOf, reaches } from '../journal/repeat.ts'
import { type Followed, type PreparedLearner, sliceMs } from '../prepared-learner.ts'
import { RestrictCommands } from '../restrict-command.ts'
import { rollbackEntry } from '../rollback.ts'

/** A journal that another process writes. */
export interface JournalSource extends Disposable {
  /** What follows the place by now; undefined: it does not lead on from there. */
  read(place: JournalPlace): Awaitable<readonly NumberedEntry[] | undefined>
}

type Awaitable<Value> = Value | Promise<Value>

export interface FollowerOptions {
  readonly prepared: PreparedLearner
  /** Whose state that is. */
  readonly checkpoint: Checkpoint
  readonly journal: JournalSource
  readonly reader: EventLogReader
  readonly readMaxEvents: number
  readonly clock: Clock
}

/** Invariant: but for the time of `#repeat` the state is between two entries, at `#position`. */
export class JournalFollower {
  readonly #options: FollowerOptions
  readonly #restricts: RestrictCommands
  #sequence: number
  #position: Position
  #last: NumberedEntry | undefined
  #isOver = false
  #isWhole = true
  /** Absent: nothing is at hand. */
  #cursor: EventCursor | undefined

  constructor(options: FollowerOptions) {
    const { checkpoint, prepared } = options
    this.#options = options
    this.#sequence = checkpoint.sequence
    this.#position = checkpoint.position
    this.#restricts = new RestrictCommands({
      learner: prepared.learner,
      journal: () => Promise.resolve(),
      onRemoved: () => {},
    })
  }

  /** Number of the next entry. */
  get sequence(): number {
    return this.#sequence
  }

  /** Whether it goes no further: a checkpoint that comes later does. */
  get isOver(): boolean {
    return this.#isOver
  }

  /** False: a batch or a command was broken off, and the state is of no use. */
  get isWhole(): boolean {
    return this.#isWhole
  }

  /** Undefined: the state is still the checkpoint's. */
  get followed(): Followed | undefined {
    if (this.#last === undefined) return undefined
    return { sequence: this.#sequence, position: this.#position, last: this.#last }
  }

  /**
   * Repeats what there is, until `signal`. False: the journal has gone another way. Throws what
   * journal and log throw.
   */
  async advance(signal: AbortSignal): Promise<boolean> {
    if (this.#isOver) return true
    const { journal, reader } = this.#options
    const entries = await journal.read(this.#place)
    if (entries === undefined) return false
    if (entries.length === 0) return true
    return await this.#follow(entries, await reader.end(), signal)
  }

  async #follow(
    entries: readonly NumberedEntry[],
    end: Position,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { reader, readMaxEvents, clock } = this.#options
    const cursor = this.#cursor ?? new EventCursor(reader, this.#position, readMaxEvents)
    // What has failed has taken events, nobody knows how many.
    this.#cursor = undefined
    let sliceFrom = clock.monotonic()
    for (const numbered of entries) {
      const { entry } = numbered
      if (signal.aborted || !isThere(reader, end, entry)) break
      if (!continuesFrom(this.#position, entry)) return false
      // Only a trainer can go back: it begins with that.
      this.#isOver = entry.kind === 'command' && entry.name === rollbackEntry
      if (this.#isOver) break
      await this.#repeat(numbered, cursor)
      if (clock.monotonic() - sliceFrom < sliceMs) continue
      await yieldToEvents()
      sliceFrom = clock.monotonic()
    }
    this.#cursor = cursor
    return true
  }

  get #place(): JournalPlace {
    const sequence = this.#sequence
    return this.#last === undefined ? { sequence } : { sequence, last: this.#last }
  }

  async #repeat(numbered: NumberedEntry, cursor: EventCursor): Promise<void> {
    const { entry } = numbered
    const events = entry.kind === 'batch' ? await eventsOf(entry, cursor) : []
    this.#isWhole = false
    if (entry.kind === 'batch') await this.#train(events, entry.to)
    else await this.#restricts.repeat(entry.name, entry.payload)
    this.#sequence += 1
    this.#last = numbered
    this.#isWhole = true
    cursor.beginRuns()
  }

  async #train(events: readonly Event[], to: Position): Promise<void> {
    const { learner, backlog } = this.#options.prepared
    for (const event of events) learner.apply(event)
    await learner.trainBatch()
    backlog.learned(learner.acceptedAt)
    this.#position = to
  }
}

const isThere = (reader: EventLogReader, end: Position, entry: JournalEntry): boolean =>
  entry.kind === 'command' || reaches(reader, end, entry.to)
