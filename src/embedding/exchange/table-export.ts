/**
 * The rows of a table for other programs: as NDJSON, one object a line with everything that a row
 * is, or as a pair of NumPy arrays with keys and vectors alone. Rows are in the order of their
 * keys, so the same rows give the same bytes wherever they lie. See "Exported tables" in
 * docs/formats.md.
 */
import type { Awaitable, Keys } from '../../base/keys.ts'
import { keyCount } from '../../base/keys.ts'
import { KeyList } from '../memory/key-list.ts'
import type { TableSpec } from '../table-spec.ts'
import { npyHeader } from './npy.ts'
import { RowRecords } from './row-records.ts'
import { formatRow } from './row-text.ts'

/** What is asked of a table to export it. It must stand still meanwhile. */
export interface ExportableTable {
  readonly spec: TableSpec
  readonly recordBytes: number
  export(): Iterable<{ readonly keys: Keys }> | AsyncIterable<{ readonly keys: Keys }>
  find(keys: Keys, vectors: Float32Array): Awaitable<void>
  readRecords(keys: Keys, records: Uint8Array, present: Uint8Array): Awaitable<void>
}

/** Rows taken at a time: what an export holds in memory, beside the keys. */
const batchRows = 512

/** Pieces of a file of lines. */
export async function* ndjsonOf(table: ExportableTable): AsyncGenerator<Uint8Array> {
  const encoder = new TextEncoder()
  const { recordBytes, spec } = table
  const records = new RowRecords(batchRows, recordBytes, spec.dim)
  const present = new Uint8Array(batchRows)
  for (const keys of batchesOf(await keysOf(table))) {
    const n = keyCount(keys)
    await table.readRecords(keys, records.bytes, present)
    let text = ''
    for (let i = 0; i < n; i += 1) text += `${formatRow(records.row(i))}\n`
    yield encoder.encode(text)
  }
}

/** Pieces of two .npy files of as many rows: u64 keys (n), and f32 vectors (n x dim). */
export async function npyPairOf(table: ExportableTable): Promise<{
  readonly keys: Iterable<Uint8Array>
  readonly values: AsyncIterable<Uint8Array>
}> {
  const keys = await keysOf(table)
  return { keys: npyKeys(keys), values: npyValues(table, keys) }
}

function* npyKeys(keys: Keys): Generator<Uint8Array> {
  yield npyHeader({ type: '<u8', shape: [keyCount(keys)] })
  yield bytesOf(keys)
}

async function* npyValues(table: ExportableTable, keys: Keys): AsyncGenerator<Uint8Array> {
  const { dim } = table.spec
  yield npyHeader({ type: '<f4', shape: [keyCount(keys), dim] })
  for (const some of batchesOf(keys)) {
    const vectors = new Float32Array(keyCount(some) * dim)
    await table.find(some, vectors)
    yield bytesOf(vectors)
  }
}

/** Every key that has a row, ascending. */
async function keysOf(table: ExportableTable): Promise<Keys> {
  const found = new KeyList()
  for await (const { keys } of table.export()) found.push(keys)
  return found.sorted()
}

function* batchesOf(keys: Keys): Generator<Keys> {
  for (let at = 0; at < keys.length; at += 2 * batchRows) {
    yield keys.subarray(at, at + 2 * batchRows)
  }
}

const bytesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength)
