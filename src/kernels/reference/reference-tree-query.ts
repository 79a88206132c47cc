/**
 * Twins of `assembly/tree-query.ts` and `assembly/reservoir.ts`. What a reservoir keeps is the
 * same, and so are the results; the order of its keys in memory is not, until they are sorted.
 */
import type { Address } from '../operands.ts'
import { type TreeKernels, reservoir, treeGroup, treeQuery } from '../tree-kernels.ts'
import { type TreeViews, TreeView, treeViews } from '../tree-views.ts'

const { fround, max, min } = Math
/** The greatest value of a table. */
const tableSteps = 63

type QueryKernels = Pick<
  TreeKernels,
  'treePrepare' | 'treeChoose' | 'treeScan' | 'treeReach' | 'treeCountBits' | 'treeFinish'
>

/** Bits set in a word. */
const bitsIn = (word: number): number => (word === 0 ? 0 : 1 + bitsIn(word & (word - 1)))

interface Entry {
  readonly score: number
  readonly id: number
}

export function referenceTreeQueryKernels(memory: WebAssembly.Memory): QueryKernels {
  const views = treeViews(memory)
  return {
    treePrepare: (tree, query) => prepare(new TreeView(views, tree), new Query(views, query)),
    treeChoose: (tree, query, after) => {
      choose(new TreeView(views, tree), new Query(views, query), after)
    },
    treeScan: (layout, address, from, to) => {
      const [tree, query] = [new TreeView(views, layout), new Query(views, address)]
      const chosen = query.leaves.entries().slice(from, to)
      for (const { id } of chosen) scanLeaf(tree, query, id)
      return chosen.reduce((sum, { id }) => sum + tree.entry('sizes', id), 0)
    },
    treeReach: (query, k) => {
      const best = new Query(views, query).found.entries().toSorted(compare)
      return best.length < k ? -Infinity : best[k - 1].score
    },
    treeCountBits: (bitmap, words) => {
      const from = bitmap >> 2
      return views.words.subarray(from, from + words).reduce((sum, word) => sum + bitsIn(word), 0)
    },
    treeFinish: (tree, query, ...[k, ids, scores]) =>
      finish(new TreeView(views, tree), new Query(views, query), { k, ids, scores }),
  }
}

class Query {
  readonly views: TreeViews
  readonly at: number
  readonly leaves: Reservoir
  readonly found: Reservoir

  constructor(views: TreeViews, address: Address) {
    this.views = views
    this.at = address >> 2
    this.leaves = new Reservoir(views, this.at + treeQuery.leaves)
    this.found = new Reservoir(views, this.at + treeQuery.found)
  }

  word(field: 'vector' | 'tables' | 'leafScores' | 'allow'): number {
    return this.views.words[this.at + treeQuery[field]]
  }

  coordinate(d: number): number {
    return this.views.floats[(this.word('vector') >> 2) + d]
  }

  leafScore(leaf: number): number {
    return this.views.floats[(this.word('leafScores') >> 2) + leaf]
  }

  /** What a leaf is chosen for. */
  leafReach(tree: TreeView, leaf: number): number {
    return this.leafScore(tree.get('panels') * treeGroup + leaf)
  }

  allows(id: number): boolean {
    const allow = this.word('allow')
    return allow === 0 || ((this.views.words[(allow >> 2) + (id >> 5)] >>> (id & 31)) & 1) === 1
  }
}

function prepare(tree: TreeView, query: Query): void {
  const { floats } = query.views
  const tables = Array.from({ length: tree.get('codes') }, (_, d) => products(tree, query, d))
  const lows = tables.map((table) => min(...table))
  const range = tables.reduce((most, table, d) => max(most, fround(max(...table) - lows[d])), 0)
  floats[query.at + treeQuery.unit] = fround(range / tableSteps)
  floats[query.at + treeQuery.offset] = lows.reduce((sum, low) => fround(sum + low), 0)
  const steps = range > fround(1e-30) ? fround(tableSteps / range) : 0
  for (const [d, table] of tables.entries()) {
    for (const [code, product] of table.entries()) {
      const value = fround(fround(product - lows[d]) * steps)
      query.views.bytes[query.word('tables') + d * 16 + code] = nearest(value)
    }
  }
  for (let leaf = 0; leaf < tree.get('panels') * treeGroup; leaf += 1) {
    let score = 0
    for (let d = 0; d < tree.coded; d += 1) {
      score = fround(score + fround(query.coordinate(d) * tree.centroid(leaf, d)))
    }
    const to = (query.word('leafScores') >> 2) + leaf
    floats[to] = score
    for (let t = 0; t < tree.get('tailDims'); t += 1) {
      const weight = query.coordinate(tree.coded + t)
      const end = tree.floats[tree.tailEndsAt(leaf, t) + (weight >= 0 ? 0 : treeGroup)]
      score = fround(score + fround(weight * end))
    }
    floats[to + tree.get('panels') * treeGroup] = score
  }
}

/** To the nearest integer, halves to the even one; a table's values are not negative. */
function nearest(value: number): number {
  const down = Math.floor(value)
  const rest = value - down
  return rest > 0.5 || (rest === 0.5 && down % 2 === 1) ? down + 1 : down
}

/** One of the query's dimensions times its 16 levels. */
function products(tree: TreeView, query: Query, d: number): number[] {
  const x = d < tree.coded ? query.coordinate(d) : 0
  const levels = (tree.get('codebook') >> 2) + d * 32
  return Array.from({ length: 16 }, (_, code) => fround(x * tree.floats[levels + code]))
}

function choose(tree: TreeView, query: Query, after: number): void {
  const { leaves } = query
  leaves.clear()
  const border = after < 0 ? undefined : { score: query.leafReach(tree, after), id: after }
  for (let leaf = 0; leaf < tree.get('panels') * treeGroup; leaf += 1) {
    const entry = { score: query.leafReach(tree, leaf), id: leaf }
    if (tree.entry('sizes', leaf) === 0 || entry.score <= leaves.least) continue
    if (border === undefined || compare(border, entry) < 0) leaves.append(entry)
  }
  leaves.keepBest()
  leaves.sort()
}

function scanLeaf(tree: TreeView, query: Query, leaf: number): void {
  let base = query.leafScore(leaf)
  const scale = tree.scale(leaf)
  const { floats } = query.views
  base = fround(base + fround(floats[query.at + treeQuery.offset] * scale))
  const unit = fround(floats[query.at + treeQuery.unit] * scale)
  for (const [block, lanes] of tree.blocksOf(leaf)) {
    for (let lane = 0; lane < lanes; lane += 1) {
      const id = tree.words[tree.idsAt(block) + lane]
      const score = codedScore(tree, query, block * treeGroup + lane, { base, unit })
      if (score > query.found.least && query.allows(id)) query.found.append({ score, id })
    }
  }
}

function codedScore(
  tree: TreeView,
  query: Query,
  place: number,
  { base, unit }: { base: number; unit: number },
): number {
  const block = Math.floor(place / treeGroup)
  const lane = place % treeGroup
  let sum = 0
  for (let d = 0; d < tree.get('codes'); d += 1) {
    const byte = tree.bytes[tree.blockAt(block) + d * 16 + (lane % 16)]
    const code = lane < 16 ? byte & 15 : byte >> 4
    sum += query.views.bytes[query.word('tables') + d * 16 + code]
  }
  let score = fround(fround(sum * unit) + base)
  for (let t = 0; t < tree.get('tailDims'); t += 1) {
    const tail = tree.floats[tree.idsAt(block) + (t + 1) * treeGroup + lane]
    score = fround(score + fround(query.coordinate(tree.coded + t) * tail))
  }
  return score
}

function finish(
  tree: TreeView,
  query: Query,
  to: { k: number; ids: Address; scores: Address },
): number {
  const { found } = query
  found.keepBest()
  const ranked = found.entries().map(({ id }) => ({ id, score: rowScore(tree, query, id) }))
  found.clear()
  found.keep = to.k
  for (const entry of ranked.toSorted(compare).slice(0, to.k)) found.append(entry)
  for (const [i, { id, score }] of found.entries().entries()) {
    query.views.words[(to.ids >> 2) + i] = id
    query.views.floats[(to.scores >> 2) + i] = score
  }
  return found.size
}

/** Four partial sums by dimension modulo 4, added as (0 + 2) + (1 + 3). */
function rowScore(tree: TreeView, query: Query, id: number): number {
  const sums = [0, 0, 0, 0]
  for (let d = 0; d < tree.get('stride'); d += 1) {
    const term = fround(query.coordinate(d) * tree.floats[tree.rowAt(id) + d])
    sums[d & 3] = fround(sums[d & 3] + term)
  }
  return fround(fround(sums[0] + sums[2]) + fround(sums[1] + sums[3]))
}

/** Best first, ties by smaller id. */
const compare = (a: Entry, b: Entry): number => b.score - a.score || a.id - b.id

/** Keys are held as the kernels hold them: the inverted id, then the ordered score. */
class Reservoir {
  readonly #views: TreeViews
  readonly #at: number

  constructor(views: TreeViews, at: number) {
    this.#views = views
    this.#at = at
  }

  get size(): number {
    return this.#views.words[this.#at + reservoir.size]
  }

  get least(): number {
    return this.#views.floats[this.#at + reservoir.least]
  }

  get keep(): number {
    return this.#views.words[this.#at + reservoir.keep]
  }

  set keep(keep: number) {
    this.#views.words[this.#at + reservoir.keep] = keep
  }

  clear(): void {
    this.#views.words[this.#at + reservoir.size] = 0
    this.#views.floats[this.#at + reservoir.least] = -Infinity
  }

  append(entry: Entry): void {
    this.#write(this.size, entry)
    this.#views.words[this.#at + reservoir.size] += 1
    if (this.size === this.#views.words[this.#at + reservoir.capacity]) this.keepBest()
  }

  keepBest(): void {
    if (this.size <= this.keep) return
    const best = this.entries().toSorted(compare).slice(0, this.keep)
    for (const [i, entry] of best.entries()) this.#write(i, entry)
    this.#views.words[this.#at + reservoir.size] = this.keep
    this.#views.floats[this.#at + reservoir.least] = best[this.keep - 1].score
  }

  sort(): void {
    for (const [i, entry] of this.entries().toSorted(compare).entries()) this.#write(i, entry)
  }

  entries(): Entry[] {
    return Array.from({ length: this.size }, (_, i) => {
      const key = this.#key(i)
      const ordered = this.#views.words[key + 1] | 0
      const bits = Int32Array.of(ordered < 0 ? ordered ^ -0x8000_0000 : ~ordered)
      return { score: new Float32Array(bits.buffer)[0], id: ~this.#views.words[key] >>> 0 }
    })
  }

  #write(i: number, { score, id }: Entry): void {
    const [bits] = new Int32Array(Float32Array.of(score + 0).buffer)
    const key = this.#key(i)
    this.#views.words[key] = ~id
    this.#views.words[key + 1] = bits < 0 ? ~bits : bits ^ -0x8000_0000
  }

  #key(i: number): number {
    return (this.#views.words[this.#at + reservoir.keys] >> 2) + i * 2
  }
}
