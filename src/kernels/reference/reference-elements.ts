/** The twins of assembly/elements.ts. */
import type { ElementKernels } from '../dense-kernels.ts'
import { exp32, log32 } from './reference-exp-log.ts'

const { fround } = Math

/** As the kernel sums, in f64. */
export function sumOfSquares64(values: Float32Array): number {
  const lanes = new Float64Array(4)
  for (const [i, value] of values.entries()) lanes[i & 3] += value * value
  return lanes[0] + lanes[1] + (lanes[2] + lanes[3])
}

export function referenceElementKernels(memory: WebAssembly.Memory): ElementKernels {
  const floats = new Float32Array(memory.buffer)

  /** Four partial sums by i % 4, in f64. */
  const total = (x: number, n: number, term: (value: number) => number): number => {
    const lanes = new Float64Array(4)
    for (let i = 0; i < n; i += 1) lanes[i & 3] += term(floats[(x >>> 2) + i])
    return lanes[0] + lanes[1] + (lanes[2] + lanes[3])
  }
  return {
    exp: (out, x, from, to) => {
      for (let i = from; i < to; i += 1) floats[(out >>> 2) + i] = exp32(floats[(x >>> 2) + i])
    },
    log: (out, x, from, to) => {
      for (let i = from; i < to; i += 1) floats[(out >>> 2) + i] = log32(floats[(x >>> 2) + i])
    },
    scale: (...[out, x, factor, from, to]) => {
      const f = fround(factor)
      for (let i = from; i < to; i += 1) floats[(out >>> 2) + i] = f * floats[(x >>> 2) + i]
    },
    addScaled: (...[out, x, factor, from, to]) => {
      const f = fround(factor)
      for (let i = from; i < to; i += 1) {
        floats[(out >>> 2) + i] += fround(f * floats[(x >>> 2) + i])
      }
    },
    sum: (x, n) => total(x, n, (value) => value),
    sumOfSquares: (x, n) => total(x, n, (value) => value * value),
    largestSquares: (x, dim, n) => {
      let largest = 0
      for (let row = 0; row < n; row += 1) {
        const lanes = new Float32Array(4)
        for (let i = 0; i < dim; i += 1) {
          const value = floats[(x >>> 2) + row * dim + i]
          lanes[i & 3] += fround(value * value)
        }
        const [a, b, c, d] = lanes
        largest = Math.max(largest, fround(fround(a + b) + fround(c + d)))
      }
      return largest
    },
  }
}
