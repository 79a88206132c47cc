/**
 * A partition of the flat index's vectors into leaves (tree-AH, Guo et al. 2020): which leaf an id
 * is in, and its code there. Vectors themselves stay where they are, in the flat index's rows.
 *
 * Leaves part vectors by direction alone: tails (popularity) have no say in which a vector belongs
 * to. Weighed as queries weigh it, popularity put what had become popular into one leaf, whatever
 * its direction, where no query came upon it; as it is, a leaf is chosen for the greatest tail that
 * it holds.
 */
import type { Block } from '../kernels/arena.ts'
import { treeGroup, treeLayout } from '../kernels/tree-kernels.ts'
import type { TreeMemory } from './tree-memory.ts'

/** Ids that are worked on at a time. */
export const treeChunk = 64

/** Coordinates of a leaf's members that may be coded anew in one step: a millisecond's work. */
const recodedFloats = 131_072

/** Members that the mean of all leaves counts for in a leaf's scale. */
const priorMembers = 2

/** A leaf is badly coded if one in so many of its members is. */
const straysOf = 8

/**
 * The range of vectors is so many steps of rounded centroids, which may go beyond it up to the
 * most that kernels take.
 */
const [rangeSteps, mostSteps] = [2_047, 8_191]

/** Of a leaf that goes where its members are at once. */
const fewMembers = 8

/** A member so many times as far from the centroid, squared, as others is no match for it. */
const farSquares = 3

/** Leaves of fewer than one in so many of the mean may be given to such a member. */
const smallShare = 4

/** A leaf of so many times the mean is crowded. */
const crowdTolerance = 4

/** Where ids and their leaves are put for the kernels; one for all trees of an arena. */
export interface TreeStaging {
  readonly ids: Block<Uint32Array>
  readonly leaves: Block<Uint32Array>
}

/**
 * Invariants: an id is in at most one leaf; a leaf without a centroid has a bias of -Infinity and
 * no members; leaf 0 always has one once there are any.
 */
export class Tree {
  readonly memory: TreeMemory
  /** Items that it was last grown for: for whoever answers by it. */
  grownItems = 0
  readonly #staging: TreeStaging

  constructor(memory: TreeMemory, staging: TreeStaging) {
    this.memory = memory
    this.#staging = staging
  }

  /** Room for centroids. */
  get leafLimit(): number {
    return this.memory.record[treeLayout.panels] * treeGroup
  }

  get largestLeaf(): number {
    const { sizes } = this.memory
    let largest = 0
    for (let leaf = 0; leaf < this.leafLimit; leaf += 1) largest = Math.max(largest, sizes[leaf])
    return largest
  }

  /** About as many as there are members: those that its blocks have room for. */
  get items(): number {
    return this.memory.record[treeLayout.usedBlocks] * treeGroup
  }

  get bytes(): number {
    const { record, blockBytes, shape, coded } = this.memory
    const blocks = record[treeLayout.usedBlocks] * (blockBytes + 8)
    return blocks + this.leafLimit * (coded + 6) * 4 + shape.capacityItems * 4
  }

  /** Forgets all members and centroids; room for `leaves` of them. */
  reset(leaves: number): void {
    const { record, floats, places, biases, heads, sizes, strays, kernels } = this.memory
    record[treeLayout.panels] = Math.ceil(leaves / treeGroup)
    record[treeLayout.freeBlock] = 0
    record[treeLayout.usedBlocks] = 0
    floats[treeLayout.spread] = Infinity
    // Faster than `fill`, which is slow on shared memory.
    kernels.clear(record[treeLayout.places], 0, places.length)
    biases.fill(-Infinity)
    this.memory.bases.fill(-Infinity)
    const { tailEnds } = this.memory
    for (let i = 0; i < tailEnds.length; i += 1) {
      tailEnds[i] = i % (treeGroup * 2) < treeGroup ? -Infinity : Infinity
    }
    heads.fill(0)
    sizes.fill(0)
    strays.fill(0)
    record[treeLayout.allStrays] = 0
  }

  has(id: number): boolean {
    return this.memory.places[id] !== 0
  }

  centroid(leaf: number): Float32Array {
    const { centroids, coded } = this.memory
    const first = (leaf >> 5) * coded * treeGroup + (leaf & 31)
    return Float32Array.from({ length: coded }, (_, d) => centroids[first + d * treeGroup])
  }

  /** The leaf that an id is in, or -1. */
  leafOf(id: number): number {
    const { places, owners } = this.memory
    const place = places[id]
    return place === 0 ? -1 : owners[(place - 1) >>> 5]
  }

  /** Greatest magnitudes of vectors' coordinates, by which centroids are rounded: comes first. */
  setRanges(ranges: Float32Array): void {
    this.memory.roundUnits.set(ranges.map((range) => range / rangeSteps))
  }

  setCentroid(leaf: number, centroid: Float32Array): void {
    const { centroids, biases, bases, roundCentroids, roundUnits, coded } = this.memory
    const first = (leaf >> 5) * coded * treeGroup + (leaf & 31)
    const firstRound = ((leaf >> 5) * Math.ceil(coded / 2) * treeGroup + (leaf & 31)) * 2
    let square = 0
    for (let d = 0; d < coded; d += 1) {
      centroids[first + d * treeGroup] = centroid[d]
      const steps = roundUnits[d] === 0 ? 0 : Math.round(centroid[d] / roundUnits[d])
      const at = firstRound + (d >> 1) * treeGroup * 2 + (d & 1)
      roundCentroids[at] = Math.max(-mostSteps, Math.min(mostSteps, steps))
      square += centroid[d] * centroid[d]
    }
    bases[leaf] = -square / 2
    biases[leaf] = bases[leaf]
  }

  /** A coded coordinate less that of a leaf's centroid. */
  #residual(id: number, leaf: number, d: number): number {
    const { centroids, rows, stride, coded } = this.memory
    const panel = (leaf >> 5) * coded
    return rows[id * stride + d] - centroids[(panel + d) * treeGroup + (leaf & 31)]
  }

  /** The squared distance of an id from a leaf's centroid, tails left out. */
  square(id: number, leaf: number): number {
    let square = 0
    for (let d = 0; d < this.memory.coded; d += 1) square += this.#residual(id, leaf, d) ** 2
    return square
  }

  /**
   * A leaf's unit: the deviation of its members' coordinates, by the sum of their squares. Where
   * they are few, what all leaves have counts in.
   */
  setScale(leaf: number, squares: number, members: number): void {
    const { scales, coded, floats } = this.memory
    const spread = floats[treeLayout.spread]
    const known = Number.isFinite(spread) ? priorMembers : 0
    const mean = (squares + (known === 0 ? 0 : known * spread)) / (members + known)
    scales[leaf] = Math.sqrt(mean / coded)
  }

  /** What the codes of a dimension stand for, ascending. */
  levels(d: number): Float32Array {
    return this.memory.codebook.slice(d * 32, d * 32 + 16)
  }

  /** Members that are there keep their codes: for a tree without any. */
  setLevels(d: number, levels: Float32Array): void {
    const { codebook } = this.memory
    const sorted = levels.toSorted()
    codebook.set(sorted, d * 32)
    for (let code = 0; code < 15; code += 1) {
      codebook[d * 32 + 16 + code] = (sorted[code] + sorted[code + 1]) / 2
    }
    codebook[d * 32 + 31] = Infinity
  }

  /**
   * Makes crowded leaves harder to enter, the more so the more crowded. When all vectors drift, as
   * with towers that have just begun to learn, one leaf near the middle is the nearest to most of
   * them; so it sheds them at the rate at which they are embedded again, without being gone over.
   * (Competition with a conscience: DeSieno 1988.)
   */
  weigh(): void {
    const { biases, bases, sizes } = this.memory
    const { leafLimit } = this
    const tolerated = crowdTolerance * (this.items / Math.max(1, leafLimit)) + 1
    // In units of the centroids' own squares: the distances that drifting vectors are at.
    let unit = 0
    for (let leaf = 0; leaf < leafLimit; leaf += 1) {
      if (biases[leaf] > -Infinity) unit -= bases[leaf] / leafLimit
    }
    for (let leaf = 0; leaf < leafLimit; leaf += 1) {
      if (biases[leaf] === -Infinity) continue
      const crowd = sizes[leaf] / tolerated
      biases[leaf] = bases[leaf] - (crowd > 1 ? unit * (crowd - 1) : 0)
    }
  }

  /** Puts ids (at most `treeChunk`), or moves them, to their nearest leaves. */
  place(ids: Int32Array): void {
    this.#staging.ids.view.set(ids)
    this.#placeStaged(ids.length)
  }

  #placeStaged(n: number): void {
    const { kernels, layout } = this.memory
    const { ids, leaves } = this.#staging
    kernels.treeAssign(layout, ids.address, n, leaves.address)
    this.#putStaged(n)
    this.#gather(n)
  }

  /** Leaves of a few, in which somebody has been placed, have their centroids among them. */
  #gather(n: number): void {
    const { sizes } = this.memory
    const leaves = this.#staging.leaves.view
    for (let i = 0; i < n; i += 1) {
      const leaf = leaves[i]
      // Once for all that have come to it.
      if (sizes[leaf] <= fewMembers && leaves.indexOf(leaf) === i) this.#moveCentroid(leaf)
    }
  }

  /**
   * Takes over the rows of ids (at most `treeChunk`) that are new or others: what is far from its
   * leaf moves to the nearest one.
   */
  update(ids: Int32Array): void {
    const { kernels, layout } = this.memory
    this.#staging.ids.view.set(ids)
    const strays = kernels.treeRefresh(layout, this.#staging.ids.address, ids.length)
    if (strays === 0) return
    this.#placeStaged(strays)
    if (this.memory.shape.exactDims > 0) this.#setApart(strays)
  }

  /**
   * What is most popular in its leaf and far from it, as what has just been trained much is from
   * all others, would be missed by every query to which it is near and the leaf is not. So it gets
   * a leaf of its own; the first of those staged.
   */
  #setApart(n: number): void {
    const { sizes, scales } = this.memory
    const { ids, leaves } = this.#staging
    for (let i = 0; i < n; i += 1) {
      const [id, leaf] = [ids.view[i], leaves.view[i]]
      if (sizes[leaf] <= fewMembers || this.#tailOf(id) < this.#greatestTail(leaf)) continue
      if (this.#isNear(id, leaf)) continue
      this.#giveLeaf(id, scales[leaf])
      return
    }
  }

  /** That of a few who are less popular and find room elsewhere, if there is one. */
  #giveLeaf(id: number, scale: number): void {
    const { sizes, biases, scales, rows, stride, coded } = this.memory
    const leaf = this.#leastWanted(this.#tailOf(id))
    if (leaf < 0) return
    biases[leaf] = -Infinity
    const members = this.#members(leaf)
    for (let from = 0; from < members.length; from += treeChunk) {
      this.place(members.subarray(from, from + treeChunk))
    }
    if (sizes[leaf] > 0) return
    this.setCentroid(leaf, rows.subarray(id * stride, id * stride + coded))
    scales[leaf] = scale
    this.place(Int32Array.of(id))
  }

  /** The smallest leaf in which nobody is as popular; -1: all such leaves are large. */
  #leastWanted(tail: number): number {
    const { sizes } = this.memory
    let [found, fewest] = [-1, this.items / this.leafLimit / smallShare]
    for (let leaf = 1; leaf < this.leafLimit; leaf += 1) {
      if (sizes[leaf] >= fewest) continue
      if (sizes[leaf] > 0 && this.#greatestTail(leaf) >= tail) continue
      found = leaf
      fewest = sizes[leaf]
    }
    return found
  }

  /** The first of them. */
  #tailOf(id: number): number {
    const { rows, stride, coded } = this.memory
    return rows[id * stride + coded]
  }

  #greatestTail(leaf: number): number {
    const { tailEnds, shape } = this.memory
    return tailEnds[(leaf >> 5) * shape.exactDims * treeGroup * 2 + (leaf & 31)]
  }

  /**
   * Puts ids (at most `treeChunk`) back into the leaves that they were in (-1: none), those of them
   * that have centroids and are near still; all others into their nearest. Centroids stay.
   */
  putBack(ids: Int32Array, leaves: Int32Array): void {
    const isBack = ids.map((id, i) => Number(leaves[i] >= 0 && this.#isNear(id, leaves[i])))
    const others = ids.filter((_, i) => isBack[i] === 0)
    this.assign(others)
    this.#putStaged(others.length)
    this.#staging.ids.view.set(ids.filter((_, i) => isBack[i] === 1))
    this.#staging.leaves.view.set(leaves.filter((_, i) => isBack[i] === 1))
    this.#putStaged(ids.length - others.length)
  }

  /** Whether a leaf can have an id for a member; what is far is badly coded there. */
  #isNear(id: number, leaf: number): boolean {
    const { biases, scales, coded } = this.memory
    if (biases[leaf] === -Infinity) return false
    return this.square(id, leaf) <= farSquares * coded * scales[leaf] ** 2
  }

  #putStaged(n: number): void {
    const { kernels, layout } = this.memory
    const { ids, leaves } = this.#staging
    kernels.treePlace(layout, ids.address, leaves.address, n)
  }

  /** Brings ids (at most `treeChunk`) up to date: those that are there in, the others out. */
  settle(ids: Int32Array, isThere: (id: number) => boolean): void {
    this.remove(ids.filter((id) => !isThere(id)))
    this.place(ids.filter(isThere))
  }

  /** Leaves ids and their nearest leaves in the staging area. */
  assign(ids: Int32Array): void {
    const { kernels, layout } = this.memory
    const staging = this.#staging
    staging.ids.view.set(ids)
    kernels.treeAssign(layout, staging.ids.address, ids.length, staging.leaves.address)
  }

  /**
   * Moves a leaf's centroid to the mean of its members, codes them anew, and puts those that have
   * strayed from it into the leaves nearest to them; yields the vectors gone over. Between two
   * steps every member is coded for the centroid that its leaf has; a leaf too large for that in
   * one step stays.
   */
  *recenter(leaf: number): Generator<number, void> {
    const strayed = this.#moveCentroid(leaf)
    if (strayed < 0) return
    const strays = Int32Array.from(this.memory.members.view.subarray(0, strayed))
    yield this.memory.sizes[leaf]
    yield* this.#placeAgain(strays)
  }

  /**
   * Gives those leaves new centroids and scales that have been given too many vectors out of their
   * range: what was coded for other vectors than there are now.
   */
  *rescale(): Generator<number, void> {
    const { record, strays, sizes } = this.memory
    record[treeLayout.allStrays] = 0
    for (let leaf = 0; leaf < this.leafLimit; leaf += 1) {
      if (leaf % treeChunk === 0) yield 1
      if (strays[leaf] * straysOf <= sizes[leaf]) continue
      if (this.#moveCentroid(leaf) >= 0) yield sizes[leaf]
    }
  }

  /** Whether so many vectors are badly coded that `rescale` is worth while. */
  isStrayed(items: number): boolean {
    return this.memory.record[treeLayout.allStrays] * straysOf * 4 > items
  }

  /**
   * And its scale; returns how many members have strayed from it, which `members` has then. -1: it
   * has none, or more than one step has time for.
   */
  #moveCentroid(leaf: number): number {
    const { kernels, layout, coded, stride, strays, record, sizes, members, sums } = this.memory
    const n = sizes[leaf]
    if (n === 0 || n * coded > recodedFloats) return -1
    kernels.treeLeafSums(layout, leaf, sums.address)
    const means = sums.view.subarray(0, coded).map((sum) => sum / n)
    // The squared distances from the mean: what the mean itself accounts for taken away.
    const ofMean = means.reduce((sum, mean) => sum + mean * mean, 0)
    const squares = sums.view[stride] - n * ofMean
    this.setCentroid(leaf, means)
    this.setScale(leaf, Math.max(0, squares), n)
    // What is still out of range with a scale of its own is not worth another.
    const others = record[treeLayout.allStrays]
    const strayed = kernels.treeEncodeLeaf(layout, leaf, members.address)
    record[treeLayout.allStrays] = others
    strays[leaf] = 0
    return strayed
  }

  /**
   * Parts a leaf: the leaf with the fewest members, if those are at most `most`, gives them to
   * others and starts again at a member of this one.
   */
  *split(leaf: number, most: number): Generator<number, void> {
    const { sizes, biases, scales, rows, stride, coded } = this.memory
    const spare = this.#sparsest()
    if (sizes[spare] > most || spare === leaf) return
    biases[spare] = -Infinity
    yield* this.#placeAgain(this.#members(spare))
    const ids = this.#members(leaf)
    if (sizes[spare] > 0 || ids.length === 0) return
    const row = ids[ids.length >> 1] * stride
    this.setCentroid(spare, rows.subarray(row, row + coded))
    scales[spare] = scales[leaf]
    yield* this.#placeAgain(ids)
  }

  #members(leaf: number): Int32Array {
    const { kernels, layout, members } = this.memory
    const n = kernels.treeMembers(layout, leaf, members.address)
    return Int32Array.from(members.view.subarray(0, n))
  }

  *#placeAgain(ids: Int32Array): Generator<number, void> {
    for (let from = 0; from < ids.length; from += treeChunk) {
      this.place(ids.subarray(from, from + treeChunk).filter((id) => this.has(id)))
      yield treeChunk
    }
  }

  /** The leaf with the fewest members; not the first, which is where a stray goes. */
  #sparsest(): number {
    const { sizes } = this.memory
    let sparsest = 1
    for (let leaf = 2; leaf < this.leafLimit; leaf += 1) {
      if (sizes[leaf] < sizes[sparsest]) sparsest = leaf
    }
    return sparsest
  }

  remove(ids: Int32Array): void {
    const { kernels, layout } = this.memory
    for (const n of this.#staged(ids)) kernels.treeRemove(layout, this.#staging.ids.address, n)
  }

  /** Takes over the tails of rows. */
  refreshTails(ids: Int32Array): void {
    const { kernels, layout } = this.memory
    for (const n of this.#staged(ids)) kernels.treeTails(layout, this.#staging.ids.address, n)
  }

  /** The mean squared distance of vectors from their centroids, tails left out. */
  setSpread(spread: number): void {
    this.memory.floats[treeLayout.spread] = spread
  }

  /** Stages ids, a chunk at a time; yields how many. */
  *#staged(ids: Int32Array): Generator<number> {
    for (let from = 0; from < ids.length; from += treeChunk) {
      const part = ids.subarray(from, from + treeChunk)
      this.#staging.ids.view.set(part)
      yield part.length
    }
  }
}
