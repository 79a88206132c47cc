/**
 * A trainer of several, of which one is active: whoever has the lease. The others wait as standbys,
 * with a thread that has restored the newest checkpoint of the folder that they share, or of the
 * copies in a bucket, and repeats what is journaled since. Who takes over goes on from there. A
 * trainer that has lost its lease ends without another word.
 *
 * The lease is renewed by this thread, which no step of training holds up.
 */
import { present } from '../../base/assert.ts'
import { ServiceError } from '../../base/errors.ts'
import type { Service } from '../../base/service.ts'
import type { OnProgress } from '../command-queue.ts'
import type { SyncPlace } from '../trainer-protocol.ts'
import { TrainerService, type TrainerServiceOptions } from '../trainer-service.ts'
import type { CommandResult, TrainerCommand, TrainerStatus } from '../trainer-status.ts'
import { FetchAhead } from './fetch-ahead.ts'
import { LeaseEnd, threadClock } from './lease-end.ts'
import { acquireLease, type Lease, type LeaseStore } from './lease.ts'

export interface LeasedTrainerOptions extends Omit<TrainerServiceOptions, 'parameters'> {
  /** Closed with the trainer. */
  readonly leases: LeaseStore
  /** For those who wait: who this is. */
  readonly holder: string
  readonly leaseMs: number
  /** Where parameters go: whose, and to which server. */
  readonly parameters: SyncPlace
  /** Another one trains; called once, and when that one changes. */
  readonly onWait?: (holder: string) => void
  readonly onActive?: (epoch: number) => void
}

export interface LeaseState {
  readonly isActive: boolean
  readonly isStandby: boolean
  /** 0: it has none. */
  readonly epoch: number
  /** Who has it, as far as it is known; empty: it is not. */
  readonly holder: string
}

/** Invariant: `#trainer` is started only under a lease that has not been released. */
export class LeasedTrainer implements Service {
  readonly name = 'trainer'
  readonly #options: LeasedTrainerOptions
  readonly #stopping = new AbortController()
  readonly #end = new LeaseEnd()
  #running: Promise<void> = Promise.resolve()
  #lease: Lease | undefined
  #trainer: TrainerService | undefined
  #ahead: FetchAhead | undefined
  #isActive = false
  #isStandby = false
  #detail = 'waits for the lease'
  /** Who was found to have the lease. */
  #other = ''

  constructor(options: LeasedTrainerOptions) {
    this.#options = options
  }

  /** Of the trainer in this process; undefined while another one is active. */
  get status(): TrainerStatus | undefined {
    return this.#trainer?.status
  }

  /** Whether it is the one that trains, and has restored its state. */
  get isActive(): boolean {
    return this.#isActive
  }

  /** Whether another one trains and it could take over at once. */
  get isStandby(): boolean {
    return this.#isStandby
  }

  /** Who has the lease. */
  get lease(): LeaseState {
    const isHeld = this.#lease?.lost.aborted === false
    return {
      isActive: this.#isActive,
      isStandby: this.#isStandby,
      epoch: isHeld ? (this.#lease?.epoch ?? 0) : 0,
      holder: isHeld ? this.#options.holder : this.#other,
    }
  }

  /** For a person. */
  get detail(): string {
    return this.#detail
  }

  /** Resolves at once: the wait for the lease may be long. Failures go to `onFailure`. */
  start(): Promise<void> {
    this.#running = this.#run().catch((error: unknown) => {
      const isOver = this.#stopping.signal.aborted || this.#lease?.lost.aborted === true
      if (!isOver) this.#options.onFailure?.(error)
    })
    return Promise.resolve()
  }

  /** Throws what the trainer throws, and `TRAINER_STOPPED` where it is not active. */
  command(command: TrainerCommand, onProgress?: OnProgress): Promise<CommandResult> {
    if (this.#trainer !== undefined) return this.#trainer.command(command, onProgress)
    return Promise.reject(new ServiceError('TRAINER_STOPPED', {}))
  }

  async drain(): Promise<void> {
    this.#stopping.abort()
    await this.#running
    this.#isActive = false
    if (this.#lease?.lost.aborted === false) await this.#trainer?.drain()
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#running
    await this.#trainer?.stop()
    await this.#lease?.release()
    await this.#options.leases.close()
  }

  async #run(): Promise<void> {
    const { leases, holder, leaseMs, onActive } = this.#options
    const lease = await acquireLease({
      store: leases,
      holder,
      ttlMs: leaseMs,
      signal: this.#stopping.signal,
      clock: threadClock,
      onRenewed: (until) => this.#end.set(until),
      onWait: (other) => this.#wait(other),
    })
    this.#lease = lease
    this.#isStandby = false
    await this.#ahead?.finish()
    lease.lost.addEventListener('abort', () => this.#lost(lease.lost.reason))
    this.#detail = `restores its state, epoch ${lease.epoch}`
    await this.#thread.start(this.#stopping.signal)
    this.#isActive = true
    this.#detail = `active, epoch ${lease.epoch}`
    onActive?.(lease.epoch)
  }

  #wait(other: string): void {
    this.#other = other
    this.#options.onWait?.(other)
    this.#sayStandby()
    if (this.#trainer !== undefined) return
    this.#ahead = this.#fetchAhead()
    void this.#standBy()
  }

  async #standBy(): Promise<void> {
    try {
      await this.#thread.standBy(this.#options.parameters)
      this.#isStandby = this.#lease === undefined
      this.#sayStandby()
    } catch (error) {
      const isWaiting = this.#lease === undefined && !this.#stopping.signal.aborted
      if (isWaiting) this.#options.onFailure?.(error)
    }
  }

  #sayStandby(): void {
    if (this.#lease !== undefined) return
    const state = this.#isStandby ? 'standby' : 'restores its state to stand by'
    this.#detail = `${state}, ${this.#other} trains`
  }

  get #thread(): TrainerService {
    const { parameters } = this.#options
    this.#trainer ??= new TrainerService({
      ...this.#options,
      parameters: () => {
        const { fence } = present(this.#lease, 'a lease')
        return { kind: 'redis', ...parameters, fence, leaseEnd: this.#end.memory }
      },
    })
    return this.#trainer
  }

  /** Undefined: a take-over finds all in the folder. */
  #fetchAhead(): FetchAhead | undefined {
    const { process, report } = this.#options
    if (process.copies === undefined || process.checkpoints === undefined) return undefined
    const { copies: place, checkpoints } = process
    const { signal } = this.#stopping
    return new FetchAhead({ place, directory: checkpoints.directory, signal, report })
  }

  #lost(reason: unknown): void {
    this.#isActive = false
    this.#detail = 'has lost its lease'
    // It may write no more, so who waits for it, for a command say, would wait for ever.
    void this.#trainer?.stop()
    if (!this.#stopping.signal.aborted) this.#options.onFailure?.(reason)
  }
}
