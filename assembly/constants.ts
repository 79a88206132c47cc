/**
 * Constant vectors, kept in memory. Written into the code instead, V8 would build each of them anew in
 * every round of a loop, which takes longer than the arithmetic of an exponential; read from
 * memory, exp and log are nearly twice as fast. (Not static data, which no kernel may have: every
 * instance writes its own at start.)
 */
export let constants: usize = 0

/** Bytes that they take. */
export const constantBytes: usize = 1024

// Where each of them is. For exp:
export const LOG2E: usize = 0
export const ROUNDER: usize = 16
export const LN2_HIGH: usize = 32
export const LN2_LOW: usize = 48
export const EXP_5: usize = 64
export const EXP_4: usize = 80
export const EXP_3: usize = 96
export const EXP_2: usize = 112
export const EXP_1: usize = 128
export const EXP_0: usize = 144
export const ONE: usize = 160
export const SMALLEST_POWER: usize = 176
export const LARGEST_POWER: usize = 192
export const INFINITE: usize = 208
// For log:
export const FROM_ROOT_HALF: usize = 224
export const BIAS: usize = 240
export const FRACTION: usize = 256
export const ROOT_HALF: usize = 272
export const LOG_8: usize = 288
export const LOG_7: usize = 304
export const LOG_6: usize = 320
export const LOG_5: usize = 336
export const LOG_4: usize = 352
export const LOG_3: usize = 368
export const LOG_2: usize = 384
export const LOG_1: usize = 400
export const LOG_0: usize = 416
export const HALF: usize = 432
export const SMALLEST_NORMAL: usize = 448
export const MINUS_INFINITE: usize = 464
export const NOT_A_NUMBER: usize = 480
// For the normal distribution:
export const MINUS_HALF: usize = 496
export const DENSITY: usize = 512
export const TAIL_SCALE: usize = 528
export const TAIL_5: usize = 544
export const TAIL_4: usize = 560
export const TAIL_3: usize = 576
export const TAIL_2: usize = 592
export const TAIL_1: usize = 608

function put(at: usize, value: f32): void {
  v128.store(constants + at, f32x4.splat(value))
}

function putBits(at: usize, value: i32): void {
  v128.store(constants + at, i32x4.splat(value))
}

export function placeConstants(address: usize): void {
  constants = address
  put(ONE, 1)
  put(HALF, 0.5)
  put(MINUS_HALF, -0.5)
  put(INFINITE, Infinity)
  put(MINUS_INFINITE, -Infinity)
  put(NOT_A_NUMBER, NaN)
  placeExp()
  placeLog()
  placeNormal()
}

/** Cephes' expf. ln 2 is in two parts: the first has so few bits that n times it is exact. */
function placeExp(): void {
  put(LOG2E, 1.44269504088896341)
  // Adding 1.5 x 2^23 rounds to an integer, which is then found in the low bits.
  put(ROUNDER, 12_582_912)
  put(LN2_HIGH, 0.693359375)
  put(LN2_LOW, -2.12194440e-4)
  put(EXP_5, 1.9875691500e-4)
  put(EXP_4, 1.3981999507e-3)
  put(EXP_3, 8.3334519073e-3)
  put(EXP_2, 4.1665795894e-2)
  put(EXP_1, 1.6666665459e-1)
  put(EXP_0, 5.0000001201e-1)
  put(SMALLEST_POWER, -87.3)
  put(LARGEST_POWER, 88.3)
}

/** Cephes' logf. x = m 2^e with m from sqrt(1/2), whose bits are 0x3f3504f3, to sqrt(2). */
function placeLog(): void {
  putBits(FROM_ROOT_HALF, 0x3f800000 - 0x3f3504f3)
  putBits(BIAS, 127)
  putBits(FRACTION, 0x007fffff)
  putBits(ROOT_HALF, 0x3f3504f3)
  put(LOG_8, 7.0376836292e-2)
  put(LOG_7, -1.1514610310e-1)
  put(LOG_6, 1.1676998740e-1)
  put(LOG_5, -1.2420140846e-1)
  put(LOG_4, 1.4249322787e-1)
  put(LOG_3, -1.6668057665e-1)
  put(LOG_2, 2.0000714765e-1)
  put(LOG_1, -2.4999993993e-1)
  put(LOG_0, 3.3333331174e-1)
  put(SMALLEST_NORMAL, 1.17549435e-38)
}

/** Formula 7.1.26 of Abramowitz and Stegun, for erf(x / sqrt 2): its p is divided by sqrt 2. */
function placeNormal(): void {
  put(DENSITY, 0.3989422804)
  put(TAIL_SCALE, 0.2316418882)
  put(TAIL_5, 1.061405429)
  put(TAIL_4, -1.453152027)
  put(TAIL_3, 1.421413741)
  put(TAIL_2, -0.284496736)
  put(TAIL_1, 0.254829592)
}
