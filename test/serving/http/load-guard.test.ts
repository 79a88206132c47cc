/** The guard in front of a queue, in the guard's own time: what its limit is worth. */
import { setImmediate as nextTurn } from 'node:timers/promises'

import { expect, test } from 'vitest'

import { ManualClock } from '../../../src/base/clock.ts'
import { LoadGuard } from '../../../src/serving/http/load-guard.ts'

/** One thread, milliseconds: before and in the group of eight that answers; and to refuse. */
const readMs = 0.05
const answerMs = 0.07
const refuseMs = 0.009
const group = 8
const capacityPerMs = 1 / (readMs + answerMs)
const sampleMs = 20

interface Asked {
  readonly dueAt: number
  readonly readAt: number
}

/** A thread that is asked at some rate; `watches`: whether it tells the guard of its answers. */
class Thread {
  readonly #clock = new ManualClock()
  readonly #load: LoadGuard
  readonly #watches: boolean
  readonly #queue: Asked[] = []
  #dueAt = 0
  #sampleAt = sampleMs

  constructor(watches: boolean) {
    const limits = { maxConcurrent: 512, maxConcurrentBytes: 1, maxEventLoopDelayMs: 100 }
    this.#load = new LoadGuard(limits, this.#clock)
    this.#watches = watches
  }

  /** Times to answers, and how many were refused. */
  async run(timesCapacity: number, forMs: number) {
    const clock = this.#clock
    const until = clock.monotonic() + forMs
    const tookMs: number[] = []
    let refused = 0
    this.#dueAt = clock.monotonic()
    while (clock.monotonic() < until) {
      this.#sample()
      refused += this.#read(timesCapacity * capacityPerMs)
      if (this.#queue.length === 0) clock.advance(Math.max(0, this.#dueAt - clock.monotonic()))
      tookMs.push(...this.#answer())
      await nextTurn()
    }
    const sorted = tookMs.toSorted((a, b) => a - b)
    const goodput = tookMs.length / (forMs * capacityPerMs)
    return { goodput, p50Ms: sorted[sorted.length >> 1] ?? 0, refused }
  }

  #sample(): void {
    const lateMs = this.#clock.monotonic() - this.#sampleAt
    if (lateMs < 0) return
    this.#load.observe(lateMs)
    this.#sampleAt = this.#clock.monotonic() + sampleMs
  }

  /** All that has come by now. */
  #read(ratePerMs: number): number {
    let refused = 0
    for (
      const until = this.#clock.monotonic();
      this.#dueAt <= until;
      this.#dueAt += 1 / ratePerMs
    ) {
      const isRefused = this.#load.overload(0) !== undefined
      this.#clock.advance(isRefused ? refuseMs : readMs)
      refused += Number(isRefused)
      if (isRefused) continue
      this.#load.enter(0)
      this.#queue.push({ dueAt: this.#dueAt, readAt: this.#clock.monotonic() })
    }
    return refused
  }

  #answer(): number[] {
    return this.#queue.splice(0, group).map(({ dueAt, readAt }) => {
      this.#clock.advance(answerMs)
      this.#load.leave(0)
      if (this.#watches) this.#load.answered(this.#clock.monotonic() - readAt)
      return this.#clock.monotonic() - dueAt
    })
  }
}

test('fewer under way are answered as many, sooner; and afterwards nobody is refused', async () => {
  const [free, held] = [new Thread(false), new Thread(true)]
  for (const thread of [free, held]) await thread.run(3, 2_000)
  const [all, some] = [await free.run(3, 1_000), await held.run(3, 1_000)]
  expect(some.goodput).toBeGreaterThan(0.8)
  expect(some.goodput).toBeGreaterThan(all.goodput - 0.01)
  expect(all.p50Ms).toBeGreaterThan(60)
  expect(some.p50Ms).toBeLessThan(35)
  const { goodput } = await held.run(0.5, 500)
  expect(goodput).toBeGreaterThan(0.49)
  expect(await held.run(0.5, 1_000)).toMatchObject({ refused: 0 })
})
