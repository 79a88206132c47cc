/**
 * The kernels of the partitioned index: who is in which leaf, and a search of it. The records that
 * tell them where everything lies are laid out as below, all words but the fields marked f32.
 */
import type { Address, Whole } from './operands.ts'

/** Words of the record that describes a tree. */
export const treeLayout = {
  /** Ids x stride f32, zero behind the last dimension: the flat index's rows. */
  rows: 0,
  /** Per id: 1 + 32 x block + lane; 0: the id is not in the tree. */
  places: 1,
  /** Panels of 32 leaves: for each coded dimension that coordinate of 32 centroids. */
  centroids: 2,
  /** f32 per leaf: -|centroid|^2 / 2, less where it is crowded; -Infinity: no such leaf. */
  biases: 3,
  /** f32 per leaf: what a unit of its members' codes is worth. */
  scales: 4,
  /** Per leaf: vectors coded since they were last cleared that its scale is too small for. */
  strays: 5,
  /** Per leaf: 1 + its first block; 0: it has none. */
  heads: 6,
  /** Per leaf: its members. */
  sizes: 7,
  /** Per block: codes x 16 bytes, 32 words of ids, tailDims x 32 f32. */
  blocks: 8,
  /** Per block: 1 + the next of its chain, or of the free ones; 0: none. */
  nexts: 9,
  /** Per block: its leaf. */
  owners: 10,
  /** Per coded dimension 16 f32 of levels, ascending, and 16 of borders between them, in units. */
  codebook: 11,
  dim: 12,
  /** The last dimensions, that are not coded. */
  tailDims: 13,
  /** Floats from row to row. */
  stride: 14,
  /** Coded dimensions, rounded up to a multiple of 4. */
  codes: 15,
  blockBytes: 16,
  /** Panels in use. */
  panels: 17,
  /** 1 + the first free block; 0: none has been given back. */
  freeBlock: 18,
  /** Blocks that have ever been used. */
  usedBlocks: 19,
  /** The sum of all strays. */
  allStrays: 20,
  /** f32: the mean squared distance of vectors from their centroids; Infinity: not known. */
  spread: 21,
  /** Panels of 32 leaves: for each pair of coded dimensions two i16 (to 8,191) of 32 centroids. */
  roundCentroids: 22,
  /** f32 per coded dimension: what 1 is worth there. */
  roundUnits: 23,
  /** f32 per leaf: its bias while it is not crowded. */
  bases: 24,
  /** Panels of 32 leaves: per tail dimension f32s, the greatest of members, then the least. */
  tailEnds: 25,
  words: 26,
} as const

/** Words of the record of a query. A reservoir is five of them: see below. */
export const treeQuery = {
  /** stride f32, zero behind the last dimension. */
  vector: 0,
  /** codes x 16 bytes. */
  tables: 1,
  /** f32 per leaf, then as many: without tails, and with those of members that weigh most. */
  leafScores: 2,
  /** Bitmap of the ids that may be returned; absent: all. */
  allow: 3,
  /** f32 each, for scale 1: what a unit of the tables is worth; what to add to their sum. */
  unit: 4,
  offset: 5,
  /** The reservoir of chosen leaves. */
  leaves: 6,
  /** The reservoir of what was found. */
  found: 11,
  words: 16,
} as const

/** Words of a reservoir: the best `keep` of what is offered are found among its keys. */
export const reservoir = {
  /** capacity x u64: a score, made to order as an integer, above the inverted id. */
  keys: 0,
  keep: 1,
  /** More than `keep`. */
  capacity: 2,
  /** To be set to 0 before a search. */
  size: 3,
  /** f32, to be set to -Infinity before a search. */
  least: 4,
} as const

/** Members in a block and leaves in a panel. */
export const treeGroup = 32

export interface TreeKernels {
  /** Writes the nearest leaf of each of n ids, by rounded centroids; ties by smaller leaf. */
  treeAssign: Whole<[tree: Address, ids: Address, n: number, leaves: Address]>
  /** Puts each of n ids, or moves it, into the leaf named for it, coded from its row. */
  treePlace: Whole<[tree: Address, ids: Address, leaves: Address, n: number]>
  /**
   * Codes n ids anew where they are. Leaves those at the front of `ids` that have strayed from
   * their leaves, or are in none; returns how many.
   */
  treeRefresh: Whole<[tree: Address, ids: Address, n: number], number>
  /** Takes ids out; those that are not in are passed over, here and in `treeTails`. */
  treeRemove: Whole<[tree: Address, ids: Address, n: number]>
  /** Writes the tails of n rows beside their codes. */
  treeTails: Whole<[tree: Address, ids: Address, n: number]>
  /**
   * The sum of the rows of a leaf's members (stride f32), and behind it the sum of their squares,
   * tails left out.
   */
  treeLeafSums: Whole<[tree: Address, leaf: number, sums: Address]>
  /** Codes a leaf's members anew; writes the ids of those that strayed and returns how many. */
  treeEncodeLeaf: Whole<[tree: Address, leaf: number, ids: Address], number>
  /** Writes the ids of a leaf's members and returns how many. */
  treeMembers: Whole<[tree: Address, leaf: number, ids: Address], number>
  /** Adds n rows to the sums (per coded dimension f32) and counts (words) of their leaves. */
  treeSums: Whole<
    [tree: Address, ids: Address, leaves: Address, n: number, sums: Address, counts: Address]
  >
  /** Adds n residuals, in units, to sums of their codes: per dimension 16 x (sum, count) f32. */
  treeCodeSums: Whole<[tree: Address, ids: Address, leaves: Address, n: number, sums: Address]>
  /** Tables and leaf scores of a query's vector. */
  treePrepare: Whole<[tree: Address, query: Address]>
  /**
   * Chooses the best leaves that have members, or, if `after` is not -1, of those behind that one.
   */
  treeChoose: Whole<[tree: Address, query: Address, after: number]>
  /** Scans the chosen leaves [from, to); returns how many members they have. */
  treeScan: Whole<[tree: Address, query: Address, from: number, to: number], number>
  /** The k-th best score by codes of what has been found; -Infinity if that is fewer. */
  treeReach: Whole<[query: Address, k: number], number>
  /** How many bits are set in a number of words that 4 divides. */
  treeCountBits: Whole<[bitmap: Address, words: number], number>
  /** Ranks by rows what was found, writes the best k and returns how many those are. */
  treeFinish: Whole<
    [tree: Address, query: Address, k: number, ids: Address, scores: Address],
    number
  >
}
