/**
 * The figures of an evaluation hour by hour of the stream, by the time of the events: the newest
 * hours only, older ones are forgotten.
 */
import { present } from '../../base/assert.ts'
import type { ByteReader, ByteWriter } from '../../base/bytes.ts'
import {
  type ByRanking,
  byRanking,
  type Ranking,
  RankingMetrics,
  rankings,
  type RankingReport,
} from './ranking-metrics.ts'

const hourMs = 3_600_000
/** A month. */
const defaultLimit = 744

interface Hour {
  readonly metrics: ByRanking<RankingMetrics>
  /** Of the batches that ended in it: weighted losses before the model learned from them. */
  loss: number
  weight: number
}

export interface HourReport extends ByRanking<RankingReport> {
  /** Epoch ms. */
  readonly startsAt: number
  /**
   * Mean loss (of the softmax: log loss among the negatives of its batch) before the model learned;
   * 0: nothing was trained.
   */
  readonly loss: number
}

export class HourlyMetrics {
  readonly #limit: number
  /** By hours since the epoch. */
  readonly #hours = new Map<number, Hour>()

  constructor(limit = defaultLimit) {
    this.#limit = limit
  }

  /** An event of `time` (epoch ms) had that rank. */
  add(time: number, ranking: Ranking, rank: number): void {
    this.#at(time).metrics[ranking].add(rank)
  }

  /** A batch that ended at `time` had a mean loss, over so much weight. */
  addLoss(time: number, loss: number, weight: number): void {
    const hour = this.#at(time)
    hour.loss += loss * weight
    hour.weight += weight
  }

  /** Oldest first. */
  report(): readonly HourReport[] {
    return this.#ascending().map(([number, { metrics, loss, weight }]) => {
      const startsAt = number * hourMs
      const figures = byRanking((ranking) => metrics[ranking].report())
      return Object.assign({ startsAt, loss: weight === 0 ? 0 : loss / weight }, figures)
    })
  }

  serialize(writer: ByteWriter): void {
    writer.varint(this.#hours.size)
    for (const [number, { metrics, loss, weight }] of this.#ascending()) {
      writer.varint(number).float64(loss).float64(weight)
      for (const ranking of rankings) metrics[ranking].serialize(writer)
    }
  }

  load(reader: ByteReader): void {
    this.#hours.clear()
    const count = reader.varint()
    for (let i = 0; i < count; i += 1) {
      const number = reader.varint()
      const [loss, weight] = [reader.float64(), reader.float64()]
      const metrics = byRanking(() => new RankingMetrics())
      for (const ranking of rankings) metrics[ranking].load(reader)
      this.#hours.set(number, { metrics, loss, weight })
    }
  }

  #at(time: number): Hour {
    const number = Math.max(0, Math.floor(time / hourMs))
    const known = this.#hours.get(number)
    if (known !== undefined) return known
    const hour = { metrics: byRanking(() => new RankingMetrics()), loss: 0, weight: 0 }
    this.#hours.set(number, hour)
    if (this.#hours.size > this.#limit) this.#hours.delete(present(this.#ascending()[0], 'one')[0])
    return hour
  }

  #ascending(): (readonly [number, Hour])[] {
    return [...this.#hours].toSorted(([a], [b]) => a - b)
  }
}
