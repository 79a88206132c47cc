/**
 * The memory through which a pool and its workers speak. A call is written, opened and announced;
 * whoever is awake enters it and claims one share after the other, the pool's own thread among
 * them; when no share is left the pool closes the call and waits for those who are still in it. A
 * worker that sleeps through a call is not waited for: it costs speed and nothing else.
 *
 * All atomics are in one order. A worker enters before it looks whether the call is open, and the
 * pool closes before it looks who is in: so either the worker finds it closed, or it is waited for
 * and what it reads is of one call. Likewise a sleeper registers before it looks for the last time,
 * and the waker looks for sleepers after it has changed the word. What is not atomic (operands, the
 * text of a failure) is published by an atomic written after it.
 */
import type { Call } from './kernel-table.ts'

/** Each on a cache line of its own, but for those that are written together. */
const word = {
  generation: 0,
  open: 1,
  kernel: 2,
  operands: 3,
  next: 16,
  entered: 32,
  sleepers: 48,
  waiting: 49,
  failed: 50,
} as const
const words = 64
/** Count, share, and the operands themselves. */
const numbers = 32
const textBytes = 256

/**
 * Looks before a sleep, some tenths of a millisecond (a pause is 40 to 140 cycles): longer than the
 * tables take between the calls of a small training step, since waking up takes nearly as long.
 */
const spins = 16_000
/** How long a sleep lasts before the sleeper looks whether anybody is still there. */
const sleepMs = 1_000

/**
 * Of the word `next`: below, how many shares the pool's thread has claimed, above, how many workers
 * have. Each claims once in vain, so there may be some more than there are shares.
 */
const countBits = 16
const countMask = (1 << countBits) - 1

/** The kernel index that ends a worker. */
export const stop = -1

export class PoolControl {
  readonly buffer: SharedArrayBuffer
  readonly #words: Int32Array
  readonly #numbers: Float64Array
  readonly #text: Uint8Array
  /** What is added to `next` with every claim. */
  readonly #oneMore: number
  /** A worker's copy of the call it is in. */
  readonly #call = { kernel: stop, operands: new Array<number>(), count: 0, share: 1 }

  /** Without a buffer, a new one: the pool's side; with the pool's: a worker's. */
  constructor(given?: SharedArrayBuffer) {
    const buffer = given ?? new SharedArrayBuffer(words * 4 + numbers * 8 + textBytes)
    this.buffer = buffer
    this.#oneMore = given === undefined ? 1 : 1 << countBits
    this.#words = new Int32Array(buffer, 0, words)
    this.#numbers = new Float64Array(buffer, words * 4, numbers)
    this.#text = new Uint8Array(buffer, words * 4 + numbers * 8, textBytes)
  }

  /** The pool's side: opens a call to all workers. The one before must be `finished`. */
  publish({ kernel, operands, count, share }: Call): void {
    this.#numbers[0] = count
    this.#numbers[1] = share
    for (let i = 0; i < operands.length; i += 1) this.#numbers[2 + i] = operands[i]
    Atomics.store(this.#words, word.kernel, kernel)
    Atomics.store(this.#words, word.operands, operands.length)
    Atomics.store(this.#words, word.next, 0)
    Atomics.store(this.#words, word.open, 1)
    Atomics.add(this.#words, word.generation, 1)
    if (Atomics.load(this.#words, word.sleepers) > 0) Atomics.notify(this.#words, word.generation)
  }

  /**
   * Either side: a share of `shares` that nobody has, -1 when there is none. The pool's thread
   * takes them from the first on and workers from the last, so that from call to call each has the
   * same part of the rows, which are still in its cache.
   */
  claim(shares: number): number {
    const taken = Atomics.add(this.#words, word.next, this.#oneMore)
    const first = taken & countMask
    const last = taken >>> countBits
    if (first + last >= shares) return -1
    return this.#oneMore === 1 ? first : shares - 1 - last
  }

  /**
   * The pool's side: closes the call, and waits until no worker is in it. False if one still is
   * after `patience` sleeps of a second.
   */
  finished(patience: number): boolean {
    Atomics.store(this.#words, word.open, 0)
    for (let i = 0; i < spins; i += 1) {
      if (Atomics.load(this.#words, word.entered) === 0) return true
      Atomics.pause()
    }
    Atomics.store(this.#words, word.waiting, 1)
    for (let sleeps = 0; sleeps < patience;) {
      const entered = Atomics.load(this.#words, word.entered)
      if (entered === 0) break
      const outcome = Atomics.wait(this.#words, word.entered, entered, sleepMs)
      if (outcome === 'timed-out') sleeps += 1
    }
    Atomics.store(this.#words, word.waiting, 0)
    return Atomics.load(this.#words, word.entered) === 0
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

  /**
   * A worker's side: enters the call that is open, valid until it leaves; nothing if it came too
   * late.
   */
  enter(): Call | undefined {
    Atomics.add(this.#words, word.entered, 1)
    if (Atomics.load(this.#words, word.open) === 0) {
      this.leave()
      return undefined
    }
    const call = this.#call
    call.kernel = Atomics.load(this.#words, word.kernel)
    call.count = this.#numbers[0]
    call.share = this.#numbers[1]
    call.operands.length = Atomics.load(this.#words, word.operands)
    for (let i = 0; i < call.operands.length; i += 1) call.operands[i] = this.#numbers[2 + i]
    return call
  }

  /** A worker's side: there is no share left for it. */
  leave(): void {
    const others = Atomics.sub(this.#words, word.entered, 1) - 1
    if (others === 0 && Atomics.load(this.#words, word.waiting) > 0) {
      Atomics.notify(this.#words, word.entered)
    }
  }

  /** A worker's side: a share has failed. Only the first failure is kept. */
  fail(thread: number, reason: string): void {
    if (Atomics.compareExchange(this.#words, word.failed, 0, thread) === 0) {
      this.#text.set(new TextEncoder().encode(reason).subarray(0, textBytes))
    }
  }
}
