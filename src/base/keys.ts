/**
 * A batch of 64-bit keys: two little-endian 32-bit words per key, low word first, so n keys are 2n
 * words. The same bytes are a u64 to a kernel and a `BigUint64Array` to a test. The key 0 means
 * "none" and is never a row's.
 */
export type Keys = Uint32Array

/** How many keys a batch holds. */
export const keyCount = (keys: Keys): number => keys.length >>> 1

/**
 * A value, or a promise of it: what a port returns whose memory adapter has nothing to wait for.
 */
export type Awaitable<Value> = Value | Promise<Value>

/**
 * The key of the row that keys without one of their own share, in tables that have such a row. No
 * value hashes to it but by a chance of 2^-64. Do not write to it.
 */
export const outOfVocabularyKey: Keys = Uint32Array.of(0xffff_ffff, 0xffff_ffff)
