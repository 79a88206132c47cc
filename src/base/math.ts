/**
 * Powers of two, logarithms, sines and cosines with the same bits on every machine. `Math.exp`,
 * `Math.log`, `Math.sin` and `**` may differ in the last bit from one engine or processor to the
 * next; these use only + - * / and the bits of a double, so that state which depends on them is
 * reproducible. Error: at most 2 units in the last place of powers and logarithms, tested against
 * Math.
 */
const double = new Float64Array(1)
const words = new Uint32Array(double.buffer)

const ln2 = Math.LN2
/** ln 2 in two parts, the first with trailing zeros, so that n * high is exact (fdlibm). */
const ln2High = 0.6931471803691238
const ln2Low = 1.9082149292705877e-10

/** 2^n for an integer n, exact; 0 below the smallest normal number, Infinity above the largest. */
export function powerOfTwo(n: number): number {
  if (n < -1022) return 0
  if (n > 1023) return Infinity
  words[0] = 0
  words[1] = (n + 1023) << 20
  return double[0]
}

/** 2^x; 0 from about 2^-1022 down. */
export function exp2(x: number): number {
  const n = Math.round(x)
  if (!(n >= -1022)) return n < -1022 ? 0 : NaN
  if (n > 1023) return Infinity
  // The series of 2^f, terms (ln 2)^k / k! up to k = 13: below 2^-56 for |f| <= 1/2.
  const f = x - n
  let sum = 1.3691488853904124e-12 * f + 2.56784359934882e-11
  sum = sum * f + 4.4455382718708106e-10
  sum = sum * f + 7.054911620801122e-9
  sum = sum * f + 1.0178086009239699e-7
  sum = sum * f + 1.3215486790144307e-6
  sum = sum * f + 1.525273380405984e-5
  sum = sum * f + 1.540353039338161e-4
  sum = sum * f + 1.3333558146428443e-3
  sum = sum * f + 9.618129107628477e-3
  sum = sum * f + 5.5504108664821576e-2
  sum = sum * f + 0.2402265069591007
  sum = sum * f + ln2
  return (sum * f + 1) * powerOfTwo(n)
}

/** e^x, by way of 2^x: for |x| up to 700, error grows with |x| as that of x / ln 2 does. */
export const exp = (x: number): number => exp2(x / ln2)

/** Natural logarithm. ln(0) is -Infinity, of a negative number NaN. */
export function ln(x: number): number {
  if (!(x > 0)) return x === 0 ? -Infinity : NaN
  if (x === Infinity) return Infinity
  let n = -1023
  double[0] = x
  if (words[1] >>> 20 === 0) {
    double[0] = x * 18_014_398_509_481_984 // 2^54
    n -= 54
  }
  n += words[1] >>> 20
  words[1] = (words[1] & 0xfffff) | 0x3ff00000
  let mantissa = double[0]
  if (mantissa > Math.SQRT2) {
    mantissa /= 2
    n += 1
  }
  // ln m = 2 atanh(s), s = (m - 1) / (m + 1), |s| <= 0.172: odd terms up to s^21 reach 2^-56.
  const f = mantissa - 1
  const s = f / (2 + f)
  const z = s * s
  let sum = z * (1 / 21) + 1 / 19
  sum = sum * z + 1 / 17
  sum = sum * z + 1 / 15
  sum = sum * z + 1 / 13
  sum = sum * z + 1 / 11
  sum = sum * z + 1 / 9
  sum = sum * z + 1 / 7
  sum = sum * z + 1 / 5
  sum = sum * z + 1 / 3
  return n * ln2High + (n * ln2Low + 2 * s * sum * z + 2 * s)
}

/** sin(2 pi x). Error: some 1e-15. */
export function sinTurns(x: number): number {
  // Half turns from -1/4 to 1/4 of a turn: sin(pi - a) = sin a.
  let turn = x - Math.round(x)
  if (turn > 0.25) turn = 0.5 - turn
  if (turn < -0.25) turn = -0.5 - turn
  // The series up to a^19 for |a| <= pi / 2: its next term is below 2^-58.
  const a = 2 * Math.PI * turn
  const z = -a * a
  let sum = 1 + z / 342
  for (const divisor of sineDivisors) sum = 1 + (z / divisor) * sum
  return a * sum
}

/** 2k (2k + 1) for k from 8 down. */
const sineDivisors = [272, 210, 156, 110, 72, 42, 20, 6]

/** cos(2 pi x). */
export const cosTurns = (x: number): number => sinTurns(x + 0.25)
