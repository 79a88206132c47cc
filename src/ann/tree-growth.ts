/**
 * Growing a tree: centroids by k-means on a sample (Lloyd), codebooks by k-means on the residuals
 * of a smaller one, then every vector into its leaf, and again those that have changed meanwhile.
 * In steps, so that it can go on between queries.
 *
 * Rows may change while it reads them, even in the middle of one: a sample with a mixed row is as
 * good a sample, and an id that is put by a mixed row is marked as changed, and put again.
 *
 * Nothing is random: samples are every so manieth id, and first centroids every so manieth of
 * those.
 */
import type { GrowthOrder } from './background.ts'
import type { IndexMemory } from './index-memory.ts'
import { type Tree, treeChunk } from './tree.ts'

/** Sampled vectors for each leaf, rounds of Lloyd over them. */
const samplesPerLeaf = 64
const rounds = 8
/** The first of them need only one in so many: a third less work. */
const [earlyRounds, earlyOf] = [4, 3]
const codeSamples = 8_192
/** Of an index with tails one leaf in so many has no centroid yet. */
const freeOf = 16
const codeRounds = 4
/** Rounds of catching up, each over what changed during the one before, and what ends them. */
const [catchUps, fewChanged] = [8, 256]
/** Half of the levels as they are best for a normal distribution, in its deviations. */
const normalLevels = [0.128, 0.388, 0.657, 0.942, 1.256, 1.618, 2.069, 2.733]

function everyNth(ids: Int32Array, step: number): Int32Array {
  const some = new Int32Array(Math.ceil(ids.length / step))
  for (let i = 0; i < some.length; i += 1) some[i] = ids[i * step]
  return some
}

/** Owns the tree until its steps are over. */
export class TreeGrowth {
  readonly #memory: IndexMemory
  readonly #order: GrowthOrder
  readonly #tree: Tree
  readonly #isThere = (id: number): boolean => this.#memory.flat.has(id)
  #sample = new Int32Array(0)

  constructor(memory: IndexMemory, order: GrowthOrder) {
    this.#memory = memory
    this.#order = order
    this.#tree = memory.trees[order.tree]
  }

  /** Every step yields the number of vectors that it has gone over. */
  *steps(): Generator<number, void> {
    const leaves = this.#begin()
    yield* this.#takeSample(leaves * samplesPerLeaf)
    yield* this.#measureRanges()
    this.#firstCentroids(leaves)
    const few = everyNth(this.#sample, earlyOf)
    for (let round = 0; round < rounds; round += 1) {
      yield* this.#lloyd(leaves, round < earlyRounds ? few : this.#sample)
    }
    yield* this.#measureScales(leaves)
    yield* this.#codebook()
    yield* this.#fill()
    yield* this.#catchUp()
  }

  /** How many leaves are to have centroids: some stay free for what will be far from all others. */
  #begin(): number {
    const { leaves } = this.#order
    this.#tree.reset(leaves)
    const isAllUsed = this.#tree.memory.shape.exactDims === 0
    return isAllUsed ? leaves : leaves - Math.floor(leaves / freeOf)
  }

  *#takeSample(most: number): Generator<number, void> {
    const { items, idLimit } = this.#order
    const step = Math.max(1, items / most)
    const sample = new Int32Array(Math.min(items, most) + 1)
    let [seen, next, n] = [0, 0, 0]
    for (let id = 0; id < idLimit; id += 1) {
      if (id % (treeChunk * 64) === 0) yield treeChunk
      if (!this.#isThere(id)) continue
      if (seen >= next && n < sample.length) {
        sample[n] = id
        n += 1
        next += step
      }
      seen += 1
    }
    this.#sample = sample.subarray(0, n)
  }

  *#measureRanges(): Generator<number, void> {
    const { rows, stride, coded } = this.#tree.memory
    const ranges = new Float32Array(coded)
    for (const [i, id] of this.#sample.entries()) {
      if (i % (treeChunk * 16) === 0) yield treeChunk
      for (let d = 0; d < coded; d += 1) {
        ranges[d] = Math.max(ranges[d], Math.abs(rows[id * stride + d]))
      }
    }
    this.#tree.setRanges(ranges)
  }

  #firstCentroids(leaves: number): void {
    const sample = this.#sample
    const n = Math.min(leaves, sample.length)
    for (let leaf = 0; leaf < n; leaf += 1) {
      this.#toRow(leaf, sample[Math.floor((leaf * sample.length) / n)])
    }
  }

  #toRow(leaf: number, id: number): void {
    const { rows, stride, coded } = this.#tree.memory
    this.#tree.setCentroid(leaf, rows.subarray(id * stride, id * stride + coded))
  }

  *#lloyd(leaves: number, sample: Int32Array): Generator<number, void> {
    const { sums, counts } = this.#memory.growth
    const { kernels, layout, coded } = this.#tree.memory
    sums.view.fill(0)
    counts.view.fill(0)
    for (const n of this.#assigned(sample)) {
      const { ids, leaves: nearest } = this.#memory.staging
      kernels.treeSums(layout, ids.address, nearest.address, n, sums.address, counts.address)
      yield n
    }
    let spare = 0
    for (let leaf = 0; leaf < leaves; leaf += 1) {
      if (leaf % treeChunk === 0) yield treeChunk
      const count = counts.view[leaf]
      if (count > 0) {
        const sum = sums.view.slice(leaf * coded, (leaf + 1) * coded)
        this.#tree.setCentroid(
          leaf,
          sum.map((value) => value / count),
        )
      } else {
        // A leaf that nothing is near to starts again at some sampled vector.
        spare += 7919
        this.#toRow(leaf, this.#sample[spare % this.#sample.length])
      }
    }
  }

  /** Assigns those ids that are still there, a chunk a time; yields how many are staged. */
  *#assigned(ids: Int32Array): Generator<number, void> {
    for (let from = 0; from < ids.length; from += treeChunk) {
      const part = ids.subarray(from, from + treeChunk).filter(this.#isThere)
      this.#tree.assign(part)
      yield part.length
    }
  }

  *#codebook(): Generator<number, void> {
    const { codeSums } = this.#memory.growth
    const { kernels, layout } = this.#tree.memory
    const step = Math.max(1, Math.ceil(this.#sample.length / codeSamples))
    const sample = everyNth(this.#sample, step)
    this.#firstLevels()
    for (let round = 0; round < codeRounds; round += 1) {
      codeSums.view.fill(0)
      for (const n of this.#assigned(sample)) {
        const { ids, leaves } = this.#memory.staging
        kernels.treeCodeSums(layout, ids.address, leaves.address, n, codeSums.address)
        yield n
      }
      this.#moveLevels()
    }
  }

  /** Each level to the mean of what is nearest to it. */
  #moveLevels(): void {
    const { coded } = this.#tree.memory
    const sums = this.#memory.growth.codeSums.view
    for (let d = 0; d < coded; d += 1) {
      const levels = this.#tree.levels(d).map((level, code) => {
        const [sum, count] = sums.subarray(d * 32 + code * 2, d * 32 + code * 2 + 2)
        return count === 0 ? level : sum / count
      })
      this.#tree.setLevels(d, levels)
    }
  }

  /** How far vectors are from their centroids, and from that each leaf's scale. */
  *#measureScales(leaves: number): Generator<number, void> {
    const squares = new Float64Array(leaves)
    const members = new Uint32Array(leaves)
    for (const n of this.#assigned(this.#sample)) {
      const { ids, leaves: nearest } = this.#memory.staging
      for (let i = 0; i < n; i += 1) {
        squares[nearest.view[i]] += this.#tree.square(ids.view[i], nearest.view[i])
        members[nearest.view[i]] += 1
      }
      yield n
    }
    const total = squares.reduce((sum, square) => sum + square, 0)
    this.#tree.setSpread(total / Math.max(1, this.#sample.length))
    for (let leaf = 0; leaf < leaves; leaf += 1) {
      this.#tree.setScale(leaf, squares[leaf], members[leaf])
    }
  }

  /** As if residuals were normal, of deviation 1 in units of their leaves' scales. */
  #firstLevels(): void {
    const { coded } = this.#tree.memory
    const levels = [...normalLevels.map((level) => -level), ...normalLevels]
    for (let d = 0; d < coded; d += 1) {
      this.#tree.setLevels(d, Float32Array.from(levels))
    }
  }

  *#fill(): Generator<number, void> {
    const chunk = new Int32Array(treeChunk)
    for (let id = 0; id < this.#order.idLimit;) {
      let n = 0
      for (; id < this.#order.idLimit && n < treeChunk; id += 1) {
        if (!this.#isThere(id)) continue
        chunk[n] = id
        n += 1
      }
      this.#tree.place(chunk.subarray(0, n))
      yield treeChunk
    }
  }

  /**
   * What has changed meanwhile, until that is little; whoever takes the tree over does the rest.
   */
  *#catchUp(): Generator<number, void> {
    for (let round = 0; round < catchUps; round += 1) {
      let changed = 0
      for (const ids of this.#memory.changed.take()) {
        this.#tree.settle(ids, this.#isThere)
        changed += ids.length
        yield ids.length
      }
      if (changed <= fewChanged) return
    }
  }
}
