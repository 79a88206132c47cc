/**
 * The trainer: reads the log, folds and trains, journals where batches end, publishes deltas,
 * writes checkpoints, executes commands between batches. One path for the live service and for a
 * replay: what a replay leaves out (journal, publisher, checkpoints) is simply not there.
 *
 * Restart: the newest whole checkpoint, then the journal's batches and commands as they were, then
 * on from there. Same log, same journal: same bits. Without a journal batches are cut by count
 * alone, and the log is enough.
 */
import { setImmediate as yieldToEvents } from 'node:timers/promises'

import type { Clock } from '../base/clock.ts'
import type { EventLogReader, Position } from '../stream/event-log.ts'
import type { Json } from '../stream/event.ts'
import type { NumberedEntry } from '../stream/files/journal.ts'
import type { ParameterPublisher } from '../sync/parameter-sync.ts'
import type { Backlog } from './backlog.ts'
import type { CheckpointCopies } from './checkpoint/checkpoint-copies.ts'
import { CheckpointWriter } from './checkpoint/checkpoint-writer.ts'
import type { Checkpoints, Place } from './checkpoint/checkpoints.ts'
import { CommandQueue, type CommandWork, type OnProgress } from './command-queue.ts'
import { compactTables } from './compact-command.ts'
import { DeltaSource, type DeltaStamp } from './delta-source.ts'
import { DiskRoom } from './disk-room.ts'
import { EventCursor } from './event-cursor.ts'
import type { FarRows, OpenRowStore } from './far-rows.ts'
import type { JournalCopy } from './journal/journal-copy.ts'
import { continuesFrom, eventsOf, reaches } from './journal/repeat.ts'
import type { TrainerJournal } from './journal/trainer-journal.ts'
import type { Learner } from './learner.ts'
import { type PreparedLearner, sliceMs } from './prepared-learner.ts'
import { Publishing } from './publishing.ts'
import { reportGuard } from './refused-batch.ts'
import { restored } from './restored.ts'
import { RestrictCommands } from './restrict-command.ts'
import { type CommandJournal, rollbackEntry, Rollbacks } from './rollback.ts'
import type { TrainerModel, TrainerProcess } from './trainer-config.ts'
import {
  type CommandResult,
  RateMeter,
  type TrainerCommand,
  type TrainerReport,
  type TrainerStatus,
} from './trainer-status.ts'

export interface TrainerOptions {
  readonly model: TrainerModel
  readonly process: TrainerProcess
  readonly reader: EventLogReader
  readonly clock: Clock
  /** Absent: nobody reads the parameters. */
  readonly publisher?: ParameterPublisher
  /** Awaited before journal and checkpoints are written to: resolves while they are its own. */
  readonly mayWrite?: () => Promise<void>
  /** Where a trainer on another machine finds checkpoints and journal; absent: it need not. */
  readonly copies?: CheckpointCopies
  readonly journalCopy?: JournalCopy
  readonly report?: (report: TrainerReport) => void
  /** Where far rows are; default: as the process says. */
  readonly openStore?: OpenRowStore
}

export interface RunOptions {
  /** Aborting ends the run at the next batch boundary. */
  readonly signal: AbortSignal
  /** Ends when the log has no more events instead of waiting for some. */
  readonly untilEnd?: boolean
  /** Ends when this many events have been folded since the start of the log. */
  readonly limitEvents?: number
}

/** Longest wait for an event, so that what is due by time is done on an idle stream. */
const idleWaitMs = 100

interface Parts {
  readonly options: TrainerOptions
  readonly learner: Learner
  readonly backlog: Backlog
  readonly cursor: EventCursor
  readonly checkpoints: Checkpoints | undefined
  readonly journal: TrainerJournal | undefined
  readonly farRows: FarRows | undefined
}

/**
 * Invariants: whatever is awaited leaves the state between two events, but for rows that a batch
 * waits for; a checkpoint, a command or a published delta finds it between two batches.
 */
export class Trainer {
  readonly learner: Learner
  readonly #backlog: Backlog
  readonly #options: TrainerOptions
  readonly #cursor: EventCursor
  readonly #checkpoints: Checkpoints | undefined
  readonly #journal: TrainerJournal | undefined
  readonly #farRows: FarRows | undefined
  readonly #writer: CheckpointWriter
  readonly #commands = new CommandQueue()
  readonly #restricts: RestrictCommands
  readonly #rollbacks: Rollbacks
  readonly #deltas: DeltaSource
  readonly #publishing: Publishing
  readonly #diskRoom: DiskRoom
  readonly #eventRate: RateMeter
  readonly #exampleRate: RateMeter
  /** Entries that the journal has, or would have if there were one. */
  #sequence: number
  /** Since the last batch: where it began, its events, when its first was taken. */
  #from: Position
  /** Where this life began. */
  readonly #start: Position
  #events = 0
  #startedAt = 0
  /** What the newest batch left. */
  #loss = 0
  /** Whether everything that the journal held at the start has been done again. */
  #hasCaughtUp = false

  /**
   * Restores the newest checkpoint, if `ahead` is not further. Throws `CHECKPOINT_INCOMPATIBLE`,
   * `CONFIG_INVALID`, `MEMORY_EXHAUSTED`, `JOURNAL_DAMAGED`, `ROW_STORE_*` and the log's errors.
   */
  static async create(options: TrainerOptions, ahead?: PreparedLearner): Promise<Trainer> {
    const found = await restored(options, ahead)
    const cursor = new EventCursor(options.reader, found.position, options.process.readMaxEvents)
    return new Trainer({ ...found, options, cursor }, found.sequence)
  }

  private constructor(parts: Parts, sequence: number) {
    const { options, learner, backlog, cursor, checkpoints, journal, farRows } = parts
    this.#options = options
    this.learner = learner
    this.#backlog = backlog
    this.#cursor = cursor
    this.#checkpoints = checkpoints
    this.#journal = journal
    this.#farRows = farRows
    this.#sequence = sequence
    const place = (): Place => ({ sequence: this.#sequence, position: this.#from })
    this.#writer = new CheckpointWriter({ ...parts, place, mayWrite: options.mayWrite })
    this.#from = cursor.position
    this.#start = cursor.position
    this.#deltas = new DeltaSource(learner)
    const write: CommandJournal = (name, payload) => this.#writeCommand(name, payload)
    const onRemoved = (rows: number): void => this.#reportEvicted(rows)
    this.#restricts = new RestrictCommands({ learner, journal: write, onRemoved })
    this.#rollbacks = new Rollbacks({
      ...parts,
      deltas: this.#deltas,
      journal: journal && write,
      hasFarRows: farRows !== undefined,
      report: (report) => this.#report(report),
    })
    this.#diskRoom = new DiskRoom(options.clock, (report) => this.#report(report))
    this.#eventRate = new RateMeter(options.clock)
    this.#exampleRate = new RateMeter(options.clock)
    this.#publishing = new Publishing({
      publisher: options.publisher,
      deltas: this.#deltas,
      clock: options.clock,
      intervalMs: () => backlog.deltaIntervalMs(options.process.deltaIntervalMs),
      maxRows: options.process.deltaMaxRows,
      place: () => this.#place(),
    })
  }

  /** Trains until told to stop, or to the end of what there is. Then a checkpoint is written. */
  async run(options: RunOptions): Promise<void> {
    const { signal } = options
    const stop = (): void => this.#farRows?.stop()
    if (signal.aborted) stop()
    signal.addEventListener('abort', stop, { once: true })
    try {
      await this.#run(options)
    } catch (error) {
      if (this.#farRows?.hasGivenUp !== true) throw error
      const message = 'stopped while it waited for rows: the next start goes on from there'
      this.#report({ level: 'warn', code: 'stoppedWaiting', message, details: {} })
    } finally {
      signal.removeEventListener('abort', stop)
    }
  }

  async #run(options: RunOptions): Promise<void> {
    const { signal, untilEnd = false, limitEvents = Infinity } = options
    await this.#repeatJournal(signal)
    this.#hasCaughtUp = !signal.aborted
    if (this.#hasCaughtUp) await this.#rollbacks.rollBackIfWanted()
    while (!signal.aborted && this.learner.facts.events < limitEvents) {
      await this.#executeCommands()
      const waitMs = untilEnd ? 0 : this.#waitMs()
      const found = await this.#cursor.ready({ waitMs, signal })
      if (!found && untilEnd) break
      await this.#diskRoom.orWait(() => this.#takeSlice(limitEvents))
      await this.#afterSlice()
    }
    await this.#finish(untilEnd && !signal.aborted)
  }

  /** Resolves when the command has been executed, between two batches. Throws what it throws. */
  command(command: TrainerCommand, onProgress?: OnProgress): Promise<CommandResult> {
    return this.#commands.add(command, onProgress)
  }

  status(): TrainerStatus {
    const { learner } = this
    const { facts, guard } = learner
    const checkpoint = this.#checkpoints?.last
    return {
      engine: learner.model.engine,
      step: learner.step,
      events: facts.events,
      examples: learner.trained,
      eventsPerSecond: this.#eventRate.rate(),
      examplesPerSecond: this.#exampleRate.rate(),
      position: this.#cursor.position,
      pendingEvents: this.#events,
      acceptedAt: this.learner.acceptedAt,
      loss: this.#loss,
      meanLoss: guard.mean,
      guardTrips: guard.trips,
      guardRollbacks: guard.rollbacks,
      items: facts.catalogue.size,
      activeItems: facts.catalogue.activeSize,
      users: facts.users.size,
      evaluation: learner.evaluation(),
      tables: learner.tableStats(),
      deltaSequence: this.#deltas.sequence,
      retainFrom: this.#checkpoints?.retainFrom ?? this.#start,
      ...(checkpoint && { checkpoint }),
    }
  }

  /** Releases what it holds; the reader and the publisher are the caller's. */
  async close(): Promise<void> {
    this.#commands.close()
    await this.#checkpoints?.settled()
    this.#journal?.close()
    await this.learner.close()
    await this.#farRows?.close()
  }

  /** What the trainer did after the checkpoint, in the same order and with the same boundaries. */
  async #repeatJournal(signal: AbortSignal): Promise<void> {
    const journal = this.#journal
    if (journal === undefined) return
    const missing = this.#sequence < journal.first || this.#sequence > journal.next
    if (missing) this.#restartJournal('journalGap', 'the journal does not reach the checkpoint')
    const { clock, reader } = this.#options
    const end = await reader.end()
    let sliceFrom = clock.monotonic()
    for (const numbered of journal.entries(this.#sequence)) {
      if (signal.aborted) return
      if (!continuesFrom(this.#from, numbered.entry)) {
        this.#restartJournal('journalGap', 'the journal is not the one of the checkpoint')
        return
      }
      if (numbered.entry.kind === 'batch' && !reaches(reader, end, numbered.entry.to)) {
        this.#restartJournal('journalAhead', 'the journal speaks of events that the log has lost')
        return
      }
      await this.#repeat(numbered)
      if (clock.monotonic() - sliceFrom < sliceMs) continue
      await yieldToEvents()
      sliceFrom = clock.monotonic()
    }
  }

  #restartJournal(code: 'journalGap' | 'journalAhead', message: string): void {
    const journal = this.#journal
    const details = {
      sequence: this.#sequence,
      first: journal?.first ?? 0,
      next: journal?.next ?? 0,
    }
    this.#report({ level: 'warn', code, message, details })
    journal?.restartAt(this.#sequence)
  }

  async #repeat({ entry }: NumberedEntry): Promise<void> {
    if (entry.kind === 'command') {
      this.#sequence += 1
      this.#publishing.changed()
      const { name, payload } = entry
      if (name === rollbackEntry) await this.#rollbacks.repeat(payload)
      else await this.#restricts.repeat(name, payload)
      return
    }
    for (const event of await eventsOf(entry, this.#cursor)) {
      this.#beginBatch()
      this.learner.apply(event)
    }
    this.#sequence += 1
    await this.#train(entry.to)
  }

  /** Events at hand, for a few milliseconds or until something is due. */
  async #takeSlice(limitEvents: number): Promise<void> {
    const { clock } = this.#options
    // Only when the last cut could not be journaled.
    if (this.learner.isFull) await this.#cut()
    const until = clock.monotonic() + sliceMs
    while (this.learner.facts.events < limitEvents) {
      const event = this.#cursor.next()
      if (event === undefined) break
      this.#beginBatch()
      this.learner.apply(event)
      if (!this.learner.isFull) continue
      await this.#cut()
      if (this.#commands.size > 0 || clock.monotonic() >= until) break
    }
    if (this.#isOldEnough()) await this.#cut()
  }

  #beginBatch(): void {
    if (this.#events === 0) this.#startedAt = this.#options.clock.monotonic()
    this.#events += 1
  }

  /** Without a journal the age of a batch must not matter. */
  #isOldEnough(): boolean {
    if (this.#journal === undefined || this.#events === 0) return false
    const { clock, model } = this.#options
    return clock.monotonic() - this.#startedAt >= model.batch.maxAgeMs
  }

  /** Ends the batch here: into the journal first, then into the model. */
  async #cut(): Promise<void> {
    const to = this.#cursor.position
    const { runs } = this.#cursor
    const interleaving = runs && { runs }
    const entry = { kind: 'batch', from: this.#from, to, events: this.#events } as const
    await this.#options.mayWrite?.()
    await this.#journal?.append({ ...entry, ...interleaving })
    this.#sequence += 1
    await this.#train(to)
  }

  /** `to`: where the batch ends, as the journal has it. */
  async #train(to: Position): Promise<void> {
    const { maxExamples } = this.#options.model.batch
    const upcoming = this.#farRows === undefined ? [] : this.#cursor.upcoming(2 * maxExamples)
    const { examples, loss, trip, restarted, evicted } = await this.learner.trainBatch(upcoming)
    this.#eventRate.add(this.#events)
    this.#exampleRate.add(examples.length)
    this.#backlog.learned(this.learner.acceptedAt)
    this.#from = to
    this.#cursor.beginRuns()
    this.#events = 0
    this.#publishing.changed()
    if (examples.length > 0) this.#loss = loss
    if (evicted > 0) this.#reportEvicted(evicted)
    await this.#writer.leaveRoom()
    const batch = { step: this.learner.step, trip, restarted, examples, loss }
    reportGuard(batch, this.#options.process.quarantineDirectory, (report) => this.#report(report))
    if (this.#hasCaughtUp) await this.#rollbacks.rollBackIfWanted()
  }

  /**
   * True when the state stands between two batches, cutting one if boundaries are journaled and
   * there is room for it.
   */
  async #reachBoundary(): Promise<boolean> {
    if (this.#events > 0 && this.#journal !== undefined) {
      await this.#diskRoom.orWait(() => this.#cut())
    }
    return this.#events === 0
  }

  async #afterSlice(): Promise<void> {
    this.#writer.requireSound()
    this.#publishing.requireSound()
    if (this.#publishing.isDue) await this.#publishing.publish()
    const isDue = this.#checkpoints?.isDue() === true
    if (isDue && (await this.#reachBoundary())) await this.#writer.start()
    await yieldToEvents()
  }

  #place(): Omit<DeltaStamp, 'publishedAt'> {
    const watermark = { offsets: this.#from, acceptedAt: this.learner.acceptedAt }
    return { modelVersion: this.learner.step, watermark }
  }

  /** A step of each that takes only one, and one step of a longer one. */
  async #executeCommands(): Promise<void> {
    if (this.#commands.size === 0) return
    // What has begun waits for the end of a batch; what begins need not wait.
    const isBoundary = this.#commands.isUnderWay ? this.#events === 0 : await this.#reachBoundary()
    if (!isBoundary) return
    do {
      await this.#commands.advance((command) => this.#execute(command))
    } while (this.#commands.size > 0 && !this.#commands.isUnderWay)
  }

  async *#execute(command: TrainerCommand): CommandWork {
    if (command.kind === 'restrict') return yield* this.#restricts.execute(command)
    if (command.kind === 'compact') return yield* compactTables(this.learner)
    if (command.kind === 'rollBack') return await this.#rollbacks.execute(command)
    const written = await this.#writer.write()
    return { kind: 'checkpoint', sequence: written.sequence, bytes: written.bytes }
  }

  /** Before a command takes effect. */
  async #writeCommand(name: string, payload: Readonly<Record<string, Json>>): Promise<void> {
    await this.#options.mayWrite?.()
    await this.#journal?.append({ kind: 'command', name, payload })
    this.#sequence += 1
    this.#publishing.changed()
  }

  async #finish(isOver: boolean): Promise<void> {
    // The last batch of a replay is as long as it is.
    if (isOver && this.#events > 0) await this.#cut()
    const isBoundary = await this.#reachBoundary()
    // A command now would be journaled behind what has not been repeated yet.
    if (isBoundary && this.#hasCaughtUp) {
      while (this.#commands.size > 0) await this.#executeCommands()
    }
    if (isBoundary) await this.#publishing.publish()
    await this.#publishing.settled()
    if (isBoundary) await this.#writer.finish()
  }

  #waitMs(): number {
    if (this.#commands.isUnderWay && this.#events === 0) return 0
    const { clock, model } = this.#options
    const hasAge = this.#journal !== undefined && this.#events > 0
    const oldAt = this.#startedAt + model.batch.maxAgeMs
    const untilOld = hasAge ? oldAt - clock.monotonic() : idleWaitMs
    return Math.max(0, Math.min(idleWaitMs, untilOld, this.#publishing.leftMs))
  }

  #reportEvicted(evicted: number): void {
    const { step } = this.learner
    const message = `${evicted} rows were evicted`
    this.#report({ level: 'info', code: 'rowsEvicted', message, details: { step, evicted } })
  }

  #report(report: TrainerReport): void {
    this.#options.report?.(report)
  }
}
