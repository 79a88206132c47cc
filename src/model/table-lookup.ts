/**
 * What one batch needs of one table: keys are staged feature by feature, made distinct, and given a
 * row each. An entry is one use of a key by one example; `inverse` leads from an entry to its row.
 */
import { assert } from '../base/assert.ts'
import type { Keys } from '../base/keys.ts'
import type { Block } from '../kernels/arena.ts'
import type { Kernels } from '../kernels/kernels.ts'
import type { KeyDeduper } from '../kernels/key-deduper.ts'
import type { Allocator } from './dense-parameters.ts'
import type { ModelTableSpec } from './spec.ts'

/** The rows that a batch needs of one table; one lookup per table of the model that it touches. */
export interface Lookup {
  readonly table: string
  readonly dim: number
  /** The towers whose features these rows serve; the popularity weight belongs to the query. */
  readonly usedBy: 'query' | 'candidate' | 'both'
  /** Distinct keys (n). */
  readonly keys: Keys
  /** n x dim: to be filled by the caller before `step` or `embed*`. */
  readonly rows: Float32Array
  /** How often each key takes part in the batch (n). */
  readonly occurrences: Uint32Array
  /**
   * n x dim: filled by `step`, of the summed or the mean loss as the table's spec says. Empty after
   * `prepareQueries` and `prepareItems`.
   */
  readonly gradients: Float32Array
}

/** How a model uses a table. */
export interface TableUse {
  readonly spec: ModelTableSpec
  readonly usedBy: Lookup['usedBy']
  /** Most uses of keys in one batch. */
  readonly maxEntries: number
}

const nothing = new Float32Array(0)

export class TableLookup {
  readonly spec: ModelTableSpec
  readonly usedBy: Lookup['usedBy']
  readonly maxEntries: number
  /** Of entries: the row of each. */
  readonly inverse: Block<Uint32Array>
  readonly rows: Block<Float32Array>
  readonly gradients: Block<Float32Array>
  readonly #staged: Uint32Array
  readonly #unique: Uint32Array
  readonly #occurrences: Uint32Array
  #entries = 0
  #distinct = 0

  constructor(allocator: Allocator, { spec, usedBy, maxEntries }: TableUse) {
    this.spec = spec
    this.usedBy = usedBy
    this.maxEntries = maxEntries
    this.inverse = allocator.words(maxEntries)
    this.rows = allocator.floats(maxEntries * spec.dim)
    this.gradients = allocator.floats(maxEntries * spec.dim)
    this.#staged = new Uint32Array(2 * maxEntries)
    this.#unique = new Uint32Array(2 * maxEntries)
    this.#occurrences = new Uint32Array(maxEntries)
  }

  /** Entries staged so far. */
  get entries(): number {
    return this.#entries
  }

  /** Distinct keys, after `dedupe`. */
  get distinct(): number {
    return this.#distinct
  }

  /** The distinct keys, after `dedupe`. */
  get unique(): Keys {
    return this.#unique.subarray(0, 2 * this.#distinct)
  }

  begin(): void {
    this.#entries = 0
    this.#distinct = 0
  }

  /** Stages the key whose words stand at `at`. */
  stage(words: Uint32Array, at: number): void {
    const to = 2 * this.#entries
    this.#staged[to] = words[at]
    this.#staged[to + 1] = words[at + 1]
    this.#entries += 1
  }

  /** Stages the `n` keys whose words stand at `at` and behind it. */
  stageSome(words: Uint32Array, at: number, n: number): void {
    const staged = this.#staged
    const to = 2 * this.#entries
    for (let i = 0; i < 2 * n; i += 1) staged[to + i] = words[at + i]
    this.#entries += n
  }

  stageAll(keys: Keys): void {
    this.#staged.set(keys, 2 * this.#entries)
    this.#entries += keys.length >>> 1
  }

  dedupe(deduper: KeyDeduper): void {
    assert(2 * this.#entries <= this.#staged.length, 'no more entries than were reserved')
    const found = deduper.dedupe(this.#staged.subarray(0, 2 * this.#entries))
    this.inverse.view.set(found.inverse)
    this.#unique.set(found.unique)
    this.#occurrences.set(found.occurrences)
    this.#distinct = found.occurrences.length
  }

  clearGradients(kernels: Kernels): void {
    kernels.clear(this.gradients.address, 0, this.#distinct * this.spec.dim)
  }

  /** What the caller sees of it. */
  lookup(withGradients: boolean): Lookup {
    const { name, dim } = this.spec
    const floats = this.#distinct * dim
    return {
      table: name,
      dim,
      usedBy: this.usedBy,
      keys: this.unique,
      rows: this.rows.view.subarray(0, floats),
      occurrences: this.#occurrences.subarray(0, this.#distinct),
      gradients: withGradients ? this.gradients.view.subarray(0, floats) : nothing,
    }
  }
}
