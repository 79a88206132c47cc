/**
 * How long pieces of work keep a thread: by the clock, and, on Linux, without what others did to it
 * meanwhile (`/proc/thread-self/schedstat`): the time that it waited for a processor, and that a
 * hypervisor took away. The latter is known to a tick of the system's clock only, so that much of
 * it may remain.
 */
import { closeSync, openSync, readSync } from 'node:fs'

/** At most so long ago the system has added up what a thread ran. */
const tickMs = 4

export interface Pause {
  readonly ms: number
  /** Less what others took; the same where that is not known. */
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
    const before = this.#account()
    const begin = performance.now()
    const value = work()
    const ms = performance.now() - begin
    const after = this.#account()
    const unwaited = ms - (after.waitedMs - before.waitedMs)
    this.#ms.push(ms)
    this.#ownMs.push(Math.max(0, Math.min(unwaited, after.ranMs - before.ranMs + tickMs)))
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

  /** "ran waited times", nanoseconds; without the file as if all of the time were its own. */
  #account(): { readonly ranMs: number; readonly waitedMs: number } {
    if (this.#file === undefined) return { ranMs: performance.now(), waitedMs: 0 }
    const length = readSync(this.#file, this.#text, 0, this.#text.length, 0)
    const [ran, waited] = this.#text.toString('latin1', 0, length).split(' ')
    return { ranMs: Number(ran) / 1e6, waitedMs: Number(waited) / 1e6 }
  }
}
