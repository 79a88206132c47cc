/**
 * What a list of ranks comes to: HR@k (here also recall@k, there being one relevant item), NDCG@10
 * and MRR@10. A rank counts from 1; infinite is a miss. Tied items share the mean of their ranks,
 * so a rank may end in a half and a constant model gets no credit for the order of a list.
 */
import type { ByteReader, ByteWriter } from '../../base/bytes.ts'
import { ln } from '../../base/math.ts'

/** Keys are those of `freshet replay --json`. */
export interface RankingReport {
  readonly hr1: number
  readonly hr5: number
  readonly hr10: number
  readonly hr20: number
  readonly hr50: number
  readonly hr100: number
  readonly ndcg10: number
  readonly mrr10: number
  /** Ranks behind these figures. */
  readonly evaluated: number
}

const cutoffs = [1, 5, 10, 20, 50, 100] as const

/** Of `above` items scored higher and `equal` other items scored the same. */
export const meanRank = (above: number, equal: number): number => 1 + above + equal / 2

/** 1 / log2(rank + 1) within the first ten, else nothing. */
export const ndcg10 = (rank: number): number => (rank <= 10 ? ln(2) / ln(rank + 1) : 0)
export const mrr10 = (rank: number): number => (rank <= 10 ? 1 / rank : 0)

/** Running sums of one stream of ranks. */
export class RankingMetrics {
  readonly #hits = new Float64Array(cutoffs.length)
  #ndcg = 0
  #mrr = 0
  #count = 0

  add(rank: number): void {
    for (let i = 0; i < cutoffs.length; i += 1) if (rank <= cutoffs[i]) this.#hits[i] += 1
    this.#ndcg += ndcg10(rank)
    this.#mrr += mrr10(rank)
    this.#count += 1
  }

  report(): RankingReport {
    const n = Math.max(1, this.#count)
    const [hr1, hr5, hr10, hr20, hr50, hr100] = Array.from(this.#hits, (hits) => hits / n)
    const means = { ndcg10: this.#ndcg / n, mrr10: this.#mrr / n }
    return { hr1, hr5, hr10, hr20, hr50, hr100, ...means, evaluated: this.#count }
  }

  serialize(writer: ByteWriter): void {
    writer.array(this.#hits).float64(this.#ndcg).float64(this.#mrr).float64(this.#count)
  }

  load(reader: ByteReader): void {
    this.#hits.set(new Float64Array(reader.array()))
    this.#ndcg = reader.float64()
    this.#mrr = reader.float64()
    this.#count = reader.float64()
  }
}

/** The newest ranks only, in a ring: the live figures of a running service. */
export class RankingWindow {
  readonly #ranks: Float32Array<ArrayBuffer>
  #next = 0
  #count = 0

  constructor(length: number) {
    this.#ranks = new Float32Array(length)
  }

  add(rank: number): void {
    this.#ranks[this.#next] = rank
    this.#next = (this.#next + 1) % this.#ranks.length
    this.#count = Math.min(this.#count + 1, this.#ranks.length)
  }

  report(): RankingReport {
    const metrics = new RankingMetrics()
    for (const rank of this.#oldestFirst()) metrics.add(rank)
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

  #oldestFirst(): Float32Array<ArrayBuffer> {
    const { length } = this.#ranks
    const first = this.#next - this.#count + length
    return Float32Array.from({ length: this.#count }, (_, i) => this.#ranks[(first + i) % length])
  }
}
