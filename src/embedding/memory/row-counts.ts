/** How often rows take part: a table's counts as a histogram, from a sample of its rows. */
import { tableField } from '../../kernels/table-kernels.ts'
import type { TableStorage } from './table-storage.ts'

/** Rows looked at, spread over all: some tenths of a millisecond, wherever they lie. */
const sampleRows = 4096
/** Counts 0, 1, 2-3, 4-7, ... and from 65,536 on. */
const bins = 18
const stampWords = 4

/**
 * About how many rows have a count of at least 2^(i - 1) and below 2^i, the last bin all above;
 * each as it was when last seen. `unitBits`: bits of a count behind the point, where counts decay.
 */
export function rowsByCount(
  storages: readonly TableStorage[],
  unitBits: number,
): readonly number[] {
  const rows = new Float64Array(bins)
  const used = storages.reduce((sum, storage) => sum + storage.get(tableField.used), 0)
  const step = Math.max(1, Math.floor(used / sampleRows))
  for (const storage of storages) sample(storage, { step, unitBits }, rows)
  return [...rows]
}

function sample(
  storage: TableStorage,
  { step, unitBits }: { readonly step: number; readonly unitBits: number },
  rows: Float64Array,
): void {
  const words = new Uint32Array(storage.keys.view.buffer)
  const keys = storage.get(tableField.keys) >>> 2
  const stamps = storage.get(tableField.stamps) >>> 2
  const used = storage.get(tableField.used)
  for (let row = step >>> 1; row < used; row += step) {
    if (words[keys + 2 * row] === 0 && words[keys + 2 * row + 1] === 0) continue
    const count = words[stamps + stampWords * row] >>> unitBits
    rows[Math.min(bins - 1, 32 - Math.clz32(count))] += step
  }
}
