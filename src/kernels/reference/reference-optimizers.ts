/** The twins of assembly/optimizers.ts. */
import type { OptimizerKernels } from '../dense-kernels.ts'

const { abs, fround, min, sqrt } = Math

/** In f32. */
const root32 = (x: number): number => fround(sqrt(x))
const multiply = (x: number, y: number): number => fround(x * y)

export const referenceOptimizerKernels = (memory: WebAssembly.Memory): OptimizerKernels => ({
  ...adaptiveKernels(memory),
  ...momentumKernels(memory),
  ...proximalKernels(memory),
})

function adaptiveKernels(
  memory: WebAssembly.Memory,
): Pick<OptimizerKernels, 'adagrad' | 'adagradDecay' | 'adam'> {
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

function momentumKernels(
  memory: WebAssembly.Memory,
): Pick<OptimizerKernels, 'momentum' | 'rmsprop'> {
  const floats = new Float32Array(memory.buffer)
  return {
    momentum: (...[w, m, g, rate, beta, nesterov, from, to]) => {
      const [r, b] = [fround(rate), fround(beta)]
      for (let i = from; i < to; i += 1) {
        const step = multiply(r, floats[(g >>> 2) + i])
        const moved = fround(multiply(b, floats[(m >>> 2) + i]) - step)
        floats[(m >>> 2) + i] = moved
        floats[(w >>> 2) + i] += nesterov === 1 ? fround(multiply(b, moved) - step) : moved
      }
    },
    rmsprop: (...[w, v, a, m, g, rate, rho, beta, epsilon, from, to]) => {
      const [keep, rest] = [fround(rho), fround(1 - fround(rho))]
      for (let i = from; i < to; i += 1) {
        const gradient = floats[(g >>> 2) + i]
        const squares = multiply(rest, multiply(gradient, gradient))
        let spread = fround(multiply(keep, floats[(v >>> 2) + i]) + squares)
        floats[(v >>> 2) + i] = spread
        if (a !== 0) {
          const kept = multiply(keep, floats[(a >>> 2) + i])
          const mean = fround(kept + multiply(rest, gradient))
          floats[(a >>> 2) + i] = mean
          const variance = fround(spread - multiply(mean, mean))
          spread = variance > 0 ? variance : 0
        }
        const root = root32(fround(spread + fround(epsilon)))
        let step = fround(multiply(fround(rate), gradient) / root)
        if (m !== 0) {
          step = fround(multiply(fround(beta), floats[(m >>> 2) + i]) + step)
          floats[(m >>> 2) + i] = step
        }
        floats[(w >>> 2) + i] -= step
      }
    },
  }
}

function proximalKernels(
  memory: WebAssembly.Memory,
): Pick<OptimizerKernels, 'ftrl' | 'clippyAdagrad'> {
  const floats = new Float32Array(memory.buffer)
  return {
    ftrl: (...[w, a, z, g, rate, l1, l2, from, to]) => {
      const [inverseRate, most] = [fround(1 / fround(rate)), fround(l1)]
      for (let i = from; i < to; i += 1) {
        const gradient = floats[(g >>> 2) + i]
        const before = floats[(a >>> 2) + i]
        const after = fround(before + multiply(gradient, gradient))
        const root = root32(after)
        const sigma = multiply(fround(root - root32(before)), inverseRate)
        const pull = fround(gradient - multiply(sigma, floats[(w >>> 2) + i]))
        const linear = fround(floats[(z >>> 2) + i] + pull)
        const raised = -most < linear ? linear : -most
        const clipped = raised < most ? raised : most
        const curve = fround(multiply(root, inverseRate) + fround(l2))
        floats[(a >>> 2) + i] = after
        floats[(z >>> 2) + i] = linear
        floats[(w >>> 2) + i] = fround(clipped - linear) / curve
      }
    },
    clippyAdagrad: (...[w, a, g, rate, epsilon, relative, slack, absolute, n]) => {
      const limits = [relative, slack, absolute].map(fround)
      const inverse = (i: number): number =>
        fround(1 / root32(fround(floats[(a >>> 2) + i] + fround(epsilon))))
      const stepOf = (i: number): number =>
        multiply(multiply(fround(rate), floats[(g >>> 2) + i]), inverse(i))
      let factor = 1
      for (let i = 0; i < n; i += 1) {
        const byWeight = multiply(limits[0], abs(floats[(w >>> 2) + i]))
        const limit = fround(fround(byWeight + multiply(limits[1], inverse(i))) + limits[2])
        const step = abs(stepOf(i))
        if (step > 0) factor = min(factor, fround(limit / step))
      }
      for (let i = 0; i < n; i += 1) {
        const gradient = floats[(g >>> 2) + i]
        floats[(w >>> 2) + i] -= multiply(stepOf(i), factor)
        floats[(a >>> 2) + i] += multiply(gradient, gradient)
      }
    },
  }
}
