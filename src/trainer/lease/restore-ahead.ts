/**
 * What a standby's thread does while it waits: the newest checkpoint of its folder is in memory
 * before it is needed, so that a take-over begins with what has happened since.
 */
import { setTimeout as sleep } from 'node:timers/promises'

import { CheckpointStore } from '../checkpoint/checkpoint.ts'
import { Checkpoints, type CheckpointsOptions } from '../checkpoint/checkpoints.ts'
import { closePrepared, preparedLearner, type PreparedLearner } from '../prepared-learner.ts'
import type { CheckpointOptions, TrainerProcess } from '../trainer-config.ts'

export interface RestoreAheadOptions extends Pick<CheckpointsOptions, 'model' | 'clock'> {
  readonly process: TrainerProcess
}

/** From look to look. */
const intervalMs = 2_000

export class RestoreAhead {
  /** Resolves when what there is at first is restored. */
  readonly ready: Promise<void>
  readonly #options: RestoreAheadOptions
  readonly #ending = new AbortController()
  readonly #running: Promise<void>
  #prepared: PreparedLearner | undefined
  /** The newest checkpoint at the last look: what came of it is not tried again. */
  #looked: number | undefined

  constructor(options: RestoreAheadOptions) {
    this.#options = options
    this.ready = this.#look()
    this.#running = this.#run()
  }

  /** The newest of the folder, if it could be restored. It is the caller's. */
  async finish(): Promise<PreparedLearner | undefined> {
    this.#ending.abort()
    await this.#running
    return this.#prepared
  }

  async #run(): Promise<void> {
    const { signal } = this.#ending
    await this.ready
    while (!signal.aborted) {
      await sleep(intervalMs, undefined, { signal }).catch(() => undefined)
      await this.#look()
    }
  }

  async #look(): Promise<void> {
    const { checkpoints, farRows } = this.#options.process
    // Rows that lie elsewhere are brought to the state of a checkpoint by whoever has the lease.
    if (checkpoints === undefined || farRows !== undefined) return
    const newest = new CheckpointStore(checkpoints).sequences().at(-1)
    if (newest === this.#looked) return
    this.#looked = newest
    // What is damaged, gone again or another model's is for the take-over to say.
    await this.#restore(checkpoints).catch(() => undefined)
  }

  async #restore(place: CheckpointOptions): Promise<void> {
    const { process, model, clock } = this.#options
    const store = new Checkpoints({ ...place, model, clock, report: () => {} })
    const found = store.newest(() => true)
    // One after the other: two states would take twice the memory.
    await this.#forget()
    if (found !== undefined) {
      this.#prepared = await preparedLearner({ model, process, clock }, found)
    }
  }

  async #forget(): Promise<void> {
    const prepared = this.#prepared
    this.#prepared = undefined
    if (prepared !== undefined) await closePrepared(prepared)
  }
}
