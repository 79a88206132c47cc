/**
 * Saving a live index, by its second thread, while the first goes on changing it; and taking it
 * back at the next start. Whatever changed in the meantime is named at the end of the file as void,
 * since what was read of it may be half of one vector and half of another; the next start embeds it
 * anew, like everything that came later.
 */
import type { IndexMemory } from '../ann/index-memory.ts'
import type { PartitionedIndex, SavePoint } from '../ann/partitioned-index.ts'
import { imageOf, type TreeImage } from '../ann/tree-image.ts'
import type { Tree } from '../ann/tree.ts'
import { type Chunk, chunkKind, damaged, IndexFileWriter, readChunks } from './index-file.ts'
import type { IndexLedger, SharedLedger } from './index-ledger.ts'

/** Items of one chunk. */
const itemsPerChunk = 2_048

export interface SaveOrder {
  readonly path: string
  readonly point: SavePoint
  readonly ledger: SharedLedger
}

/**
 * Begun by its constructor, which copies all items; until `finish` what changes is to be marked.
 */
export class IndexSave {
  readonly #memory: IndexMemory
  readonly #file: IndexFileWriter

  constructor(memory: IndexMemory, { path, point, ledger }: SaveOrder) {
    this.#memory = memory
    this.#file = new IndexFileWriter(path)
    const { answering } = point
    const tree = answering && memory.trees[answering.tree]
    try {
      this.#head(point, tree)
      if (tree !== undefined) this.#tree(imageOf(tree))
      this.#items(point.idLimit, ledger, tree)
    } catch (error) {
      this.#file.abandon()
      throw error
    }
  }

  /** To be called when every change that was begun before is marked. */
  finish(): void {
    try {
      for (const ids of this.#memory.unsaved.take()) {
        this.#file.chunk(chunkKind.stale, ids.length, [ids])
      }
      this.#file.chunk(chunkKind.end, 0, [])
      this.#file.finish()
    } catch (error) {
      this.#file.abandon()
      throw error
    }
  }

  #head({ items, answering }: SavePoint, tree: Tree | undefined): void {
    const { dim, exactDims } = this.#memory.trees[0].memory.shape
    const { codes } = this.#memory.trees[0].memory
    const effort = answering?.effort ?? 0
    const head = [dim, exactDims, codes, items, effort, tree?.leafLimit ?? 0]
    this.#file.chunk(chunkKind.head, 1, [Float64Array.from(head)])
  }

  #tree(image: TreeImage): void {
    const { spread, centroids, bases, scales, roundUnits, codebook } = image
    const arrays = [Float32Array.of(spread), centroids, bases, scales, roundUnits, codebook]
    this.#file.chunk(chunkKind.tree, image.leaves, arrays)
  }

  #items(idLimit: number, ledger: SharedLedger, tree: Tree | undefined): void {
    const { flat } = this.#memory
    let ids: number[] = []
    for (let id = 0; id < idLimit; id += 1) {
      if (flat.has(id)) ids.push(id)
      if (ids.length < itemsPerChunk && id !== idLimit - 1) continue
      this.#chunkOf(ids, ledger, tree)
      ids = []
    }
  }

  #chunkOf(ids: readonly number[], ledger: SharedLedger, tree: Tree | undefined): void {
    const { rows, stride } = this.#memory.flat
    const { dim } = this.#memory.trees[0].memory.shape
    const vectors = new Float32Array(ids.length * dim)
    for (const [i, id] of ids.entries()) {
      vectors.set(rows.subarray(id * stride, id * stride + dim), i * dim)
    }
    this.#file.chunk(chunkKind.items, ids.length, [
      Float64Array.from(ids, (id) => ledger.versions[id]),
      Uint32Array.from(ids.flatMap((id) => [...ledger.identities.subarray(id * 2, id * 2 + 2)])),
      Int32Array.from(ids),
      Int32Array.from(ids, (id) => tree?.leafOf(id) ?? -1),
      vectors,
    ])
  }
}

/** What an item of a file needs to be taken. */
export interface Restored {
  readonly index: PartitionedIndex
  readonly ledger: IndexLedger
  /** The id of the item that has this handle now. */
  readonly itemAt: (handle: number) => string | undefined
}

/**
 * Fills an empty index with those vectors of a file whose items still have their handles; returns
 * how many. Throws `INDEX_DAMAGED`, after which the index is not to be used.
 */
export function restoreIndex(path: string, into: Restored): number {
  let taken = 0
  let head: Float64Array | undefined
  for (const chunk of readChunks(path)) {
    if (chunk.kind === chunkKind.head) head = checkedHead(chunk, into.index)
    else if (head === undefined) throw damaged('its head is missing')
    else if (chunk.kind === chunkKind.tree) takeTree(chunk, head, into.index)
    else if (chunk.kind === chunkKind.items) taken += takeItems(chunk, into)
    else taken -= dropStale(chunk, into.index)
  }
  return taken
}

function checkedHead({ bytes }: Chunk, { dim, exactDims }: PartitionedIndex): Float64Array {
  const head = new Float64Array(bytes)
  if (head.length !== 6) throw damaged('its head has another form')
  if (head[0] !== dim || head[1] !== exactDims) {
    throw damaged(`${head[0]} dimensions, ${head[1]} exact; expected ${dim} and ${exactDims}`)
  }
  return head
}

function takeTree(chunk: Chunk, head: Float64Array, index: PartitionedIndex): void {
  const [dim, exactDims, codes, items, effort, leaves] = head
  const coded = dim - exactDims
  let at = 0
  const next = (length: number): Float32Array => {
    at += length
    if (at * 4 > chunk.bytes.byteLength) throw damaged('its tree is cut off')
    return new Float32Array(chunk.bytes, (at - length) * 4, length)
  }
  const [spread] = next(1)
  const [centroids, bases, scales] = [next(leaves * coded), next(leaves), next(leaves)]
  const [roundUnits, codebook] = [next(coded), next(codes * 32)]
  const image = { leaves, spread, centroids, bases, scales }
  index.restoreTree({ ...image, roundUnits, codebook }, { effort, items })
}

function takeItems({ count, bytes }: Chunk, { index, ledger, itemAt }: Restored): number {
  const versions = new Float64Array(bytes, 0, count)
  const identities = new Uint32Array(bytes, count * 8, count * 2)
  const ids = new Int32Array(bytes, count * 16, count)
  const leaves = new Int32Array(bytes, count * 20, count)
  const vectors = new Float32Array(bytes, count * 24)
  const { dim } = index
  const kept = [...ids.keys()].filter((i) => {
    const itemId = itemAt(ids[i])
    if (itemId === undefined) return false
    ledger.own(ids[i], itemId)
    return ledger.isSame(ids[i], identities[i * 2], identities[i * 2 + 1])
  })
  const keptVectors = new Float32Array(kept.length * dim)
  for (const [to, i] of kept.entries()) {
    keptVectors.set(vectors.subarray(i * dim, (i + 1) * dim), to * dim)
    ledger.setVersion(ids[i], versions[i])
  }
  index.restore(
    Int32Array.from(kept, (i) => ids[i]),
    keptVectors,
    Int32Array.from(kept, (i) => leaves[i]),
  )
  return kept.length
}

function dropStale({ bytes }: Chunk, index: PartitionedIndex): number {
  const known = new Int32Array(bytes).filter((id) => index.has(id))
  index.remove(known)
  return known.length
}
