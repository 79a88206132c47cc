/**
 * Those who wait until the facts have folded an event: a writer who wants to read what it wrote.
 */
import type { Position } from '../stream/event-log.ts'

export interface AwaitedOffset {
  readonly partition: number
  readonly offset: string
  readonly timeoutMs: number
}

interface Waiter {
  readonly partition: number
  readonly offset: string
  readonly settle: (isReached: boolean) => void
}

/** More than this wait in vain: they are told so at once. */
const maxWaiters = 10_000

export class OffsetWaiters {
  readonly #compare: (a: string, b: string) => number
  readonly #waiters = new Set<Waiter>()

  constructor(compare: (a: string, b: string) => number) {
    this.#compare = compare
  }

  /** True once a position is past the offset, false after the timeout. */
  wait({ partition, offset, timeoutMs }: AwaitedOffset, position: Position): Promise<boolean> {
    if (this.#isPast(position, partition, offset)) return Promise.resolve(true)
    if (timeoutMs <= 0 || this.#waiters.size >= maxWaiters) return Promise.resolve(false)
    return new Promise((resolve) => {
      const timer = setTimeout(() => waiter.settle(false), timeoutMs)
      const settle = (isReached: boolean): void => {
        clearTimeout(timer)
        this.#waiters.delete(waiter)
        resolve(isReached)
      }
      const waiter = { partition, offset, settle }
      this.#waiters.add(waiter)
    })
  }

  reached(position: Position): void {
    for (const { partition, offset, settle } of this.#waiters) {
      if (this.#isPast(position, partition, offset)) settle(true)
    }
  }

  close(): void {
    for (const { settle } of this.#waiters) settle(false)
  }

  #isPast(position: Position, partition: number, offset: string): boolean {
    const next = position[partition]
    return next !== undefined && this.#compare(next, offset) > 0
  }
}
