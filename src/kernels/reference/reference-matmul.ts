/**
 * The twins of assembly/matmul.ts: each element the sum over k in its order, whatever the layout.
 */
import type { MatmulKernels } from '../dense-kernels.ts'

const { fround } = Math

/** Where an element lies: start + row x rows + column x columns. */
interface Layout {
  readonly start: number
  readonly rows: number
  readonly columns: number
}

interface Product {
  readonly c: number
  readonly a: Layout
  readonly b: Layout
  readonly n: number
  readonly k: number
  readonly accumulate: boolean
  readonly from: number
  readonly to: number
}

const straight = (address: number, columns: number): Layout => ({
  start: address >>> 2,
  rows: columns,
  columns: 1,
})
const transposed = (address: number, rows: number): Layout => ({
  start: address >>> 2,
  rows: 1,
  columns: rows,
})

export function referenceMatmulKernels(memory: WebAssembly.Memory): MatmulKernels {
  const floats = new Float32Array(memory.buffer)
  return {
    matmul: (...[c, a, b, , n, k, accumulate, from, to]) => {
      const rest = { c: c >>> 2, n, k, accumulate: accumulate === 1, from, to }
      multiply(floats, { ...rest, a: straight(a, k), b: straight(b, n) })
    },
    matmulTransposedB: (...[c, a, b, , n, k, accumulate, from, to]) => {
      const rest = { c: c >>> 2, n, k, accumulate: accumulate === 1, from, to }
      multiply(floats, { ...rest, a: straight(a, k), b: transposed(b, k) })
    },
    matmulTransposedA: (...[c, a, b, m, n, k, accumulate, from, to]) => {
      const rest = { c: c >>> 2, n, k, accumulate: accumulate === 1, from, to }
      multiply(floats, { ...rest, a: transposed(a, m), b: straight(b, n) })
    },
  }
}

function multiply(floats: Float32Array, { c, a, b, n, k, accumulate, from, to }: Product): void {
  for (let i = from; i < to; i += 1) {
    for (let j = 0; j < n; j += 1) {
      let sum = accumulate ? floats[c + i * n + j] : 0
      let left = a.start + i * a.rows
      let right = b.start + j * b.columns
      for (let p = 0; p < k; p += 1) {
        sum = fround(sum + fround(floats[left] * floats[right]))
        left += a.columns
        right += b.rows
      }
      floats[c + i * n + j] = sum
    }
  }
}
