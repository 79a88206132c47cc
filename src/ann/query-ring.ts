/** The latest of the queries that were asked, every so manieth: what audits ask again. */
const capacity = 96
const every = 4

export class QueryRing {
  readonly #vectors: Float32Array[] = []
  #asked = 0

  offer(query: Float32Array): void {
    this.#asked += 1
    if (this.#asked % every !== 1) return
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
}
