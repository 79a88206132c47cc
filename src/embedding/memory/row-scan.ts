/** Passes over all rows of a table, wherever they lie. */
import { keyCount } from '../../base/keys.ts'
import type { Keys } from '../../base/keys.ts'
import { tableField } from '../../kernels/table-kernels.ts'
import type { TableRows } from '../durable-table.ts'
import { KeyList } from './key-list.ts'
import type { TableStorage } from './table-storage.ts'

type Storages = readonly TableStorage[]

/** All keys, in no particular order. */
export const allKeys = (storages: Storages): Keys =>
  collect(storages, ({ kernels, table, batch, keys, rows }) =>
    kernels.tableNextRows(table, batch, keys.address, rows.address),
  ).view()

/** The keys of rows whose changed bit is set, ascending; clears the bits. */
export const takeChanged = (storages: Storages): Keys =>
  collect(storages, ({ kernels, table, batch, keys }) =>
    kernels.tableTakeChanged(table, batch, keys.address),
  ).sorted()

/** What a scan stages, from the first row of each storage until it finds nothing more. */
function collect(storages: Storages, next: (storage: TableStorage) => number): KeyList {
  const found = new KeyList()
  for (const storage of storages) {
    storage.set(tableField.cursor, 0)
    for (let n = next(storage); n > 0; n = next(storage)) {
      found.push(storage.keys.view.subarray(0, 2 * n))
    }
  }
  return found
}

/** Those rows that are there: a view of the same memory, in which they are moved together. */
export function keepPresent({ keys, vectors }: TableRows, present: Uint8Array): TableRows {
  const dim = vectors.length / keyCount(keys)
  let kept = 0
  for (let i = 0; i < keyCount(keys); i += 1) {
    if (present[i] === 0) continue
    keys.copyWithin(2 * kept, 2 * i, 2 * i + 2)
    vectors.copyWithin(kept * dim, i * dim, (i + 1) * dim)
    kept += 1
  }
  return { keys: keys.subarray(0, 2 * kept), vectors: vectors.subarray(0, kept * dim) }
}
