/**
 * How long pieces of work keep a thread: by the clock, and, on Linux, without the time that the
 * thread waited for a processor (`/proc/thread-self/schedstat`), which is others' doing. What a
 * hypervisor takes away is seen by neither.
 */
import { closeSync, openSync, readSync } from 'node:fs'

export interface Pause {
  readonly ms: number
  /** Less what was waited for a processor; the same where that is not known. */
  readonly ownMs: number
}

export class Pauses implements Disposable {
  readonly #waits: number | undefined
  readonly #text = Buffer.alloc(128)
  readonly #ms: number[] = []
  readonly #ownMs: number[] = []

  constructor() {
    try {
      this.#waits = openSync('/proc/thread-self/schedstat', 'r')
    } catch {
      this.#waits = undefined
    }
  }

  time<Value>(work: () => Value): Value {
    const waited = this.#waitedMs()
    const begin = performance.now()
    const value = work()
    const ms = performance.now() - begin
    this.#ms.push(ms)
    this.#ownMs.push(Math.max(0, ms - (this.#waitedMs() - waited)))
    return value
  }

  /** The last that was timed. */
  get last(): Pause {
    return { ms: this.#ms.at(-1) ?? 0, ownMs: this.#ownMs.at(-1) ?? 0 }
  }

  get count(): number {
    return this.#ms.length
  }

  get byClock(): readonly number[] {
    return this.#ms
  }

  get own(): readonly number[] {
    return this.#ownMs
  }

  [Symbol.dispose](): void {
    if (this.#waits !== undefined) closeSync(this.#waits)
  }

  /** "ran waited times", nanoseconds. */
  #waitedMs(): number {
    if (this.#waits === undefined) return 0
    const length = readSync(this.#waits, this.#text, 0, this.#text.length, 0)
    return Number(this.#text.toString('latin1', 0, length).split(' ')[1]) / 1e6
  }
}
