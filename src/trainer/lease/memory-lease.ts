/** Leases in memory, for trainers of one process and for tests. */
import type { Clock } from '../../base/clock.ts'
import type { Fence } from '../../sync/fence.ts'
import type { LeaseAnswer, LeaseRequest, LeaseStore } from './lease.ts'

export class MemoryLeaseStore implements LeaseStore {
  readonly #clock: Clock
  #epoch = 0
  #token = ''
  #holder = ''
  #until = Number.NEGATIVE_INFINITY

  constructor(clock: Clock) {
    this.#clock = clock
  }

  acquire({ holder, token, ttlMs }: LeaseRequest): Promise<LeaseAnswer> {
    const now = this.#clock.monotonic()
    const leftMs = this.#until - now
    if (leftMs >= 0 && this.#token !== token) {
      return Promise.resolve({ isGranted: false, holder: this.#holder, leftMs })
    }
    if (this.#token !== token) this.#epoch += 1
    this.#token = token
    this.#holder = holder
    this.#until = now + ttlMs
    return Promise.resolve({ isGranted: true, epoch: this.#epoch })
  }

  renew(fence: Fence, ttlMs: number): Promise<boolean> {
    const isOwn = this.#isOf(fence)
    if (isOwn) this.#until = this.#clock.monotonic() + ttlMs
    return Promise.resolve(isOwn)
  }

  release(fence: Fence): Promise<void> {
    if (this.#isOf(fence)) {
      this.#until = Number.NEGATIVE_INFINITY
      this.#token = ''
    }
    return Promise.resolve()
  }

  close(): Promise<void> {
    return Promise.resolve()
  }

  #isOf({ epoch, token }: Fence): boolean {
    return epoch === this.#epoch && token === this.#token
  }
}
