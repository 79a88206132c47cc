/** The twins of assembly/optimizers.ts. */
import type { OptimizerKernels } from './dense-kernels.ts'

const { fround, sqrt } = Math

export function referenceOptimizerKernels(memory: WebAssembly.Memory): OptimizerKernels {
  const floats = new Float32Array(memory.buffer)
  const adagradStep = (
    w: number,
    g: number,
    sum: number,
    { rate, epsilon }: { rate: number; epsilon: number },
  ): void => {
    const root = fround(sqrt(fround(sum + epsilon)))
    floats[w] -= fround(fround(rate * g) / root)
  }
  return {
    adagrad: (...[w, a, g, rate, epsilon, from, to]) => {
      const settings = { rate: fround(rate), epsilon: fround(epsilon) }
      for (let i = from; i < to; i += 1) {
        const gradient = floats[(g >>> 2) + i]
        const sum = fround(floats[(a >>> 2) + i] + fround(gradient * gradient))
        floats[(a >>> 2) + i] = sum
        adagradStep((w >>> 2) + i, gradient, sum, settings)
      }
    },
    adagradDecay: (...[w, a, g, rate, epsilon, decay, floor, from, to]) => {
      const settings = { rate: fround(rate), epsilon: fround(epsilon) }
      const least = fround(floor)
      for (let i = from; i < to; i += 1) {
        const gradient = floats[(g >>> 2) + i]
        const decayed = fround(floats[(a >>> 2) + i] * fround(decay))
        const sum = fround((decayed < least ? least : decayed) + fround(gradient * gradient))
        floats[(a >>> 2) + i] = sum
        adagradStep((w >>> 2) + i, gradient, sum, settings)
      }
    },
    adam: (...[w, m, v, g, rate, beta1, beta2, epsilon, from, to]) => {
      const [b1, b2] = [fround(beta1), fround(beta2)]
      const [rest1, rest2] = [fround(1 - b1), fround(1 - b2)]
      for (let i = from; i < to; i += 1) {
        const gradient = floats[(g >>> 2) + i]
        const mean = fround(fround(b1 * floats[(m >>> 2) + i]) + fround(rest1 * gradient))
        const square = fround(
          fround(b2 * floats[(v >>> 2) + i]) + fround(rest2 * fround(gradient * gradient)),
        )
        floats[(m >>> 2) + i] = mean
        floats[(v >>> 2) + i] = square
        const root = fround(fround(sqrt(square)) + fround(epsilon))
        floats[(w >>> 2) + i] -= fround(fround(fround(rate) * mean) / root)
      }
    },
  }
}
