/** Events one by one in, a request for many of them out. */
import type { Accepted, Event } from './types.ts'

export interface BatcherOptions {
  /** A request has at most so many. Default 500. */
  readonly maxEvents?: number
  /** The first of a batch waits so long for others, in milliseconds. Default 200. */
  readonly maxDelayMs?: number
  /** Beyond so many that wait, `add` refuses. Default 50,000. */
  readonly maxPending?: number
  /** Told of events that were refused, or that could not be sent, and why. */
  readonly onError: (error: unknown, events: readonly Event[]) => void
}

type Send = (events: readonly Event[], keepalive: boolean) => Promise<Accepted>

/**
 * One request is under way at a time, so that events arrive in the order in which they were added.
 */
export class EventBatcher implements AsyncDisposable {
  readonly #send: Send
  readonly #options: Required<BatcherOptions>
  readonly #pending: Event[] = []
  #timer: ReturnType<typeof setTimeout> | undefined
  #sending: Promise<void> = Promise.resolve()
  /** Whether a drain waits for the request under way to end. */
  #isDue = false
  #isClosed = false

  constructor(send: Send, options: BatcherOptions) {
    this.#send = send
    this.#options = { maxEvents: 500, maxDelayMs: 200, maxPending: 50_000, ...options }
  }

  get pending(): number {
    return this.#pending.length
  }

  /** False: too many wait already, or it is closed; the event is not taken. */
  add(event: Event): boolean {
    const { maxEvents, maxDelayMs, maxPending } = this.#options
    if (this.#isClosed || this.#pending.length >= maxPending) return false
    this.#pending.push(event)
    if (this.#pending.length >= maxEvents) void this.flush()
    else this.#timer ??= setTimeout(() => void this.flush(), maxDelayMs)
    return true
  }

  /** Resolves when everything added so far was answered. `keepalive`: the page is closing. */
  flush(keepalive = false): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#isDue) return this.#sending
    this.#isDue = true
    this.#sending = this.#sending.then(() => this.#drain(keepalive))
    return this.#sending
  }

  async #drain(keepalive: boolean): Promise<void> {
    const { maxEvents, onError } = this.#options
    this.#isDue = false
    let left = this.#pending.length
    while (left > 0) {
      const batch = this.#pending.splice(0, Math.min(left, maxEvents))
      left -= batch.length
      try {
        const { rejected } = await this.#send(batch, keepalive)
        for (const reason of rejected) onError(reason, [batch[reason.index]])
      } catch (error) {
        onError(error, batch)
      }
    }
  }

  /** Sends what waits; nothing is taken from now on. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true
    await this.flush()
  }
}
