/**
 * Packed rows, as `MemoryTable.readRecords` gives them and a table snapshot holds them, field by
 * field: u64 key | u32 count | u32 version | f64 last seen | 8 bytes of the table's own | vector |
 * optimizer state. For whoever takes rows one at a time; kernels pack and unpack them in batches.
 */
import type { Keys } from '../../base/keys.ts'

const countAt = 8
const versionAt = 12
const lastSeenAt = 16
const floatsAt = 32
const bytesPerFloat = 4

/** One row outside its table. */
export interface Row {
  /** Two words, low one first. */
  readonly key: Keys
  readonly vector: ArrayLike<number>
  /** Of the optimizer. */
  readonly state: ArrayLike<number>
  readonly count: number
  /** Epoch ms. */
  readonly lastSeen: number
  /** Of its last change. */
  readonly version: number
}

/** A run of packed rows that may be read and written in any order. */
export class RowRecords {
  readonly dim: number
  /** Floats of optimizer state per row. */
  readonly stateFloats: number
  /** The packed rows themselves. */
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly #recordBytes: number
  readonly #words: Uint32Array
  readonly #floats: Float32Array
  readonly #view: DataView

  /** Room for `rows` of `recordBytes` each, whose vectors have `dim` floats. */
  constructor(rows: number, recordBytes: number, dim: number) {
    this.dim = dim
    this.stateFloats = (recordBytes - floatsAt) / bytesPerFloat - dim
    this.bytes = new Uint8Array(rows * recordBytes)
    this.#recordBytes = recordBytes
    this.#words = new Uint32Array(this.bytes.buffer)
    this.#floats = new Float32Array(this.bytes.buffer)
    this.#view = new DataView(this.bytes.buffer)
  }

  /** Row i; its arrays are views, valid until the record is written again. */
  row(i: number): Row {
    const at = i * this.#recordBytes
    const vectorAt = (at + floatsAt) / bytesPerFloat
    const stateAt = vectorAt + this.dim
    return {
      key: this.#words.subarray(at / bytesPerFloat, at / bytesPerFloat + 2),
      vector: this.#floats.subarray(vectorAt, stateAt),
      state: this.#floats.subarray(stateAt, stateAt + this.stateFloats),
      count: this.#view.getUint32(at + countAt, true),
      lastSeen: this.#view.getFloat64(at + lastSeenAt, true),
      version: this.#view.getUint32(at + versionAt, true),
    }
  }

  /** Row i <- `row`, which is not a change that a delta must carry. */
  set(i: number, { key, vector, state, count, lastSeen, version }: Row): void {
    const at = i * this.#recordBytes
    this.bytes.fill(0, at, at + floatsAt)
    this.#words.set(key, at / bytesPerFloat)
    this.#view.setUint32(at + countAt, count, true)
    this.#view.setUint32(at + versionAt, version, true)
    this.#view.setFloat64(at + lastSeenAt, lastSeen, true)
    const vectorAt = (at + floatsAt) / bytesPerFloat
    this.#floats.set(vector, vectorAt)
    this.#floats.set(state, vectorAt + this.dim)
  }
}
