/** Twins of `assembly/tree-leaves.ts`: members of leaves and their codes. */
import type { Address } from '../operands.ts'
import { type TreeKernels, treeGroup } from '../tree-kernels.ts'
import { type TreeViews, TreeView, treeViews } from '../tree-views.ts'
import { nearest as toNearest } from './reference-flat.ts'

const { fround } = Math

type LeafKernels = Omit<
  TreeKernels,
  'treePrepare' | 'treeChoose' | 'treeScan' | 'treeReach' | 'treeCountBits' | 'treeFinish'
>

export function referenceTreeLeafKernels(memory: WebAssembly.Memory): LeafKernels {
  const views = treeViews(memory)
  return {
    treeAssign: (tree, ids, n, leaves) => assign(new TreeView(views, tree), ids, n, leaves),
    treePlace: (layout, ids, leaves, n) => {
      const tree = new TreeView(views, layout)
      for (const [i, id] of list(views, ids, n).entries()) {
        put(tree, id, views.words[(leaves >> 2) + i])
      }
    },
    treeRefresh: (layout, ids, n) => {
      const tree = new TreeView(views, layout)
      return keepFirst(views, ids, n, (id) => refresh(tree, id))
    },
    treeRemove: (layout, ids, n) => {
      const tree = new TreeView(views, layout)
      for (const id of list(views, ids, n)) if (placeOf(tree, id) >= 0) take(tree, id)
    },
    treeTails: (layout, ids, n) => {
      const tree = new TreeView(views, layout)
      for (const id of list(views, ids, n)) {
        if (placeOf(tree, id) >= 0) copyTails(tree, id, placeOf(tree, id))
      }
    },
    treeLeafSums: (layout, leaf, sums) => {
      const tree = new TreeView(views, layout)
      const to = views.floats.subarray(sums >> 2, (sums >> 2) + tree.get('stride') + 1)
      to.fill(0)
      for (const id of membersOf(tree, leaf)) addRow(tree, id, to)
    },
    treeEncodeLeaf: (layout, leaf, ids) => {
      const tree = new TreeView(views, layout)
      for (let t = 0; t < tree.get('tailDims'); t += 1) {
        const ends = tree.tailEndsAt(leaf, t)
        tree.floats[ends] = -Infinity
        tree.floats[ends + treeGroup] = Infinity
      }
      const strays = [...membersOf(tree, leaf)].filter((id) => refresh(tree, id))
      views.words.set(strays, ids >> 2)
      return strays.length
    },
    treeMembers: (layout, leaf, ids) => {
      const members = [...membersOf(new TreeView(views, layout), leaf)]
      views.words.set(members, ids >> 2)
      return members.length
    },
    treeSums: (layout, ids, leaves, ...[n, sums, counts]) => {
      const tree = new TreeView(views, layout)
      const { coded } = tree
      for (const [i, id] of list(views, ids, n).entries()) {
        const leaf = views.words[(leaves >> 2) + i]
        for (let d = 0; d < coded; d += 1) {
          const at = (sums >> 2) + leaf * coded + d
          views.floats[at] = fround(views.floats[at] + views.floats[tree.rowAt(id) + d])
        }
        views.words[(counts >> 2) + leaf] += 1
      }
    },
    treeCodeSums: (layout, ids, leaves, ...[n, sums]) => {
      const tree = new TreeView(views, layout)
      for (const [i, id] of list(views, ids, n).entries()) {
        addCodeSums(tree, id, views.words[(leaves >> 2) + i], sums >> 2)
      }
    },
  }
}

/** Ids in the order in which they lie. */
function* membersOf(tree: TreeView, leaf: number): Generator<number> {
  for (const [block, lanes] of tree.blocksOf(leaf)) {
    const first = tree.idsAt(block)
    yield* tree.words.subarray(first, first + lanes)
  }
}

/** To the sums of coordinates and, behind them, of squares. */
function addRow(tree: TreeView, id: number, sums: Float32Array): void {
  const squares = sums.length - 1
  for (let d = 0; d < squares; d += 1) {
    const value = tree.floats[tree.rowAt(id) + d]
    sums[d] += value
    if (d < tree.coded) sums[squares] += fround(value * value)
  }
}

const list = ({ words }: TreeViews, ids: Address, n: number): Uint32Array =>
  words.slice(ids >> 2, (ids >> 2) + n)

/** Leaves at the front of a list what `isKept`; returns how many. */
function keepFirst(
  views: TreeViews,
  ids: Address,
  n: number,
  isKept: (id: number) => boolean,
): number {
  const kept = list(views, ids, n).filter(isKept)
  views.words.set(kept, ids >> 2)
  return kept.length
}

const leafAt = (tree: TreeView, place: number): number =>
  tree.entry('owners', Math.floor(place / treeGroup))

/** Codes an id where it is; whether it belongs elsewhere. */
function refresh(tree: TreeView, id: number): boolean {
  const place = placeOf(tree, id)
  if (place < 0) return true
  const leaf = leafAt(tree, place)
  const squares = encode(tree, id, leaf, place)
  if (tree.scale(leaf) <= leastScale || tree.isCrowded(leaf)) return true
  return squares > strayed * tree.coded
}

const strayed = 1.25
const leastScale = fround(1e-30)

/** The place of an id, or -1. */
const placeOf = (tree: TreeView, id: number): number => tree.entry('places', id) - 1

function assign(tree: TreeView, ids: Address, n: number, leaves: Address): void {
  for (let i = 0; i < n; i += 1) {
    tree.words[(leaves >> 2) + i] = nearestLeaf(tree, tree.words[(ids >> 2) + i])
  }
}

function nearestLeaf(tree: TreeView, id: number): number {
  const { point, unit } = rounded(tree, id)
  const biases = tree.get('biases') >> 2
  let [best, nearest] = [-Infinity, 0]
  for (let leaf = 0; leaf < tree.get('panels') * treeGroup; leaf += 1) {
    let sum = 0
    for (const [d, value] of point.entries()) sum += value * tree.roundCentroid(leaf, d)
    const score = fround(fround(fround(sum) * unit) + tree.floats[biases + leaf])
    if (score > best) [best, nearest] = [score, leaf]
  }
  return nearest
}

/** A row in steps of the rounded centroids' units, and what one of its products is worth. */
function rounded(tree: TreeView, id: number): { point: Float32Array; unit: number } {
  const units = tree.get('roundUnits') >> 2
  const scaled = Float32Array.from(
    { length: tree.coded },
    (_, d) => tree.floats[tree.rowAt(id) + d] * tree.floats[units + d],
  )
  const most = scaled.reduce((greatest, value) => Math.max(greatest, Math.abs(value)), 0)
  const pairs = Math.ceil(tree.coded / 2)
  const steps = Math.min(4095, Math.floor((2 ** 31 - 1) / (centroidSteps * pairs * 2)))
  const factor = most > leastRange ? fround(steps / most) : 0
  return {
    point: scaled.map((value) => toNearest(fround(value * factor))),
    unit: most > leastRange ? fround(most / steps) : 0,
  }
}

const centroidSteps = 8192
const leastRange = fround(1e-34)

function put(tree: TreeView, id: number, leaf: number): void {
  const place = placeOf(tree, id)
  if (place >= 0 && tree.entry('owners', Math.floor(place / treeGroup)) !== leaf) take(tree, id)
  if (placeOf(tree, id) < 0) add(tree, id, leaf)
  encode(tree, id, leaf, placeOf(tree, id))
}

function add(tree: TreeView, id: number, leaf: number): void {
  const size = tree.entry('sizes', leaf)
  if (size % treeGroup === 0) grow(tree, leaf)
  const block = tree.entry('heads', leaf) - 1
  tree.setEntry('sizes', leaf, size + 1)
  tree.words[tree.idsAt(block) + (size % treeGroup)] = id
  tree.setEntry('places', id, 1 + block * treeGroup + (size % treeGroup))
}

function grow(tree: TreeView, leaf: number): void {
  let block = tree.get('freeBlock')
  if (block === 0) {
    block = tree.get('usedBlocks') + 1
    tree.set('usedBlocks', block)
  } else {
    tree.set('freeBlock', tree.entry('nexts', block - 1))
  }
  tree.setEntry('nexts', block - 1, tree.entry('heads', leaf))
  tree.setEntry('owners', block - 1, leaf)
  tree.setEntry('heads', leaf, block)
}

function take(tree: TreeView, id: number): void {
  const place = placeOf(tree, id)
  const leaf = tree.entry('owners', Math.floor(place / treeGroup))
  const size = tree.entry('sizes', leaf) - 1
  const head = tree.entry('heads', leaf) - 1
  const last = head * treeGroup + (size % treeGroup)
  if (last !== place) move(tree, last, place)
  tree.setEntry('places', id, 0)
  tree.setEntry('sizes', leaf, size)
  if (size % treeGroup !== 0) return
  tree.setEntry('heads', leaf, tree.entry('nexts', head))
  tree.setEntry('nexts', head, tree.get('freeBlock'))
  tree.set('freeBlock', head + 1)
}

function move(tree: TreeView, from: number, to: number): void {
  const id = tree.words[tree.idsAt(Math.floor(from / treeGroup)) + (from % treeGroup)]
  tree.words[tree.idsAt(Math.floor(to / treeGroup)) + (to % treeGroup)] = id
  tree.setEntry('places', id, to + 1)
  copyTails(tree, id, to)
  for (let d = 0; d < tree.get('codes'); d += 1) setCode(tree, d, to, codeAt(tree, d, from))
}

/** Byte j of a dimension's codes: members j (low half) and j + 16. */
function byteAt(tree: TreeView, d: number, place: number): number {
  return tree.blockAt(Math.floor(place / treeGroup)) + d * 16 + (place % 16)
}

const isHigh = (place: number): boolean => place % treeGroup >= 16

function codeAt(tree: TreeView, d: number, place: number): number {
  const byte = tree.bytes[byteAt(tree, d, place)]
  return isHigh(place) ? byte >> 4 : byte & 15
}

function setCode(tree: TreeView, d: number, place: number, code: number): void {
  const at = byteAt(tree, d, place)
  const byte = tree.bytes[at]
  tree.bytes[at] = isHigh(place) ? (byte & 15) | (code << 4) : (byte & 0xf0) | code
}

function copyTails(tree: TreeView, id: number, place: number): void {
  const to = tree.idsAt(Math.floor(place / treeGroup)) + (place % treeGroup)
  const from = tree.rowAt(id) + tree.coded
  for (let t = 0; t < tree.get('tailDims'); t += 1) {
    const [tail, ends] = [tree.floats[from + t], tree.tailEndsAt(leafAt(tree, place), t)]
    tree.floats[to + (t + 1) * treeGroup] = tail
    tree.floats[ends] = Math.max(tree.floats[ends], tail)
    tree.floats[ends + treeGroup] = Math.min(tree.floats[ends + treeGroup], tail)
  }
}

/** Returns the sum of the squares of its coordinates in units. */
function encode(tree: TreeView, id: number, leaf: number, place: number): number {
  let [extremes, squares] = [0, 0]
  for (let d = 0; d < tree.coded; d += 1) {
    const value = inUnits(tree, id, leaf, d)
    const code = codeOf(tree, d, value)
    squares = fround(squares + fround(value * value))
    setCode(tree, d, place, code)
    if (code === 0 || code === 15) extremes += 1
  }
  if (extremes * 4 > tree.coded && tree.scale(leaf) > leastScale) {
    tree.setEntry('strays', leaf, tree.entry('strays', leaf) + 1)
    tree.set('allStrays', tree.get('allStrays') + 1)
  }
  copyTails(tree, id, place)
  return squares
}

/** A coordinate less that of the centroid, in units of the leaf's scale. */
function inUnits(tree: TreeView, id: number, leaf: number, d: number): number {
  const residual = fround(tree.floats[tree.rowAt(id) + d] - tree.centroid(leaf, d))
  const scale = tree.scale(leaf)
  return fround(residual * (scale > leastScale ? fround(1 / scale) : 0))
}

/** The number of borders below a value. */
function codeOf(tree: TreeView, d: number, value: number): number {
  const borders = (tree.get('codebook') >> 2) + d * 32 + 16
  return tree.floats.subarray(borders, borders + 16).filter((border) => value > border).length
}

function addCodeSums(tree: TreeView, id: number, leaf: number, sums: number): void {
  for (let d = 0; d < tree.coded; d += 1) {
    const value = inUnits(tree, id, leaf, d)
    const at = sums + d * 32 + codeOf(tree, d, value) * 2
    tree.floats[at] = fround(tree.floats[at] + value)
    tree.floats[at + 1] = fround(tree.floats[at + 1] + 1)
  }
}
