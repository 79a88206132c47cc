/**
 * The trainer as the rest of the process sees it: a service whose work happens in a thread of its
 * own, so that training never blocks a query. Parameters leave from there, as deltas.
 */
import { type MessagePort, SHARE_ENV, Worker } from 'node:worker_threads'

import { ServiceError } from '../base/errors.ts'
import type { Service } from '../base/service.ts'
import type { OnProgress } from './command-queue.ts'
import {
  fromPlain,
  type ParameterSink,
  type SyncPlace,
  type TrainerBasis,
  type TrainerMessage,
  type TrainerRequest,
} from './trainer-protocol.ts'
import type {
  CommandResult,
  TrainerCommand,
  TrainerReport,
  TrainerStatus,
} from './trainer-status.ts'

export interface TrainerServiceOptions extends TrainerBasis {
  /** Asked when it starts: a fence may be known only then. */
  readonly parameters: () => ParameterSink
  /** For the log. */
  readonly report: (report: TrainerReport) => void
  /** Twice a second. */
  readonly onStatus?: (status: TrainerStatus) => void
  /** The trainer has failed after it was started: it learns no more until a restart. */
  readonly onFailure?: (error: unknown) => void
}

type Deferred<Value> = PromiseWithResolvers<Value>

interface Asked extends Deferred<CommandResult> {
  readonly onProgress: OnProgress
}

/**
 * Invariant: `#ready` and `#ended` settle exactly once, whatever becomes of the thread, and no
 * command waits for a thread that has ended.
 */
export class TrainerService implements Service {
  readonly name = 'trainer'
  readonly #options: TrainerServiceOptions
  readonly #standsBy: Deferred<void> = Promise.withResolvers()
  readonly #ready: Deferred<void> = Promise.withResolvers()
  readonly #ended: Deferred<void> = Promise.withResolvers()
  readonly #commands = new Map<number, Asked>()
  #worker: Worker | undefined
  #nextCommand = 1
  #status: TrainerStatus | undefined
  #isReady = false
  #isOver = false
  #failure: ServiceError | undefined

  constructor(options: TrainerServiceOptions) {
    this.#options = options
    // Who does not wait for them does not want to hear of them.
    this.#ready.promise.catch(() => undefined)
    this.#ended.promise.catch(() => undefined)
  }

  /** The newest there is; undefined before the trainer is ready. */
  get status(): TrainerStatus | undefined {
    return this.#status
  }

  /**
   * Has its thread, and in it the state of the active trainer, before it is started. To be called
   * once; throws what ends the thread.
   */
  async standBy(sync?: SyncPlace): Promise<void> {
    this.#open()
    this.#send({ kind: 'standBy', sync })
    await Promise.race([this.#standsBy.promise, this.#ready.promise])
  }

  /**
   * Resolves when state is restored and training begins. Throws `CHECKPOINT_INCOMPATIBLE`,
   * `CONFIG_INVALID`, `MEMORY_EXHAUSTED`, `KERNELS_UNAVAILABLE`, `JOURNAL_DAMAGED`, `LOG_*`,
   * `TRAINER_FAILED`.
   */
  async start(signal: AbortSignal): Promise<void> {
    this.#open()
    const parameters = this.#options.parameters()
    this.#send({ kind: 'begin', parameters }, parameters.kind === 'port' ? [parameters.port] : [])
    const giveUp = (): void => this.#ready.reject(new ServiceError('TRAINER_STOPPED', {}))
    signal.addEventListener('abort', giveUp)
    try {
      await this.#ready.promise
    } finally {
      signal.removeEventListener('abort', giveUp)
    }
  }

  /** Executed between two batches. Throws what it throws, and `TRAINER_STOPPED`. */
  command(command: TrainerCommand, onProgress: OnProgress = () => {}): Promise<CommandResult> {
    if (this.#worker === undefined || !this.#isReady) {
      return Promise.reject(this.#failure ?? new ServiceError('TRAINER_STOPPED', {}))
    }
    const id = this.#nextCommand
    this.#nextCommand += 1
    const deferred = Promise.withResolvers<CommandResult>()
    this.#commands.set(id, { ...deferred, onProgress })
    this.#send({ kind: 'command', id, command })
    return deferred.promise
  }

  /** Ends the batch at hand, publishes, writes a checkpoint, ends the thread. */
  async drain(): Promise<void> {
    if (this.#worker === undefined || this.#failure !== undefined) return
    this.#send({ kind: 'stop' })
    await this.#ended.promise
  }

  async stop(): Promise<void> {
    const worker = this.#worker
    if (worker === undefined) return
    this.#worker = undefined
    this.#end(undefined)
    await worker.terminate()
  }

  #open(): void {
    if (this.#worker !== undefined) return
    const { model, process, log } = this.#options
    const workerData: TrainerBasis = { model, process, log }
    const extension = import.meta.url.slice(import.meta.url.lastIndexOf('.'))
    const file = new URL(`./trainer-worker${extension}`, import.meta.url)
    // Libraries that the thread loads see what it sets for them.
    const worker = new Worker(file, { workerData, execArgv: [], env: SHARE_ENV })
    this.#worker = worker
    worker.on('message', (message: TrainerMessage) => this.#take(message))
    worker.on('error', (error) => this.#end(fromPlain({ message: String(error) })))
    worker.on('exit', () => this.#end(fromPlain({ message: 'its thread has ended' })))
  }

  #take(message: TrainerMessage): void {
    switch (message.kind) {
      case 'standsBy':
        this.#standsBy.resolve()
        break
      case 'ready':
        this.#isReady = true
        this.#ready.resolve()
        break
      case 'status':
        this.#status = message.status
        this.#options.onStatus?.(message.status)
        break
      case 'report':
        this.#options.report(message.report)
        break
      case 'progress':
        this.#commands.get(message.id)?.onProgress(message.done)
        break
      case 'result':
        this.#settle(message.id)?.resolve(message.result)
        break
      case 'rejected':
        this.#settle(message.id)?.reject(fromPlain(message.error))
        break
      case 'failed':
        this.#end(fromPlain(message.error))
        break
      case 'stopped':
        this.#end(undefined)
        break
    }
  }

  #settle(id: number): Asked | undefined {
    const deferred = this.#commands.get(id)
    this.#commands.delete(id)
    return deferred
  }

  /** The thread is over, by its own word or by its end; the first word counts. */
  #end(failure: ServiceError | undefined): void {
    if (this.#isOver) return
    this.#isOver = true
    const wasReady = this.#isReady
    this.#isReady = false
    const stopped = new ServiceError('TRAINER_STOPPED', {})
    for (const deferred of this.#commands.values()) deferred.reject(failure ?? stopped)
    this.#commands.clear()
    this.#ready.reject(failure ?? stopped)
    if (failure === undefined) {
      this.#ended.resolve()
      return
    }
    this.#failure = failure
    this.#ended.reject(failure)
    if (wasReady) this.#options.onFailure?.(failure)
  }

  #send(request: TrainerRequest, transferred: readonly MessagePort[] = []): void {
    this.#worker?.postMessage(request, transferred)
  }
}
