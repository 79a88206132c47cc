/**
 * One active trainer for a model: whoever holds the lease. It lasts a few seconds and is renewed
 * meanwhile; a holder that is stopped, cut off or dead loses it, and a standby that waits takes
 * over. Each lease has a greater epoch than the one before, and what a trainer writes for others
 * carries it (a fencing token: Kleppmann, Designing Data-Intensive Applications, ch. 8): one that
 * was paused past its lease, and does not know it yet, is refused by whoever stores it.
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'

import type { Clock } from '../../base/clock.ts'
import { systemClock } from '../../base/clock.ts'
import { ServiceError } from '../../base/errors.ts'
import type { Fence } from '../../sync/fence.ts'

export interface LeaseRequest {
  /** For those who wait: who it is. */
  readonly holder: string
  /** Of this request alone, so that it may be repeated. */
  readonly token: string
  readonly ttlMs: number
}

export type LeaseAnswer =
  | { readonly isGranted: true; readonly epoch: number }
  | { readonly isGranted: false; readonly holder: string; readonly leftMs: number }

/** Where leases are kept, one for each store. */
export interface LeaseStore {
  /** Grants a lease that nobody holds, with a greater epoch than any before. */
  acquire(request: LeaseRequest): Promise<LeaseAnswer>
  /**
   * False: another one has it or had it since. One that ran out and that nobody else took is
   * renewed under its epoch.
   */
  renew(fence: Fence, ttlMs: number): Promise<boolean>
  /** Leaves it to others at once; nothing where it is another's. */
  release(fence: Fence): Promise<void>
  close(): Promise<void>
}

export interface LeaseOptions {
  readonly store: LeaseStore
  readonly holder: string
  /** Default 5,000 ms. */
  readonly ttlMs?: number
  /** Of the wait; what is held is not affected. */
  readonly signal?: AbortSignal
  /** Called once while another one has it, and when that one changes. */
  readonly onWait?: (holder: string) => void
  /** Until when it is held, by the clock: at first, with each renewal, and 0 when it is lost. */
  readonly onRenewed?: (until: number) => void
  readonly clock?: Clock
}

const defaultTtlMs = 5_000
/** Renewals in a lease's time, so that two may fail. */
const renewalsPerTtl = 3
/** Looks of a standby in a lease's time. */
const looksPerTtl = 10

/** Waits until nobody else holds it. Rejects when `signal` ends the wait, or the store refuses. */
export async function acquireLease(options: LeaseOptions): Promise<Lease> {
  const { store, holder, ttlMs = defaultTtlMs, signal, onWait, clock = systemClock } = options
  const { onRenewed = () => {} } = options
  const token = randomUUID()
  let other = ''
  for (;;) {
    signal?.throwIfAborted()
    const askedAt = clock.monotonic()
    const answer = await unlessAborted(store.acquire({ holder, token, ttlMs }), signal)
    if (answer.isGranted) {
      const fence = { epoch: answer.epoch, token }
      const lease = new Lease({ store, holder, fence, ttlMs, clock, grantedAt: askedAt, onRenewed })
      if (signal?.aborted === true) await lease.release()
      signal?.throwIfAborted()
      return lease
    }
    if (answer.holder !== other) onWait?.(answer.holder)
    other = answer.holder
    const pauseMs = Math.min(answer.leftMs + 1, ttlMs / looksPerTtl)
    await sleep(pauseMs, undefined, { signal })
  }
}

/** What is granted to nobody any more runs out by itself. */
async function unlessAborted<Result>(
  work: Promise<Result>,
  signal: AbortSignal | undefined,
): Promise<Result> {
  if (signal === undefined) return await work
  const { promise: aborted, reject } = Promise.withResolvers<never>()
  const onAbort = (): void => reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    return await Promise.race([work, aborted])
  } finally {
    signal.removeEventListener('abort', onAbort)
    work.catch(() => undefined)
  }
}

interface HeldLease {
  readonly store: LeaseStore
  readonly holder: string
  readonly fence: Fence
  readonly ttlMs: number
  readonly clock: Clock
  /** Monotonic, before it was asked for. */
  readonly grantedAt: number
  readonly onRenewed: (until: number) => void
}

/** A lease that is held, and renewed until it is lost or released. */
export class Lease {
  readonly fence: Fence
  readonly #held: HeldLease
  readonly #lost = new AbortController()
  readonly #releasing = new AbortController()
  readonly #renewing: Promise<void>
  #renewedAt: number

  constructor(held: HeldLease) {
    this.#held = held
    this.fence = held.fence
    this.#renewedAt = held.grantedAt
    this.lost.addEventListener('abort', () => held.onRenewed(0))
    held.onRenewed(held.grantedAt + held.ttlMs)
    this.#renewing = this.#renew()
  }

  get epoch(): number {
    return this.fence.epoch
  }

  /** Aborted when another one has taken over, with `LEASE_LOST` or what the store refuses with. */
  get lost(): AbortSignal {
    return this.#lost.signal
  }

  /**
   * By this process's clock. False where renewals are late: another one may have it already, or
   * nobody.
   */
  get isCurrent(): boolean {
    const { clock, ttlMs } = this.#held
    return !this.lost.aborted && clock.monotonic() - this.#renewedAt < ttlMs
  }

  /**
   * Renews no more, and leaves it to others at once where the store answers in time: else it runs
   * out. The store is the caller's.
   */
  async release(): Promise<void> {
    if (this.#releasing.signal.aborted) return
    this.#releasing.abort()
    const leaving = new AbortController()
    const { signal } = leaving
    const expired = sleep(this.#held.ttlMs, undefined, { signal }).catch(() => undefined)
    const left = this.#leave().catch(() => undefined)
    await Promise.race([left, expired])
    leaving.abort()
  }

  async #leave(): Promise<void> {
    await this.#renewing
    if (!this.lost.aborted) await this.#held.store.release(this.fence)
  }

  async #renew(): Promise<void> {
    const { store, holder, ttlMs, clock } = this.#held
    const { signal } = this.#releasing
    const pauseMs = ttlMs / renewalsPerTtl
    while (!this.lost.aborted) {
      await sleep(pauseMs, undefined, { signal, ref: false }).catch(() => undefined)
      if (signal.aborted) return
      const askedAt = clock.monotonic()
      try {
        const isRenewed = await store.renew(this.fence, ttlMs)
        if (isRenewed) this.#renewed(askedAt)
        else this.#lost.abort(new ServiceError('LEASE_LOST', { holder, epoch: this.epoch }))
      } catch (error) {
        // The store waits for servers that are away: this one does not want us.
        if (!signal.aborted) this.#lost.abort(error)
      }
    }
  }

  #renewed(askedAt: number): void {
    this.#renewedAt = askedAt
    this.#held.onRenewed(askedAt + this.#held.ttlMs)
  }
}
