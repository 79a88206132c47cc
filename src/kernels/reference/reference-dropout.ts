/** The twin of assembly/dropout.ts. */
import type { DropoutKernels } from '../dense-kernels.ts'

const { fround, imul } = Math

/** Whether element i is kept. `seed` and `threshold` are u32, in any i32 of the same bits. */
export function isKept(i: number, seed: number, threshold: number): boolean {
  let h = imul(i, 0x9e3779b9) ^ seed
  h = imul(h ^ (h >>> 16), 0x85ebca6b)
  h = imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0 >= threshold >>> 0
}

export function referenceDropoutKernels(memory: WebAssembly.Memory): DropoutKernels {
  const floats = new Float32Array(memory.buffer)
  return {
    dropout: (...[out, x, seed, threshold, factor, from, to]) => {
      const f = fround(factor)
      for (let i = from; i < to; i += 1) {
        floats[(out >>> 2) + i] = isKept(i, seed, threshold) ? f * floats[(x >>> 2) + i] : 0
      }
    },
  }
}
