/**
 * Who is in which leaf: coding what is left of a vector when the centroid is taken away, adding and
 * removing members. Which leaf is the nearest: `tree-assign.ts`.
 *
 * A code is 4 bits for each dimension: the nearest of 16 levels (Lloyd-Max; product quantization
 * with blocks of one dimension). ScaNN's 4 bits for two make a scan twice as fast, but leave so
 * much to be ranked again by rows that the search is slower. In a block the codes of one dimension
 * are 16 bytes: byte j holds member j in its low half and member j + 16 in its high half, which is
 * what `tree-query.ts` looks up (Andre et al. 2015).
 *
 * `src/kernels/reference/reference-tree-leaves.ts` is the twin.
 */
import {
  TreeLayout,
  blockAt,
  centroidOf,
  codedOf,
  rowOf,
  setWord,
  tailEndsOf,
  word,
} from './tree-layout'

/** Puts each of n ids, or moves it, into the leaf named for it, coded anew from its row. */
export function treePlace(layout: usize, ids: usize, leaves: usize, n: i32): void {
  const tree = changetype<TreeLayout>(layout)
  for (let i = 0; i < n; i += 1) {
    const id = word(ids, i)
    const leaf = word(leaves, i)
    let place = word(tree.places, id)
    if (place != 0 && word(tree.owners, (place - 1) >> 5) != leaf) {
      take(tree, id, place - 1)
      place = 0
    }
    if (place == 0) place = add(tree, id, leaf)
    encode(tree, id, leaf, place - 1)
  }
}

/**
 * Codes each of n ids anew in the leaf that it is in. Those that have strayed from theirs, or are
 * in none, are left at the front of `ids`: returns how many. What has moved a little stays where it
 * is, which costs a tenth of finding the nearest leaf.
 */
export function treeRefresh(layout: usize, ids: usize, n: i32): i32 {
  const tree = changetype<TreeLayout>(layout)
  let strays = 0
  for (let i = 0; i < n; i += 1) {
    const id = word(ids, i)
    const place = word(tree.places, id)
    if (place != 0) {
      const leaf = word(tree.owners, (place - 1) >> 5)
      const squares = encode(tree, id, leaf, place - 1)
      if (!isStray(tree, leaf, squares)) continue
    }
    setWord(ids, strays, id)
    strays += 1
  }
  return strays
}

/** A member's mean square in units, which is 1 on average, from which on its leaf is not its own. */
const strayed: f32 = 1.25

/** Given the sum of its squares in units. A leaf without a unit, or a crowded one, keeps nobody. */
@inline
function isStray(tree: TreeLayout, leaf: u32, squares: f32): bool {
  if (unitsOf(tree, leaf) == 0) return true
  const at = usize(leaf) << 2
  if (load<f32>(tree.biases + at) < load<f32>(tree.bases + at)) return true
  return squares > strayed * f32(codedOf(tree))
}

/** Takes n ids out; those that are not in are passed over. */
export function treeRemove(layout: usize, ids: usize, n: i32): void {
  const tree = changetype<TreeLayout>(layout)
  for (let i = 0; i < n; i += 1) {
    const id = word(ids, i)
    const place = word(tree.places, id)
    if (place != 0) take(tree, id, place - 1)
  }
}

/** Writes the tails of n ids beside their codes; those that are not in are passed over. */
export function treeTails(layout: usize, ids: usize, n: i32): void {
  const tree = changetype<TreeLayout>(layout)
  for (let i = 0; i < n; i += 1) {
    const id = word(ids, i)
    const place = word(tree.places, id)
    if (place != 0) copyTails(tree, rowOf(tree, id), place - 1)
  }
}

/** A place at the end of a leaf. Returns 1 + place. */
function add(tree: TreeLayout, id: u32, leaf: u32): u32 {
  const size = word(tree.sizes, leaf)
  if ((size & 31) == 0) grow(tree, leaf)
  const block = word(tree.heads, leaf) - 1
  const lane = size & 31
  setWord(tree.sizes, leaf, size + 1)
  setWord(idsOf(tree, block), lane, id)
  const place = 1 + ((block << 5) | lane)
  setWord(tree.places, id, place)
  return place
}

function grow(tree: TreeLayout, leaf: u32): void {
  let block = tree.freeBlock
  if (block != 0) {
    tree.freeBlock = word(tree.nexts, block - 1)
  } else {
    tree.usedBlocks += 1
    block = tree.usedBlocks
  }
  setWord(tree.nexts, block - 1, word(tree.heads, leaf))
  setWord(tree.owners, block - 1, leaf)
  setWord(tree.heads, leaf, block)
}

/** Takes an id out; the last member of its leaf comes to its place. */
function take(tree: TreeLayout, id: u32, place: u32): void {
  const leaf = word(tree.owners, place >> 5)
  const size = word(tree.sizes, leaf) - 1
  const head = word(tree.heads, leaf) - 1
  const last = (head << 5) | (size & 31)
  if (last != place) move(tree, last, place)
  setWord(tree.places, id, 0)
  setWord(tree.sizes, leaf, size)
  if ((size & 31) != 0) return
  setWord(tree.heads, leaf, word(tree.nexts, head))
  setWord(tree.nexts, head, tree.freeBlock)
  tree.freeBlock = head + 1
}

function move(tree: TreeLayout, from: u32, to: u32): void {
  const id = word(idsOf(tree, from >> 5), from & 31)
  setWord(idsOf(tree, to >> 5), to & 31, id)
  setWord(tree.places, id, to + 1)
  copyTails(tree, rowOf(tree, id), to)
  const source = blockAt(tree, from >> 5) + usize(from & 15)
  const target = blockAt(tree, to >> 5) + usize(to & 15)
  for (let d: usize = 0; d < usize(tree.codes) << 4; d += 16) {
    setCode(target + d, to, (load<u8>(source + d) >> u8((from & 16) >> 2)) & 15)
  }
}

/** Writes one half of a byte of codes. */
@inline
function setCode(at: usize, lane: u32, code: u8): void {
  const shift = u8((lane & 16) >> 2)
  const other = load<u8>(at) & (u8(0xf0) >> shift)
  store<u8>(at, other | (code << shift))
}

@inline
function idsOf(tree: TreeLayout, block: u32): usize {
  return blockAt(tree, block) + (usize(tree.codes) << 4)
}

function copyTails(tree: TreeLayout, row: usize, place: u32): void {
  const to = idsOf(tree, place >> 5) + 128 + (usize(place & 31) << 2)
  const from = row + (usize(codedOf(tree)) << 2)
  const ends = tailEndsOf(tree, word(tree.owners, place >> 5))
  for (let t: usize = 0; t < usize(tree.tailDims); t += 1) {
    const tail = load<f32>(from + (t << 2))
    const end = ends + (t << 8)
    store<f32>(to + (t << 7), tail)
    store<f32>(end, max(load<f32>(end), tail))
    store<f32>(end, min(load<f32>(end, 128), tail), 128)
  }
}

/** Forgets how far the tails of a leaf's members go: they are about to be written anew. */
function clearTailEnds(tree: TreeLayout, leaf: u32): void {
  const ends = tailEndsOf(tree, leaf)
  for (let t: usize = 0; t < usize(tree.tailDims); t += 1) {
    store<f32>(ends + (t << 8), -Infinity)
    store<f32>(ends + (t << 8), Infinity, 128)
  }
}

/** Returns the sum of the squares of its coordinates in units. */
function encode(tree: TreeLayout, id: u32, leaf: u32, place: u32): f32 {
  const row = rowOf(tree, id)
  const coded = codedOf(tree)
  const units = unitsOf(tree, leaf)
  const code = blockAt(tree, place >> 5) + usize(place & 15)
  let extremes = 0
  let squares: f32 = 0
  for (let d = 0; d < coded; d += 1) {
    const value = residual(tree, row, leaf, d) * units
    const nearest = codeOf(tree, d, value)
    squares += value * value
    setCode(code + (usize(d) << 4), place, u8(nearest))
    extremes += i32(((nearest + 1) & 15) <= 1)
  }
  // Of normal coordinates one in fifty is at an extreme.
  if (extremes * 4 > coded && units > 0) {
    setWord(tree.strays, leaf, word(tree.strays, leaf) + 1)
    tree.allStrays += 1
  }
  copyTails(tree, row, place)
  return squares
}

/** How many units make 1 in a leaf; a leaf of one point has none. */
@inline
function unitsOf(tree: TreeLayout, leaf: u32): f32 {
  const scale = load<f32>(tree.scales + (usize(leaf) << 2))
  return scale > 1e-30 ? 1 / scale : 0
}

/** A coordinate less that of the centroid. */
@inline
function residual(tree: TreeLayout, row: usize, leaf: u32, d: i32): f32 {
  return load<f32>(row + (usize(d) << 2)) - load<f32>(centroidOf(tree, leaf) + (usize(d) << 7))
}

/** The number of borders below a value. */
@inline
function codeOf(tree: TreeLayout, d: i32, value: f32): i32 {
  const borders = tree.codebook + (usize(d) << 7) + 64
  const x = f32x4.splat(value)
  const low = i16x8.narrow_i32x4_s(
    f32x4.gt(x, v128.load(borders)),
    f32x4.gt(x, v128.load(borders, 16)),
  )
  const high = i16x8.narrow_i32x4_s(
    f32x4.gt(x, v128.load(borders, 32)),
    f32x4.gt(x, v128.load(borders, 48)),
  )
  return popcnt(i8x16.bitmask(i8x16.narrow_i16x8_s(low, high)))
}

/**
 * The sum of the rows of a leaf's members, and behind its `stride` floats the sum of their squares
 * without tails, in the order in which members lie.
 */
export function treeLeafSums(layout: usize, leaf: u32, sums: usize): void {
  const tree = changetype<TreeLayout>(layout)
  const bytes = usize(tree.stride) << 2
  memory.fill(sums, 0, bytes)
  let squares: f32 = 0
  let lanes = ((word(tree.sizes, leaf) - 1) & 31) + 1
  for (let block = word(tree.heads, leaf); block != 0; block = word(tree.nexts, block - 1)) {
    for (let lane: u32 = 0; lane < lanes; lane += 1) {
      squares = addRow(tree, rowOf(tree, word(idsOf(tree, block - 1), lane)), sums, squares)
    }
    lanes = 32
  }
  store<f32>(sums + bytes, squares)
}

/** Adds a row to sums, whose strides are whole vectors; returns the squares with its own. */
@inline
function addRow(tree: TreeLayout, row: usize, sums: usize, squares: f32): f32 {
  for (let at: usize = 0; at < usize(tree.stride) << 2; at += 16) {
    v128.store(sums + at, f32x4.add(v128.load(sums + at), v128.load(row + at)))
  }
  let all = squares
  for (let d = 0; d < codedOf(tree); d += 1) {
    const value = load<f32>(row + (usize(d) << 2))
    all += value * value
  }
  return all
}

/**
 * Codes all members of a leaf anew: its centroid has moved. Writes the ids of those that have
 * strayed from it now; returns how many.
 */
export function treeEncodeLeaf(layout: usize, leaf: u32, ids: usize): i32 {
  const tree = changetype<TreeLayout>(layout)
  clearTailEnds(tree, leaf)
  let strays = 0
  let lanes = ((word(tree.sizes, leaf) - 1) & 31) + 1
  for (let block = word(tree.heads, leaf); block != 0; block = word(tree.nexts, block - 1)) {
    for (let lane: u32 = 0; lane < lanes; lane += 1) {
      const id = word(idsOf(tree, block - 1), lane)
      const squares = encode(tree, id, leaf, ((block - 1) << 5) | lane)
      if (!isStray(tree, leaf, squares)) continue
      setWord(ids, strays, id)
      strays += 1
    }
    lanes = 32
  }
  return strays
}

/** Writes the ids of a leaf's members; returns how many. */
export function treeMembers(layout: usize, leaf: u32, ids: usize): i32 {
  const tree = changetype<TreeLayout>(layout)
  let lanes = ((word(tree.sizes, leaf) - 1) & 31) + 1
  let to = ids
  for (let block = word(tree.heads, leaf); block != 0; block = word(tree.nexts, block - 1)) {
    memory.copy(to, idsOf(tree, block - 1), usize(lanes) << 2)
    to += usize(lanes) << 2
    lanes = 32
  }
  return i32((to - ids) >> 2)
}

/** Adds each of n rows to the sum (per coded dimension f32) of its leaf, and 1 to its count. */
export function treeSums(
  layout: usize,
  ids: usize,
  leaves: usize,
  n: i32,
  sums: usize,
  counts: usize,
): void {
  const tree = changetype<TreeLayout>(layout)
  for (let i = 0; i < n; i += 1) {
    const leaf = word(leaves, i)
    const row = rowOf(tree, word(ids, i))
    const sum = sums + ((usize(leaf) * usize(codedOf(tree))) << 2)
    for (let d: usize = 0; d < usize(codedOf(tree)) << 2; d += 4) {
      store<f32>(sum + d, load<f32>(sum + d) + load<f32>(row + d))
    }
    setWord(counts, leaf, word(counts, leaf) + 1)
  }
}

/** Adds the residuals of n rows to the sums of their codes: per dimension 16 x (sum, count) f32. */
export function treeCodeSums(layout: usize, ids: usize, leaves: usize, n: i32, sums: usize): void {
  const tree = changetype<TreeLayout>(layout)
  for (let i = 0; i < n; i += 1) {
    const row = rowOf(tree, word(ids, i))
    const leaf = word(leaves, i)
    const units = unitsOf(tree, leaf)
    for (let d = 0; d < codedOf(tree); d += 1) {
      const value = residual(tree, row, leaf, d) * units
      const sum = sums + (usize(d) << 7) + (usize(codeOf(tree, d, value)) << 3)
      store<f32>(sum, load<f32>(sum) + value)
      store<f32>(sum, load<f32>(sum, 4) + 1, 4)
    }
  }
}
