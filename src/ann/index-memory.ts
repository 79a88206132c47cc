/**
 * Where a partitioned index lies: the flat index's memory, and behind it two trees, one to answer
 * and one to be grown, the place where searches are made, and what two threads need of it each.
 * Everything is in one shared memory, laid out by the shape alone.
 */
import type { KernelImplementation } from '../kernels/kernels.ts'
import { ChangedIds } from './changed-ids.ts'
import { flatShapeOf } from './flat-index.ts'
import { FlatMemory } from './flat-memory.ts'
import { GrowthMemory, TreeMemory, treeBytes } from './tree-memory.ts'
import { TreeSearch, type TreeSearchShape } from './tree-search.ts'
import { Tree, treeChunk, type TreeStaging } from './tree.ts'

export interface IndexShape extends TreeSearchShape {
  readonly maxK: number
  readonly implementation: KernelImplementation
}

/** The flat index below, with room behind it. */
export const flatOptionsOf = (shape: IndexShape) =>
  ({
    dim: shape.dim,
    exactDims: shape.exactDims,
    capacityItems: shape.capacityItems,
    maxK: shape.maxK,
    precision: 'f32',
    extraBytes: reservedBytes(shape),
    implementation: shape.implementation,
  }) as const

/** Two trees, where they are grown, searches, and what each thread stages. */
const reservedBytes = (shape: IndexShape): number =>
  2 * TreeSearch.bytes(shape) +
  2 * treeBytes(shape) +
  GrowthMemory.bytes(shape) +
  2 * ChangedIds.bytes(shape.capacityItems) +
  2 * treeChunk * 8 +
  8 * 64

/** What another thread is given of an index. Can be cloned. */
export interface IndexSite {
  readonly shape: IndexShape
  readonly memory: WebAssembly.Memory
}

export class IndexMemory {
  readonly flat: FlatMemory
  readonly search: TreeSearch
  /** For audits, which take their time. */
  readonly audit: TreeSearch
  /** Each thread has its own objects over the same memory; one of the threads has the tree. */
  readonly trees: readonly [Tree, Tree]
  readonly staging: TreeStaging
  readonly growth: GrowthMemory
  /** Since the tree that is being grown was begun. */
  readonly changed: ChangedIds
  /** Since the save that is under way was begun. */
  readonly unsaved: ChangedIds

  /** The second thread's. */
  static attach({ shape, memory }: IndexSite): IndexMemory {
    return new IndexMemory(new FlatMemory(flatShapeOf(flatOptionsOf(shape)), memory), shape, 1)
  }

  /** `thread`: 0 for the one that answers, 1 for the other. */
  constructor(flat: FlatMemory, shape: IndexShape, thread: 0 | 1) {
    const { arena } = flat
    this.flat = flat
    this.search = new TreeSearch(flat, shape)
    this.audit = new TreeSearch(flat, shape)
    const stagings = [0, 1].map(() => ({
      ids: arena.words(treeChunk),
      leaves: arena.words(treeChunk),
    }))
    this.staging = stagings[thread]
    const tree = (): Tree => new Tree(new TreeMemory(flat, shape), this.staging)
    this.trees = [tree(), tree()]
    this.growth = new GrowthMemory(arena, shape)
    this.changed = new ChangedIds(arena, shape.capacityItems)
    this.unsaved = new ChangedIds(arena, shape.capacityItems)
  }
}
