/**
 * What a list of ranks comes to: HR@k (here also recall@k, there being one relevant item), NDCG@k
 * and MRR@k. A rank counts from 1; infinite is a miss, and so is NaN: the score was no finite
 * number. Tied items share the mean of their ranks, so a rank may end in a half and a constant
 * model gets no credit for the order of a list.
 */
import type { ByteReader, ByteWriter } from '../../base/bytes.ts'
import { ln } from '../../base/math.ts'

/** What is ranked beside each other. */
export const rankings = ['model', 'recentlyPopular', 'coVisitation'] as const
export type Ranking = (typeof rankings)[number]
export type ByRanking<Value> = Readonly<Record<Ranking, Value>>

export const byRanking = <Value>(make: (ranking: Ranking) => Value): ByRanking<Value> => ({
  model: make('model'),
  recentlyPopular: make('recentlyPopular'),
  coVisitation: make('coVisitation'),
})

const cutoffs = [1, 5, 10, 20, 50, 100] as const
type Cutoff = (typeof cutoffs)[number]
/** Beyond it a rank is a miss. */
const worstCounted = 100

/**
 * Keys are those of `freshet replay --json`; `evaluated`: ranks behind these figures, `notFinite`:
 * those of them that were of a score that is no finite number.
 */
export type RankingReport = Readonly<Record<`${'hr' | 'ndcg' | 'mrr'}${Cutoff}`, number>> & {
  readonly evaluated: number
  readonly notFinite: number
}

/** Of `above` items scored higher and `equal` other items scored the same. */
export const meanRank = (above: number, equal: number): number => 1 + above + equal / 2

/** Running sums of one stream of ranks, a place per cutoff. */
export class RankingMetrics {
  /** Behind the cutoffs' places one more: how many scores were not finite. */
  readonly #hits = new Float64Array(cutoffs.length + 1)
  readonly #gains = new Float64Array(cutoffs.length)
  readonly #reciprocals = new Float64Array(cutoffs.length)
  #count = 0

  add(rank: number, times = 1): void {
    this.#count += times
    if (Number.isNaN(rank)) this.#hits[cutoffs.length] += times
    if (!(rank <= worstCounted)) return
    const gain = ln(2) / ln(rank + 1)
    for (let i = 0; i < cutoffs.length; i += 1) {
      if (rank > cutoffs[i]) continue
      this.#hits[i] += times
      this.#gains[i] += gain * times
      this.#reciprocals[i] += times / rank
    }
  }

  report(): RankingReport {
    const evaluated = this.#count
    const mean = (sums: Float64Array): number[] =>
      Array.from(sums, (sum) => sum / Math.max(1, evaluated))
    const [hr1, hr5, hr10, hr20, hr50, hr100] = mean(this.#hits)
    const [ndcg1, ndcg5, ndcg10, ndcg20, ndcg50, ndcg100] = mean(this.#gains)
    const [mrr1, mrr5, mrr10, mrr20, mrr50, mrr100] = mean(this.#reciprocals)
    const counts = { evaluated, notFinite: this.#hits[cutoffs.length] }
    const hr = { hr1, hr5, hr10, hr20, hr50, hr100 }
    const ndcg = { ndcg1, ndcg5, ndcg10, ndcg20, ndcg50, ndcg100 }
    return { ...hr, ...ndcg, mrr1, mrr5, mrr10, mrr20, mrr50, mrr100, ...counts }
  }

  serialize(writer: ByteWriter): void {
    for (const sums of this.#sums) writer.array(sums)
    writer.float64(this.#count)
  }

  load(reader: ByteReader): void {
    for (const sums of this.#sums) sums.set(new Float64Array(reader.array()))
    this.#count = reader.float64()
  }

  get #sums(): readonly Float64Array<ArrayBuffer>[] {
    return [this.#hits, this.#gains, this.#reciprocals]
  }
}

/**
 * The newest ranks only, in a ring: the live figures of a running service, which are asked for more
 * often than the window moves on. So it also knows how often it holds each rank that counts.
 */
export class RankingWindow {
  readonly #ranks: Float32Array<ArrayBuffer>
  #next = 0
  #count = 0
  /** By twice the rank, which ends in a half at most. */
  readonly #tally = new Int32Array(2 * worstCounted + 1)
  #notFinite = 0

  constructor(length: number) {
    this.#ranks = new Float32Array(length)
  }

  add(rank: number): void {
    if (this.#count === this.#ranks.length) this.#note(this.#ranks[this.#next], -1)
    else this.#count += 1
    this.#ranks[this.#next] = rank
    this.#next = (this.#next + 1) % this.#ranks.length
    this.#note(rank, 1)
  }

  report(): RankingReport {
    const metrics = new RankingMetrics()
    let counted = 0
    for (const [twice, times] of this.#tally.entries()) {
      if (times > 0) metrics.add(twice / 2, times)
      counted += times
    }
    metrics.add(NaN, this.#notFinite)
    metrics.add(Infinity, this.#count - counted - this.#notFinite)
    return metrics.report()
  }

  serialize(writer: ByteWriter): void {
    writer.array(this.#oldestFirst())
  }

  /** The newest of what was saved, as far as this window reaches. */
  load(reader: ByteReader): void {
    const ranks = new Float32Array(reader.array())
    for (const rank of ranks.subarray(-this.#ranks.length)) this.add(rank)
  }

  #note(rank: number, by: 1 | -1): void {
    if (rank <= worstCounted) this.#tally[2 * rank] += by
    else if (Number.isNaN(rank)) this.#notFinite += by
  }

  #oldestFirst(): Float32Array<ArrayBuffer> {
    const { length } = this.#ranks
    const first = this.#next - this.#count + length
    return Float32Array.from({ length: this.#count }, (_, i) => this.#ranks[(first + i) % length])
  }
}
