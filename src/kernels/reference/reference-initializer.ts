/** Twin of `assembly/initializer.ts`. */
import { initializerCode, tableField } from '../table-kernels.ts'
import { mix } from './reference-cuckoo.ts'
import { bringWithinNorm } from './reference-max-norm.ts'
import type { TableMemory } from './reference-table-memory.ts'

const { abs, fround, imul } = Math
const golden = 0x9e3779b9
/** From one draw of an element to its next. */
const drawStep = golden << 16
const draws = 8

/** Writes the dim floats of a key to `to`, an index into the table's floats. */
export function initialVector(table: TableMemory, low: number, high: number, to: number): void {
  const kind = table.word(tableField.initializer)
  const a = table.float(tableField.initialA)
  const b = table.float(tableField.initialB)
  const start = mix(low ^ mix(high + table.word(tableField.seed)))
  const salt = mix(high ^ mix(low + golden))
  for (let i = 0; i < table.dim; i += 1) {
    const counter = start + imul(i, golden)
    const value = kind === initializerCode.constant ? 0 : standard(kind, counter, salt)
    table.floats[to + i] = kind === initializerCode.constant ? a : a + fround(b * value)
  }
  bringWithinNorm(table, to)
}

function standard(kind: number, counter: number, salt: number): number {
  if (kind === initializerCode.uniform) return (word(counter, salt, 0) >>> 8) * 2 ** -24
  let value = deviate(counter, salt, 0)
  if (kind === initializerCode.normal) return value
  for (let draw = 3; draw < 3 * draws && abs(value) > 2; draw += 3) {
    value = deviate(counter, salt, draw)
  }
  return abs(value) > 2 ? 0 : value
}

const word = (counter: number, salt: number, draw: number): number =>
  mix((counter + imul(draw, drawStep)) ^ salt)

/** Twelve random bytes, less their mean, over their standard deviation. */
function deviate(counter: number, salt: number, draw: number): number {
  let sum = -1530
  for (let i = 0; i < 3; i += 1) sum += byteSum(word(counter, salt, draw + i))
  return sum / 256
}

const byteSum = (bits: number): number =>
  (bits & 0xff) + ((bits >>> 8) & 0xff) + ((bits >>> 16) & 0xff) + (bits >>> 24)
