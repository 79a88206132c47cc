/** Twins of `assembly/table-rows.ts`: batches of rows, rounding for rounding. */
import type { Address } from '../operands.ts'
import type { TableRowKernels } from '../table-kernels.ts'
import { absentPayload, tableField } from '../table-kernels.ts'
import { initialVector } from './reference-initializer.ts'
import { bringWithinNorm } from './reference-max-norm.ts'
import { TableMemory } from './reference-table-memory.ts'
import { catchUp, resetState } from './reference-table-state.ts'

const { fround } = Math

export function referenceTableKernels(memory: WebAssembly.Memory): TableRowKernels {
  const open = (table: Address): TableMemory => new TableMemory(memory, table)
  return {
    tableGather: (...[table, keys, rows, n, vectors]) =>
      gather(open(table), keys, rows, [n, vectors]),
    tableInsert: (table, keys, rows, ...rest) => insert(open(table), keys, rows, rest),
    tableAssign: (...[table, rows, n, vectors, ...stamp]) => {
      assign(open(table), { rows, n, vectors }, stamp)
    },
    tableAccumulate: (...[table, keys, n, oldVectors, newVectors, exists, ...stamp]) =>
      accumulate(open(table), { keys, n, oldVectors, newVectors, exists }, stamp),
    tableErase: (table, keys, n, removed) => erase(open(table), keys, n, removed),
  }
}

/** Time and version. */
type Stamp = readonly [number, number]

function gather(
  table: TableMemory,
  keys: Address,
  rows: Address,
  [n, vectors]: readonly [number, Address],
): void {
  const { words, floats, dim } = table
  for (let i = 0; i < n; i += 1) {
    const row = words[(rows >>> 2) + i]
    const to = (vectors >>> 2) + i * dim
    if (row === absentPayload) initialVector(table, ...table.keyAt(keys, i), to)
    else floats.copyWithin(to, table.vector(row), table.vector(row) + dim)
  }
}

function insert(
  table: TableMemory,
  keys: Address,
  rows: Address,
  [n, ...stamp]: readonly [number, ...Stamp],
): number {
  let refused = 0
  for (let i = 0; i < n; i += 1) {
    const [low, high] = table.keyAt(keys, i)
    const at = (rows >>> 2) + i
    if ((low === 0 && high === 0) || table.words[at] !== absentPayload) continue
    const known = table.index.find(low, high)
    table.words[at] = known === absentPayload ? insertRow(table, low, high, stamp) : known
    if (table.words[at] === absentPayload) refused += 1
  }
  return refused
}

/** A row for a key that has none, or `absentPayload`. */
function insertRow(table: TableMemory, low: number, high: number, stamp: Stamp): number {
  const row = table.addRow(low, high)
  if (row === absentPayload) return row
  initialVector(table, low, high, table.vector(row))
  resetState(table, row)
  table.markChanged(row, stamp)
  return row
}

interface Assignment {
  readonly rows: Address
  readonly n: number
  readonly vectors: Address
}

function assign(table: TableMemory, { rows, n, vectors }: Assignment, stamp: Stamp): void {
  const { dim, floats } = table
  for (let i = 0; i < n; i += 1) {
    const row = table.words[(rows >>> 2) + i]
    if (row === absentPayload) continue
    const from = (vectors >>> 2) + i * dim
    floats.copyWithin(table.vector(row), from, from + dim)
    bringWithinNorm(table, table.vector(row))
    resetState(table, row)
    table.markChanged(row, stamp)
  }
}

interface Accumulation {
  readonly keys: Address
  readonly n: number
  readonly oldVectors: Address
  readonly newVectors: Address
  readonly exists: Address
}

function accumulate(table: TableMemory, batch: Accumulation, stamp: Stamp): number {
  const { floats, dim } = table
  let refused = 0
  for (let i = 0; i < batch.n; i += 1) {
    const [low, high] = table.keyAt(batch.keys, i)
    const found = table.index.find(low, high)
    const exists = table.bytes[batch.exists + i] !== 0
    if ((low === 0 && high === 0) || (found !== absentPayload) !== exists) continue
    const row = exists ? found : insertRow(table, low, high, stamp)
    const plus = (batch.newVectors >>> 2) + i * dim
    if (row === absentPayload) {
      refused += 1
    } else if (exists) {
      catchUp(table, row, stamp[1])
      addDifference(table, row, plus, (batch.oldVectors >>> 2) + i * dim)
      bringWithinNorm(table, table.vector(row))
      table.markChanged(row, stamp)
    } else {
      floats.copyWithin(table.vector(row), plus, plus + dim)
      bringWithinNorm(table, table.vector(row))
    }
  }
  return refused
}

function addDifference(table: TableMemory, row: number, plus: number, minus: number): void {
  const { floats, dim } = table
  const vector = table.vector(row)
  for (let j = 0; j < dim; j += 1) {
    floats[vector + j] += fround(floats[plus + j] - floats[minus + j])
  }
}

function erase(table: TableMemory, keys: Address, n: number, removed: Address): number {
  let count = 0
  for (let i = 0; i < n; i += 1) {
    const [low, high] = table.keyAt(keys, i)
    const row = table.index.remove(low, high)
    if (row === absentPayload) continue
    table.freeRow(row)
    table.words[(removed >>> 2) + 2 * count] = low
    table.words[(removed >>> 2) + 2 * count + 1] = high
    count += 1
  }
  table.add(tableField.size, -count)
  return count
}
