/** Keys in the order in which they came, in chunks: however many there are, none is ever moved. */
import type { Keys } from '../../base/keys.ts'
import { keyCount } from '../../base/keys.ts'

const chunkWords = 16_384

/** Invariant: all chunks but the last are full. */
export class KeyLog {
  #chunks: Uint32Array[] = []
  #words = 0

  get size(): number {
    return this.#words >>> 1
  }

  add(keys: Keys): void {
    for (let at = 0; at < keys.length; at += this.#append(keys.subarray(at)));
  }

  /** Forgets the keys and their memory. Blocks given out stay as they are. */
  clear(): void {
    this.#chunks = []
    this.#words = 0
  }

  /** The keys from the `from`-th on, in blocks that nothing changes. */
  blocks(from = 0): readonly Keys[] {
    return this.#chunks.flatMap((chunk, i) => {
      const start = Math.max(0, 2 * from - chunkWords * i)
      const some = chunk.subarray(start, Math.min(chunkWords, this.#words - chunkWords * i))
      return some.length === 0 ? [] : [some]
    })
  }

  /** A copy of all. */
  all(): Uint32Array<ArrayBuffer> {
    const all = new Uint32Array(this.#words)
    for (const [i, block] of this.blocks().entries()) all.set(block, chunkWords * i)
    return all
  }

  /** As many as the last chunk has room for; returns their words. */
  #append(keys: Keys): number {
    const at = this.#words % chunkWords
    if (at === 0) this.#chunks.push(new Uint32Array(chunkWords))
    const some = keys.subarray(0, chunkWords - at)
    this.#chunks[this.#chunks.length - 1].set(some, at)
    this.#words += 2 * keyCount(some)
    return some.length
  }
}
