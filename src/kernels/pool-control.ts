/**
 * The memory through which a pool and its workers speak: a call is written, then the generation
 * goes up; each worker does its share and counts down `remaining`. Whoever waits spins a little
 * first, because the next call of a training step is usually that near, and then sleeps.
 *
 * All atomics are in one order: a sleeper registers before it looks at the word for the last time,
 * and the waker looks for sleepers after it has changed the word, so no wake-up is missed. What is
 * not atomic (operands, the text of a failure) is published by an atomic written after it.
 */
import type { Call } from './kernel-table.ts'

const word = {
  generation: 0,
  remaining: 1,
  sleepers: 2,
  kernel: 3,
  operands: 4,
  failed: 5,
} as const
const words = 16
/** Count, share, and the operands themselves. */
const numbers = 32
const textBytes = 256

/**
 * Looks before a sleep, some tens of microseconds (a pause is 40 to 140 cycles). Ten times fewer,
 * and a product of 256 x 64 x 64 took twice as long on two threads: they slept between calls and
 * were woken on one core.
 */
const spins = 1_500
/** How long a sleep lasts before the sleeper looks whether anybody is still there. */
const sleepMs = 1_000

/** The kernel index that ends a worker. */
export const stop = -1

export class PoolControl {
  readonly buffer: SharedArrayBuffer
  readonly #words: Int32Array
  readonly #numbers: Float64Array
  readonly #text: Uint8Array

  /** Without a buffer, a new one: the pool's side. */
  constructor(buffer = new SharedArrayBuffer(words * 4 + numbers * 8 + textBytes)) {
    this.buffer = buffer
    this.#words = new Int32Array(buffer, 0, words)
    this.#numbers = new Float64Array(buffer, words * 4, numbers)
    this.#text = new Uint8Array(buffer, words * 4 + numbers * 8, textBytes)
  }

  /** The pool's side: hands a call out to so many workers. */
  publish({ kernel, operands, count, share }: Call, workers: number): void {
    this.#numbers[0] = count
    this.#numbers[1] = share
    this.#numbers.set(operands, 2)
    Atomics.store(this.#words, word.kernel, kernel)
    Atomics.store(this.#words, word.operands, operands.length)
    Atomics.store(this.#words, word.remaining, workers)
    Atomics.add(this.#words, word.generation, 1)
    if (Atomics.load(this.#words, word.sleepers) > 0) Atomics.notify(this.#words, word.generation)
  }

  /**
   * The pool's side: waits until every worker has done its share. False if they have not within
   * `patience` sleeps of a second.
   */
  finished(patience: number): boolean {
    for (let i = 0; i < spins; i += 1) {
      if (Atomics.load(this.#words, word.remaining) === 0) return true
      Atomics.pause()
    }
    for (let sleeps = 0; sleeps < patience;) {
      const remaining = Atomics.load(this.#words, word.remaining)
      if (remaining === 0) return true
      const outcome = Atomics.wait(this.#words, word.remaining, remaining, sleepMs)
      if (outcome === 'timed-out') sleeps += 1
    }
    return false
  }

  /** The pool's side: the first worker whose share failed, and why. */
  failure(): { readonly thread: number; readonly reason: string } | undefined {
    const thread = Atomics.load(this.#words, word.failed)
    if (thread === 0) return undefined
    // Copied, since a decoder takes no shared memory; what the text does not fill is zero.
    const text = new TextDecoder().decode(this.#text.slice())
    return { thread, reason: text.replace(/\0+$/, '') }
  }

  /** A worker's side: the generation after `seen`, once it is there. */
  next(seen: number): number {
    for (let i = 0; i < spins; i += 1) {
      const generation = Atomics.load(this.#words, word.generation)
      if (generation !== seen) return generation
      Atomics.pause()
    }
    Atomics.add(this.#words, word.sleepers, 1)
    // Of limited length: should a wake-up ever be missed, it costs a second and not the pool.
    while (Atomics.wait(this.#words, word.generation, seen, sleepMs) === 'timed-out');
    Atomics.sub(this.#words, word.sleepers, 1)
    return Atomics.load(this.#words, word.generation)
  }

  /** A worker's side: the call that was published last. */
  call(): Call {
    const [count, share] = this.#numbers
    const length = Atomics.load(this.#words, word.operands)
    const operands = Array.from(this.#numbers.subarray(2, 2 + length))
    return { kernel: Atomics.load(this.#words, word.kernel), operands, count, share }
  }

  /** A worker's side: its share is done. */
  done(): void {
    if (Atomics.sub(this.#words, word.remaining, 1) === 1) {
      Atomics.notify(this.#words, word.remaining)
    }
  }

  /** A worker's side: its share has failed. Only the first failure is kept. */
  fail(thread: number, reason: string): void {
    if (Atomics.compareExchange(this.#words, word.failed, 0, thread) === 0) {
      this.#text.set(new TextEncoder().encode(reason).subarray(0, textBytes))
    }
    this.done()
  }
}
