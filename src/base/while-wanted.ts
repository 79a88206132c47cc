/** Work that goes on while it is wanted: begun, ended and begun again as that changes. */

export interface WantedWork {
  readonly isWanted: () => boolean
  /** What comes before it counts as running. */
  readonly begin?: () => Promise<void>
  /** Goes on until the signal. */
  readonly run: (signal: AbortSignal) => Promise<void>
  /** It could not begin, or has ended by itself; it begins again when it is followed up. */
  readonly onTrouble: (error: unknown) => void
}

interface Running {
  readonly stop: AbortController
  readonly done: Promise<void>
}

/** Invariant: at most one run is under way. */
export class WhileWanted {
  readonly #work: WantedWork
  #isStopped = false
  #running: Running | undefined
  #changing: Promise<void> = Promise.resolve()

  constructor(work: WantedWork) {
    this.#work = work
  }

  /** Running yet or not. */
  get isWanted(): boolean {
    return !this.#isStopped && this.#work.isWanted()
  }

  get isRunning(): boolean {
    return this.#running?.stop.signal.aborted === false
  }

  /** For when what is wanted may have changed; resolves once it runs, or has ended. */
  follow(): Promise<void> {
    if (!this.isWanted) this.#running?.stop.abort()
    this.#changing = this.#changing.then(() => this.#change()).catch(this.#work.onTrouble)
    return this.#changing
  }

  /** For good; resolves when it has ended. */
  stop(): Promise<void> {
    this.#isStopped = true
    return this.follow()
  }

  async #change(): Promise<void> {
    if (this.isWanted && this.isRunning) return
    this.#running?.stop.abort()
    await this.#running?.done
    if (!this.isWanted) return
    await this.#work.begin?.()
    const stop = new AbortController()
    this.#running = { stop, done: this.#run(stop.signal) }
  }

  async #run(signal: AbortSignal): Promise<void> {
    try {
      await this.#work.run(signal)
    } catch (error) {
      if (!signal.aborted) this.#work.onTrouble(error)
    } finally {
      this.#running = undefined
    }
  }
}
