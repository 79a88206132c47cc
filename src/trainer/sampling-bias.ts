/**
 * How likely an item is to be the next target of the stream, estimated as it flows: Yi et al.,
 * "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations" (RecSys 2019),
 * algorithm 2. Two hashed arrays, when an item was last seen and the moving average of the gaps
 * between its occurrences; the probability is one over the gap. With several hash functions the
 * largest gap is taken, because a collision can only make gaps shorter.
 *
 * Departures. Gaps are counted in examples and not in batches, so that an estimate is a probability
 * per draw and does not depend on the batch size. A first occurrence sets the gap to `initialGap`
 * instead of mixing with zero. A gap that is still open counts as soon as it is longer than the
 * average, so that what is no longer clicked becomes improbable without another click.
 */
import { assert } from '../base/assert.ts'
import type { ByteReader, ByteWriter } from '../base/bytes.ts'

export interface SamplingBiasOptions {
  /** Cells per hash function; a power of two. Default 262,144. */
  readonly cells: number
  /** Hash functions. Default 2. */
  readonly hashes: number
  /** Weight of the newest gap in the moving average, (0, 1]. Default .05. */
  readonly rate: number
  /** Examples between two occurrences, assumed of an item seen once or never. Default 10,000. */
  readonly initialGap: number
}

const defaultSamplingBias: SamplingBiasOptions = {
  cells: 262_144,
  hashes: 2,
  rate: 0.05,
  initialGap: 10_000,
}

/** Cells enough for so many items to collide rarely, within reason. */
export function cellsFor(items: number): number {
  let cells = 1024
  while (cells < Math.min(defaultSamplingBias.cells, 4 * items)) cells *= 2
  return cells
}

/** Cell h x cells + i belongs to hash function h. `#seenAt` counts from 1; 0 means never. */
export class SamplingBias {
  readonly options: SamplingBiasOptions
  readonly #seenAt: Float64Array<ArrayBuffer>
  readonly #gaps: Float32Array<ArrayBuffer>
  #examples = 0

  constructor(options: Partial<SamplingBiasOptions> = {}) {
    this.options = { ...defaultSamplingBias, ...options }
    const { cells, hashes, rate } = this.options
    assert(cells > 0 && (cells & (cells - 1)) === 0, 'cells is a power of two')
    assert(hashes >= 1 && rate > 0 && rate <= 1, 'one hash function or more, a rate of 0..1')
    this.#seenAt = new Float64Array(cells * hashes)
    this.#gaps = new Float32Array(cells * hashes)
  }

  /** Examples observed so far. */
  get examples(): number {
    return this.#examples
  }

  /** The item was the target of the next example. */
  observe(item: number): void {
    this.#examples += 1
    const { hashes, rate, initialGap } = this.options
    for (let hash = 0; hash < hashes; hash += 1) {
      const cell = this.#cell(hash, item)
      const seenAt = this.#seenAt[cell]
      this.#gaps[cell] =
        seenAt === 0 ? initialGap : (1 - rate) * this.#gaps[cell] + rate * (this.#examples - seenAt)
      this.#seenAt[cell] = this.#examples
    }
  }

  /** The probability that an example's target is the item: in (0, 1]. */
  probability(item: number): number {
    let longest = 1
    for (let hash = 0; hash < this.options.hashes; hash += 1) {
      longest = Math.max(longest, this.#gap(this.#cell(hash, item)))
    }
    return 1 / longest
  }

  serialize(writer: ByteWriter): void {
    writer.uint32(this.options.cells).uint32(this.options.hashes).float64(this.#examples)
    writer.array(this.#seenAt).array(this.#gaps)
  }

  /** Takes what `serialize` wrote. Throws a `RangeError` when it is of another size. */
  load(reader: ByteReader): void {
    const { cells, hashes } = this.options
    if (reader.uint32() !== cells || reader.uint32() !== hashes) {
      throw new RangeError('the sampling-bias estimator has another size')
    }
    this.#examples = reader.float64()
    this.#seenAt.set(new Float64Array(reader.array()))
    this.#gaps.set(new Float32Array(reader.array()))
  }

  #gap(cell: number): number {
    const seenAt = this.#seenAt[cell]
    if (seenAt === 0) return this.options.initialGap
    const { rate } = this.options
    const open = this.#examples - seenAt
    return Math.max(this.#gaps[cell], (1 - rate) * this.#gaps[cell] + rate * open)
  }

  /** A multiply-xor-shift hash of (item, hash function); murmur3's finalizer. */
  #cell(hash: number, item: number): number {
    let h = (item + Math.imul(hash + 1, 0x9e3779b9)) | 0
    h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
    h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
    h ^= h >>> 16
    return hash * this.options.cells + (h & (this.options.cells - 1))
  }
}
