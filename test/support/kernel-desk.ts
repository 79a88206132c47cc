import { seededRandom } from '../../src/base/random.ts'
/** Kernels on a small memory of their own, called with arrays: for tests of what they mean. */
import { Arena } from '../../src/kernels/arena.ts'
import { type Kernels, loadKernels } from '../../src/kernels/kernels.ts'

export class KernelDesk {
  readonly #arena = new Arena(8 << 20)
  readonly kernels: Kernels = loadKernels(this.#arena)

  floats(values: ArrayLike<number>): { address: number; view: Float32Array } {
    const block = this.#arena.floats(values.length)
    block.view.set(values)
    return block
  }

  zeros(length: number): { address: number; view: Float32Array } {
    return this.#arena.floats(length)
  }

  ints(values: ArrayLike<number>): number {
    const block = this.#arena.ints(values.length)
    block.view.set(values)
    return block.address
  }
}

export const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i)

/** Floats from a normal distribution. */
export function normals(seed: number, length: number, deviation = 1): number[] {
  const random = seededRandom(seed)
  return Array.from({ length }, () => Math.fround(random.normal() * deviation))
}

/** The derivative of f at each coordinate of x, by central differences. */
export const slopes = (f: (x: number[]) => number, x: readonly number[]): number[] =>
  x.map((_, i) => {
    const h = 1e-4
    const at = (offset: number): number =>
      f(x.map((value, j) => (i === j ? value + offset : value)))
    return (at(h) - at(-h)) / (2 * h)
  })

/** The largest difference; not a number if one is. */
export const worstError = (got: ArrayLike<number>, wanted: readonly number[]): number =>
  Math.max(...wanted.map((value, i) => Math.abs(got[i] - value)))
