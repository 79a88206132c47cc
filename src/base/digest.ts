/**
 * A 64-bit hash of bytes for checksums and for comparing states: two lanes in the manner of
 * MurmurHash3 (Austin Appleby), finished with its mixer. Not for defence against forgery. Words are
 * read as they lie in memory: little-endian machines, as everywhere here.
 */
const rotate = (x: number, by: number): number => (x << by) | (x >>> (32 - by))

function finish(h: number): number {
  let x = h
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b)
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35)
  return (x ^ (x >>> 16)) >>> 0
}

/** Low and high 32 bits of the hash of `bytes`. */
export function digestWords(bytes: Uint8Array): readonly [number, number] {
  const hash = begun(bytes)
  mix(hash, wordsOf(bytes))
  return ended(hash, bytes)
}

/** The same, so many bytes (a multiple of 4) a step: tens of megabytes take tenths of a second. */
export function* digestInSteps(
  bytes: Uint8Array,
  bytesPerStep: number,
): Generator<undefined, readonly [number, number]> {
  const hash = begun(bytes)
  const words = wordsOf(bytes)
  for (let from = 0; from < words.length; from += bytesPerStep / 4) {
    mix(hash, words.subarray(from, from + bytesPerStep / 4))
    yield
  }
  return ended(hash, bytes)
}

/** The two lanes. */
interface Hash {
  a: number
  b: number
}

const begun = (bytes: Uint8Array): Hash => ({ a: 0x9747b28c, b: bytes.length | 0 })

/** Whole words only. */
function wordsOf(bytes: Uint8Array): Uint32Array {
  const aligned = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice()
  return new Uint32Array(aligned.buffer, aligned.byteOffset, bytes.length >>> 2)
}

function mix(hash: Hash, words: Uint32Array): void {
  let { a, b } = hash
  for (let i = 0; i < words.length; i += 1) {
    a = (Math.imul(rotate(a ^ Math.imul(words[i], 0xcc9e2d51), 13), 5) + 0xe6546b64) | 0
    b = (Math.imul(rotate(b ^ Math.imul(words[i], 0x1b873593), 17), 9) + a) | 0
  }
  hash.a = a
  hash.b = b
}

function ended(hash: Hash, bytes: Uint8Array): readonly [number, number] {
  mix(hash, Uint32Array.of(lastWord(bytes, bytes.length & ~3)))
  const { a, b } = hash
  return [finish(a ^ rotate(b, 9)), finish(b ^ rotate(a, 21))]
}

/** The up to three bytes after the last whole word. */
function lastWord(bytes: Uint8Array, from: number): number {
  let word = 0
  for (let at = bytes.length - 1; at >= from; at -= 1) word = (word << 8) | bytes[at]
  return word
}

/** The hash as one unsigned 64-bit integer. */
export function digestBytes(bytes: Uint8Array): bigint {
  const [low, high] = digestWords(bytes)
  return (BigInt(high) << 32n) | BigInt(low)
}
