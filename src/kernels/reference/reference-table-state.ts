/** Twin of `assembly/table-state.ts`. */
import { optimizerCode, optimizerVariant, tableField } from '../table-kernels.ts'
import { scale } from './reference-max-norm.ts'
import type { TableMemory } from './reference-table-memory.ts'

const { floor, fround, max, min } = Math

export function resetState(table: TableMemory, row: number): void {
  const state = table.state(row)
  const first = min(table.dim, table.stateFloats)
  table.floats.fill(table.float(tableField.initialState), state, state + first)
  table.floats.fill(0, state + first, state + table.stateFloats)
}

/** What the passing of versions does to a row's state, before `version` does more. */
export function catchUp(table: TableMemory, row: number, version: number): void {
  const last = table.words[table.stamp(row) + 1]
  const lazy = (table.word(tableField.variant) & optimizerVariant.lazy) !== 0
  if (table.word(tableField.decaySteps) !== 0) decayState(table, row, [last, version])
  else if (table.word(tableField.optimizer) === optimizerCode.adam && !lazy) {
    decayMoments(table, row, version - last - 1)
  }
}

function decayState(
  table: TableMemory,
  row: number,
  [last, version]: readonly [number, number],
): void {
  const steps = table.word(tableField.decaySteps)
  const due = floor(version / steps) - floor(last / steps)
  if (version <= last || due === 0) return
  const factor = power(table.float(tableField.decay), due)
  const [least, state] = [table.float(tableField.initialState), table.state(row)]
  for (let j = state; j < state + table.stateFloats; j += 1) {
    table.floats[j] = max(fround(table.floats[j] * factor), least)
  }
}

/** The row missed so many steps. */
function decayMoments(table: TableMemory, row: number, missed: number): void {
  if (missed <= 0) return
  const { dim, floats } = table
  const m = table.state(row)
  const ones = m + 2 * dim
  const first = power(table.float(tableField.settingA), missed)
  const second = power(table.float(tableField.settingB), missed)
  scale(floats.subarray(m, m + dim), first)
  scale(floats.subarray(m + dim, ones), second)
  floats[ones] = fround(floats[ones] * first) + fround(1 - first)
  floats[ones + 1] = fround(floats[ones + 1] * second) + fround(1 - second)
}

/** By repeated squaring. */
function power(base: number, exponent: number): number {
  let [product, square] = [1, base]
  for (let rest = exponent; rest > 0; rest >>>= 1) {
    if ((rest & 1) === 1) product = fround(product * square)
    square = fround(square * square)
  }
  return product
}
