/**
 * The flat index: every vector against every query, with the best kept in a heap beside. Ids come
 * in blocks of 32, one word of a bitmap each; a block in which nothing may be returned costs one
 * load.
 *
 * Two representations. `rows`: f32, row-major, the truth. `codes`: int8 with one scale per vector,
 * for a first pass; within a block the codes of two neighbouring dimensions of four ids lie in
 * eight bytes, so that one `dot_i16x8_s` advances four ids by two dimensions and nothing is summed
 * across lanes. The query keeps 16 bits: all of the error is the vectors'. The last `tailDims`
 * dimensions are left out of the codes and scored in f32 in both passes.
 *
 * Sums have a fixed order and ties go to the smaller id, so an answer does not depend on the order
 * of insertion. `src/kernels/reference/reference-flat.ts` is the twin, `src/kernels/flat-kernels.ts` the
 * interface.
 */
import { scratch } from './scratch'

/** Where an index lies; all addresses 16-byte aligned. */
@unmanaged
class FlatLayout {
  /**
   * For each block of ids: pairs x 64 bytes of codes, 32 f32 of scales (what a unit of an id's
   * codes is worth), tailDims x 32 f32 of tail dimensions. One stream through memory.
   */
  blocks: usize
  /** Ids x stride f32, zero behind the last dimension. */
  rows: usize
  /** One bit per id that has a vector. */
  present: usize
  dim: i32
  tailDims: i32
  /** Floats from row to row: dim rounded up to 4. */
  stride: i32
  /** Pairs of coded dimensions, the last may be half empty; 0: no codes are kept. */
  pairs: i32
  /** Bytes from block to block. */
  blockBytes: i32
}

/** A vector whose codes would be worth less than this is coded as zero: 1/x must not overflow. */
// @ts-ignore: decorator
@inline
const leastScale: f32 = 1e-30

/** One query and the heap of its best: the root is the worst that is kept. */
@unmanaged
class ScanQuery {
  /** pairs x two i16. */
  codes: usize
  /** stride f32, zero behind the last dimension. */
  vector: usize
  /** Ids that may be returned; 0: all. */
  allow: usize
  scores: usize
  ids: usize
  capacity: i32
  size: i32
  scale: f32
}

/** First pass over the first `blocks`: approximate scores into the heaps of `count` queries. */
export function flatScanCodes(index: usize, queries: usize, count: i32, blocks: i32): void {
  const layout = changetype<FlatLayout>(index)
  for (let block = 0; block < blocks; block += 1) {
    const present = load<u32>(layout.present + (usize(block) << 2))
    if (present == 0) continue
    // Two at a time share the widening of codes to 16 bits: a sixth less work.
    for (let i = 0; i < count; i += 2) {
      const a = changetype<ScanQuery>(queries + usize(i) * offsetof<ScanQuery>())
      const allowedA = allowedIn(a, block, present)
      if (i + 1 == count) {
        if (allowedA != 0) scanBlockCodes(layout, a, block, allowedA)
        continue
      }
      const b = changetype<ScanQuery>(queries + usize(i + 1) * offsetof<ScanQuery>())
      const allowedB = allowedIn(b, block, present)
      if ((allowedA | allowedB) == 0) continue
      const some = scanBlockCodesOfTwo(layout, a, b, block)
      if ((some & 1) != 0) offerBlock(a, block, allowedA, scratch)
      if ((some & 2) != 0) offerBlock(b, block, allowedB, scratch + 128)
    }
  }
}

/** The same with exact scores from the rows, over the blocks from `first` to `end`. */
export function flatScanRows(index: usize, queries: usize, count: i32, first: i32, end: i32): void {
  const layout = changetype<FlatLayout>(index)
  for (let block = first; block < end; block += 1) {
    const present = load<u32>(layout.present + (usize(block) << 2))
    if (present == 0) continue
    for (let i = 0; i < count; i += 1) {
      const query = changetype<ScanQuery>(queries + usize(i) * offsetof<ScanQuery>())
      const allowed = allowedIn(query, block, present)
      if (allowed != 0) scanBlockRows(layout, query, block, allowed)
    }
  }
}

@inline
function allowedIn(query: ScanQuery, block: i32, present: u32): u32 {
  return query.allow == 0 ? present : present & load<u32>(query.allow + (usize(block) << 2))
}

function scanBlockCodes(layout: FlatLayout, query: ScanQuery, block: i32, allowed: u32): void {
  let s0 = i32x4.splat(0)
  let s1 = i32x4.splat(0)
  let s2 = i32x4.splat(0)
  let s3 = i32x4.splat(0)
  let s4 = i32x4.splat(0)
  let s5 = i32x4.splat(0)
  let s6 = i32x4.splat(0)
  let s7 = i32x4.splat(0)
  let at = layout.blocks + usize(block) * usize(layout.blockBytes)
  let pair = query.codes
  const end = pair + (usize(layout.pairs) << 2)
  while (pair < end) {
    const q = v128.load_splat<u32>(pair)
    s0 = i32x4.add(s0, i32x4.dot_i16x8_s(q, v128.load_ext<i8>(at)))
    s1 = i32x4.add(s1, i32x4.dot_i16x8_s(q, v128.load_ext<i8>(at, 8)))
    s2 = i32x4.add(s2, i32x4.dot_i16x8_s(q, v128.load_ext<i8>(at, 16)))
    s3 = i32x4.add(s3, i32x4.dot_i16x8_s(q, v128.load_ext<i8>(at, 24)))
    s4 = i32x4.add(s4, i32x4.dot_i16x8_s(q, v128.load_ext<i8>(at, 32)))
    s5 = i32x4.add(s5, i32x4.dot_i16x8_s(q, v128.load_ext<i8>(at, 40)))
    s6 = i32x4.add(s6, i32x4.dot_i16x8_s(q, v128.load_ext<i8>(at, 48)))
    s7 = i32x4.add(s7, i32x4.dot_i16x8_s(q, v128.load_ext<i8>(at, 56)))
    at += 64
    pair += 4
  }
  const some = v128.or(
    scoreGroups(layout, query, at, scratch, s0, s1, s2, s3),
    scoreGroups(layout, query, at + 64, scratch + 64, s4, s5, s6, s7),
  )
  if (v128.any_true(some)) offerBlock(query, block, allowed, scratch)
}

/**
 * Scores of two queries into `scratch`, the second's 128 bytes on; half a block at a time, to fit
 * the registers. Bit 0 and 1 of the result: whether any of the first's or second's is good enough.
 */
function scanBlockCodesOfTwo(layout: FlatLayout, a: ScanQuery, b: ScanQuery, block: i32): i32 {
  const codes = layout.blocks + usize(block) * usize(layout.blockBytes)
  const scales = codes + (usize(layout.pairs) << 6)
  let someA = i32x4.splat(0)
  let someB = i32x4.splat(0)
  for (let half: usize = 0; half < 2; half += 1) {
    let a0 = i32x4.splat(0)
    let a1 = i32x4.splat(0)
    let a2 = i32x4.splat(0)
    let a3 = i32x4.splat(0)
    let b0 = i32x4.splat(0)
    let b1 = i32x4.splat(0)
    let b2 = i32x4.splat(0)
    let b3 = i32x4.splat(0)
    let pairA = a.codes
    let pairB = b.codes
    for (let at = codes + (half << 5); at < scales; at += 64) {
      const qa = v128.load_splat<u32>(pairA)
      const qb = v128.load_splat<u32>(pairB)
      const c0 = v128.load_ext<i8>(at)
      a0 = i32x4.add(a0, i32x4.dot_i16x8_s(qa, c0))
      b0 = i32x4.add(b0, i32x4.dot_i16x8_s(qb, c0))
      const c1 = v128.load_ext<i8>(at, 8)
      a1 = i32x4.add(a1, i32x4.dot_i16x8_s(qa, c1))
      b1 = i32x4.add(b1, i32x4.dot_i16x8_s(qb, c1))
      const c2 = v128.load_ext<i8>(at, 16)
      a2 = i32x4.add(a2, i32x4.dot_i16x8_s(qa, c2))
      b2 = i32x4.add(b2, i32x4.dot_i16x8_s(qb, c2))
      const c3 = v128.load_ext<i8>(at, 24)
      a3 = i32x4.add(a3, i32x4.dot_i16x8_s(qa, c3))
      b3 = i32x4.add(b3, i32x4.dot_i16x8_s(qb, c3))
      pairA += 4
      pairB += 4
    }
    const from = scales + (half << 6)
    const to = scratch + (half << 6)
    someA = v128.or(someA, scoreGroups(layout, a, from, to, a0, a1, a2, a3))
    someB = v128.or(someB, scoreGroups(layout, b, from, to + 128, b0, b1, b2, b3))
  }
  return i32(v128.any_true(someA)) | (i32(v128.any_true(someB)) << 1)
}

/**
 * Scores of sixteen ids from the sums of their products, stored at `to`; `scales` is where their
 * scales lie, with the tails 128 bytes on. Lanes of the result are set where a score is good
 * enough.
 */
// @ts-ignore: decorator
@inline
function scoreGroups(
  layout: FlatLayout,
  query: ScanQuery,
  scales: usize,
  to: usize,
  s0: v128,
  s1: v128,
  s2: v128,
  s3: v128,
): v128 {
  const unit = f32x4.splat(query.scale)
  s0 = f32x4.mul(f32x4.mul(f32x4.convert_i32x4_s(s0), v128.load(scales)), unit)
  s1 = f32x4.mul(f32x4.mul(f32x4.convert_i32x4_s(s1), v128.load(scales, 16)), unit)
  s2 = f32x4.mul(f32x4.mul(f32x4.convert_i32x4_s(s2), v128.load(scales, 32)), unit)
  s3 = f32x4.mul(f32x4.mul(f32x4.convert_i32x4_s(s3), v128.load(scales, 48)), unit)
  let tail = scales + 128
  let weight = query.vector + (usize(layout.dim - layout.tailDims) << 2)
  for (let i = 0; i < layout.tailDims; i += 1) {
    const w = v128.load_splat<u32>(weight)
    s0 = f32x4.add(s0, f32x4.mul(w, v128.load(tail)))
    s1 = f32x4.add(s1, f32x4.mul(w, v128.load(tail, 16)))
    s2 = f32x4.add(s2, f32x4.mul(w, v128.load(tail, 32)))
    s3 = f32x4.add(s3, f32x4.mul(w, v128.load(tail, 48)))
    tail += 128
    weight += 4
  }
  v128.store(to, s0)
  v128.store(to, s1, 16)
  v128.store(to, s2, 32)
  v128.store(to, s3, 48)
  const least = f32x4.splat(threshold(query))
  return v128.or(
    v128.or(f32x4.gt(s0, least), f32x4.gt(s1, least)),
    v128.or(f32x4.gt(s2, least), f32x4.gt(s3, least)),
  )
}

function scanBlockRows(layout: FlatLayout, query: ScanQuery, block: i32, allowed: u32): void {
  const rowBytes = usize(layout.stride) << 2
  let row = layout.rows + (usize(block) << 5) * rowBytes
  let some = v128.splat<i32>(0)
  const least = f32x4.splat(threshold(query))
  for (let group: usize = 0; group < 8; group += 1) {
    if (((allowed >> u32(group << 2)) & 15) != 0) {
      const scores = dotFour(row, rowBytes, query.vector)
      some = v128.or(some, f32x4.gt(scores, least))
      v128.store(scratch + (group << 4), scores)
    }
    row += rowBytes << 2
  }
  if (v128.any_true(some)) offerBlock(query, block, allowed, scratch)
}

/** Four rows with one vector; each sum is (l0 + l2) + (l1 + l3) over its four lanes. */
@inline
function dotFour(row: usize, rowBytes: usize, vector: usize): v128 {
  let a = f32x4.splat(0)
  let b = f32x4.splat(0)
  let c = f32x4.splat(0)
  let d = f32x4.splat(0)
  for (let i: usize = 0; i < rowBytes; i += 16) {
    const q = v128.load(vector + i)
    const at = row + i
    a = f32x4.add(a, f32x4.mul(q, v128.load(at)))
    b = f32x4.add(b, f32x4.mul(q, v128.load(at + rowBytes)))
    c = f32x4.add(c, f32x4.mul(q, v128.load(at + rowBytes * 2)))
    d = f32x4.add(d, f32x4.mul(q, v128.load(at + rowBytes * 3)))
  }
  const ab = f32x4.add(
    v128.shuffle<f32>(a, b, 0, 4, 1, 5),
    v128.shuffle<f32>(a, b, 2, 6, 3, 7),
  )
  const cd = f32x4.add(
    v128.shuffle<f32>(c, d, 0, 4, 1, 5),
    v128.shuffle<f32>(c, d, 2, 6, 3, 7),
  )
  return f32x4.add(
    v128.shuffle<f32>(ab, cd, 0, 1, 4, 5),
    v128.shuffle<f32>(ab, cd, 2, 3, 6, 7),
  )
}

/** Replaces the heap's approximate scores by exact ones. Follow with `flatSort`. */
export function flatRescore(index: usize, queries: usize, count: i32): void {
  const layout = changetype<FlatLayout>(index)
  const rowBytes = usize(layout.stride) << 2
  for (let i = 0; i < count; i += 1) {
    const query = changetype<ScanQuery>(queries + usize(i) * offsetof<ScanQuery>())
    for (let j = 0; j < query.size; j += 1) {
      const id = load<u32>(query.ids + (usize(j) << 2))
      const score = dotOne(layout.rows + usize(id) * rowBytes, rowBytes, query.vector)
      store<f32>(query.scores + (usize(j) << 2), score)
    }
    for (let j = (query.size >> 1) - 1; j >= 0; j -= 1) sift(query, j, query.size)
  }
}

@inline
function dotOne(row: usize, rowBytes: usize, vector: usize): f32 {
  let sum = f32x4.splat(0)
  for (let i: usize = 0; i < rowBytes; i += 16) {
    sum = f32x4.add(sum, f32x4.mul(v128.load(vector + i), v128.load(row + i)))
  }
  const even = f32x4.extract_lane(sum, 0) + f32x4.extract_lane(sum, 2)
  return even + (f32x4.extract_lane(sum, 1) + f32x4.extract_lane(sum, 3))
}

/** Turns each heap into a list, best first. */
export function flatSort(queries: usize, count: i32): void {
  for (let i = 0; i < count; i += 1) {
    const query = changetype<ScanQuery>(queries + usize(i) * offsetof<ScanQuery>())
    for (let last = query.size - 1; last > 0; last -= 1) {
      swap(query, 0, last)
      sift(query, 0, last)
    }
  }
}

@inline
function threshold(query: ScanQuery): f32 {
  return query.size < query.capacity ? -Infinity : load<f32>(query.scores)
}

/** Offers the allowed ids of a block whose score beats the worst that is kept. */
function offerBlock(query: ScanQuery, block: i32, allowed: u32, scores: usize): void {
  while (allowed != 0) {
    const lane = ctz(allowed)
    allowed &= allowed - 1
    const score = load<f32>(scores + (usize(lane) << 2))
    if (score > threshold(query)) push(query, score, u32(block << 5) | lane)
  }
}

function push(query: ScanQuery, score: f32, id: u32): void {
  if (query.size == query.capacity) {
    store<f32>(query.scores, score)
    store<u32>(query.ids, id)
    sift(query, 0, query.size)
    return
  }
  let at = query.size
  query.size = at + 1
  while (at > 0) {
    const parent = (at - 1) >> 1
    const parentScore = load<f32>(query.scores + (usize(parent) << 2))
    const parentId = load<u32>(query.ids + (usize(parent) << 2))
    if (!worse(score, id, parentScore, parentId)) break
    store<f32>(query.scores + (usize(at) << 2), parentScore)
    store<u32>(query.ids + (usize(at) << 2), parentId)
    at = parent
  }
  store<f32>(query.scores + (usize(at) << 2), score)
  store<u32>(query.ids + (usize(at) << 2), id)
}

/** Moves the entry at `at` down until no child of it is worse. */
function sift(query: ScanQuery, at: i32, size: i32): void {
  const score = load<f32>(query.scores + (usize(at) << 2))
  const id = load<u32>(query.ids + (usize(at) << 2))
  for (;;) {
    let child = 2 * at + 1
    if (child >= size) break
    let childScore = load<f32>(query.scores + (usize(child) << 2))
    let childId = load<u32>(query.ids + (usize(child) << 2))
    if (child + 1 < size) {
      const otherScore = load<f32>(query.scores + (usize(child) << 2), 4)
      const otherId = load<u32>(query.ids + (usize(child) << 2), 4)
      if (worse(otherScore, otherId, childScore, childId)) {
        child += 1
        childScore = otherScore
        childId = otherId
      }
    }
    if (!worse(childScore, childId, score, id)) break
    store<f32>(query.scores + (usize(at) << 2), childScore)
    store<u32>(query.ids + (usize(at) << 2), childId)
    at = child
  }
  store<f32>(query.scores + (usize(at) << 2), score)
  store<u32>(query.ids + (usize(at) << 2), id)
}

@inline
function worse(score: f32, id: u32, otherScore: f32, otherId: u32): bool {
  return score < otherScore || (score == otherScore && id > otherId)
}

function swap(query: ScanQuery, a: i32, b: i32): void {
  const scores = query.scores
  const ids = query.ids
  const score = load<f32>(scores + (usize(a) << 2))
  const id = load<u32>(ids + (usize(a) << 2))
  store<f32>(scores + (usize(a) << 2), load<f32>(scores + (usize(b) << 2)))
  store<u32>(ids + (usize(a) << 2), load<u32>(ids + (usize(b) << 2)))
  store<f32>(scores + (usize(b) << 2), score)
  store<u32>(ids + (usize(b) << 2), id)
}

/** Writes n vectors (n x dim) under their ids: row, codes and the bit in `present`. */
export function flatUpsert(index: usize, ids: usize, vectors: usize, n: i32): void {
  const layout = changetype<FlatLayout>(index)
  for (let i = 0; i < n; i += 1) {
    const id = load<u32>(ids + (usize(i) << 2))
    const vector = vectors + ((usize(i) * usize(layout.dim)) << 2)
    const row = layout.rows + ((usize(id) * usize(layout.stride)) << 2)
    memory.copy(row, vector, usize(layout.dim) << 2)
    if (layout.pairs > 0) encodeRow(layout, id, row)
    const word = layout.present + (usize(id >> 5) << 2)
    store<u32>(word, load<u32>(word) | (1 << (id & 31)))
  }
}

function encodeRow(layout: FlatLayout, id: u32, row: usize): void {
  const block = layout.blocks + usize(id >> 5) * usize(layout.blockBytes)
  const lane = usize(id & 31)
  const coded = layout.dim - layout.tailDims
  const scale = largest(row, coded) / 127
  const codes = block + ((lane >> 2) << 3) + ((lane & 3) << 1)
  for (let d = 0; d < coded; d += 1) {
    const code = scale > leastScale ? nearest(load<f32>(row + (usize(d) << 2)) / scale) : 0
    store<i8>(codes + (usize(d >> 1) << 6) + usize(d & 1), i8(i32(code)))
  }
  const scales = block + (usize(layout.pairs) << 6) + (lane << 2)
  store<f32>(scales, scale)
  for (let t = 0; t < layout.tailDims; t += 1) {
    store<f32>(scales + 128 + (usize(t) << 7), load<f32>(row + (usize(coded + t) << 2)))
  }
}

/** Codes and scale of `count` queries from their vectors. */
export function flatEncodeQueries(index: usize, queries: usize, count: i32): void {
  const layout = changetype<FlatLayout>(index)
  const coded = layout.dim - layout.tailDims
  for (let i = 0; i < count; i += 1) {
    const query = changetype<ScanQuery>(queries + usize(i) * offsetof<ScanQuery>())
    const scale = largest(query.vector, coded) / 32767
    query.scale = scale
    for (let d = 0; d < coded; d += 1) {
      const value = load<f32>(query.vector + (usize(d) << 2))
      const code = scale > leastScale ? nearest(value / scale) : 0
      store<i16>(query.codes + (usize(d) << 1), i16(i32(code)))
    }
  }
}

/** The largest magnitude of n floats. */
@inline
function largest(at: usize, n: i32): f32 {
  let most: f32 = 0
  for (let d = 0; d < n; d += 1) most = max(most, abs(load<f32>(at + (usize(d) << 2))))
  return most
}
