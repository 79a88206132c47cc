/** Rows of another table, whole, into a table of the same kind. */
import { keyCount } from '../../base/keys.ts'
import { readHeaders } from '../memory/record-headers.ts'
import { ImportDamage, type ImportableTable } from './table-import.ts'

const versionAt = 12

/**
 * Sets every row of runs of records, also over one that is there: as it is, but no row gets a later
 * version than this. Returns the number of rows. Throws `ImportDamage` where the table is full.
 */
export async function importRecords(
  table: ImportableTable,
  runs: AsyncIterable<Uint8Array>,
  version: number,
): Promise<number> {
  let rows = 0
  for await (const run of runs) {
    const records = new Uint8Array(run)
    const { keys, latest } = readHeaders(records, table.recordBytes)
    if (latest > version) capVersions(records, table.recordBytes, version)
    const refused = await table.writeRecords(records, { changed: true })
    rows += keyCount(keys)
    if (refused > 0) throw new ImportDamage(`one of the first ${rows} rows`, 'the table is full')
  }
  return rows
}

function capVersions(records: Uint8Array, recordBytes: number, version: number): void {
  const view = new DataView(records.buffer)
  for (let at = versionAt; at < records.length; at += recordBytes) {
    view.setUint32(at, Math.min(version, view.getUint32(at, true)), true)
  }
}
