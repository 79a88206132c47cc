/** The twins of assembly/cross.ts. */
import type { CrossKernels } from '../dense-kernels.ts'

const { fround } = Math

export function referenceCrossKernels(memory: WebAssembly.Memory): CrossKernels {
  const floats = new Float32Array(memory.buffer)
  return {
    crossRows: (...[out, u, x0, x, bias, columns, diagonal, from, to]) => {
      for (let i = from * columns; i < to * columns; i += 1) {
        const value = floats[(x >>> 2) + i]
        const shift = fround(
          floats[(bias >>> 2) + (i % columns)] + fround(fround(diagonal) * value),
        )
        const inner = fround(floats[(u >>> 2) + i] + shift)
        floats[(u >>> 2) + i] = inner
        floats[(out >>> 2) + i] = fround(floats[(x0 >>> 2) + i] * inner) + value
      }
    },
    crossBackward: (...[du, d0, g, u, x0, accumulate, from, to]) => {
      for (let i = from; i < to; i += 1) {
        const gradient = floats[(g >>> 2) + i]
        const crossed = fround(gradient * floats[(u >>> 2) + i])
        const before = accumulate === 1 ? floats[(d0 >>> 2) + i] : 0
        floats[(d0 >>> 2) + i] = accumulate === 1 ? before + crossed : crossed
        floats[(du >>> 2) + i] = gradient * floats[(x0 >>> 2) + i]
      }
    },
  }
}
