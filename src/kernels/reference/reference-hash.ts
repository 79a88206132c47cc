/** Twins of `assembly/hash.ts` and `assembly/dedupe.ts`. */
import type { Address } from '../operands.ts'
import type { KeyKernels } from '../table-kernels.ts'
import { firstHash } from './reference-cuckoo.ts'
import { Word64 } from './reference-u64.ts'

const word = (high: number, low: number): Word64 => new Word64().set(high, low)

const P1 = word(0x9e3779b1, 0x85ebca87)
const P2 = word(0xc2b2ae3d, 0x27d4eb4f)
const P3 = word(0x165667b1, 0x9e3779f9)
const P4 = word(0x85ebca77, 0xc2b2ae63)
const P5 = word(0x27d4eb2f, 0x165667c5)

export function referenceKeyKernels(memory: WebAssembly.Memory): KeyKernels {
  const bytes = new Uint8Array(memory.buffer)
  const words = new Uint32Array(memory.buffer)
  const hash = new Word64()
  return {
    hashKeys: (...[keys, values, offsets, seeds, n]) => {
      for (let i = 0; i < n; i += 1) {
        const from = words[(offsets >>> 2) + i]
        const length = words[(offsets >>> 2) + i + 1] - from
        hash.set(0, words[(seeds >>> 2) + i])
        xxh64(hash, bytes.subarray(values + from, values + from + length))
        words[(keys >>> 2) + 2 * i] = hash.low === 0 && hash.high === 0 ? 1 : hash.low
        words[(keys >>> 2) + 2 * i + 1] = hash.high
      }
    },
    dedupeKeys: (...[keys, n, slots, mask, ...output]) =>
      dedupe(words, { keys, n, slots, mask }, output),
  }
}

const input = new Word64()
const length64 = new Word64()

/** `hash` holds the seed, and then the hash. */
export function xxh64(hash: Word64, bytes: Uint8Array): Word64 {
  const whole = bytes.length & ~31
  if (whole > 0) stripes(hash, bytes.subarray(0, whole))
  else hash.add(P5)
  hash.add(length64.set(0, bytes.length))
  let at = whole
  for (; at + 8 <= bytes.length; at += 8) {
    round(input.set(0, 0), bytes, at)
    hash.xor(input).rotateLeft(27).multiply(P1).add(P4)
  }
  if (at + 4 <= bytes.length) {
    hash
      .xor(input.set(0, word32(bytes, at)).multiply(P1))
      .rotateLeft(23)
      .multiply(P2)
      .add(P3)
    at += 4
  }
  for (; at < bytes.length; at += 1) {
    hash.xor(input.set(0, bytes[at]).multiply(P5)).rotateLeft(11).multiply(P1)
  }
  avalanche(hash, 33).multiply(P2)
  avalanche(hash, 29).multiply(P3)
  return avalanche(hash, 32)
}

const shifted = new Word64()
const avalanche = (hash: Word64, by: number): Word64 => hash.xor(shifted.copy(hash).shiftRight(by))

const [a, b, c, d] = [new Word64(), new Word64(), new Word64(), new Word64()]

function stripes(hash: Word64, bytes: Uint8Array): void {
  a.copy(hash).add(P1).add(P2)
  b.copy(hash).add(P2)
  c.copy(hash)
  d.copy(hash).subtract(P1)
  for (let at = 0; at < bytes.length; at += 32) {
    round(a, bytes, at)
    round(b, bytes, at + 8)
    round(c, bytes, at + 16)
    round(d, bytes, at + 24)
  }
  hash.copy(a).rotateLeft(1)
  hash.add(shifted.copy(b).rotateLeft(7))
  hash.add(shifted.copy(c).rotateLeft(12))
  hash.add(shifted.copy(d).rotateLeft(18))
  for (const accumulator of [a, b, c, d]) {
    input.copy(accumulator).multiply(P2).rotateLeft(31).multiply(P1)
    hash.xor(input).multiply(P1).add(P4)
  }
}

const lane = new Word64()

/** accumulator = rotl(accumulator + P2 x the eight bytes at `at`, 31) x P1. */
function round(accumulator: Word64, bytes: Uint8Array, at: number): void {
  lane.set(word32(bytes, at + 4), word32(bytes, at)).multiply(P2)
  accumulator.add(lane).rotateLeft(31).multiply(P1)
}

const word32 = (bytes: Uint8Array, at: number): number =>
  bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)

interface DedupeBatch {
  readonly keys: Address
  readonly n: number
  readonly slots: Address
  readonly mask: number
}

function dedupe(
  words: Uint32Array,
  { keys, n, slots, mask }: DedupeBatch,
  [unique, inverse, occurrences]: readonly [Address, Address, Address],
): number {
  const table = words.subarray(slots >>> 2, (slots >>> 2) + mask + 1).fill(0)
  const distinct = unique >>> 2
  let count = 0
  for (let i = 0; i < n; i += 1) {
    const low = words[(keys >>> 2) + 2 * i]
    const high = words[(keys >>> 2) + 2 * i + 1]
    let slot = firstHash(low, high) & mask
    while (table[slot] !== 0) {
      const at = distinct + 2 * (table[slot] - 1)
      if (words[at] === low && words[at + 1] === high) break
      slot = (slot + 1) & mask
    }
    if (table[slot] === 0) {
      words[distinct + 2 * count] = low
      words[distinct + 2 * count + 1] = high
      words[(occurrences >>> 2) + count] = 0
      count += 1
      table[slot] = count
    }
    words[(inverse >>> 2) + i] = table[slot] - 1
    words[(occurrences >>> 2) + table[slot] - 1] += 1
  }
  return count
}
