/**
 * Those keys of a batch that lie in one storage: staged there, with what is copied in and out for
 * them. A table of one storage copies blocks; with several, each key has its place in the batch.
 */
import type { Keys } from '../../base/keys.ts'
import { absentPayload } from '../../kernels/table-kernels.ts'
import type { TableStorage } from './table-storage.ts'

/** Numbers of one kind, a fixed count for each key. */
type Values = Float32Array | Uint32Array | Uint8Array

/**
 * Valid during one visit. Invariant: the staged keys are the first `size` of the storage, and
 * staged key i is the batch's key `placeOf(i)`.
 */
export class TablePart {
  readonly storage: TableStorage
  size = 0
  /** Where the part starts in the batch, if its keys follow one another there. */
  #start = 0
  #scattered = false
  readonly #places: Uint32Array

  constructor(storage: TableStorage) {
    this.storage = storage
    this.#places = new Uint32Array(storage.batch)
  }

  placeOf(i: number): number {
    return this.#scattered ? this.#places[i] : this.#start + i
  }

  /** Makes the n keys from `start` on the part, and stages them. */
  stageBlock(keys: Keys, start: number, n: number): void {
    this.size = n
    this.#start = start
    this.#scattered = false
    const whole = keys.length === 2 * n
    this.storage.keys.view.set(whole ? keys : keys.subarray(2 * start, 2 * (start + n)))
  }

  /** Makes it a part without keys, to which they are added one by one. */
  clear(): void {
    this.size = 0
    this.#scattered = true
  }

  /** Adds and stages the batch's key at `place`. */
  add(keys: Keys, place: number): void {
    const { view } = this.storage.keys
    view[2 * this.size] = keys[2 * place]
    view[2 * this.size + 1] = keys[2 * place + 1]
    this.#places[this.size] = place
    this.size += 1
  }

  /** Leaves the keys for which the staged row is `row` to another part. */
  yieldRows(row: number, other: TablePart, keys: Keys): void {
    const rows = this.storage.rows.view
    const { size } = this
    this.size = 0
    for (let i = 0; i < size; i += 1) {
      if (rows[i] === row) other.add(keys, this.#places[i])
      else this.add(keys, this.#places[i])
    }
  }

  /** The staging takes the values of these keys, `width` for each. */
  take(staged: Values, values: Values, width: number): void {
    const { size } = this
    if (!this.#scattered) {
      staged.set(values.subarray(this.#start * width, (this.#start + size) * width))
      return
    }
    for (let i = 0; i < size; i += 1) {
      const from = this.#places[i] * width
      const to = i * width
      for (let j = 0; j < width; j += 1) staged[to + j] = values[from + j]
    }
  }

  /** And gives them. */
  give(staged: Values, values: Values, width: number): void {
    const { size } = this
    if (!this.#scattered) {
      values.set(staged.subarray(0, size * width), this.#start * width)
      return
    }
    for (let i = 0; i < size; i += 1) {
      const to = this.#places[i] * width
      const from = i * width
      for (let j = 0; j < width; j += 1) values[to + j] = staged[from + j]
    }
  }

  /** Gives the vectors of the staged rows. */
  giveVectors(vectors: Float32Array): void {
    const { storage } = this
    storage.gather(this.size)
    this.give(storage.vectors.view, vectors, storage.dim)
  }

  /** Gives 1 for keys that have a staged row, 0 for others. */
  givePresence(present: Uint8Array): void {
    const rows = this.storage.rows.view
    for (let i = 0; i < this.size; i += 1) {
      present[this.placeOf(i)] = rows[i] === absentPayload ? 0 : 1
    }
  }
}
