/**
 * Ids whose vectors have changed since a tree began to be grown, one bit each in shared memory: the
 * thread that changes vectors marks them, whoever brings the tree up to date takes them. A mark is
 * set after its change is made and taken before the vector is read, so what is read too early is
 * marked again.
 */
import type { Arena } from '../kernels/arena.ts'
import { treeChunk } from './tree.ts'

const bits = 32

export class ChangedIds {
  readonly #words: Uint32Array

  constructor(arena: Arena, capacityItems: number) {
    this.#words = arena.words(Math.ceil(capacityItems / bits)).view
  }

  static bytes(capacityItems: number): number {
    return Math.ceil(capacityItems / bits) * 4 + 64
  }

  clear(): void {
    this.#words.fill(0)
  }

  mark(ids: Int32Array): void {
    for (const id of ids) Atomics.or(this.#words, id >> 5, 1 << (id & 31))
  }

  /** Takes all marks, once around, at most `treeChunk` ids a time. */
  *take(): Generator<Int32Array, void> {
    const chunk = new Int32Array(treeChunk)
    let n = 0
    for (let word = 0; word < this.#words.length; word += 1) {
      if (this.#words[word] === 0) continue
      let marks = Atomics.exchange(this.#words, word, 0)
      for (; marks !== 0; marks &= marks - 1) {
        chunk[n] = word * bits + 31 - Math.clz32(marks & -marks)
        n += 1
      }
      if (n <= treeChunk - bits) continue
      yield chunk.subarray(0, n)
      n = 0
    }
    if (n > 0) yield chunk.subarray(0, n)
  }
}
