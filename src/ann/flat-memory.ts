/**
 * Where a flat index lies in its arena: the rows, the coded blocks, the bitmap of present ids, a
 * staging area for upserts and, for each query of a scan, its vector, filter and heap. See
 * `src/kernels/flat-kernels.ts` for the two records that tell the kernels.
 *
 * Where everything lies follows from the shape alone, so that a second thread that is given shape
 * and memory finds the same: it reads rows and writes what is set aside for it.
 */
import { Arena, type Block } from '../kernels/arena.ts'
import { flatBlockIds, flatLayout, flatQuery } from '../kernels/flat-kernels.ts'
import { instantiate, type KernelImplementation, type Kernels } from '../kernels/kernels.ts'
import { kernelSite, scratchBytes } from '../kernels/kernels.ts'
import type { Address } from '../kernels/operands.ts'
import { isSet } from './ann-index.ts'

/** Queries whose scans share one pass over the vectors. */
export const queriesPerScan = 8
export const vectorsPerUpsert = 256

export interface FlatShape {
  readonly dim: number
  readonly exactDims: number
  /** Ids are below 32 times this. */
  readonly blocks: number
  readonly coded: boolean
  /** Entries of each heap. */
  readonly heapCapacity: number
  /** To be reserved behind the index, for whoever shares the arena. */
  readonly extraBytes: number
  readonly implementation: KernelImplementation
}

/** Where one query of a scan stands. */
interface QuerySlot {
  readonly record: Uint32Array
  readonly vector: Float32Array
  readonly allow: Block<Uint32Array>
  readonly scores: Float32Array
  readonly ids: Uint32Array
}

export class FlatMemory {
  readonly arena: Arena
  /** This thread's. */
  readonly kernels: Kernels
  readonly bytes: number
  /** Floats from row to row. */
  readonly stride: number
  readonly rows: Float32Array
  readonly rowsAddress: Address
  readonly present: Uint32Array
  readonly layout: Address
  readonly staging: { readonly ids: Block<Uint32Array>; readonly vectors: Block<Float32Array> }
  readonly queries: Address
  readonly slots: readonly QuerySlot[]
  /** As many again, for the second thread. */
  readonly auditQueries: Address
  readonly auditSlots: readonly QuerySlot[]
  readonly #shape: FlatShape
  /** The coded blocks as floats, for their tails. */
  readonly #blocks: Float32Array
  readonly #blockFloats: number

  /** `shared`: the memory that another thread laid out, for the second one. */
  constructor(shape: FlatShape, shared?: WebAssembly.Memory) {
    const { dim, exactDims, blocks, heapCapacity } = shape
    const pairs = shape.coded ? Math.ceil((dim - exactDims) / 2) : 0
    this.#shape = shape
    this.#blockFloats = shape.coded ? pairs * 16 + (1 + exactDims) * flatBlockIds : 0
    this.stride = Math.ceil(dim / 4) * 4
    const perId = this.stride * flatBlockIds + this.#blockFloats + 1
    const perQuery = pairs + this.stride + blocks + 2 * heapCapacity + flatQuery.words + 5 * 16
    const floats = blocks * perId + 2 * queriesPerScan * perQuery + vectorsPerUpsert * (dim + 1)
    const arena = new Arena(floats * 4 + 2 * scratchBytes + 64 * 24 + shape.extraBytes, shared)
    this.arena = arena
    const [first, second] = [kernelSite(arena, shape), kernelSite(arena, shape)]
    this.kernels = instantiate(shared === undefined ? first : second)
    const layout = arena.words(flatLayout.words)
    const coded = arena.floats(blocks * this.#blockFloats)
    const rows = arena.floats(blocks * flatBlockIds * this.stride)
    const present = arena.words(blocks)
    layout.view[flatLayout.blocks] = coded.address
    layout.view[flatLayout.rows] = rows.address
    layout.view[flatLayout.present] = present.address
    layout.view[flatLayout.dim] = dim
    layout.view[flatLayout.tailDims] = exactDims
    layout.view[flatLayout.stride] = this.stride
    layout.view[flatLayout.pairs] = pairs
    layout.view[flatLayout.blockBytes] = this.#blockFloats * 4
    this.layout = layout.address
    this.#blocks = coded.view
    this.rows = rows.view
    this.rowsAddress = rows.address
    this.present = present.view
    this.staging = {
      ids: arena.words(vectorsPerUpsert),
      vectors: arena.floats(vectorsPerUpsert * dim),
    }
    const own = this.#queries(arena, pairs)
    this.queries = own.address
    this.slots = own.slots
    const audit = this.#queries(arena, pairs)
    this.auditQueries = audit.address
    this.auditSlots = audit.slots
    this.bytes = arena.usedBytes
  }

  has(id: number): boolean {
    return isSet(this.present, id)
  }

  /** Writes the last dimensions of a vector, in its row and beside its codes. */
  setTail(id: number, tails: Float32Array, from: number): void {
    const { exactDims, dim, coded } = this.#shape
    const row = id * this.stride + dim - exactDims
    const lane = id % flatBlockIds
    const block = Math.floor(id / flatBlockIds) + 1
    const tail = block * this.#blockFloats - exactDims * flatBlockIds + lane
    for (let t = 0; t < exactDims; t += 1) {
      this.rows[row + t] = tails[from + t]
      if (coded) this.#blocks[tail + t * flatBlockIds] = tails[from + t]
    }
  }

  #queries(arena: Arena, pairs: number): { address: Address; slots: QuerySlot[] } {
    const { address, view } = arena.words(queriesPerScan * flatQuery.words)
    const slots = Array.from({ length: queriesPerScan }, (_, i) => {
      const record = view.subarray(i * flatQuery.words, (i + 1) * flatQuery.words)
      return this.#slot(arena, record, pairs)
    })
    return { address, slots }
  }

  #slot(arena: Arena, record: Uint32Array, pairs: number): QuerySlot {
    const { blocks, heapCapacity } = this.#shape
    const vector = arena.floats(this.stride)
    const allow = arena.words(blocks)
    const scores = arena.floats(heapCapacity)
    const ids = arena.words(heapCapacity)
    record[flatQuery.codes] = arena.words(pairs).address
    record[flatQuery.vector] = vector.address
    record[flatQuery.scores] = scores.address
    record[flatQuery.ids] = ids.address
    return { record, vector: vector.view, allow, scores: scores.view, ids: ids.view }
  }
}
