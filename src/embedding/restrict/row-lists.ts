/** Row numbers in many lists, which grow chunk by chunk: what is in them is never copied. */

const chunkRows = 256

/** Invariant: all chunks of a list but its last are full. */
export class RowLists {
  readonly #chunks: Uint32Array[][]
  readonly #sizes: Uint32Array

  constructor(lists: number) {
    this.#chunks = Array.from({ length: lists }, () => [])
    this.#sizes = new Uint32Array(lists)
  }

  add(list: number, row: number): void {
    const chunks = this.#chunks[list]
    const at = this.#sizes[list] % chunkRows
    if (at === 0) chunks.push(new Uint32Array(chunkRows))
    chunks[chunks.length - 1][at] = row
    this.#sizes[list] += 1
  }

  /** The rows of a list in the order in which they came, at most so many at a time. */
  *rowsOf(list: number, most: number): Generator<Uint32Array> {
    let left = this.#sizes[list]
    for (const chunk of this.#chunks[list]) {
      const end = Math.min(left, chunkRows)
      for (let at = 0; at < end; at += most) yield chunk.subarray(at, Math.min(end, at + most))
      left -= end
    }
  }
}
