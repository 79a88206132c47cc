/** A version at work: its trainer, its replica, and whether it can answer. */
import { type Service, startAll, stopAll } from '../../base/service.ts'
import type { ServingService } from '../../serving/serving-service.ts'
import type { TrainerPart, TrainerRole } from '../shape.ts'
import type { Learning } from './learning.ts'
import type { VersionEntry } from './version-list.ts'

/** What a version is made of, as far as the process has the roles. */
export interface VersionParts {
  readonly trainer: TrainerPart | undefined
  readonly serving: ServingService | undefined
  /** What lets other processes ask its replica. */
  readonly asked: readonly Service[]
}

export interface WarmthOptions {
  /** What its trainer says of it, here or elsewhere; undefined: nothing yet. */
  readonly learning: (name: string, trainer: TrainerRole | undefined) => Learning | undefined
  /** With no more than so many a version may answer. */
  readonly warmLagEvents: number
}

export type VersionState = 'starting' | 'warming' | 'ready' | 'failed'

/** Invariant: whatever has failed once, or is being stopped, is never ready again. */
export class RunningVersion {
  readonly entry: VersionEntry
  readonly parts: VersionParts
  readonly #options: WarmthOptions
  #hasStarted = false
  /** Once: it falls behind no further than the one that answers does. */
  #isWarm = false
  #isStopping = false
  #failure: string | undefined

  constructor(entry: VersionEntry, parts: VersionParts, options: WarmthOptions) {
    this.entry = entry
    this.parts = parts
    this.#options = options
  }

  get name(): string {
    return this.entry.name
  }

  get failure(): string | undefined {
    return this.#failure
  }

  /** Undefined: the trainer has not said yet. */
  get learning(): Learning | undefined {
    return this.#options.learning(this.name, this.parts.trainer)
  }

  get state(): VersionState {
    if (this.#failure !== undefined || this.#isStopping) return 'failed'
    if (!this.#hasStarted) return 'starting'
    return this.#reached() ? 'ready' : 'warming'
  }

  /** What it waits for, for a person; undefined: for nothing. */
  get missing(): string | undefined {
    const { state } = this
    if (state === 'failed') return this.#failure ?? 'it is being stopped'
    if (state === 'starting') return 'it is being started'
    return state === 'warming' ? this.#unmet().join('; ') : undefined
  }

  async start(signal: AbortSignal): Promise<void> {
    try {
      await startAll(this.#services, signal)
    } catch (error) {
      this.#isStopping = true
      throw error
    }
    this.#hasStarted = true
  }

  /** A part of it has failed: it goes on as far as it can, but answers nobody any more. */
  fail(error: unknown): void {
    this.#failure ??= error instanceof Error ? error.message : String(error)
  }

  /** Ends the batch at hand, writes a checkpoint, and releases what it holds. */
  async stop(): Promise<void> {
    if (this.#isStopping) return
    this.#isStopping = true
    await stopAll(this.#services)
  }

  get #services() {
    const { trainer, serving, asked } = this.parts
    return [trainer, serving, ...asked].filter((service) => service !== undefined)
  }

  #reached(): boolean {
    this.#isWarm ||= this.#unmet().length === 0
    return this.#isWarm
  }

  #unmet(): readonly string[] {
    const { serving } = this.parts
    const lag = this.learning?.training.lagEvents
    const checks = (serving?.checks() ?? []).filter(({ ready }) => !ready)
    const isBehind = lag === undefined || lag > this.#options.warmLagEvents
    return [
      ...(isBehind ? [`${lag ?? 'all'} events of the log are still to be learned`] : []),
      ...checks.map(({ name, detail }) => `${name}: ${detail}`),
    ]
  }
}
