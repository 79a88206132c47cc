/**
 * A tree beside its members, as what it can be made again of: centroids, scales and codebook. With
 * the leaf of each id its codes follow from the rows.
 */
import { treeLayout } from '../kernels/tree-kernels.ts'
import type { Tree } from './tree.ts'

export interface TreeImage {
  readonly leaves: number
  readonly tailWeight: number
  readonly spread: number
  readonly reach: number
  /** leaves x dim. */
  readonly centroids: Float32Array
  /** Per leaf; -Infinity: it has no centroid. */
  readonly bases: Float32Array
  readonly scales: Float32Array
  readonly roundUnits: Float32Array
  readonly codebook: Float32Array
}

/** Copies. Another thread may be changing the tree: then some of it is a moment newer. */
export function imageOf(tree: Tree): TreeImage {
  const { leafLimit: leaves, tailWeight, memory } = tree
  const { floats, shape } = memory
  const centroids = new Float32Array(leaves * shape.dim)
  for (let leaf = 0; leaf < leaves; leaf += 1) centroids.set(tree.centroid(leaf), leaf * shape.dim)
  return {
    leaves,
    tailWeight,
    spread: floats[treeLayout.spread],
    reach: floats[treeLayout.reach],
    centroids,
    bases: memory.bases.slice(0, leaves),
    scales: memory.scales.slice(0, leaves),
    roundUnits: memory.roundUnits.slice(),
    codebook: memory.codebook.slice(),
  }
}

/** Makes a tree without members. */
export function restoreTree(tree: Tree, image: TreeImage): void {
  const { scales, codebook, roundUnits, floats, shape } = tree.memory
  tree.reset(image.leaves, image.tailWeight)
  floats[treeLayout.spread] = image.spread
  floats[treeLayout.reach] = image.reach
  roundUnits.set(image.roundUnits)
  codebook.set(image.codebook)
  scales.set(image.scales)
  for (let leaf = 0; leaf < image.leaves; leaf += 1) {
    if (image.bases[leaf] === -Infinity) continue
    tree.setCentroid(leaf, image.centroids.subarray(leaf * shape.dim, (leaf + 1) * shape.dim))
  }
}
