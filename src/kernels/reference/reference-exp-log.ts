/** The twins of assembly/exp-log.ts and assembly/vector.ts, one float at a time. */
const { fround } = Math

const log2e = fround(Math.LOG2E)
const ln2High = fround(0.693359375)
const ln2Low = fround(-2.1219444e-4)
const rounder = 12_582_912
const smallestNormal = 2 ** -126

const expCoefficients = Float32Array.of(
  1.98756915e-4,
  1.3981999507e-3,
  8.3334519073e-3,
  4.1665795894e-2,
  1.6666665459e-1,
  5.0000001201e-1,
)
const logCoefficients = Float32Array.of(
  7.0376836292e-2,
  -1.151461031e-1,
  1.167699874e-1,
  -1.2420140846e-1,
  1.4249322787e-1,
  -1.6668057665e-1,
  2.0000714765e-1,
  -2.4999993993e-1,
  3.3333331174e-1,
)

const float = new Float32Array(1)
const bits = new Int32Array(float.buffer)

const bitsOf = (value: number): number => {
  float[0] = value
  return bits[0]
}
const floatOf = (value: number): number => {
  bits[0] = value
  return float[0]
}

/** By Horner's rule, first coefficient first. */
export function polynomial(coefficients: Float32Array, x: number): number {
  let p = coefficients[0]
  for (let i = 1; i < coefficients.length; i += 1) p = fround(fround(p * x) + coefficients[i])
  return p
}

export function exp32(x: number): number {
  if (x < fround(-87.3)) return 0
  if (x > fround(88.3)) return Infinity
  const shifted = fround(fround(x * log2e) + rounder)
  const n = fround(shifted - rounder)
  const r = fround(fround(x - fround(n * ln2High)) - fround(n * ln2Low))
  const p = polynomial(expCoefficients, r)
  const y = fround(fround(fround(p * fround(r * r)) + r) + 1)
  return fround(y * floatOf((bitsOf(shifted) << 23) + 0x3f800000))
}

export function log32(x: number): number {
  if (!(x < Infinity)) return x
  if (x < 0) return NaN
  if (x < smallestNormal) return -Infinity
  const shifted = bitsOf(x) + (0x3f800000 - 0x3f3504f3)
  const e = (shifted >> 23) - 127
  const r = fround(floatOf((shifted & 0x007fffff) + 0x3f3504f3) - 1)
  const z = fround(r * r)
  let y = fround(fround(polynomial(logCoefficients, r) * r) * z)
  y = fround(y + fround(e * ln2Low))
  y = fround(y - fround(z * 0.5))
  return fround(fround(r + y) + fround(e * ln2High))
}

/** The dot product of n floats from index x and from index y on: four partial sums by j % 4. */
export function dot32(floats: Float32Array, x: number, y: number, n: number): number {
  const lanes = new Float32Array(4)
  for (let j = 0; j < n; j += 1) lanes[j & 3] += fround(floats[x + j] * floats[y + j])
  return sumLanes(lanes)
}

export const sumLanes = (lanes: Float32Array): number =>
  fround(fround(lanes[0] + lanes[1]) + fround(lanes[2] + lanes[3]))
