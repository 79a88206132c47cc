/**
 * A tree beside its members, as what it can be made again of: centroids, scales and codebook. With
 * the leaf of each id its codes follow from the rows.
 */
import { treeLayout } from '../kernels/tree-kernels.ts'
import type { Tree } from './tree.ts'

export interface TreeImage {
  readonly leaves: number
  readonly spread: number
  /** Leaves x coded dimensions. */
  readonly centroids: Float32Array
  /** Per leaf; -Infinity: it has no centroid. */
  readonly bases: Float32Array
  readonly scales: Float32Array
  readonly roundUnits: Float32Array
  readonly codebook: Float32Array
}

/** Copies. Another thread may be changing the tree: then some of it is a moment newer. */
export function imageOf(tree: Tree): TreeImage {
  const { leafLimit: leaves, memory } = tree
  const { floats, coded } = memory
  const centroids = new Float32Array(leaves * coded)
  for (let leaf = 0; leaf < leaves; leaf += 1) centroids.set(tree.centroid(leaf), leaf * coded)
  return {
    leaves,
    spread: floats[treeLayout.spread],
    centroids,
    bases: memory.bases.slice(0, leaves),
    scales: memory.scales.slice(0, leaves),
    roundUnits: memory.roundUnits.slice(),
    codebook: memory.codebook.slice(),
  }
}

/** Makes a tree without members. */
export function restoreTree(tree: Tree, image: TreeImage): void {
  const { scales, codebook, roundUnits, floats, coded } = tree.memory
  tree.reset(image.leaves)
  floats[treeLayout.spread] = image.spread
  roundUnits.set(image.roundUnits)
  codebook.set(image.codebook)
  scales.set(image.scales)
  for (let leaf = 0; leaf < image.leaves; leaf += 1) {
    if (image.bases[leaf] === -Infinity) continue
    tree.setCentroid(leaf, image.centroids.subarray(leaf * coded, (leaf + 1) * coded))
  }
}
