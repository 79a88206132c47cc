/**
 * What a standby's thread does while it waits: it restores the newest checkpoint of its folder and
 * follows the journal from there, so that a take-over begins where the other one has ended. Without
 * a journal to follow it restores each new checkpoint.
 */
import { setTimeout as sleep } from 'node:timers/promises'

import type { EventLogReader } from '../../stream/event-log.ts'
import { type Checkpoint, CheckpointStore } from '../checkpoint/checkpoint.ts'
import { Checkpoints, type CheckpointsOptions } from '../checkpoint/checkpoints.ts'
import { closePrepared, preparedLearner, type PreparedLearner } from '../prepared-learner.ts'
import { maxEntriesBehind } from '../restored.ts'
import type { CheckpointOptions, TrainerProcess } from '../trainer-config.ts'
import { JournalFollower, type JournalSource } from './journal-follower.ts'

export interface RestoreAheadOptions extends Pick<CheckpointsOptions, 'model' | 'clock'> {
  readonly process: TrainerProcess
  /** Absent: it restores, and no more. */
  readonly journal?: JournalSource | undefined
  /** Of the log that the journal speaks of: one of its own, closed at the end. */
  readonly openReader: () => Promise<EventLogReader>
}

/** From look to look. */
const intervalMs = 200
/** Then only checkpoints are restored: a journal goes another way once in a life, if ever. */
const maxLosses = 10

/** Invariant: `#follower`, if there is one, is the only one that changes what is in `#prepared`. */
export class RestoreAhead {
  /** Resolves when what there is at first is restored, and repeated. */
  readonly ready: Promise<void>
  readonly #options: RestoreAheadOptions
  readonly #ending = new AbortController()
  readonly #running: Promise<void>
  #prepared: PreparedLearner | undefined
  #follower: JournalFollower | undefined
  #reader: EventLogReader | undefined
  /** The newest checkpoint that was restored or tried: what came of it is not tried again. */
  #tried: number | undefined
  /** Times that the journal went another way. */
  #losses = 0

  constructor(options: RestoreAheadOptions) {
    this.#options = options
    this.ready = this.#look().then(() => this.#follow())
    this.#running = this.#run()
  }

  /** The state that there is by now, if there is any. It is the caller's. */
  async finish(): Promise<PreparedLearner | undefined> {
    this.#ending.abort()
    this.#options.journal?.[Symbol.dispose]()
    await this.#running
    await this.#reader?.close()
    const followed = this.#follower?.followed
    return followed === undefined || this.#prepared === undefined
      ? this.#prepared
      : { ...this.#prepared, followed }
  }

  async #run(): Promise<void> {
    const { signal } = this.#ending
    await this.ready
    while (!signal.aborted) {
      await sleep(intervalMs, undefined, { signal }).catch(() => undefined)
      await this.#look()
      await this.#follow()
    }
  }

  async #look(): Promise<void> {
    const { checkpoints, farRows } = this.#options.process
    // Rows that lie elsewhere are brought to the state of a checkpoint by whoever has the lease.
    if (checkpoints === undefined || farRows !== undefined) return
    const newest = new CheckpointStore(checkpoints).sequences().at(-1)
    if (newest === undefined || newest === this.#tried || !this.#isWorthMore(newest)) return
    this.#tried = newest
    // What is damaged, gone again or another model's is for the take-over to say.
    await this.#restore(checkpoints).catch(() => undefined)
  }

  /** Than what there is. */
  #isWorthMore(sequence: number): boolean {
    const follower = this.#follower
    if (follower === undefined) return true
    const limit = follower.isOver ? 0 : maxEntriesBehind
    return sequence > follower.sequence + limit
  }

  async #restore(place: CheckpointOptions): Promise<void> {
    const { process, model, clock } = this.#options
    const store = new Checkpoints({ ...place, model, clock, report: () => {} })
    const found = store.newest(() => true)
    // One after the other: two states would take twice the memory.
    await this.#forget()
    if (found === undefined) return
    const prepared = await preparedLearner({ model, process, clock }, found)
    this.#prepared = prepared
    this.#follower = await this.#followerOf(prepared, found)
  }

  async #followerOf(
    prepared: PreparedLearner,
    checkpoint: Checkpoint,
  ): Promise<JournalFollower | undefined> {
    const { journal, openReader, clock, process } = this.#options
    if (journal === undefined) return undefined
    this.#reader ??= await openReader()
    const { readMaxEvents } = process
    const reader = this.#reader
    return new JournalFollower({ prepared, checkpoint, journal, reader, readMaxEvents, clock })
  }

  async #follow(): Promise<void> {
    const follower = this.#follower
    if (follower === undefined || this.#ending.signal.aborted) return
    // Brokers that are away, say, are asked again at the next look.
    const isOnTheWay = await follower.advance(this.#ending.signal).catch(() => follower.isWhole)
    if (isOnTheWay) return
    this.#follower = undefined
    // What was restored and has followed nothing is still worth what it was.
    if (follower.followed === undefined && follower.isWhole) return
    await this.#forget()
    this.#losses += 1
    if (this.#losses < maxLosses) this.#tried = undefined
  }

  async #forget(): Promise<void> {
    const prepared = this.#prepared
    this.#prepared = undefined
    this.#follower = undefined
    if (prepared !== undefined) await closePrepared(prepared)
  }
}
