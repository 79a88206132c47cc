/** The twins of assembly/rows.ts for single rows; those for bags are in reference-bags.ts. */
import type { RowKernels } from '../dense-kernels.ts'

export function referenceRowKernels(memory: WebAssembly.Memory): RowKernels {
  const floats = new Float32Array(memory.buffer)
  const ints = new Int32Array(memory.buffer)
  return {
    gatherRows: (...[out, outStride, rows, indices, dim, from, to]) => {
      for (let i = from; i < to; i += 1) {
        const row = (rows >>> 2) + ints[(indices >>> 2) + i] * dim
        floats.copyWithin((out >>> 2) + i * outStride, row, row + dim)
      }
    },
    scatterAddRows: (...[out, rows, rowStride, indices, count, dim, from, to]) => {
      for (let i = 0; i < count; i += 1) {
        const target = (out >>> 2) + ints[(indices >>> 2) + i] * dim
        const source = (rows >>> 2) + i * rowStride
        for (let j = from; j < to; j += 1) floats[target + j] += floats[source + j]
      }
    },
  }
}
