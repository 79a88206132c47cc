/**
 * Memory for the histories of very many users: blocks of 4, 8, 16, ... entries cut from chunks of
 * parallel columns, so that a million short histories are a handful of typed arrays. A freed block
 * is reused for the next of its size. Where a block lies is nobody's business and is not saved.
 */
export interface HistoryChunk {
  /** Item handle and birth (an item given the same handle later has another birth). */
  readonly items: Int32Array
  readonly births: Uint32Array
  /** Epoch ms. */
  readonly times: Float64Array
  /** Code of the interaction type. */
  readonly types: Uint8Array
}

const chunkBits = 16
const chunkSize = 1 << chunkBits
const smallest = 4

/** Entries of a block of a size class. */
export const blockSize = (sizeClass: number): number => smallest << sizeClass

/** The largest block: a quarter of a chunk, so that little is left over at a chunk's end. */
export const maxBlockSize = chunkSize / 4

export class HistoryPool {
  readonly #chunks: HistoryChunk[] = []
  readonly #free: number[][] = []
  #next = 0

  /** Address of a block; its entries hold what was there before. */
  allocate(sizeClass: number): number {
    const free = this.#free[sizeClass]?.pop()
    if (free !== undefined) return free
    const size = blockSize(sizeClass)
    const left = chunkSize - (this.#next & (chunkSize - 1))
    if (left < size) this.#next += left
    const address = this.#next
    this.#next += size
    if (address >>> chunkBits === this.#chunks.length) this.#chunks.push(newChunk())
    return address
  }

  free(address: number, sizeClass: number): void {
    while (this.#free.length <= sizeClass) this.#free.push([])
    this.#free[sizeClass].push(address)
  }

  chunk(address: number): HistoryChunk {
    return this.#chunks[address >>> chunkBits]
  }

  offset(address: number): number {
    return address & (chunkSize - 1)
  }
}

const newChunk = (): HistoryChunk => ({
  items: new Int32Array(chunkSize),
  births: new Uint32Array(chunkSize),
  times: new Float64Array(chunkSize),
  types: new Uint8Array(chunkSize),
})
