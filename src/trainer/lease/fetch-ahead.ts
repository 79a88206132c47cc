/**
 * What a standby does while it waits: where checkpoints are in a bucket, the newest is on its own
 * disk before it is needed, so that a take-over does not begin with fetching it.
 */
import { setTimeout as sleep } from 'node:timers/promises'

import { CheckpointMirror } from '../checkpoint/checkpoint-mirror.ts'
import { type CopiesOptions, openCopies } from '../checkpoint/open-copies.ts'
import type { TrainerReport } from '../trainer-status.ts'

export interface FetchAheadOptions {
  readonly place: CopiesOptions
  /** The folder of checkpoints. */
  readonly directory: string
  /** From look to look; default 5,000 ms. */
  readonly intervalMs?: number
  /** Ends it in the middle of a request. */
  readonly signal: AbortSignal
  readonly report: (report: TrainerReport) => void
}

const defaultIntervalMs = 5_000

export class FetchAhead {
  readonly #options: FetchAheadOptions
  readonly #ending = new AbortController()
  readonly #running: Promise<void>
  #isInTrouble = false

  constructor(options: FetchAheadOptions) {
    this.#options = options
    this.#running = this.#run()
  }

  /** Resolves when the folder is left alone; what is being fetched then is fetched to its end. */
  async finish(): Promise<void> {
    this.#ending.abort()
    await this.#running
  }

  async #run(): Promise<void> {
    const { place, directory, report, signal, intervalMs = defaultIntervalMs } = this.#options
    const copies = await openCopies(place)
    const mirror = new CheckpointMirror({ directory, keep: Infinity, copies, report })
    const close = (): void => copies.close()
    signal.addEventListener('abort', close)
    const over = AbortSignal.any([signal, this.#ending.signal])
    while (!over.aborted) {
      await mirror.fetchAhead().then(
        () => (this.#isInTrouble = false),
        (error: unknown) => this.#note(error),
      )
      await sleep(intervalMs, undefined, { signal: over }).catch(() => undefined)
    }
    signal.removeEventListener('abort', close)
    close()
  }

  /** A take-over asks again, and says what is wrong then. */
  #note(error: unknown): void {
    const { report, signal } = this.#options
    if (this.#isInTrouble || signal.aborted) return
    this.#isInTrouble = true
    const message = `checkpoints are not fetched ahead: ${String(error)}`
    report({ level: 'warn', code: 'copiesNotFetched', message, details: {} })
  }
}
