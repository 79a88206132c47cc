/** Elements dropped at random; see src/kernels/dense-kernels.ts. */

/** Murmur3's finalizer of the element's number and the seed. */
// @ts-ignore: decorator
@inline
function drawn(i: i32, seed: u32): u32 {
  let h = u32(i) * 0x9e3779b9 ^ seed
  h = (h ^ (h >>> 16)) * 0x85ebca6b
  h = (h ^ (h >>> 13)) * 0xc2b2ae35
  return h ^ (h >>> 16)
}

export function dropout(
  out: usize, x: usize, seed: u32, threshold: u32, factor: f32, from: i32, to: i32,
): void {
  for (let i = from; i < to; i += 1) {
    const at = usize(i) << 2
    const kept = drawn(i, seed) >= threshold
    store<f32>(out + at, kept ? factor * load<f32>(x + at) : 0)
  }
}
