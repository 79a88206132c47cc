/**
 * Vectors replaced, as fast as it goes and at a rate, while searches go on: what those wait for,
 * and how long each piece of maintenance keeps them.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'

import { seededRandom } from '../src/base/random.ts'
import type { Points } from './index-data.ts'
import { quantile, rounded, type Subject } from './index-subject.ts'
import { Pauses } from './pauses.ts'

/** Vectors replaced to measure how fast that goes. */
const replaced = 20_000
/** Upserts a second while searches are measured, so many at once. */
const [perSecond, atOnce] = [20_000, 64]
/** Half a second without upserts and half a second with them, in turn, so many times. */
const [windowMs, windows] = [500, 20]
/** What a new tree that was asked for may take, milliseconds. */
const longestGrowth = 180_000

export class Churn {
  readonly #subject: Subject
  readonly #items: Points
  readonly #random: ReturnType<typeof seededRandom>
  #asked = 0

  constructor(subject: Subject, items: Points, seed: number) {
    this.#subject = subject
    this.#items = items
    this.#random = seededRandom(seed, 1)
  }

  /** A second, of random items by themselves. */
  rate(batch: number): number {
    const batches = Math.ceil(replaced / batch)
    let busy = 0
    for (let i = 0; i < batches; i += 1) busy += this.#upsert(this.#items, batch)
    return Math.round((batches * batch * 1000) / busy)
  }

  /**
   * Searches without upserts and with them, taking turns; then with them while another tree is
   * grown, audited and takes over. Vectors are replaced by others.
   */
  async meanwhile(others: Points): Promise<object> {
    await this.#subject.settle()
    const [quiet, busy, regrowing] = [new Pauses(), new Pauses(), new Pauses()]
    this.#subject.forgetPauses()
    let upserted = 0
    for (let window = 0; window < windows; window += 1) {
      const until = performance.now() + windowMs
      while (performance.now() < until) this.#search(quiet)
      upserted += await this.#both(others, busy, (ms) => ms < windowMs)
    }
    const pauses = this.#subject.pauses()
    const { index } = this.#subject
    this.#subject.forgetPauses()
    index.rebuild()
    await this.#both(others, regrowing, (ms) => index.isRebuilding && ms < longestGrowth)
    const figures = {
      upsertsPerSecond: Math.round((upserted * 1000) / (windows * windowMs)),
      quiet: latencies(quiet),
      busy: { ...latencies(busy), pauses },
      regrowing: { ...latencies(regrowing), pauses: this.#subject.pauses() },
    }
    for (const some of [quiet, busy, regrowing]) some[Symbol.dispose]()
    return figures
  }

  /** Searches, and upserts at their rate with as much maintenance; returns how many upserts. */
  async #both(others: Points, searches: Pauses, goesOn: (ms: number) => boolean): Promise<number> {
    const begin = performance.now()
    let upserted = 0
    for (let ms = 0; goesOn(ms); ms = performance.now() - begin) {
      if ((ms / 1000) * perSecond - upserted >= atOnce) {
        this.#upsert(others, atOnce)
        upserted += atOnce
        this.#search(searches)
        this.#subject.maintain(atOnce)
        await nextTurn()
      }
      this.#search(searches)
    }
    return upserted
  }

  #search(searches: Pauses): void {
    this.#asked += 1
    searches.time(() => {
      this.#subject.sink += this.#subject.one(this.#asked)[0]
    })
  }

  /** Milliseconds that it took. */
  #upsert({ n, dim, values }: Points, batch: number): number {
    const vectors = new Float32Array(batch * dim)
    const ids = Int32Array.from({ length: batch }, () => this.#random.integer(n))
    for (const [i, id] of ids.entries()) {
      vectors.set(values.subarray(id * dim, (id + 1) * dim), i * dim)
    }
    return this.#subject.upsert(ids, vectors)
  }
}

const us = (msOf: readonly number[], q: number): number => rounded(quantile(msOf, q) * 1000)

/** Microseconds, by the clock and of the thread's own time: see `Pauses`. */
function latencies({ byClock, own }: Pauses): object {
  return {
    searches: own.length,
    p50Us: us(byClock, 0.5),
    p99Us: us(byClock, 0.99),
    ownP50Us: us(own, 0.5),
    ownP99Us: us(own, 0.99),
    ownP999Us: us(own, 0.999),
  }
}
