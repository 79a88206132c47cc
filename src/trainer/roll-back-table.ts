/**
 * A table as a checkpoint has it, but for what has happened to its keys since: rows that were
 * deleted, evicted or expired stay away, and so do rows that are broken in the checkpoint, too.
 */
import { keyCount, type Keys } from '../base/keys.ts'
import type { DurableTable, TableRows } from '../embedding/durable-table.ts'

/** `longest`: the L2 norm that no row may exceed. */
export async function rollBackTable(
  table: DurableTable,
  pieces: Iterable<Uint8Array>,
  longest: number,
): Promise<void> {
  const before = await sortedKeys(table)
  table.load(pieces)
  const leaving: Keys[] = []
  for await (const rows of table.export()) {
    const isSound = soundRows(rows, table.spec.dim, longest)
    const gone = selectKeys(rows.keys, (i) => !isSound(i) || !includes(before, keyAt(rows.keys, i)))
    if (gone.length > 0) leaving.push(gone)
  }
  for (const keys of leaving) await table.erase(keys)
}

async function sortedKeys(table: DurableTable): Promise<BigUint64Array> {
  const sorted = new BigUint64Array(table.size)
  let size = 0
  for await (const { keys } of table.export()) {
    for (let i = 0; i < keyCount(keys) && size < sorted.length; i += 1) {
      sorted[size] = keyAt(keys, i)
      size += 1
    }
  }
  return sorted.subarray(0, size).toSorted()
}

const keyAt = (keys: Keys, i: number): bigint =>
  (BigInt(keys[2 * i + 1]) << 32n) | BigInt(keys[2 * i])

function includes(sorted: BigUint64Array, key: bigint): boolean {
  let [low, high] = [0, sorted.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if (sorted[middle] < key) low = middle + 1
    else high = middle
  }
  return low < sorted.length && sorted[low] === key
}

/** Whether row i is of numbers, and not longer than it may be. */
function soundRows({ vectors }: TableRows, dim: number, longest: number): (i: number) => boolean {
  return (i) => {
    let squares = 0
    for (let d = i * dim; d < (i + 1) * dim; d += 1) squares += vectors[d] * vectors[d]
    return Number.isFinite(squares) && Math.sqrt(squares) <= longest
  }
}

function selectKeys(keys: Keys, isSelected: (i: number) => boolean): Keys {
  const selected: number[] = []
  for (let i = 0; i < keyCount(keys); i += 1) {
    if (isSelected(i)) selected.push(keys[2 * i], keys[2 * i + 1])
  }
  return Uint32Array.from(selected)
}
