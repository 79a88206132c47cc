/**
 * The row that all keys share which have none of their own, in a table that does not admit every
 * key: it stands under a key that no value hashes to but by a chance of 2^-64. Everything that
 * reads such a table - trainer, evaluation, replica - reads it for a key without a row, be it not
 * yet admitted, evicted, or refused by a full table. Before anything is learned it is the initial
 * vector of that key.
 */
import type { Keys } from '../../base/keys.ts'
import { keyCount, outOfVocabularyKey } from '../../base/keys.ts'
import type { TableSpec } from '../table-spec.ts'
import { sharesRow } from './admission.ts'

/** What is needed of a table that answers at once. */
export interface ReadableTable {
  readonly spec: TableSpec
  find(keys: Keys, vectors: Float32Array, present?: Uint8Array): void
}

/** Reads vectors of a table that answers at once. Between calls it keeps working space only. */
export class SharedRowReader {
  #present = new Uint8Array(1024)
  #shared = new Float32Array(0)

  /** As `table.find`, but a key without a row reads the shared one where the table has that. */
  find(table: ReadableTable, keys: Keys, vectors: Float32Array): void {
    if (!sharesRow(table.spec)) {
      table.find(keys, vectors)
      return
    }
    const n = keyCount(keys)
    if (n > this.#present.length) this.#present = new Uint8Array(2 * n)
    table.find(keys, vectors, this.#present)
    const first = this.#present.indexOf(0)
    if (first < 0 || first >= n) return
    const { dim } = table.spec
    if (dim > this.#shared.length) this.#shared = new Float32Array(dim)
    const shared = this.#shared.subarray(0, dim)
    table.find(outOfVocabularyKey, shared)
    for (let i = first; i < n; i += 1) {
      if (this.#present[i] === 0) vectors.set(shared, i * dim)
    }
  }
}
