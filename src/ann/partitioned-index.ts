/**
 * The index for large catalogues: flat while there are few items, a tree of leaves above it once
 * there are many (ScaNN's tree-AH; Guo et al. 2020). Vectors lie in the flat index either way, so
 * exact search is always there, and a tree is only a way to pass over most of them.
 *
 * The index looks after itself in `maintain`, a little at a time between queries: it has a tree
 * grown when the catalogue has grown, audits it against exact search before it takes over, chooses
 * the effort that holds the recall target, and lets centroids follow their members. A second
 * tree's memory is reserved for the next one, which is grown beside the first, by another thread
 * where there is one, and thrown away if it is no better.
 */
import { ServiceError } from '../base/errors.ts'
import type { KernelImplementation } from '../kernels/kernels.ts'
import { treeGroup } from '../kernels/tree-kernels.ts'
import type { AnnIndex, Bitmap, IndexStats, SearchOptions, SearchResult } from './ann-index.ts'
import { type Background, InlineBackground } from './background.ts'
import { FlatIndex } from './flat-index.ts'
import { FlatMove } from './flat-move.ts'
import { flatOptionsOf, IndexMemory, type IndexShape } from './index-memory.ts'
import { QueryRing } from './query-ring.ts'
import type { TreeImage } from './tree-image.ts'
import { tooFew, type TreeEffort, type TreeFilter } from './tree-search.ts'
import { TreeUpkeep } from './tree-upkeep.ts'
import type { Tree } from './tree.ts'

export interface PartitionedIndexOptions {
  /** Floats per vector. */
  readonly dim: number
  /** The last so many dimensions are scored in f32 always, and may be updated alone. Default 0. */
  readonly exactDims?: number
  /** Ids are below this. */
  readonly capacityItems: number
  /** Up to so many items every vector is scored. Default 10,000. */
  readonly flatBelow?: number
  /** Recall@10 that the effort is chosen to hold when a search names none. Default .97. */
  readonly recallTarget?: number
  /** Leaves for so many items; rounded up to a multiple of 32. */
  readonly leavesFor?: (items: number) => number
  /** The largest k of a search. Default 2,000. */
  readonly maxK?: number
  readonly implementation?: KernelImplementation
  /** Where trees are grown. Default: in `maintain`. */
  readonly background?: Background
}

/** 12 n^(3/8): measured best between 10,000 and a million, where it is 2,100. */
function defaultLeaves(items: number): number {
  const root = Math.sqrt(Math.sqrt(Math.sqrt(items)))
  return Math.max(treeGroup, 12 * root * root * root)
}
const toWhole = (count: number): number => Math.ceil(count / treeGroup) * treeGroup

/** What is ranked by rows beyond k: codes mistake some places, more of them the more are wanted. */
const reorderOf = (k: number, effort: number): number =>
  k + Math.ceil((15 + k / 2) * (0.5 + 4 * effort + 20 * effort ** 4))

/**
 * From one leaf to all of them, each step of effort by the same factor; of a tree whose leaves are
 * emptier than when it was grown, so many more of them, and more than that, since what is nearest
 * lies farther away: with as many points scanned as before recall falls from .98 to .88 where one
 * leaf was enough and one vector in 25 is left.
 */
const effortOf = (tree: Tree, items: number, k: number, effort: number): TreeEffort => ({
  leaves: Math.ceil(tree.leafLimit ** effort * Math.max(1, tree.grownItems / items) ** 1.5),
  reorder: reorderOf(k, effort),
})

/** Vectors' worth that a step of a move counts for: nothing else is done in its slice. */
const wholeSlice = 256

/** An index that had so many times what a scan answers, and has so few now, begins anew. */
const vacatedFactor = 8

/** What another thread saves an index from: see `IndexMemory`. */
export interface SavePoint {
  readonly answering: { readonly tree: 0 | 1; readonly effort: number } | undefined
  readonly items: number
  readonly idLimit: number
}

/** Invariant: every tree that answers holds the ids of the flat index, and no others. */
export class PartitionedIndex implements AnnIndex {
  readonly dim: number
  readonly exactDims: number
  readonly maxK: number
  readonly #upkeep: TreeUpkeep
  readonly #queries = new QueryRing()
  readonly #shape: IndexShape
  readonly #background: Background
  readonly #flatBelow: number
  #flat: FlatIndex
  #memory: IndexMemory
  /** Items, at most, since the memory was laid out. */
  #mostItems = 0
  /** To the memory that comes after this one. */
  #move: FlatMove | undefined
  #isSaving = false

  constructor(options: PartitionedIndexOptions) {
    const leavesFor = (items: number): number =>
      toWhole((options.leavesFor ?? defaultLeaves)(items))
    const { background = new InlineBackground(), flatBelow = 10_000 } = options
    const shape = shapeOf(options, leavesFor)
    this.dim = shape.dim
    this.exactDims = shape.exactDims
    this.maxK = shape.maxK
    this.#shape = shape
    this.#background = background
    this.#flatBelow = flatBelow
    this.#flat = new FlatIndex(flatOptionsOf(shape))
    this.#memory = this.#open(this.#flat)
    this.#upkeep = new TreeUpkeep({
      flat: this.#flat,
      memory: this.#memory,
      background,
      queries: this.#queries,
      effortOf: (tree, k, effort) => effortOf(tree, this.#items, k, effort),
      leavesFor,
      flatBelow,
      recallTarget: options.recallTarget ?? 0.97,
    })
  }

  /** Takes what `serialize` gave. Throws as `FlatIndex.load`. */
  static load(bytes: Uint8Array, options: PartitionedIndexOptions): PartitionedIndex {
    const index = new PartitionedIndex(options)
    index.#flat.take(bytes)
    return index
  }

  upsert(ids: Int32Array, vectors: Float32Array): void {
    this.#flat.upsert(ids, vectors)
    this.#move?.to.upsert(ids, vectors)
    this.#upkeep.changed(ids)
    this.#note(ids)
  }

  scores(query: Float32Array, ids: Int32Array): Float32Array {
    return this.#flat.scores(query, ids)
  }

  updateTail(ids: Int32Array, tails: Float32Array): void {
    this.#flat.updateTail(ids, tails)
    this.#move?.to.updateTail(ids, tails)
    this.#upkeep.tailsChanged(ids)
    this.#note(ids)
  }

  remove(ids: Int32Array): void {
    const known = ids.filter((id) => this.#flat.has(id))
    this.#upkeep.removed(known)
    this.#flat.remove(known)
    this.#move?.to.remove(known)
    this.#note(known)
  }

  has(id: number): boolean {
    return this.#flat.has(id)
  }

  vector(id: number): Float32Array | undefined {
    return this.#flat.vector(id)
  }

  search(queries: Float32Array, k: number, options: SearchOptions = {}): SearchResult {
    const { tree } = this.#upkeep
    if (options.exact === true) return this.#flat.search(queries, k, options)
    const n = this.#flat.countQueries(queries, k)
    for (let i = 0; i < n; i += 1) this.#queries.offer(this.#queryAt(queries, i))
    if (tree === undefined) return this.#flat.search(queries, k, options)
    const found = {
      ids: new Int32Array(n * k).fill(-1),
      scores: new Float32Array(n * k).fill(-Infinity),
    }
    const items = this.#items
    const effort = effortOf(tree, items, k, options.effort ?? this.#upkeep.effort)
    const { search } = this.#memory
    for (let i = 0; i < n; i += 1) {
      const query = this.#queryAt(queries, i)
      const filter = filterOf(bitmapOf(options.allow, i), items)
      const count = search.search(tree, { query, k, effort, filter })
      const part =
        count === tooFew
          ? this.#flat.search(query, k, { exact: true, allow: filter?.allow })
          : search.found(count)
      found.ids.set(part.ids, i * k)
      found.scores.set(part.scores, i * k)
    }
    return found
  }

  maintain(vectors: number): number {
    this.#mostItems = Math.max(this.#mostItems, this.#items)
    const done = this.#upkeep.work(vectors)
    return done === 0 ? this.#moveOn() : done
  }

  get #items(): number {
    return this.#flat.size
  }

  /** Behind the flat index's memory. */
  #open(flat: FlatIndex): IndexMemory {
    const memory = new IndexMemory(flat.memory, this.#shape, 0)
    this.#background.open({ shape: this.#shape, memory: memory.flat.arena.memory })
    return memory
  }

  /** Whether most of the memory was of vectors that have gone, and nobody is at work there. */
  get #isVacated(): boolean {
    if (this.#mostItems < this.#flatBelow * vacatedFactor || this.#isSaving) return false
    return this.#items < this.#flatBelow / 2 && this.#upkeep.isIdle
  }

  /** One step to a memory of its own, if most of this one is of no use any more. */
  #moveOn(): number {
    if (!this.#isVacated) {
      this.#move = undefined
      return 0
    }
    if (this.#move === undefined) {
      this.#move = new FlatMove(this.#flat, new FlatIndex(flatOptionsOf(this.#shape)))
    } else if (!this.#move.isDone) {
      this.#move.step()
    } else {
      this.#moveTo(this.#move.to)
    }
    return wholeSlice
  }

  #moveTo(flat: FlatIndex): void {
    this.#move = undefined
    this.#memory = this.#open(flat)
    this.#flat = flat
    this.#upkeep.moveTo(flat, this.#memory)
    this.#mostItems = this.#items
  }

  get isPressing(): boolean {
    return this.#upkeep.isPressing
  }

  rebuild(): void {
    this.#upkeep.regrow()
  }

  get isRebuilding(): boolean {
    return this.#upkeep.isRegrowing
  }

  stats(): IndexStats {
    const { tree } = this.#upkeep
    const flat = this.#flat.stats()
    if (tree === undefined) return flat
    return { ...flat, kind: 'tree', bytes: flat.bytes + tree.bytes, tree: this.#upkeep.stats() }
  }

  /** From here on what changes is marked, until `endSave`: what was saved of it is void. */
  beginSave(): SavePoint {
    this.#memory.unsaved.clear()
    this.#isSaving = true
    const { answering } = this.#upkeep
    return { answering, items: this.#items, idLimit: this.#flat.idLimit }
  }

  endSave(): void {
    this.#isSaving = false
  }

  /**
   * Takes over a tree that was saved: for an index without vectors, before `restore`. Throws
   * `INDEX_DAMAGED` for one that does not fit.
   */
  restoreTree(image: TreeImage, saved: { readonly effort: number; readonly items: number }): void {
    const { maxLeaves } = this.#memory.trees[0].memory.shape
    if (image.leaves % treeGroup !== 0 || image.leaves > maxLeaves) {
      const reason = `a tree of ${image.leaves} leaves, where ${maxLeaves} fit`
      throw new ServiceError('INDEX_DAMAGED', { reason })
    }
    this.#upkeep.restore(image, saved)
  }

  /**
   * Vectors that were saved and the leaves that they were in (-1: none). Throws as `upsert`, and
   * `INDEX_DAMAGED` for a leaf that is not in the tree.
   */
  restore(ids: Int32Array, vectors: Float32Array, leaves: Int32Array): void {
    const limit = this.#upkeep.leafLimit
    if (limit > 0 && leaves.some((leaf) => leaf >= limit)) {
      throw new ServiceError('INDEX_DAMAGED', { reason: `a leaf beyond the ${limit} of its tree` })
    }
    this.#flat.upsert(ids, vectors)
    this.#upkeep.restoreItems(ids, leaves)
  }

  #note(ids: Int32Array): void {
    if (this.#isSaving) this.#memory.unsaved.mark(ids)
  }

  #queryAt(queries: Float32Array, i: number): Float32Array {
    return queries.subarray(i * this.dim, (i + 1) * this.dim)
  }

  serialize(): Uint8Array {
    return this.#flat.serialize()
  }
}

/** So few allowed ids are all scored: 40 ns each, as many as a scan of all leaves codes in .3. */
const fewOf = (items: number): number => Math.max(1_536, items / 200)

const filterOf = (allow: Bitmap | undefined, items: number): TreeFilter | undefined =>
  allow === undefined ? undefined : { allow, few: fewOf(items), items }

function bitmapOf(allow: SearchOptions['allow'], query: number): Bitmap | undefined {
  return allow === undefined || allow instanceof Uint32Array ? allow : allow[query]
}

function shapeOf(
  options: PartitionedIndexOptions,
  leavesFor: (items: number) => number,
): IndexShape {
  const { dim, exactDims = 0, maxK = 2_000, implementation = 'wasm' } = options
  // The flat index has room for whole blocks.
  const capacityItems = toWhole(options.capacityItems)
  const [maxLeaves, maxFound] = [leavesFor(capacityItems), reorderOf(maxK, 1)]
  return { dim, exactDims, capacityItems, maxLeaves, maxFound, maxK, implementation }
}
