/**
 * When readers are told what has changed, and by whom: after so much time or so many changed rows,
 * so that a burst makes several deltas and not one of its size, a delta is made between two events,
 * at once, and carried to them beside the batches that follow. One is on its way at a time, and the
 * next waits for it: where none arrives training stands still.
 */
import type { Clock } from '../base/clock.ts'
import type { ParameterPublisher } from '../sync/parameter-sync.ts'
import type { DeltaSource, DeltaStamp } from './delta-source.ts'

export interface PublishingOptions {
  /** Absent: nobody reads the parameters. */
  readonly publisher: ParameterPublisher | undefined
  readonly deltas: DeltaSource
  readonly clock: Clock
  /** From delta to delta, at present. */
  readonly intervalMs: () => number
  /** Of a table: with so many changed ones the next delta does not wait; absent: it always does. */
  readonly maxRows?: number | undefined
  /** Where the trainer stands. */
  readonly place: () => Omit<DeltaStamp, 'publishedAt'>
}

export class Publishing {
  readonly #options: PublishingOptions
  #hasChanges = false
  #publishedAt = -Infinity
  /** The delta on its way; never rejects. */
  #underWay: Promise<void> = Promise.resolve()
  #failure: { readonly cause: unknown } | undefined

  constructor(options: PublishingOptions) {
    const { publisher, deltas } = options
    this.#options = options
    publisher?.onResync(() => deltas.snapshot(this.#stamp()))
  }

  /** There is something that readers do not know. */
  changed(): void {
    this.#hasChanges = true
  }

  /** Until the next delta; Infinity while there is nothing to tell. */
  get leftMs(): number {
    if (!this.#hasChanges) return Infinity
    const { clock, intervalMs } = this.#options
    return this.#publishedAt + intervalMs() - clock.monotonic()
  }

  get isDue(): boolean {
    const { deltas, maxRows = Infinity } = this.#options
    if (this.leftMs <= 0) return true
    return this.#hasChanges && deltas.hasChanged(maxRows)
  }

  /** Throws what a delta could not be carried for. */
  requireSound(): void {
    if (this.#failure !== undefined) throw this.#failure.cause
  }

  /** Makes a delta of what has changed, and sends it when the one before has arrived. */
  async publish(): Promise<void> {
    const { publisher, deltas, clock } = this.#options
    await this.settled()
    if (!this.#hasChanges) return
    this.#hasChanges = false
    this.#publishedAt = clock.monotonic()
    if (publisher === undefined) return
    const delta = await deltas.take(this.#stamp())
    this.#underWay = publisher.publish(delta).catch((cause: unknown) => {
      this.#failure = { cause }
    })
  }

  /** Resolves when no delta that was sent can be lost any more. Throws like `requireSound`. */
  async settled(): Promise<void> {
    await this.#underWay
    this.requireSound()
  }

  #stamp(): DeltaStamp {
    const { place, clock } = this.#options
    return { ...place(), publishedAt: clock.now() }
  }
}
