/** Twin of `assembly/max-norm.ts`. */
import { tableField } from '../table-kernels.ts'
import { sumOfSquares64 } from './reference-elements.ts'
import type { TableMemory } from './reference-table-memory.ts'

const { fround, sqrt } = Math
const tolerance = 1 + 2 ** -20

/** Scales the dim floats at an index down to the table's maximum norm, if it has one. */
export function bringWithinNorm(table: TableMemory, at: number): void {
  const most = table.float(tableField.maxNorm)
  if (most === 0) return
  const vector = table.floats.subarray(at, at + table.dim)
  const squares = sumOfSquares64(vector)
  if (squares > most * most * tolerance) scale(vector, fround(most / sqrt(squares)))
}

export function scale(vector: Float32Array, factor: number): void {
  for (let i = 0; i < vector.length; i += 1) vector[i] *= factor
}
