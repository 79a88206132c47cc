/**
 * When the trainer's lease runs out, told by the thread that renews it to the one that works under
 * it: what a successor reads (journal, checkpoints) is written only before that.
 */
import { setTimeout as sleep } from 'node:timers/promises'

import type { Clock } from '../../base/clock.ts'
import { systemClock } from '../../base/clock.ts'

/** One clock for all threads of a process; the others each have a start of their own. */
export const threadClock: Clock = {
  now: () => systemClock.now(),
  monotonic: () => Number(process.hrtime.bigint() / 1_000n) / 1_000,
}

const lookMs = 10

export class LeaseEnd {
  readonly memory: SharedArrayBuffer
  readonly #until: BigInt64Array

  constructor(memory = new SharedArrayBuffer(8)) {
    this.memory = memory
    this.#until = new BigInt64Array(memory)
  }

  /** By `threadClock`; 0: it is lost. */
  set(until: number): void {
    Atomics.store(this.#until, 0, BigInt(Math.floor(until)))
  }

  get isCurrent(): boolean {
    return threadClock.monotonic() < Number(Atomics.load(this.#until, 0))
  }

  /** Resolves while the lease is held. Throws the signal's reason. */
  async current(signal: AbortSignal): Promise<void> {
    while (!this.isCurrent) {
      signal.throwIfAborted()
      await sleep(lookMs)
    }
  }
}
