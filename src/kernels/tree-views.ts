/** A tree's record and memory as the twins of its kernels read them. */
import type { Address } from './operands.ts'
import { treeGroup, treeLayout } from './tree-kernels.ts'

/** The arena's memory, seen as each of its element types; indices are addresses / size. */
export interface TreeViews {
  readonly words: Uint32Array
  readonly floats: Float32Array
  readonly bytes: Uint8Array
  readonly halves: Int16Array
}

export const treeViews = ({ buffer }: WebAssembly.Memory): TreeViews => ({
  halves: new Int16Array(buffer),
  words: new Uint32Array(buffer),
  floats: new Float32Array(buffer),
  bytes: new Uint8Array(buffer),
})

type Field = Exclude<keyof typeof treeLayout, 'words' | 'spread'>

/** One tree. Places of arrays are given as indices of words or floats. */
export class TreeView {
  readonly words: Uint32Array
  readonly floats: Float32Array
  readonly bytes: Uint8Array
  readonly halves: Int16Array
  readonly #at: number

  constructor({ words, floats, bytes, halves }: TreeViews, tree: Address) {
    this.halves = halves
    this.words = words
    this.floats = floats
    this.bytes = bytes
    this.#at = tree >> 2
  }

  get(field: Field): number {
    return this.words[this.#at + treeLayout[field]]
  }

  set(field: 'freeBlock' | 'usedBlocks' | 'allStrays', value: number): void {
    this.words[this.#at + treeLayout[field]] = value
  }

  /** Dimensions that are coded. */
  get coded(): number {
    return this.get('dim') - this.get('tailDims')
  }

  scale(leaf: number): number {
    return this.floats[(this.get('scales') >> 2) + leaf]
  }

  /** Whether its bias is lower than that of its centroid. */
  isCrowded(leaf: number): boolean {
    const [biases, bases] = [this.get('biases') >> 2, this.get('bases') >> 2]
    return this.floats[biases + leaf] < this.floats[bases + leaf]
  }

  entry(array: Field, i: number): number {
    return this.words[(this.get(array) >> 2) + i]
  }

  setEntry(array: Field, i: number, value: number): void {
    this.words[(this.get(array) >> 2) + i] = value
  }

  rowAt(id: number): number {
    return (this.get('rows') >> 2) + id * this.get('stride')
  }

  centroid(leaf: number, d: number): number {
    const panel = Math.floor(leaf / treeGroup) * this.coded
    return this.floats[(this.get('centroids') >> 2) + (panel + d) * treeGroup + (leaf % treeGroup)]
  }

  /** Where a leaf's greatest tail of a dimension is; the least is 32 on. */
  tailEndsAt(leaf: number, t: number): number {
    const panel = Math.floor(leaf / treeGroup) * this.get('tailDims') + t
    return (this.get('tailEnds') >> 2) + panel * treeGroup * 2 + (leaf % treeGroup)
  }

  /** A coordinate of a centroid, rounded. */
  roundCentroid(leaf: number, d: number): number {
    const pairs = Math.ceil(this.coded / 2)
    const pair = Math.floor(leaf / treeGroup) * pairs + (d >> 1)
    const at = pair * treeGroup * 2 + (leaf % treeGroup) * 2 + (d & 1)
    return this.halves[(this.get('roundCentroids') >> 1) + at]
  }

  /** Byte address of a block's codes. */
  blockAt(block: number): number {
    return this.get('blocks') + block * this.get('blockBytes')
  }

  /** Where a block's ids are; its tails begin 32 words on. */
  idsAt(block: number): number {
    return (this.blockAt(block) + this.get('codes') * 16) >> 2
  }

  /** Blocks of a leaf, first to last, and how many members each has. */
  *blocksOf(leaf: number): Generator<readonly [block: number, lanes: number]> {
    let lanes = ((this.entry('sizes', leaf) + treeGroup - 1) % treeGroup) + 1
    let next = this.entry('heads', leaf)
    while (next !== 0) {
      yield [next - 1, lanes]
      next = this.entry('nexts', next - 1)
      lanes = treeGroup
    }
  }
}
