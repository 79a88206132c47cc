/**
 * Turns of this thread's event loop for work that can wait. Of all who ask for one each gets it
 * alone, in the order in which they asked, and between two of them sockets are read and requests
 * are answered: of four tasks with a millisecond's work each, a request then waits for one. Where
 * turns are long, since there is much to answer, the next has several pieces of such work, so that
 * it never stands still.
 */
import { type Clock, systemClock } from '../base/clock.ts'

/** A turn of so many milliseconds gives one piece of work to the next. */
const msForOne = 4
const mostTogether = 16

export class Turns {
  readonly #clock: Pick<Clock, 'monotonic'>
  readonly #waiting: (() => void)[] = []
  #isScheduled = false

  constructor(clock: Pick<Clock, 'monotonic'>) {
    this.#clock = clock
  }

  /**
   * Resolves when nobody else is at work: what is done before the caller waits for something else
   * is its piece.
   */
  next(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#waiting.push(resolve)
    this.#schedule()
    return promise
  }

  #schedule(): void {
    if (this.#isScheduled || this.#waiting.length === 0) return
    this.#isScheduled = true
    const from = this.#clock.monotonic()
    setImmediate(() => {
      this.#isScheduled = false
      const due = Math.floor((this.#clock.monotonic() - from) / msForOne)
      // One after the other, in the next turn.
      for (let i = 1; i < Math.min(due, mostTogether); i += 1) setImmediate(() => this.#giveOne())
      this.#giveOne()
      this.#schedule()
    })
  }

  #giveOne(): void {
    this.#waiting.shift()?.()
  }
}

const turns = new Turns(systemClock)

/** A turn of this thread: see `Turns`. */
export const backgroundTurn = (): Promise<void> => turns.next()
