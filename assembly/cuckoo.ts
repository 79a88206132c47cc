/**
 * A bucketised cuckoo index: 64-bit key -> u32 payload (Pagh, Rodler 2004; two buckets of four as
 * in Fan, Andersen, Kaminsky, MemC3, 2013; eviction path by breadth-first search as in libcuckoo).
 *
 * A bucket is one cache line: four u64 keys, four u32 payloads, 16 bytes unused. A key lies in its
 * first or its second bucket, so a lookup reads two lines, whatever the load. Key 0 marks an empty
 * slot; payloads are stored plus one, so that zeroed memory is an empty index and an empty slot
 * says NONE by itself.
 *
 * Wherever room can be made for a key it is found: a path exists if and only if the keys fit, in
 * whatever slots they lie now (Berge's theorem on the matching of keys to slots). So what is
 * refused does not depend on the order in which keys came.
 */
import { scratch } from './scratch'

export const NONE: u32 = 0xffff_ffff
const BUCKET: usize = 64
const PAYLOADS: usize = 32

/** The search for a path looks at no more buckets: 8 bytes each, half of the scratch space. */
const QUEUE: u32 = 4096
/** Keys that are looked for together. */
const GROUP: usize = 128

/**
 * payloads[i] = the payload of keys[i], or NONE. Returns how many were found. First buckets first:
 * half of the keys lie there, and their second lines are never read. No loop has a branch that
 * could be guessed wrongly, so that many lines are on their way at a time.
 */
export function cuckooFind(
  buckets: usize,
  count: u32,
  keys: usize,
  n: i32,
  payloads: usize,
): i32 {
  let found = 0
  for (let from: usize = 0; from < usize(n); from += GROUP) {
    const to = min<usize>(from + GROUP, usize(n))
    let elsewhere: usize = 0
    for (let i = from; i < to; i += 1) {
      const key = load<u64>(keys + (i << 3))
      const payload = payloadIn(buckets + usize(firstBucket(key, count)) * BUCKET, key)
      store<u32>(payloads + (i << 2), payload)
      store<u32>(scratch + (elsewhere << 2), u32(i))
      elsewhere += usize(payload == NONE)
    }
    found += i32(to - from - elsewhere)
    for (let j: usize = 0; j < elsewhere; j += 1) {
      const i = usize(load<u32>(scratch + (j << 2)))
      const key = load<u64>(keys + (i << 3))
      const second = secondBucket(key, count, firstBucket(key, count))
      const payload = payloadIn(buckets + usize(second) * BUCKET, key)
      store<u32>(payloads + (i << 2), payload)
      found += i32(payload != NONE)
    }
  }
  return found
}

/**
 * A key that is there: payloads[i] becomes its payload, or with `overwrite` its payload becomes
 * payloads[i]. A new key takes payloads[i] while there is `room`, else payloads[i] becomes NONE.
 * Returns how many keys are new. A key may come twice.
 */
export function cuckooInsert(
  buckets: usize,
  count: u32,
  keys: usize,
  n: i32,
  payloads: usize,
  room: i32,
  overwrite: i32,
): i32 {
  let inserted = 0
  for (let i: usize = 0; i < usize(n); i += 1) {
    const key = load<u64>(keys + (i << 3))
    const payload = payloads + (i << 2)
    const slot = slotOf(buckets, count, key)
    if (slot != 0) {
      if (overwrite) store<u32>(slot, load<u32>(payload) + 1)
      else store<u32>(payload, load<u32>(slot) - 1)
    } else if (key != 0 && inserted < room && place(buckets, count, key, load<u32>(payload)) != 0) {
      inserted += 1
    } else {
      store<u32>(payload, NONE)
    }
  }
  return inserted
}

/** Removes keys; payloads[i] = what keys[i] had, or NONE. Returns how many were there. */
export function cuckooErase(
  buckets: usize,
  count: u32,
  keys: usize,
  n: i32,
  payloads: usize,
): i32 {
  let erased = 0
  for (let i: usize = 0; i < usize(n); i += 1) {
    const payload = remove(buckets, count, load<u64>(keys + (i << 3)))
    store<u32>(payloads + (i << 2), payload)
    erased += i32(payload != NONE)
  }
  return erased
}

/** The final mix of MurmurHash3: keys are hashes already, but need not be. */
// @ts-ignore: decorator
@inline
export function mix(x: u32): u32 {
  x = (x ^ (x >> 16)) * 0x85ebca6b
  x = (x ^ (x >> 13)) * 0xc2b2ae35
  return x ^ (x >> 16)
}

/** 32 bits of a key, for its first bucket and for other hash tables. */
// @ts-ignore: decorator
@inline
export function hash32(key: u64): u32 {
  return mix(u32(key) ^ (u32(key >> 32) * 0x9e3779b1))
}

/** [0, 2^32) to [0, count) without a division (Lemire 2019). */
// @ts-ignore: decorator
@inline
export function scaled(hash: u32, count: u32): u32 {
  return u32((u64(hash) * u64(count)) >> 32)
}

// @ts-ignore: decorator
@inline
function firstBucket(key: u64, count: u32): u32 {
  return scaled(hash32(key), count)
}

/** Never the first. */
// @ts-ignore: decorator
@inline
function secondBucket(key: u64, count: u32, first: u32): u32 {
  const bucket = scaled(mix(u32(key >> 32) ^ (u32(key) * 0x85ebca77 + 0x27d4eb2f)), count)
  const next = select<u32>(0, bucket + 1, bucket + 1 == count)
  return select<u32>(next, bucket, bucket == first)
}

/** One bit for each slot of the bucket that holds the key. */
// @ts-ignore: decorator
@inline
function matches(bucket: usize, key: u64): u32 {
  const wanted = i64x2.splat(key)
  const low = i64x2.bitmask(i64x2.eq(v128.load(bucket), wanted))
  const high = i64x2.bitmask(i64x2.eq(v128.load(bucket, 16), wanted))
  return u32(low | (high << 2))
}

// @ts-ignore: decorator
@inline
function payloadIn(bucket: usize, key: u64): u32 {
  const mask = matches(bucket, key)
  const slot = ctz(mask | 0x10) & 3
  const payload = load<u32>(bucket + (usize(slot) << 2), PAYLOADS) - 1
  return select<u32>(payload, NONE, mask != 0)
}

/** Reads both buckets in any case: a wrong guess would cost more than a line that is not needed. */
// @ts-ignore: decorator
@inline
export function payloadOf(buckets: usize, count: u32, key: u64): u32 {
  const first = firstBucket(key, count)
  const second = buckets + usize(secondBucket(key, count, first)) * BUCKET
  const bucket = buckets + usize(first) * BUCKET
  const inFirst = matches(bucket, key)
  const mask = inFirst | (matches(second, key) << 4)
  const slot = ctz(mask | 0x100) & 3
  const home = select<usize>(bucket, second, inFirst != 0)
  const payload = load<u32>(home + (usize(slot) << 2), PAYLOADS) - 1
  return select<u32>(payload, NONE, mask != 0)
}

/** The address of the key's payload word, or 0. */
export function slotOf(buckets: usize, count: u32, key: u64): usize {
  const first = firstBucket(key, count)
  let bucket = buckets + usize(first) * BUCKET
  let mask = matches(bucket, key)
  if (mask == 0) {
    bucket = buckets + usize(secondBucket(key, count, first)) * BUCKET
    mask = matches(bucket, key)
  }
  if (mask == 0 || key == 0) return 0
  return bucket + PAYLOADS + (usize(ctz(mask)) << 2)
}

/** Takes the key out; its payload, or NONE. */
export function remove(buckets: usize, count: u32, key: u64): u32 {
  const slot = slotOf(buckets, count, key)
  if (slot == 0) return NONE
  const payload = load<u32>(slot) - 1
  store<u32>(slot, 0)
  store<u64>((slot & ~(BUCKET - 1)) + ((slot & 31) << 1), 0)
  return payload
}

/**
 * Puts a key that is not there into the emptier of its buckets, or makes room. Returns 0: there is
 * none, or one more than the keys that moved.
 */
export function place(buckets: usize, count: u32, key: u64, payload: u32): u32 {
  const first = firstBucket(key, count)
  const second = secondBucket(key, count, first)
  const freeInFirst = matches(buckets + usize(first) * BUCKET, 0)
  const freeInSecond = matches(buckets + usize(second) * BUCKET, 0)
  if ((freeInFirst | freeInSecond) == 0) {
    return makeRoom(buckets, count, first, second, key, payload)
  }
  if (popcnt(freeInFirst) >= popcnt(freeInSecond)) {
    put(buckets + usize(first) * BUCKET, ctz(freeInFirst), key, payload + 1)
  } else {
    put(buckets + usize(second) * BUCKET, ctz(freeInSecond), key, payload + 1)
  }
  return 1
}

// @ts-ignore: decorator
@inline
function put(bucket: usize, slot: u32, key: u64, stored: u32): void {
  store<u64>(bucket + (usize(slot) << 3), key)
  store<u32>(bucket + (usize(slot) << 2), stored, PAYLOADS)
}

/**
 * Breadth-first over the buckets that keys could move on to, until one has a free slot. A node of
 * the queue: the bucket, and the node and slot that it was reached from (node << 2 | slot). The
 * first two nodes are the new key's own buckets. The shortest path visits no bucket twice.
 */
function makeRoom(
  buckets: usize,
  count: u32,
  first: u32,
  second: u32,
  key: u64,
  payload: u32,
): u32 {
  store<u32>(scratch, first)
  store<u32>(scratch, second, 8)
  let length: u32 = 2
  for (let node: u32 = 0; node < length; node += 1) {
    const bucket = load<u32>(scratch + (usize(node) << 3))
    for (let slot: u32 = 0; slot < 4 && length < QUEUE; slot += 1) {
      const other = otherBucket(buckets, count, bucket, slot)
      const entry = scratch + (usize(length) << 3)
      store<u32>(entry, other)
      store<u32>(entry, (node << 2) | slot, 4)
      const free = matches(buckets + usize(other) * BUCKET, 0)
      if (free != 0) {
        return 1 + shift(buckets, length, ctz(free), key, payload)
      }
      length += 1
    }
  }
  return 0
}

/** The bucket to which the key in this slot could move. */
// @ts-ignore: decorator
@inline
function otherBucket(buckets: usize, count: u32, bucket: u32, slot: u32): u32 {
  const key = load<u64>(buckets + usize(bucket) * BUCKET + (usize(slot) << 3))
  const first = firstBucket(key, count)
  return first == bucket ? secondBucket(key, count, first) : first
}

/**
 * Moves every key of the path one step on, from the free slot back, and puts the new key first.
 * Returns how many keys moved.
 */
function shift(buckets: usize, last: u32, freeSlot: u32, key: u64, payload: u32): u32 {
  let node = last
  let slot = freeSlot
  let moves: u32 = 0
  while (node > 1) {
    const entry = scratch + (usize(node) << 3)
    const target = buckets + usize(load<u32>(entry)) * BUCKET
    const link = load<u32>(entry, 4)
    node = link >> 2
    const source = buckets + usize(load<u32>(scratch + (usize(node) << 3))) * BUCKET
    const from = link & 3
    const moved = load<u64>(source + (usize(from) << 3))
    put(target, slot, moved, load<u32>(source + (usize(from) << 2), PAYLOADS))
    slot = from
    moves += 1
  }
  put(buckets + usize(load<u32>(scratch + (usize(node) << 3))) * BUCKET, slot, key, payload + 1)
  return moves
}
