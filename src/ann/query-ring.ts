/**
 * The latest of the queries that were asked, every so manieth: what audits ask again, and how much
 * the tail dimensions weigh in them.
 */
const capacity = 96
const every = 4

export class QueryRing {
  readonly #vectors: Float32Array[] = []
  #asked = 0
  /** What the vectors' tails weigh; stale once there is another vector. */
  #tailWeight: number | undefined
  #isStale = true

  offer(query: Float32Array): void {
    this.#asked += 1
    if (this.#asked % every !== 1) return
    this.#isStale = true
    const at = Math.floor(this.#asked / every) % capacity
    const kept = this.#vectors[at]
    if (kept === undefined) this.#vectors.push(query.slice())
    else kept.set(query)
  }

  /** Queries, ever. */
  get asked(): number {
    return this.#asked
  }

  get size(): number {
    return this.#vectors.length
  }

  get vectors(): readonly Float32Array[] {
    return this.#vectors.map((vector) => vector.slice())
  }

  /**
   * What a tail dimension's squared difference is worth against one of the others: the ratio of
   * the queries' mean squares there. Undefined when nothing was asked.
   */
  tailWeight(exactDims: number): number | undefined {
    if (this.#isStale) this.#tailWeight = this.#weigh(exactDims)
    this.#isStale = false
    return this.#tailWeight
  }

  #weigh(exactDims: number): number | undefined {
    let [coded, tails] = [0, 0]
    for (const vector of this.#vectors) {
      for (let d = 0; d < vector.length; d += 1) {
        if (d < vector.length - exactDims) coded += vector[d] * vector[d]
        else tails += vector[d] * vector[d]
      }
    }
    const [first] = this.#vectors
    if (first === undefined || coded === 0 || exactDims === 0) return undefined
    return tails / exactDims / (coded / (first.length - exactDims))
  }
}
