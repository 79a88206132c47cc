/**
 * Tells readers, in this thread and others, how far a log is durable: three words of shared memory.
 * A reader that waits is woken at once, by the memory itself and not by a message.
 */
const bytes = 24
/** A timer's longest. */
const maxWaitMs = 2 ** 31 - 1

export class EndSignal {
  readonly memory: SharedArrayBuffer
  /** Counts publications; what waiters wait on. */
  readonly #version: Int32Array
  /** Ordinals: 0 the end, 1 the start. */
  readonly #ordinals: BigInt64Array

  /** Over the memory of another thread's signal, or over its own. */
  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(bytes)) {
    this.memory = memory
    this.#version = new Int32Array(memory, 0, 1)
    this.#ordinals = new BigInt64Array(memory, 8, 2)
  }

  /** Ordinal after the last durable event. */
  get end(): number {
    return Number(Atomics.load(this.#ordinals, 0))
  }

  /** Ordinal of the first event that is kept. */
  get start(): number {
    return Number(Atomics.load(this.#ordinals, 1))
  }

  publish({ start, end }: { readonly start: number; readonly end: number }): void {
    Atomics.store(this.#ordinals, 1, BigInt(start))
    Atomics.store(this.#ordinals, 0, BigInt(end))
    Atomics.add(this.#version, 0, 1)
    Atomics.notify(this.#version, 0)
  }

  /** Whether the end has passed `ordinal`: waits for that up to `waitMs`, or until one aborts. */
  async wait(ordinal: number, waitMs: number, signals: readonly AbortSignal[]): Promise<boolean> {
    if (this.end > ordinal || waitMs <= 0 || signals.some((signal) => signal.aborted)) {
      return this.end > ordinal
    }
    const { promise: over, resolve } = Promise.withResolvers<false>()
    const stop = (): void => resolve(false)
    // A pending waitAsync does not keep a process alive; this timer does.
    const timer = setTimeout(stop, Math.min(waitMs, maxWaitMs))
    for (const signal of signals) signal.addEventListener('abort', stop)
    try {
      let going = true
      while (going && this.end <= ordinal) {
        going = await Promise.race([this.#change(ordinal, waitMs), over])
      }
    } finally {
      clearTimeout(timer)
      for (const signal of signals) signal.removeEventListener('abort', stop)
    }
    return this.end > ordinal
  }

  async #change(ordinal: number, waitMs: number): Promise<true> {
    const version = Atomics.load(this.#version, 0)
    if (this.end > ordinal) return true
    await Atomics.waitAsync(this.#version, 0, version, waitMs).value
    return true
  }
}
