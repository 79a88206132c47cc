/**
 * How long pieces of work keep a thread: by the clock, and, on Linux, for how long of it the thread
 * ran (`/proc/thread-self/schedstat`): on a busy machine it waits for a processor, and a hypervisor
 * takes it away. What blocks a thread is in the time by the clock alone.
 */
import { closeSync, openSync, readSync } from 'node:fs'

export interface Pause {
  readonly ms: number
  /** What the thread ran of it; the same where that is not known. */
  readonly ownMs: number
}

export class Pauses implements Disposable {
  readonly #file: number | undefined
  readonly #text = Buffer.alloc(128)
  readonly #ms: number[] = []
  readonly #ownMs: number[] = []

  constructor() {
    try {
      this.#file = openSync('/proc/thread-self/schedstat', 'r')
    } catch {
      this.#file = undefined
    }
  }

  time<Value>(work: () => Value): Value {
    const before = this.#ranMs()
    const begin = performance.now()
    const value = work()
    const ms = performance.now() - begin
    this.#ms.push(ms)
    this.#ownMs.push(Math.min(ms, this.#ranMs() - before))
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
    if (this.#file !== undefined) closeSync(this.#file)
  }

  /** The file says "ran waited times", in nanoseconds; without it all time counts. */
  #ranMs(): number {
    if (this.#file === undefined) return performance.now()
    // Has the system add up what the thread ran since the last tick of its clock.
    process.cpuUsage()
    const length = readSync(this.#file, this.#text, 0, this.#text.length, 0)
    return Number(this.#text.toString('latin1', 0, length).split(' ', 1)[0]) / 1e6
  }
}
