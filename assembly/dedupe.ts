/**
 * The distinct keys of a batch, in order of first appearance, with an open-addressing table (linear
 * probing, at most half full) that is cleared for every batch.
 */
import { hash32 } from './cuckoo'

/**
 * unique <- the distinct ones of n keys; inverse[i] <- where keys[i] is in unique; occurrences[j]
 * <- how often unique[j] came. `slots` is u32, mask + 1 of them, a power of two >= 2 n. Returns how
 * many keys are distinct.
 */
export function dedupeKeys(
  keys: usize,
  n: i32,
  slots: usize,
  mask: u32,
  unique: usize,
  inverse: usize,
  occurrences: usize,
): i32 {
  memory.fill(slots, 0, (usize(mask) + 1) << 2)
  let count: u32 = 0
  for (let i: usize = 0; i < usize(n); i += 1) {
    const key = load<u64>(keys + (i << 3))
    let slot = hash32(key) & mask
    let entry = load<u32>(slots + (usize(slot) << 2))
    while (entry != 0 && load<u64>(unique + (usize(entry - 1) << 3)) != key) {
      slot = (slot + 1) & mask
      entry = load<u32>(slots + (usize(slot) << 2))
    }
    if (entry == 0) {
      store<u64>(unique + (usize(count) << 3), key)
      store<u32>(occurrences + (usize(count) << 2), 0)
      count += 1
      entry = count
      store<u32>(slots + (usize(slot) << 2), entry)
    }
    const index = entry - 1
    store<u32>(inverse + (i << 2), index)
    const seen = occurrences + (usize(index) << 2)
    store<u32>(seen, load<u32>(seen) + 1)
  }
  return count
}
