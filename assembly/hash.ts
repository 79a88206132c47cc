/**
 * XXH64 (Yann Collet, github.com/Cyan4973/xxHash, doc/xxhash_spec.md): the hash that makes a key of
 * a feature value, and the one that digests are made of. All operations are on u64 and wrap around.
 */
const P1: u64 = 0x9e3779b185ebca87
const P2: u64 = 0xc2b2ae3d27d4eb4f
const P3: u64 = 0x165667b19e3779f9
const P4: u64 = 0x85ebca77c2b2ae63
const P5: u64 = 0x27d4eb2f165667c5

/**
 * Keys of n strings: string i is bytes[offsets[i] .. offsets[i + 1]) (u32 offsets, n + 1 of them)
 * under the seed seeds[i] (u32). 0 means "no key", so a hash of 0 becomes 1.
 */
export function hashKeys(keys: usize, bytes: usize, offsets: usize, seeds: usize, n: i32): void {
  for (let i: usize = 0; i < usize(n); i += 1) {
    const from = load<u32>(offsets + (i << 2))
    const length = load<u32>(offsets + (i << 2), 4) - from
    const hash = xxh64(bytes + from, length, load<u32>(seeds + (i << 2)))
    store<u64>(keys + (i << 3), hash | u64(hash == 0))
  }
}

export function xxh64(address: usize, length: usize, seed: u64): u64 {
  let at = address
  const end = address + length
  let hash = length < 32 ? seed + P5 : stripes(at, length, seed)
  if (length >= 32) at += length & ~31
  hash += length
  for (; at + 8 <= end; at += 8) {
    hash = rotl(hash ^ round(0, load<u64>(at)), 27) * P1 + P4
  }
  if (at + 4 <= end) {
    hash = rotl(hash ^ (u64(load<u32>(at)) * P1), 23) * P2 + P3
    at += 4
  }
  for (; at < end; at += 1) hash = rotl(hash ^ (u64(load<u8>(at)) * P5), 11) * P1
  hash = (hash ^ (hash >> 33)) * P2
  hash = (hash ^ (hash >> 29)) * P3
  return hash ^ (hash >> 32)
}

/** The whole stripes of 32 bytes, in four accumulators that do not wait for each other. */
function stripes(address: usize, length: usize, seed: u64): u64 {
  let a = seed + P1 + P2
  let b = seed + P2
  let c = seed
  let d = seed - P1
  const end = address + (length & ~31)
  for (let at = address; at < end; at += 32) {
    a = round(a, load<u64>(at))
    b = round(b, load<u64>(at, 8))
    c = round(c, load<u64>(at, 16))
    d = round(d, load<u64>(at, 24))
  }
  const hash = rotl(a, 1) + rotl(b, 7) + rotl(c, 12) + rotl(d, 18)
  return merge(merge(merge(merge(hash, a), b), c), d)
}

// @ts-ignore: decorator
@inline
function round(accumulator: u64, input: u64): u64 {
  return rotl(accumulator + input * P2, 31) * P1
}

// @ts-ignore: decorator
@inline
function merge(hash: u64, accumulator: u64): u64 {
  return (hash ^ round(0, accumulator)) * P1 + P4
}
