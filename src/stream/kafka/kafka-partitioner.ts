/**
 * Which partition a key belongs to: murmur2 (Austin Appleby) as Kafka's Java client computes it, so
 * that producers in any language put a user's events into the same partition.
 */
const seed = 0x9747b28c
const multiplier = 0x5bd1e995
const shift = 24

export function partitionOf(key: string, partitions: number): number {
  return (murmur2(Buffer.from(key)) & 0x7fffffff) % Math.max(1, partitions)
}

function murmur2(bytes: Buffer): number {
  const { length } = bytes
  let hash = seed ^ length
  const whole = length - (length % 4)
  for (let i = 0; i < whole; i += 4) {
    let word = Math.imul(bytes.readInt32LE(i), multiplier)
    word = Math.imul(word ^ (word >>> shift), multiplier)
    hash = Math.imul(hash, multiplier) ^ word
  }
  if (whole < length) {
    let rest = 0
    for (let i = length - 1; i >= whole; i -= 1) rest = (rest << 8) | bytes[i]
    hash = Math.imul(hash ^ rest, multiplier)
  }
  hash = Math.imul(hash ^ (hash >>> 13), multiplier)
  return hash ^ (hash >>> 15)
}
