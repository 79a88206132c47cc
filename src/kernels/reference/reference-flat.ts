/**
 * Twins of `assembly/flat-scan.ts`: the flat index's scans, heaps and codes, rounding for
 * rounding.
 */
import type { FlatKernels } from '../flat-kernels.ts'
import { flatLayout, flatQuery } from '../flat-kernels.ts'
import type { Address } from '../operands.ts'

const { abs, fround, max } = Math
/** A vector whose codes would be worth less than this is coded as zero. */
const leastScale = fround(1e-30)

/** The arena's memory, seen as each of its element types; indices are addresses / size. */
interface Views {
  readonly words: Uint32Array
  readonly floats: Float32Array
  readonly shorts: Int16Array
  readonly codes: Int8Array
}

/** The record of an index, read once per call. */
type Layout = Readonly<Record<Exclude<keyof typeof flatLayout, 'words'>, number>>

export function referenceFlatKernels(memory: WebAssembly.Memory): FlatKernels {
  const views: Views = {
    words: new Uint32Array(memory.buffer),
    floats: new Float32Array(memory.buffer),
    shorts: new Int16Array(memory.buffer),
    codes: new Int8Array(memory.buffer),
  }
  const each = (queries: Address, count: number): Heap[] =>
    Array.from({ length: count }, (_, i) => new Heap(views, (queries >> 2) + i * flatQuery.words))
  return {
    flatUpsert: (index, ids, vectors, n) => upsert(views, index, { ids, vectors, n }),
    flatEncodeQueries: (index, queries, count) => {
      for (const query of each(queries, count)) encodeQuery(views, layoutAt(views, index), query)
    },
    flatScanCodes: (index, queries, count, blocks) => {
      scan(views, index, { queries: each(queries, count), first: 0, blocks, score: codedScore })
    },
    flatScanRows: (index, queries, count, ...[first, blocks]) => {
      scan(views, index, { queries: each(queries, count), first, blocks, score: rowScore })
    },
    flatRescore: (index, queries, count) => {
      const layout = layoutAt(views, index)
      for (const query of each(queries, count)) {
        query.rescore((id) => rowScore(views, layout, query, id))
      }
    },
    flatSort: (queries, count) => {
      for (const query of each(queries, count)) query.sort()
    },
  }
}

function layoutAt({ words }: Views, index: Address): Layout {
  const at = index >> 2
  return {
    blocks: words[at + flatLayout.blocks],
    rows: words[at + flatLayout.rows],
    present: words[at + flatLayout.present],
    dim: words[at + flatLayout.dim],
    tailDims: words[at + flatLayout.tailDims],
    stride: words[at + flatLayout.stride],
    pairs: words[at + flatLayout.pairs],
    blockBytes: words[at + flatLayout.blockBytes],
  }
}

type Score = (views: Views, layout: Layout, query: Heap, id: number) => number

function scan(
  views: Views,
  index: Address,
  pass: { queries: readonly Heap[]; first: number; blocks: number; score: Score },
): void {
  const layout = layoutAt(views, index)
  const isSet = (bitmap: Address, id: number): boolean =>
    ((views.words[(bitmap >> 2) + (id >> 5)] >>> (id & 31)) & 1) === 1
  for (const query of pass.queries) {
    const allow = query.word(flatQuery.allow)
    for (let id = pass.first * 32; id < pass.blocks * 32; id += 1) {
      if (!isSet(layout.present, id) || (allow !== 0 && !isSet(allow, id))) continue
      query.offer(pass.score(views, layout, query, id), id)
    }
  }
}

/** sum of code products, exact, times both scales; then the tails in order. */
function codedScore(views: Views, layout: Layout, query: Heap, id: number): number {
  const block = layout.blocks + (id >> 5) * layout.blockBytes
  const lane = id & 31
  const codes = block + ((lane >> 2) << 3) + ((lane & 3) << 1)
  const queryCodes = query.word(flatQuery.codes) >> 1
  let sum = 0
  for (let i = 0; i < layout.pairs * 2; i += 1) {
    sum += views.shorts[queryCodes + i] * views.codes[codes + ((i >> 1) << 6) + (i & 1)]
  }
  const scales = ((block + (layout.pairs << 6)) >> 2) + lane
  const scale = fround(fround(sum) * views.floats[scales])
  let score = fround(scale * views.floats[query.at + flatQuery.scale])
  const weights = (query.word(flatQuery.vector) >> 2) + layout.dim - layout.tailDims
  for (let t = 0; t < layout.tailDims; t += 1) {
    const tail = views.floats[scales + 32 * (t + 1)]
    score = fround(score + fround(views.floats[weights + t] * tail))
  }
  return score
}

/** Four partial sums by dimension modulo 4, added as (0 + 2) + (1 + 3). */
function rowScore({ floats }: Views, layout: Layout, query: Heap, id: number): number {
  const row = (layout.rows >> 2) + id * layout.stride
  const vector = query.word(flatQuery.vector) >> 2
  const sums = [0, 0, 0, 0]
  for (let d = 0; d < layout.stride; d += 1) {
    sums[d & 3] = fround(sums[d & 3] + fround(floats[vector + d] * floats[row + d]))
  }
  return fround(fround(sums[0] + sums[2]) + fround(sums[1] + sums[3]))
}

function upsert(
  views: Views,
  index: Address,
  { ids, vectors, n }: { ids: Address; vectors: Address; n: number },
): void {
  const layout = layoutAt(views, index)
  for (let i = 0; i < n; i += 1) {
    const id = views.words[(ids >> 2) + i]
    const from = (vectors >> 2) + i * layout.dim
    const row = (layout.rows >> 2) + id * layout.stride
    views.floats.copyWithin(row, from, from + layout.dim)
    if (layout.pairs > 0) encodeRow(views, layout, id, row)
    views.words[(layout.present >> 2) + (id >> 5)] |= 1 << (id & 31)
  }
}

function encodeRow({ floats, codes }: Views, layout: Layout, id: number, row: number): void {
  const block = layout.blocks + (id >> 5) * layout.blockBytes
  const lane = id & 31
  const coded = layout.dim - layout.tailDims
  const scale = fround(largest(floats, row, coded) / 127)
  const first = block + ((lane >> 2) << 3) + ((lane & 3) << 1)
  for (let d = 0; d < coded; d += 1) {
    const code = scale > leastScale ? nearest(fround(floats[row + d] / scale)) : 0
    codes[first + ((d >> 1) << 6) + (d & 1)] = code
  }
  const scales = ((block + (layout.pairs << 6)) >> 2) + lane
  floats[scales] = scale
  for (let t = 0; t < layout.tailDims; t += 1) {
    floats[scales + 32 * (t + 1)] = floats[row + coded + t]
  }
}

function encodeQuery({ floats, shorts }: Views, layout: Layout, query: Heap): void {
  const coded = layout.dim - layout.tailDims
  const vector = query.word(flatQuery.vector) >> 2
  const scale = fround(largest(floats, vector, coded) / 32_767)
  floats[query.at + flatQuery.scale] = scale
  const codes = query.word(flatQuery.codes) >> 1
  for (let d = 0; d < coded; d += 1) {
    shorts[codes + d] = scale > leastScale ? nearest(fround(floats[vector + d] / scale)) : 0
  }
}

function largest(floats: Float32Array, from: number, n: number): number {
  let most = 0
  for (let d = 0; d < n; d += 1) most = max(most, abs(floats[from + d]))
  return most
}

/** To the nearest integer, halves to the even one. */
export function nearest(value: number): number {
  const down = Math.floor(value)
  const rest = value - down
  if (rest !== 0.5) return rest < 0.5 ? down : down + 1
  return down % 2 === 0 ? down : down + 1
}

/** A query's record and its heap. What is kept does not depend on the order within the heap. */
class Heap {
  readonly at: number
  readonly #views: Views

  constructor(views: Views, at: number) {
    this.#views = views
    this.at = at
  }

  word(field: number): number {
    return this.#views.words[this.at + field]
  }

  offer(score: number, id: number): void {
    const size = this.word(flatQuery.size)
    if (size < this.word(flatQuery.capacity)) {
      if (score > -Infinity) this.#add(score, id, size)
    } else if (score > this.#score(0)) {
      this.#set(0, score, id)
      this.#sift(0, size)
    }
  }

  rescore(exact: (id: number) => number): void {
    const size = this.word(flatQuery.size)
    for (let i = 0; i < size; i += 1) this.#set(i, exact(this.#id(i)), this.#id(i))
    for (let i = (size >> 1) - 1; i >= 0; i -= 1) this.#sift(i, size)
  }

  sort(): void {
    for (let last = this.word(flatQuery.size) - 1; last > 0; last -= 1) {
      this.#swap(0, last)
      this.#sift(0, last)
    }
  }

  #add(score: number, id: number, size: number): void {
    this.#set(size, score, id)
    this.#views.words[this.at + flatQuery.size] = size + 1
    let at = size
    while (at > 0 && this.#worse(at, (at - 1) >> 1)) {
      this.#swap(at, (at - 1) >> 1)
      at = (at - 1) >> 1
    }
  }

  #sift(from: number, size: number): void {
    let at = from
    for (;;) {
      const left = 2 * at + 1
      if (left >= size) return
      const child = left + 1 < size && this.#worse(left + 1, left) ? left + 1 : left
      if (!this.#worse(child, at)) return
      this.#swap(child, at)
      at = child
    }
  }

  #worse(a: number, b: number): boolean {
    const [x, y] = [this.#score(a), this.#score(b)]
    return x < y || (x === y && this.#id(a) > this.#id(b))
  }

  #swap(a: number, b: number): void {
    const [score, id] = [this.#score(a), this.#id(a)]
    this.#set(a, this.#score(b), this.#id(b))
    this.#set(b, score, id)
  }

  #set(at: number, score: number, id: number): void {
    this.#views.floats[(this.word(flatQuery.scores) >> 2) + at] = score
    this.#views.words[(this.word(flatQuery.ids) >> 2) + at] = id
  }

  #score(at: number): number {
    return this.#views.floats[(this.word(flatQuery.scores) >> 2) + at]
  }

  #id(at: number): number {
    return this.#views.words[(this.word(flatQuery.ids) >> 2) + at]
  }
}
