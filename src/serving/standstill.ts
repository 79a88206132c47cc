/**
 * Holds back whatever changes a replica, so that somebody can look at one state of it in several
 * turns of the event loop and nobody else waits for all of them: an audit compares what hundreds
 * of items would be embedded as. Queries are answered meanwhile.
 */
import { backgroundTurn } from './turns.ts'

export class Standstill {
  #hasBegun = false

  /** Nothing changes until what it returns is called. One at a time. */
  begin(): () => void {
    this.#hasBegun = true
    return () => {
      this.#hasBegun = false
    }
  }

  /** A background turn in which the replica may be changed. */
  async turnToChange(): Promise<void> {
    do await backgroundTurn()
    while (this.#hasBegun)
  }
}
