/** Searches of trees: one query at a time, with its tables, leaf scores and reservoirs in place. */
import type { Block } from '../kernels/arena.ts'
import type { Kernels } from '../kernels/kernels.ts'
import { absent } from '../kernels/operands.ts'
import { reservoir, treeQuery } from '../kernels/tree-kernels.ts'
import type { Bitmap, SearchResult } from './ann-index.ts'
import type { FlatMemory } from './flat-memory.ts'
import { codesOf, type TreeShape } from './tree-memory.ts'
import type { Tree } from './tree.ts'

export interface TreeSearchShape extends TreeShape {
  /** The largest k and reorder. */
  readonly maxFound: number
}

export interface TreeEffort {
  /** Leaves that are scanned first, and found members that are ranked by their rows. */
  readonly leaves: number
  readonly reorder: number
}

export interface TreeQuestion {
  readonly query: Float32Array
  readonly k: number
  readonly effort: TreeEffort
  /** Absent: every id may be returned. */
  readonly filter?: TreeFilter | undefined
}

export interface TreeFilter {
  readonly allow: Bitmap
  /** Up to so many allowed ids it is cheaper to score them all. */
  readonly few: number
  /** How many there are in all, about. */
  readonly items: number
}

/** Of a search that was not made. */
export const tooFew = -1

/** Codes that one step of a search in steps goes over: a tenth of a millisecond's work. */
const codesPerStep = 2_097_152

/**
 * What a search costs in vectors that find their leaf, a microsecond each for 400 leaves: points
 * count for four times what they take where memory is near, as nobody has asked lately for them.
 */
const costOf = (leaves: number, points: number): number =>
  Math.ceil(((15 + points / 250) * 400) / leaves)

/** Keys of a reservoir of so many: the more beyond, the rarer the selections. */
const keysFor = (keep: number): number => keep * 2 + 64

export class TreeSearch {
  readonly ids: Block<Uint32Array>
  readonly scores: Block<Float32Array>
  readonly #query: Block<Uint32Array>
  readonly #floats: Float32Array
  readonly #vector: Float32Array
  readonly #allow: Block<Uint32Array>
  /** Words of the last filter; those behind are 0. */
  #allowWords = 0

  static bytes(shape: TreeSearchShape): number {
    const { dim, maxLeaves, capacityItems, maxFound } = shape
    const words = treeQuery.words + dim + 4 + codesOf(shape) * 4 + maxLeaves * 2
    const found = keysFor(maxFound) * 2 + maxFound * 2 + keysFor(maxLeaves) * 2
    return (words + found + capacityItems / 32) * 4 + 10 * 64
  }

  constructor({ arena, stride }: FlatMemory, shape: TreeSearchShape) {
    const { maxLeaves, capacityItems, maxFound } = shape
    const codes = codesOf(shape)
    const vector = arena.floats(stride)
    this.#query = arena.words(treeQuery.words)
    this.#floats = new Float32Array(arena.memory.buffer, this.#query.address, treeQuery.words)
    this.#vector = vector.view
    this.#allow = arena.words(Math.ceil(capacityItems / 128) * 4)
    this.ids = arena.words(maxFound)
    this.scores = arena.floats(maxFound)
    const record = this.#query.view
    record[treeQuery.vector] = vector.address
    record[treeQuery.tables] = arena.bytes(codes * 16).address
    record[treeQuery.leafScores] = arena.floats(maxLeaves * 2).address
    record[treeQuery.leaves + reservoir.keys] = arena.words(keysFor(maxLeaves) * 2).address
    record[treeQuery.found + reservoir.keys] = arena.words(keysFor(maxFound) * 2).address
  }

  /**
   * Leaves ids and scores, best first, in `ids` and `scores`; returns how many, or `tooFew` if so
   * few ids are allowed that it is cheaper to score them all.
   */
  search(tree: Tree, { query, k, effort, filter }: TreeQuestion): number {
    const { kernels } = tree.memory
    const allowed = this.#filter(filter, kernels)
    if (filter !== undefined && allowed <= filter.few) return tooFew
    this.#prepare(tree, query, Math.max(k, effort.reorder))
    const rarity = filter === undefined ? 1 : filter.items / allowed
    const leaves = Math.ceil(effort.leaves * Math.sqrt(Math.max(1, rarity)))
    this.#scan(tree, Math.min(leaves, tree.leafLimit), k, rarity > 2)
    return this.#finish(tree, k)
  }

  /**
   * The same of all ids, for who need not answer at once; what changes between two steps may or may
   * not be found. Each yields what it cost in vectors that find their leaf.
   */
  *inSteps(tree: Tree, question: Omit<TreeQuestion, 'filter'>): Generator<number, number> {
    const { kernels, layout, codes } = tree.memory
    const { query, k, effort } = question
    const leaves = Math.min(effort.leaves, tree.leafLimit)
    const pointsOfLeaf = Math.max(1, tree.items / tree.leafLimit)
    const leavesPerStep = Math.ceil(codesPerStep / codes / pointsOfLeaf)
    const cost = costOf(tree.leafLimit, Math.min(leaves, leavesPerStep) * pointsOfLeaf)
    if (leaves > leavesPerStep) {
      this.#query.view[treeQuery.allow] = absent
      this.#prepare(tree, query, Math.max(k, effort.reorder))
      const { address } = this.#query
      const chosen = this.#choose(tree, leaves, -1)
      for (let from = 0; from < chosen; from += leavesPerStep) {
        kernels.treeScan(layout, address, from, from + leavesPerStep)
        yield cost
      }
      if (kernels.treeReach(address, k) > -Infinity) return this.#finish(tree, k)
    }
    const found = this.search(tree, question)
    yield cost
    return found
  }

  #prepare(tree: Tree, query: Float32Array, reorder: number): void {
    const { kernels, layout } = tree.memory
    this.#vector.set(query)
    this.#reservoir(treeQuery.found, reorder)
    kernels.treePrepare(layout, this.#query.address)
  }

  /** The best leaves behind one of them, or, after -1, of all; returns how many there are. */
  #choose(tree: Tree, wanted: number, after: number): number {
    const { kernels, layout } = tree.memory
    this.#reservoir(treeQuery.leaves, wanted)
    kernels.treeChoose(layout, this.#query.address, after)
    return this.#query.view[treeQuery.leaves + reservoir.size]
  }

  #finish(tree: Tree, k: number): number {
    const { kernels, layout } = tree.memory
    const { ids, scores } = this
    return kernels.treeFinish(layout, this.#query.address, k, ids.address, scores.address)
  }

  /** Views of the first of them. */
  found(count: number): SearchResult {
    const ids = new Int32Array(this.ids.view.buffer, this.ids.address, count)
    return { ids, scores: this.scores.view.subarray(0, count) }
  }

  /**
   * Scans the best leaves. A search that finds fewer than k goes on with twice as many; one that
   * seeks what is rare goes on until a half of what it scanned has brought nothing better.
   */
  #scan(tree: Tree, leaves: number, k: number, isRare: boolean): void {
    const { kernels, layout } = tree.memory
    const { address } = this.#query
    let [wanted, after, scanned] = [leaves, -1, 0]
    let reach = -Infinity
    for (;;) {
      const chosen = this.#choose(tree, wanted, after)
      kernels.treeScan(layout, address, 0, chosen)
      if (chosen < wanted) return
      const before = reach
      reach = kernels.treeReach(address, k)
      if (reach > -Infinity && (!isRare || reach === before)) return
      scanned += chosen
      after = this.#lastLeaf(chosen)
      wanted = Math.min(scanned, tree.leafLimit)
    }
  }

  /** Puts a filter where the kernels find it; returns how many ids it allows. */
  #filter(filter: TreeFilter | undefined, kernels: Kernels): number {
    const { view, address } = this.#allow
    this.#query.view[treeQuery.allow] = filter === undefined ? absent : address
    if (filter === undefined) return Infinity
    const { allow } = filter
    view.set(allow.length > view.length ? allow.subarray(0, view.length) : allow)
    if (allow.length < this.#allowWords) view.fill(0, allow.length, this.#allowWords)
    this.#allowWords = Math.min(allow.length, view.length)
    return kernels.treeCountBits(address, Math.ceil(this.#allowWords / 4) * 4)
  }

  #reservoir(at: number, keep: number): void {
    const record = this.#query.view
    record[at + reservoir.keep] = keep
    record[at + reservoir.capacity] = keysFor(keep)
    record[at + reservoir.size] = 0
    this.#floats[at + reservoir.least] = -Infinity
  }

  #lastLeaf(chosen: number): number {
    const keys = new Uint32Array(
      this.#query.view.buffer,
      this.#query.view[treeQuery.leaves + reservoir.keys],
      chosen * 2,
    )
    return ~keys[(chosen - 1) * 2]
  }
}
