/**
 * The trainer's thread: opens the log for reading, restores, and runs the loop until it is told to
 * stop. Only wires; `trainer-service.ts` is the other end.
 */
import { setPriority } from 'node:os'
import { type MessagePort, parentPort, workerData } from 'node:worker_threads'

import { present } from '../base/assert.ts'
import { systemClock } from '../base/clock.ts'
import { ServiceError } from '../base/errors.ts'
import type { EventLogReader, Position, ReadOptions } from '../stream/event-log.ts'
import { JournalTail } from '../stream/files/journal-tail.ts'
import { openFileLogReader } from '../stream/files/segment-reader.ts'
import { KafkaCommits } from '../stream/kafka/kafka-ends.ts'
import { type KafkaLog, openKafkaLog } from '../stream/kafka/kafka-log.ts'
import { LocalPublisher } from '../sync/local-sync.ts'
import type { ParameterPublisher } from '../sync/parameter-sync.ts'
import { RedisPublisher } from '../sync/redis/redis-publisher.ts'
import { openCopies } from './checkpoint/open-copies.ts'
import type { OnProgress } from './command-queue.ts'
import { RedisJournalTail } from './journal/redis-journal-tail.ts'
import { RedisJournal } from './journal/redis-journal.ts'
import { journalPath } from './journal/trainer-journal.ts'
import { LeaseEnd } from './lease/lease-end.ts'
import { claimFolder } from './lease/own-folder.ts'
import { RestoreAhead, type RestoreAheadOptions } from './lease/restore-ahead.ts'
import type { PreparedLearner } from './prepared-learner.ts'
import type { TrainerProcess } from './trainer-config.ts'
import { Trainer, type TrainerOptions } from './trainer-loop.ts'
import {
  type LogSource,
  type ParameterSink,
  type SyncPlace,
  toPlain,
  type TrainerBasis,
  type TrainerMessage,
  type TrainerRequest,
  type TrainerTask,
} from './trainer-protocol.ts'
import type { TrainerReport } from './trainer-status.ts'

const statusIntervalMs = 500

/** A stop that waits for servers that are away ends without a last checkpoint after this. */
const stopLimitMs = 5_000

async function serve(port: MessagePort, basis: TrainerBasis): Promise<void> {
  const say = (message: TrainerMessage): void => port.postMessage(message)
  const report = (found: TrainerReport): void => say({ kind: 'report', report: found })
  // Elsewhere it would be the priority of the whole process. Threads started here inherit it.
  if (process.platform === 'linux') setPriority(0, basis.process.niceness ?? 0)
  const inbox = new Inbox(port)
  const { parameters, ahead } = await standBy(inbox, basis, () => say({ kind: 'standsBy' }))
  if (parameters === undefined) return
  const task = { ...basis, parameters }
  const { reader, topic } = await openLog(task.log, report)
  const end = new Ending(report, task.parameters.kind === 'redis' ? stopLimitMs : undefined)
  const publisher = publisherOf(task.parameters)
  const elsewhere = await openElsewhere(task)
  end.signal.addEventListener('abort', () => {
    void publisher.close()
    elsewhere.copies?.close()
    elsewhere.journalCopy?.close()
  })
  try {
    const options = {
      ...task,
      process: await withOwnFolders(task),
      reader,
      publisher,
      clock: systemClock,
      report,
      ...elsewhere,
      ...guardOf(task.parameters, end.signal),
    }
    const trainer = await Trainer.create(options, ahead)
    await end.guard(() => runTrainer(trainer, { inbox, say, end, publisher, topic }))
  } finally {
    end.clear()
    elsewhere.copies?.close()
    elsewhere.journalCopy?.close()
    await publisher.close()
    await reader.close()
  }
}

/** Keeps what is said until somebody listens. */
class Inbox {
  readonly #waiting: TrainerRequest[] = []
  #listener: ((request: TrainerRequest) => void) | undefined

  constructor(port: MessagePort) {
    port.on('message', (request: TrainerRequest) => {
      if (this.#listener === undefined) this.#waiting.push(request)
      else this.#listener(request)
    })
  }

  /** From now on there is no other; undefined: nobody listens until the next call. */
  listen(listener: ((request: TrainerRequest) => void) | undefined): void {
    this.#listener = listener
    while (this.#listener !== undefined && this.#waiting.length > 0) {
      this.#listener(this.#waiting.splice(0, 1)[0])
    }
  }
}

interface Begun {
  /** Undefined: it is to stop instead. */
  readonly parameters: ParameterSink | undefined
  readonly ahead: PreparedLearner | undefined
}

/** Until it may train. */
async function standBy(inbox: Inbox, basis: TrainerBasis, onReady: () => void): Promise<Begun> {
  const begun = Promise.withResolvers<ParameterSink | undefined>()
  let ahead: RestoreAhead | undefined
  inbox.listen((request) => {
    if (request.kind === 'standBy') {
      ahead = new RestoreAhead({ ...basis, ...followedBy(basis, request.sync), clock: systemClock })
      // The client of a bucket is large: it is loaded by then.
      const { copies: place } = basis.process
      const copies = place && openCopies(place).then((opened) => opened.close())
      void Promise.all([ahead.ready, copies]).then(onReady)
    }
    if (request.kind !== 'begin' && request.kind !== 'stop') return
    inbox.listen(undefined)
    begun.resolve(request.kind === 'begin' ? request.parameters : undefined)
  })
  const parameters = await begun.promise
  return { parameters, ahead: await ahead?.finish() }
}

/** What a standby follows. */
function followedBy(
  { process, log }: TrainerBasis,
  sync: SyncPlace | undefined,
): Pick<RestoreAheadOptions, 'journal' | 'openReader'> {
  const openReader = async (): Promise<EventLogReader> =>
    (await openLog(withoutDeadLetters(log), () => {})).reader
  const { copies, journalDirectory } = process
  if (copies !== undefined) return { openReader, journal: sync && new RedisJournalTail(sync) }
  if (journalDirectory === undefined) return { openReader }
  return { openReader, journal: new JournalTail(journalPath(journalDirectory)) }
}

/** They are written by who trains. */
function withoutDeadLetters(log: LogSource): LogSource {
  if (log.kind === 'file') return log
  const { deadLetters: _, ...options } = log.options
  return { ...log, options }
}

interface OpenedLog {
  readonly reader: EventLogReader
  readonly topic?: Topic
}

interface Topic extends Pick<Extract<LogSource, { kind: 'kafka' }>, 'commits'> {
  readonly log: KafkaLog
}

async function openLog(
  log: LogSource,
  report: (report: TrainerReport) => void,
): Promise<OpenedLog> {
  if (log.kind === 'file') return { reader: await openFileLogReader(log) }
  const reader = await openKafkaLog({
    ...log.options,
    report: ({ code, message }) =>
      report({ level: code === 'brokersBack' ? 'info' : 'error', code, message, details: {} }),
  })
  // A read that may wait for nothing fails where brokers are away; training waits for them.
  const read = (from: Position, options: ReadOptions): ReturnType<EventLogReader['read']> =>
    reader.read(from, options.partitions ? options : { ...options, waitMs: options.waitMs || 1 })
  const patient = {
    read,
    end: () => reader.end(),
    start: () => reader.start(),
    compare: (a: string, b: string) => reader.compare(a, b),
    close: () => reader.close(),
  }
  return { reader: patient, topic: { ...log, log: reader } }
}

function publisherOf(parameters: ParameterSink): ParameterPublisher {
  if (parameters.kind === 'port') return new LocalPublisher(parameters.port)
  const { model, connection, fence } = parameters
  return new RedisPublisher({ model, connection, fence })
}

/** What a trainer on another machine goes on from. */
async function openElsewhere({
  process: { copies: place },
  parameters,
}: TrainerTask): Promise<Pick<TrainerOptions, 'copies' | 'journalCopy'>> {
  if (place === undefined || parameters.kind === 'port') return {}
  const copies = await openCopies(place, parameters.fence.epoch)
  return { copies, journalCopy: new RedisJournal(parameters) }
}

/** Nothing that a trainer of an earlier lease still writes is found by a later one. */
async function withOwnFolders({ process, parameters }: TrainerTask): Promise<TrainerProcess> {
  if (parameters.kind === 'port') return process
  const { epoch } = parameters.fence
  const { checkpoints, journalDirectory: journal } = process
  return {
    ...process,
    ...(checkpoints && {
      checkpoints: { ...checkpoints, workshop: await claimFolder(checkpoints.directory, epoch) },
    }),
    ...(journal !== undefined && { journalWorkshop: await claimFolder(journal, epoch) }),
  }
}

/** Between processes another one may have taken over, and this one not know it yet. */
function guardOf(parameters: ParameterSink, signal: AbortSignal): Pick<TrainerOptions, 'mayWrite'> {
  if (parameters.kind === 'port') return {}
  const leaseEnd = new LeaseEnd(parameters.leaseEnd)
  return { mayWrite: () => leaseEnd.current(signal) }
}

/** A stop that may not wait for other servers for ever. */
class Ending {
  readonly #late = new AbortController()
  readonly #report: (report: TrainerReport) => void
  readonly #limitMs: number | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(report: (report: TrainerReport) => void, limitMs: number | undefined) {
    this.#report = report
    this.#limitMs = limitMs
  }

  /** Aborts when a stop has waited long enough. */
  get signal(): AbortSignal {
    return this.#late.signal
  }

  begin(): void {
    if (this.#limitMs === undefined) return
    const late = new ServiceError('SYNC_CLOSED', { side: 'publisher' })
    this.#timer ??= setTimeout(() => this.#late.abort(late), this.#limitMs)
  }

  clear(): void {
    clearTimeout(this.#timer)
  }

  async guard(work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      const isLate = error instanceof ServiceError && error.code === 'SYNC_CLOSED'
      if (!this.signal.aborted || !isLate) throw error
      const message = 'stopped while it waited for servers: the next start goes on from there'
      this.#report({ level: 'warn', code: 'stoppedWaiting', message, details: {} })
    }
  }
}

interface Run {
  readonly inbox: Inbox
  readonly say: (message: TrainerMessage) => void
  readonly end: Ending
  readonly publisher: ParameterPublisher
  readonly topic: Topic | undefined
}

async function runTrainer(trainer: Trainer, run: Run): Promise<void> {
  const { inbox, say, end, publisher, topic } = run
  const stopping = new AbortController()
  inbox.listen((request) => {
    if (request.kind === 'stop') {
      end.begin()
      stopping.abort()
    }
    if (request.kind !== 'command') return
    const { id, command } = request
    const onProgress = (done: number): void => say({ kind: 'progress', id, done })
    trainer.command(command, rarely(onProgress)).then(
      (result) => say({ kind: 'result', id, result }),
      (error: unknown) => say({ kind: 'rejected', id, error: toPlain(error) }),
    )
  })
  const sayStatus = (): void => {
    const published = publisher instanceof RedisPublisher && publisher.status()
    const log = topic?.log.reading
    const more = { ...(published && { published }), ...(log && { log }) }
    say({ kind: 'status', status: { ...trainer.status(), ...more } })
  }
  const timer = setInterval(sayStatus, statusIntervalMs)
  const position = (): Position => trainer.status().position
  const commits = topic?.commits && new KafkaCommits({ ...topic.commits, log: topic.log, position })
  await commits?.start()
  say({ kind: 'ready' })
  sayStatus()
  try {
    await trainer.run({ signal: stopping.signal })
    sayStatus()
  } finally {
    clearInterval(timer)
    await commits?.stop()
    await trainer.close()
  }
}

/** Steps are of a millisecond or so: what is less than a hundredth further is not worth a word. */
function rarely(onProgress: OnProgress): OnProgress {
  let told = 0
  return (done) => {
    if (done - told < 0.01) return
    told = done
    onProgress(done)
  }
}

const port = present(parentPort, 'the port to the main thread')
const say = (message: TrainerMessage): void => port.postMessage(message)
// The service waits for one of the two, and then for the thread's end.
serve(port, workerData)
  .then(
    () => say({ kind: 'stopped' }),
    (error: unknown) => say({ kind: 'failed', error: toPlain(error) }),
  )
  .finally(() => port.close())
