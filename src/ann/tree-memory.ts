/**
 * Where one tree lies in an arena: centroids, leaves, blocks of members, codebook, and the record
 * that tells the kernels. See `src/kernels/tree-kernels.ts`. Pages that no block has touched cost
 * nothing.
 */
import type { Arena, Block } from '../kernels/arena.ts'
import type { Kernels } from '../kernels/kernels.ts'
import type { Address } from '../kernels/operands.ts'
import { treeGroup, treeLayout } from '../kernels/tree-kernels.ts'
import type { FlatMemory } from './flat-memory.ts'

export interface TreeShape {
  readonly dim: number
  readonly exactDims: number
  readonly capacityItems: number
  /** A multiple of 32. */
  readonly maxLeaves: number
}

/** Bytes that a tree of this shape takes of its arena, padding included. */
export function treeBytes(shape: TreeShape): number {
  const { codes, blocks, blockBytes } = sizesOf(shape)
  const perLeaf = codedOf(shape) + shape.exactDims * 2 + 6
  const perPanel = pairsOf(shape) * treeGroup
  const words =
    shape.capacityItems * 2 + blocks * 2 + shape.maxLeaves * perLeaf + shape.dim * 2 + codes * 32
  const rounded = (shape.maxLeaves / treeGroup) * perPanel
  return (words + rounded + treeLayout.words) * 4 + blocks * blockBytes + 24 * 64
}

/** Dimensions that are coded: all but the tails. */
const codedOf = ({ dim, exactDims }: TreeShape): number => dim - exactDims

/** Those, rounded up to a multiple of four. */
export const codesOf = (shape: TreeShape): number => Math.ceil(codedOf(shape) / 4) * 4

/** Pairs of coded dimensions. */
const pairsOf = (shape: TreeShape): number => Math.ceil(codedOf(shape) / 2)

function sizesOf(shape: TreeShape): {
  codes: number
  blocks: number
  blockBytes: number
} {
  const { exactDims, capacityItems, maxLeaves } = shape
  const codes = codesOf(shape)
  // Every leaf may have one block that is not full.
  const blocks = Math.ceil(capacityItems / treeGroup) + maxLeaves
  return { codes, blocks, blockBytes: codes * 16 + (1 + exactDims) * treeGroup * 4 }
}

/** Where sums are made while a tree grows. */
export class GrowthMemory {
  readonly sums: Block<Float32Array>
  readonly counts: Block<Uint32Array>
  readonly codeSums: Block<Float32Array>

  constructor(arena: Arena, shape: TreeShape) {
    this.sums = arena.floats(shape.maxLeaves * codedOf(shape))
    this.counts = arena.words(shape.maxLeaves)
    this.codeSums = arena.floats(codesOf(shape) * 32)
  }

  static bytes(shape: TreeShape): number {
    const words = shape.maxLeaves * (codedOf(shape) + 1) + codesOf(shape) * 32
    return words * 4 + 3 * 64
  }
}

export class TreeMemory {
  readonly shape: TreeShape
  readonly kernels: Kernels
  readonly layout: Address
  readonly record: Uint32Array
  /** The same words, for those that are f32. */
  readonly floats: Float32Array
  /** Dimensions. */
  readonly coded: number
  /** Rounded up to a multiple of four. */
  readonly codes: number
  readonly blockBytes: number
  /** The flat index's. */
  readonly rows: Float32Array
  readonly stride: number
  readonly places: Uint32Array
  readonly centroids: Float32Array
  /** Per panel and pair of dimensions two numbers of 32 leaves each: centroids in `roundUnits`. */
  readonly roundCentroids: Int16Array
  readonly roundUnits: Float32Array
  readonly biases: Float32Array
  /** What a leaf's bias is while it is not crowded. */
  readonly bases: Float32Array
  readonly scales: Float32Array
  /** Per panel and tail dimension the greatest of the members of 32 leaves, and the least. */
  readonly tailEnds: Float32Array
  readonly strays: Uint32Array
  readonly heads: Uint32Array
  readonly sizes: Uint32Array
  /** Per block its leaf. */
  readonly owners: Uint32Array
  readonly codebook: Float32Array
  /** Ids of one leaf. */
  readonly members: Block<Uint32Array>
  /** What they add up to: see `treeLeafSums`. */
  readonly sums: Block<Float32Array>

  constructor(flat: FlatMemory, shape: TreeShape) {
    const { arena, kernels, rowsAddress, stride } = flat
    const { codes, blocks, blockBytes } = sizesOf(shape)
    const { dim, exactDims, capacityItems, maxLeaves } = shape
    this.shape = shape
    this.rows = flat.rows
    this.stride = stride
    this.kernels = kernels
    this.coded = codedOf(shape)
    this.codes = codes
    this.blockBytes = blockBytes
    const record = arena.words(treeLayout.words)
    const places = arena.words(capacityItems)
    const centroids = arena.floats(maxLeaves * this.coded)
    const rounded = arena.bytes(maxLeaves * pairsOf(shape) * 4)
    const roundUnits = arena.floats(this.coded)
    const biases = arena.floats(maxLeaves)
    const bases = arena.floats(maxLeaves)
    const scales = arena.floats(maxLeaves)
    const tailEnds = arena.floats(maxLeaves * exactDims * 2)
    const strays = arena.words(maxLeaves)
    const heads = arena.words(maxLeaves)
    const sizes = arena.words(maxLeaves)
    const codebook = arena.floats(codes * 32)
    this.layout = record.address
    this.record = record.view
    this.floats = new Float32Array(arena.memory.buffer, record.address, treeLayout.words)
    this.places = places.view
    this.centroids = centroids.view
    const { buffer } = arena.memory
    this.roundCentroids = new Int16Array(buffer, rounded.address, rounded.view.length / 2)
    this.roundUnits = roundUnits.view
    this.biases = biases.view
    this.bases = bases.view
    this.scales = scales.view
    this.tailEnds = tailEnds.view
    this.strays = strays.view
    this.heads = heads.view
    this.sizes = sizes.view
    this.codebook = codebook.view
    this.members = arena.words(capacityItems)
    this.sums = arena.floats(stride + 1)
    record.view[treeLayout.rows] = rowsAddress
    record.view[treeLayout.places] = places.address
    record.view[treeLayout.centroids] = centroids.address
    record.view[treeLayout.roundCentroids] = rounded.address
    record.view[treeLayout.roundUnits] = roundUnits.address
    record.view[treeLayout.biases] = biases.address
    record.view[treeLayout.bases] = bases.address
    record.view[treeLayout.scales] = scales.address
    record.view[treeLayout.tailEnds] = tailEnds.address
    record.view[treeLayout.strays] = strays.address
    record.view[treeLayout.heads] = heads.address
    record.view[treeLayout.sizes] = sizes.address
    record.view[treeLayout.blocks] = arena.bytes(blocks * blockBytes).address
    record.view[treeLayout.nexts] = arena.words(blocks).address
    const owners = arena.words(blocks)
    this.owners = owners.view
    record.view[treeLayout.owners] = owners.address
    record.view[treeLayout.codebook] = codebook.address
    record.view[treeLayout.dim] = dim
    record.view[treeLayout.tailDims] = exactDims
    record.view[treeLayout.stride] = stride
    record.view[treeLayout.codes] = codes
    record.view[treeLayout.blockBytes] = blockBytes
  }
}
