/**
 * 32 well mixed bits of a key: the finalizer of MurmurHash3 (Austin Appleby) over its two words.
 * Keys are hashes already, but those of tests and imports need not be.
 */
export function mixKey(low: number, high: number, seed: number): number {
  let h = Math.imul(low ^ seed, 0xcc9e2d51)
  h = (h ^ (h >>> 15)) + Math.imul(high, 0x1b873593)
  h ^= h >>> 16
  h = Math.imul(h, 0x85ebca6b)
  h ^= h >>> 13
  h = Math.imul(h, 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}
