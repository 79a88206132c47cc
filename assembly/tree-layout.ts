/**
 * Where a partitioned index lies: leaves with a centroid each, and in each leaf a chain of blocks
 * of 32 members. All but the first block of a chain are full, so a member is added behind the last
 * one of the first block, and one that goes is replaced by that.
 *
 * Addresses that kernels load vectors from are 16-byte aligned. `src/kernels/tree-kernels.ts`
 * names the same fields for the other side.
 */
@unmanaged
export class TreeLayout {
  /** Ids x stride f32, zero behind the last dimension: the flat index's rows. */
  rows: usize
  /** u32 per id: 1 + 32 x block + lane; 0: the id is not in the tree. */
  places: usize
  /** Panels of 32 leaves: for each coded dimension that coordinate of 32 centroids. */
  centroids: usize
  /** f32 per leaf: -|centroid|^2 / 2, less where it is crowded; -Infinity: no such leaf. */
  biases: usize
  /** f32 per leaf: what a unit of its members' codes is worth. */
  scales: usize
  /** u32 per leaf: vectors coded since they were last cleared that its scale is too small for. */
  strays: usize
  /** u32 per leaf: 1 + its first block; 0: it has none. */
  heads: usize
  /** i32 per leaf: its members. */
  sizes: usize
  /** Per block: codes x 16 bytes, 32 u32 of ids, tailDims x 32 f32. */
  blocks: usize
  /** u32 per block: 1 + the next of its chain, or of the free ones; 0: none. */
  nexts: usize
  /** u32 per block: its leaf. */
  owners: usize
  /** Per coded dimension 16 f32 of levels, ascending, and 16 of borders between them, in units. */
  codebook: usize
  dim: i32
  /** The last dimensions, that are not coded. */
  tailDims: i32
  /** Floats from row to row. */
  stride: i32
  /** Coded dimensions, rounded up to a multiple of 4. */
  codes: i32
  blockBytes: i32
  /** Panels in use. */
  panels: i32
  /** 1 + the first free block; 0: none has been given back. */
  freeBlock: u32
  /** Blocks that have ever been used. */
  usedBlocks: u32
  /** The sum of all strays. */
  allStrays: u32
  /** Of growth, unread here. */
  spread: f32
  /** Panels of 32 leaves: for each pair of coded dimensions two i16 (to 8,191) of 32 centroids. */
  roundCentroids: usize
  /** f32 per coded dimension: what 1 is worth there. */
  roundUnits: usize
  /** f32 per leaf: its bias while it is not crowded. */
  bases: usize
  /** Panels of 32 leaves: per tail dimension the greatest of members, then the least; or beyond. */
  tailEnds: usize
}

/** Leaves in a panel, and members in a block. */
// @ts-ignore: decorator
@inline
export const panelLeaves: i32 = 32

@inline
export function word(array: usize, i: u32): u32 {
  return load<u32>(array + (usize(i) << 2))
}

@inline
export function setWord(array: usize, i: u32, value: u32): void {
  store<u32>(array + (usize(i) << 2), value)
}

@inline
export function blockAt(tree: TreeLayout, block: u32): usize {
  return tree.blocks + usize(block) * usize(tree.blockBytes)
}

@inline
export function rowOf(tree: TreeLayout, id: u32): usize {
  return tree.rows + ((usize(id) * usize(tree.stride)) << 2)
}

/** Dimensions that are coded. */
@inline
export function codedOf(tree: TreeLayout): i32 {
  return tree.dim - tree.tailDims
}

/** Pairs of coded dimensions; the last may be half of one. */
@inline
export function pairsOf(tree: TreeLayout): i32 {
  return (codedOf(tree) + 1) >> 1
}

/** Where the first pair of a panel's rounded centroids is; the next is 128 bytes on. */
@inline
export function roundPanel(tree: TreeLayout, leaf: u32): usize {
  return tree.roundCentroids + ((usize(leaf >> 5) * usize(pairsOf(tree))) << 7)
}

/** Where a leaf's greatest first tail is; the least is 128 bytes on, the next tail's 256. */
@inline
export function tailEndsOf(tree: TreeLayout, leaf: u32): usize {
  return tree.tailEnds + ((usize(leaf >> 5) * usize(tree.tailDims)) << 8) + (usize(leaf & 31) << 2)
}

/** Where the first coordinate of a leaf's centroid is; the next is 128 bytes on. */
@inline
export function centroidOf(tree: TreeLayout, leaf: u32): usize {
  return tree.centroids + ((usize(leaf >> 5) * usize(codedOf(tree))) << 7) + (usize(leaf & 31) << 2)
}
