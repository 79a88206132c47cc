/**
 * Runs that somebody has called off, as marks in Redis: whichever process has a run looks for its
 * mark before it begins and every half second while it works on it.
 */
import { ServiceError } from '../base/errors.ts'
import type { connectPatiently } from '../redis/redis-connection.ts'

/** Longer than any run waits for another try. */
const keptMs = 60 * 60_000
const lookMs = 500

export class Cancellations {
  readonly #client: ReturnType<typeof connectPatiently>
  readonly #prefix: string

  constructor(client: ReturnType<typeof connectPatiently>, prefix: string) {
    this.#client = client
    this.#prefix = prefix
  }

  async mark(run: string): Promise<void> {
    await this.#client.set(this.#key(run), '1', 'PX', keptMs)
  }

  /** Aborts where there is a mark. While Redis does not answer there is none. */
  async look(run: string, abort: AbortController): Promise<void> {
    const isMarked = await this.#client.exists(this.#key(run)).catch(() => 0)
    if (isMarked === 1) abort.abort(new ServiceError('JOB_CANCELLED', { run }))
  }

  /** Looks again and again until the function that it gives is called. */
  watch(run: string, abort: AbortController): () => void {
    let isLooking = false
    const timer = setInterval(() => {
      if (isLooking) return
      isLooking = true
      void this.look(run, abort).finally(() => {
        isLooking = false
      })
    }, lookMs).unref()
    return () => clearInterval(timer)
  }

  #key(run: string): string {
    return `${this.#prefix}:cancelled:${run}`
  }
}
