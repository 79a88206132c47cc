/**
 * Queries of a batch that are the same to their tower, as those of one user are where neither
 * history nor time tells them apart: such queries go through it once, and what comes back by each
 * of them is summed.
 */
import { unreachable } from '../base/assert.ts'
import { fnvBasis, fnvPrime } from '../base/fnv.ts'
import type { SharedRows } from './dense-engine.ts'
import type { FeaturePlan, SidePlan } from './plan.ts'
import type { PooledSide } from './pooled-side.ts'
import type { TowerSpec } from './spec.ts'

const noRow = -1

/** Features in which two queries of one user are hardly ever the same. */
const tellsApart = ({ spec }: FeaturePlan): boolean => {
  switch (spec.kind) {
    case 'sequence':
    case 'gap':
      return true
    case 'time':
      return spec.field === undefined
    case 'categories':
      return spec.weights !== undefined
    case 'id':
    case 'numeric':
    case 'context':
    case 'text':
    case 'dense':
      return false
    default:
      return unreachable(spec)
  }
}

/** Whether it is worth looking for them. */
export const mayRepeat = (side: SidePlan, { layers, layersModel }: TowerSpec): boolean =>
  layersModel === undefined &&
  !layers.some(({ kind }) => kind === 'dropout') &&
  !side.features.some(tellsApart)

/** What is found of a batch of B queries: R rows, in the order in which they come first. */
export class RepeatedQueries implements SharedRows {
  /** The row of each query (B). */
  readonly rowOf: Int32Array
  /** The first query of each row (R). */
  readonly #firstOf: Int32Array
  readonly #slots: Int32Array
  readonly #side: PooledSide
  /** Columns of the side's input that no table gives, as bits. */
  readonly #plain: readonly FeaturePlan[]
  readonly #bits: Int32Array
  #queries = 0
  #rows = 0

  constructor(side: PooledSide, maxQueries: number) {
    const { buffer, byteOffset, length } = side.inputs
    this.#side = side
    this.#plain = side.plan.features.filter(({ table }) => table < 0)
    this.#bits = new Int32Array(buffer, byteOffset, length)
    this.rowOf = new Int32Array(maxQueries)
    this.#firstOf = new Int32Array(maxQueries)
    this.#slots = new Int32Array(2 ** Math.ceil(Math.log2(Math.max(2, 2 * maxQueries))))
  }

  /** Rows of the batch, R. */
  get rows(): number {
    return this.#rows
  }

  /**
   * Leaves what the tower is to see once in front of its inputs, which are pooled. Nothing if all
   * queries differ: each has its own row, as before.
   */
  share(inputs: Float32Array, queries: number): this | undefined {
    this.#find(queries)
    if (this.#rows === queries) return undefined
    this.#gather(inputs)
    return this
  }

  /** The way back: a row's gradient is that of its first query, and the others have none. */
  spread(gradients: Float32Array): void {
    const { width } = this.#side.plan
    let end = this.#queries
    for (let row = this.#rows; row > 0;) {
      const [rowsEnd, last] = [row, this.#firstOf[row - 1]]
      gradients.fill(0, (last + 1) * width, end * width)
      do row -= 1
      while (row > 0 && last - this.#firstOf[row - 1] === rowsEnd - row)
      end = this.#firstOf[row]
      if (end !== row) gradients.copyWithin(end * width, row * width, rowsEnd * width)
    }
  }

  #find(queries: number): void {
    this.#queries = queries
    this.#rows = 0
    this.#slots.fill(noRow)
    for (let b = 0; b < queries; b += 1) this.rowOf[b] = this.#rowFor(b)
  }

  /** Leaves the first query of each row, row by row, where those of all queries were. */
  #gather(inputs: Float32Array): void {
    const { width } = this.#side.plan
    const firstOf = this.#firstOf
    for (let row = 0; row < this.#rows;) {
      const [begin, from] = [row, firstOf[row]]
      // Of queries between which none is repeated the rows follow each other, too.
      do row += 1
      while (row < this.#rows && firstOf[row] - from === row - begin)
      if (from === begin) continue
      inputs.copyWithin(begin * width, from * width, (from + row - begin) * width)
    }
  }

  #rowFor(query: number): number {
    const mask = this.#slots.length - 1
    for (let slot = this.#hash(query) & mask; ; slot = (slot + 1) & mask) {
      const row = this.#slots[slot]
      if (row === noRow) return this.#add(query, slot)
      if (this.#isSame(this.#firstOf[row], query)) return row
    }
  }

  #add(query: number, slot: number): number {
    const row = this.#rows
    this.#slots[slot] = row
    this.#firstOf[row] = query
    this.#rows += 1
    return row
  }

  #hash(query: number): number {
    const { bags, plan } = this.#side
    let h = fnvBasis
    for (const bag of bags) h = bag.hash(query, h)
    for (const { column, width } of this.#plain) {
      const at = query * plan.width + column
      for (let j = at; j < at + width; j += 1) h = Math.imul(h ^ this.#bits[j], fnvPrime)
    }
    return h ^ (h >>> 15)
  }

  #isSame(a: number, b: number): boolean {
    const { bags, plan } = this.#side
    for (const bag of bags) if (!bag.isSame(a, b)) return false
    for (const { column, width } of this.#plain) {
      const [first, second] = [a * plan.width + column, b * plan.width + column]
      for (let j = 0; j < width; j += 1) {
        if (this.#bits[first + j] !== this.#bits[second + j]) return false
      }
    }
    return true
  }
}
