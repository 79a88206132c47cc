/**
 * What one training step or one query batch needs of one table. Lookups stage the keys that they
 * use; the distinct ones are read from the table once, and what all lookups learn is summed and
 * applied once. So two lookups that share a table make one update of a row, as the optimizer's
 * rules demand, and a key that occurs a thousand times costs one access.
 *
 *     begin; stage by each lookup; read; forward of each; backward of each; update
 */
import { assert } from '../../base/assert.ts'
import type { Awaitable, Keys } from '../../base/keys.ts'
import { keyCount } from '../../base/keys.ts'
import type { Block } from '../../kernels/arena.ts'
import { Arena } from '../../kernels/arena.ts'
import type { KernelOptions, Kernels } from '../../kernels/kernels.ts'
import { loadKernels, scratchBytes } from '../../kernels/kernels.ts'
import { KeyDeduper } from '../../kernels/key-deduper.ts'
import type { EmbeddingTable, Stamp } from '../embedding-table.ts'

export interface TableBatchOptions extends KernelOptions {
  /** Uses of keys in one batch, by all lookups together, default keys included. */
  readonly maxKeys: number
  /** Vectors that all lookups give together: one for an id, a list, a field of an example. */
  readonly maxVectors: number
}

const nothing: Keys = new Uint32Array(0)
/** Lookups of one batch: each rounds its blocks up to cache lines. */
const maximumLookups = 64

/**
 * Invariants: `inverse[e]` is the row of staged key e from `read` on until `begin`; rows and
 * gradients hold `distinct` rows; gradients are zero when `read` returns.
 */
export class TableBatch {
  readonly table: EmbeddingTable
  readonly dim: number
  readonly kernels: Kernels
  /** What lookups take their own blocks from. */
  readonly arena: Arena
  readonly inverse: Block<Uint32Array>
  readonly rows: Block<Float32Array>
  readonly gradients: Block<Float32Array>
  readonly #deduper: KeyDeduper
  readonly #phased: Uint32Array
  #entries = 0
  #keys = nothing
  #occurrences = nothing
  #generation = 0
  #phase: 'staging' | 'reading' | 'ready' = 'staging'

  constructor(table: EmbeddingTable, options: TableBatchOptions) {
    const { maxKeys, maxVectors } = options
    const { dim } = table.spec
    this.table = table
    this.dim = dim
    const perKey = 4 + 8 * dim + 8
    const perVector = 8 * dim + 4
    const spare = scratchBytes + maximumLookups * 1024
    this.arena = new Arena(maxKeys * perKey + maxVectors * perVector + spare)
    this.kernels = loadKernels(this.arena, options)
    this.inverse = this.arena.words(maxKeys)
    this.rows = this.arena.floats(maxKeys * dim)
    this.gradients = this.arena.floats(maxKeys * dim)
    this.#phased = new Uint32Array(2 * maxKeys)
    this.#deduper = new KeyDeduper({ ...options, maxKeys })
  }

  /** The distinct keys, in order of first use; a view valid until the next `read`. */
  get keys(): Keys {
    return this.#keys
  }

  /** How often each of them is used. */
  get occurrences(): Uint32Array {
    return this.#occurrences
  }

  /** Uses staged so far. */
  get entries(): number {
    return this.#entries
  }

  /** Which batch this is: what was staged for another one is gone. */
  get generation(): number {
    return this.#generation
  }

  /** Forgets the batch before. */
  begin(): void {
    this.#generation += 1
    this.#entries = 0
    this.#phase = 'staging'
  }

  /** Stages one use of the key whose words stand at `at`. */
  stage(words: Keys, at: number): void {
    assert(this.#phase === 'staging', 'keys are staged before the table is read')
    const to = 2 * this.#entries
    assert(to < this.#phased.length, 'no more keys than the batch was made for')
    this.#phased[to] = words[at]
    this.#phased[to + 1] = words[at + 1]
    this.#entries += 1
  }

  /**
   * Reads the rows of all staged keys. With a stamp, to train: keys without a row get one while
   * there is room. Without: they read as their initial vectors.
   */
  read(stamp?: Stamp): Awaitable<void> {
    const { unique, inverse, occurrences } = this.#deduper.dedupe(
      this.#phased.subarray(0, 2 * this.#entries),
    )
    this.inverse.view.set(inverse)
    this.#keys = unique
    this.#occurrences = occurrences
    const floats = keyCount(unique) * this.dim
    this.gradients.view.fill(0, 0, floats)
    this.#phase = 'reading'
    const read = this.#find(this.rows.view.subarray(0, floats), stamp)
    if (read instanceof Promise) return this.#whenRead(read)
    this.#phase = 'ready'
    return undefined
  }

  /** One step of the table's optimizer with what all lookups have learned since `read`. */
  update(stamp: Stamp): Awaitable<void> {
    assert(this.#phase === 'ready', 'the table is read before it is updated')
    const gradients = this.gradients.view.subarray(0, keyCount(this.#keys) * this.dim)
    return this.table.applyGradients(this.#keys, gradients, this.#occurrences, stamp)
  }

  /** For lookups: there are rows, and they are of the batch that the lookup was staged in. */
  checkReady(generation: number): void {
    const current = generation === this.#generation
    assert(current && this.#phase === 'ready', 'staged and read in this batch')
  }

  #find(rows: Float32Array, stamp?: Stamp): Awaitable<void> {
    if (stamp === undefined) return this.table.find(this.#keys, rows)
    return this.table.findOrInsert(this.#keys, rows, stamp, this.#occurrences)
  }

  /** Nothing, if another batch began in the meantime. */
  async #whenRead(read: Promise<void>): Promise<void> {
    const generation = this.#generation
    await read
    if (generation === this.#generation) this.#phase = 'ready'
  }
}
