/** The twins of assembly/rows.ts for bags of rows. */
import type { BagKernels, MaxBagKernels } from '../dense-kernels.ts'
import type { Address } from '../operands.ts'
import { dot32 } from './reference-exp-log.ts'

const { fround } = Math

/** Where the bags are and how long a row is. */
interface Bags {
  readonly dim: number
  readonly offsets: Address
  readonly indices: Address
}

/** What lies in memory, by bag and by entry. */
class BagReader {
  readonly floats: Float32Array
  readonly #ints: Int32Array

  constructor(memory: WebAssembly.Memory) {
    this.floats = new Float32Array(memory.buffer)
    this.#ints = new Int32Array(memory.buffer)
  }

  /** First entry of the bag, and the one behind its last. */
  entries({ offsets }: Bags, bag: number): readonly [number, number] {
    const at = (offsets >>> 2) + bag
    return [this.#ints[at], this.#ints[at + 1]]
  }

  /** Index of the first float of the entry's row. */
  row(rows: Address, { indices, dim }: Bags, entry: number): number {
    return (rows >>> 2) + this.#ints[(indices >>> 2) + entry] * dim
  }

  weight(weights: Address, entry: number): number {
    return weights === 0 ? 1 : this.floats[(weights >>> 2) + entry]
  }
}

export function referenceBagKernels(memory: WebAssembly.Memory): BagKernels {
  const reader = new BagReader(memory)
  const { floats } = reader
  return {
    poolBags: (...[out, stride, rows, dim, offsets, indices, weights, accumulate, from, to]) => {
      const bags = { dim, offsets, indices }
      for (let bag = from; bag < to; bag += 1) {
        const target = (out >>> 2) + bag * stride
        if (accumulate === 0) floats.fill(0, target, target + dim)
        const [start, end] = reader.entries(bags, bag)
        for (let e = start; e < end; e += 1) {
          const row = reader.row(rows, bags, e)
          const weight = reader.weight(weights, e)
          for (let j = 0; j < dim; j += 1) floats[target + j] += fround(weight * floats[row + j])
        }
      }
    },
    poolBagsBackward: (...[rowGradients, gradients, stride, dim, offsets, indices, ...rest]) => {
      const [weights, count, from, to] = rest
      const bags = { dim, offsets, indices }
      for (let bag = 0; bag < count; bag += 1) {
        const source = (gradients >>> 2) + bag * stride
        const [start, end] = reader.entries(bags, bag)
        for (let e = start; e < end; e += 1) {
          const row = reader.row(rowGradients, bags, e)
          const weight = reader.weight(weights, e)
          for (let j = from; j < to; j += 1) floats[row + j] += fround(weight * floats[source + j])
        }
      }
    },
    bagWeightGradients: (...[out, rows, gradients, stride, dim, offsets, indices, from, to]) => {
      const bags = { dim, offsets, indices }
      for (let bag = from; bag < to; bag += 1) {
        const gradient = (gradients >>> 2) + bag * stride
        const [start, end] = reader.entries(bags, bag)
        for (let e = start; e < end; e += 1) {
          floats[(out >>> 2) + e] = dot32(floats, reader.row(rows, bags, e), gradient, dim)
        }
      }
    },
  }
}

export function referenceMaxBagKernels(memory: WebAssembly.Memory): MaxBagKernels {
  const reader = new BagReader(memory)
  const { floats } = reader

  /** The first entry with the largest value in column j; -1 for an empty bag. */
  const largest = (rows: Address, bags: Bags, bag: number, j: number): number => {
    const [start, end] = reader.entries(bags, bag)
    let best = start < end ? start : -1
    for (let e = start + 1; e < end; e += 1) {
      if (floats[reader.row(rows, bags, e) + j] > floats[reader.row(rows, bags, best) + j]) best = e
    }
    return best
  }
  return {
    maxBags: (...[out, stride, rows, dim, offsets, indices, accumulate, from, to]) => {
      const bags = { dim, offsets, indices }
      for (let bag = from; bag < to; bag += 1) {
        const target = (out >>> 2) + bag * stride
        if (accumulate === 0) floats.fill(0, target, target + dim)
        for (let j = 0; j < dim; j += 1) {
          const e = largest(rows, bags, bag, j)
          if (e >= 0) floats[target + j] += floats[reader.row(rows, bags, e) + j]
        }
      }
    },
    maxBagsBackward: (...[rowGradients, rows, gradients, stride, dim, offsets, ...rest]) => {
      const [indices, count, from, to] = rest
      const bags = { dim, offsets, indices }
      for (let bag = 0; bag < count; bag += 1) {
        const source = (gradients >>> 2) + bag * stride
        for (let j = from; j < to; j += 1) {
          const e = largest(rows, bags, bag, j)
          if (e >= 0) floats[reader.row(rowGradients, bags, e) + j] += floats[source + j]
        }
      }
    },
  }
}
