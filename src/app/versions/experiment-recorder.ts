/**
 * Records which version answered whom, and reads the event log for what came of it. Counts are a
 * fold of its own file: after a crash it goes on from the last line, and counts nothing twice.
 *
 * While there is nothing to compare it neither reads nor writes.
 */
import type { Clock } from '../../base/clock.ts'
import type { Service } from '../../base/service.ts'
import { WhileWanted } from '../../base/while-wanted.ts'
import { type Answer, Experiment } from '../../serving/versions/experiment.ts'
import type {
  ExperimentDesk,
  ExperimentView,
  GivenAnswer,
  WantedAnswers,
} from '../../serving/versions/versions-desk.ts'
import type { EventLogReader, LogBatch } from '../../stream/event-log.ts'
import { ExperimentFile } from './experiment-file.ts'
import {
  answerFilter,
  isRecorded,
  recordedName,
  type RecordOptions,
  rowsOf,
} from './experiment-record.ts'

export interface ExperimentRecorderOptions extends RecordOptions {
  readonly directory: string
  readonly log: EventLogReader
  readonly clock: Clock
  readonly segmentBytes: number
  readonly keepSegments: number
  /** Whether there is anything to record. */
  readonly isWanted: () => boolean
  /** It records no more, or not what it should. */
  readonly onTrouble: (error: unknown) => void
}

const readMaxEvents = 1_024
const readWaitMs = 1_000
/** Where the log has been read up to is written so often at most. */
const positionEveryMs = 1_000
/** The one partition of a log of files. */
const partition = 0

/** Invariant: whatever is counted is a line of the file, in the same turn. */
export class ExperimentRecorder implements Service, ExperimentDesk {
  readonly name = 'experiment'
  readonly #options: ExperimentRecorderOptions
  readonly #types: ReadonlySet<string>
  readonly #file: ExperimentFile
  readonly #loop: WhileWanted
  #experiment: Experiment
  #since = 0
  #number = 0
  /** The next event to look at. */
  #position = ''
  /** The newest event that has been counted, perhaps behind the position. */
  #counted: string | undefined
  #wroteAt = 0
  #isRestored = false

  constructor(options: ExperimentRecorderOptions) {
    this.#options = options
    this.#types = new Set(options.types)
    const { isWanted, onTrouble } = options
    this.#loop = new WhileWanted({
      isWanted,
      begin: () => this.#begin(),
      run: (signal) => this.#read(signal),
      onTrouble,
    })
    this.#experiment = new Experiment(options)
    this.#file = new ExperimentFile({
      ...options,
      counts: () => ({
        since: this.#since,
        position: this.#position,
        versions: this.#experiment.totals(),
      }),
      onFailure: onTrouble,
    })
  }

  get isActive(): boolean {
    return this.#loop.isRunning
  }

  start(): Promise<void> {
    return this.follow()
  }

  /** Records from now on, or no more, as is wanted now. */
  follow(): Promise<void> {
    return this.#loop.follow()
  }

  drain(): Promise<void> {
    return Promise.resolve()
  }

  async stop(): Promise<void> {
    await this.#loop.stop()
    this.#file.close()
  }

  answered({ requestId, userId, version, items }: GivenAnswer): void {
    const { maxItems, usersPercent } = this.#options
    if (!this.isActive || !isRecorded(userId, usersPercent)) return
    this.#number += 1
    const answer = {
      number: this.#number,
      requestId,
      user: recordedName(userId),
      version,
      items: items.slice(0, maxItems).map(({ id }) => id),
      at: this.#options.clock.now(),
    }
    this.#experiment.answered(answer)
    this.#file.add({ kind: 'answer', ...answer })
  }

  report(): ExperimentView {
    const { windowMs, clock } = this.#options
    const { forgotten } = this.#experiment
    return {
      recording: this.isActive,
      since: this.#since,
      windowMs,
      forgotten,
      dropped: 0,
      countedAt: this.isActive ? clock.now() : 0,
      versions: rowsOf(this.#experiment.totals()),
    }
  }

  answers(limit: number, wanted: WantedAnswers): Promise<readonly Answer[]> {
    return Promise.resolve(this.#experiment.newest(limit, answerFilter(wanted)))
  }

  async #begin(): Promise<void> {
    const { log, clock } = this.#options
    const wasRestored = !this.#isRestored && this.#restore()
    this.#isRestored = true
    if (!wasRestored) {
      this.#position = (await log.end())[partition] ?? '0'
      if (this.#since === 0) this.#since = clock.now()
    }
    this.#file.open()
    this.#file.add({ kind: 'position', position: this.#position })
  }

  /** What the file says; false: there is none. */
  #restore(): boolean {
    const { before, newest } = this.#file.read()
    const [head] = newest
    if (head?.kind !== 'counts') return false
    this.#since = head.since
    this.#position = head.position
    this.#experiment = new Experiment(this.#options, head.versions)
    for (const entry of before) {
      if (entry.kind === 'answer') this.#take(entry)
      else if (entry.kind === 'outcome' && entry.isFirst) this.#experiment.markTaken(entry.answer)
      else if (entry.kind === 'forget') this.#experiment.forget(entry.user)
    }
    for (const entry of newest) {
      if (entry.kind === 'answer') {
        this.#number = entry.number
        this.#experiment.answered(entry)
      } else if (entry.kind === 'outcome') {
        this.#counted = entry.offset
        this.#experiment.count(entry)
      } else if (entry.kind === 'position') this.#position = entry.position
      else if (entry.kind === 'forget') this.#experiment.forget(entry.user)
    }
    return true
  }

  #take(answer: Answer): void {
    this.#number = answer.number
    this.#experiment.restore(answer)
  }

  async #read(signal: AbortSignal): Promise<void> {
    const { log } = this.#options
    // What the log does not keep any more is lost to the counts.
    const start = (await log.start())[partition] ?? '0'
    if (log.compare(this.#position, start) < 0) this.#position = start
    while (!signal.aborted) {
      const options = { maxEvents: readMaxEvents, waitMs: readWaitMs, signal }
      const batches = await log.read({ [partition]: this.#position }, options)
      for (const batch of batches) this.#fold(batch)
    }
  }

  #fold({ events, offsets, next }: LogBatch): void {
    const { log, clock } = this.#options
    for (const [i, event] of events.entries()) {
      const offset = offsets[i]
      const isCounted = this.#counted !== undefined && log.compare(offset, this.#counted) <= 0
      if (isCounted) continue
      if (event.kind === 'interaction') this.#interaction(event, offset)
      else if (event.kind === 'deleteUser') this.#forget(recordedName(event.userId))
    }
    this.#position = next
    const now = clock.monotonic()
    if (now - this.#wroteAt < positionEveryMs) return
    this.#wroteAt = now
    this.#file.add({ kind: 'position', position: next })
  }

  #interaction(
    event: { userId: string; itemId: string; type: string; acceptedAt: number },
    offset: string,
  ): void {
    const { userId, itemId, type, acceptedAt: at } = event
    if (this.#types.size > 0 && !this.#types.has(type)) return
    const outcome = this.#experiment.taken({ user: recordedName(userId), itemId, at })
    if (outcome !== undefined) this.#file.add({ kind: 'outcome', offset, at, itemId, ...outcome })
  }

  #forget(user: string): void {
    this.#experiment.forget(user)
    this.#file.add({ kind: 'forget', user })
  }
}
