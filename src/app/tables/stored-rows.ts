/**
 * The rows that lie in Redis under a model tag, without asking anybody: a trainer may be at work
 * and goes on. Each slice is as a checkpoint of its trainer left it, the newest or, while that one
 * is being sent, the one before. Rows wait in a file, so a table of any size can be exported.
 */
import type { Keys } from '../../base/keys.ts'
import { keyCount } from '../../base/keys.ts'
import type { ExportableTable } from '../../embedding/exchange/table-export.ts'
import { KeyIndex } from '../../embedding/memory/key-index.ts'
import { KeyList } from '../../embedding/memory/key-list.ts'
import { MemoryTable } from '../../embedding/memory/memory-table.ts'
import { readHeaders } from '../../embedding/memory/record-headers.ts'
import { RedisTags } from '../../embedding/redis/redis-tags.ts'
import type { TableSpec } from '../../embedding/table-spec.ts'
import type { Config } from '../config/config-schema.ts'
import { rowServer } from '../config/far-rows-options.ts'
import { RowSpool } from './row-spool.ts'

export interface StoredRowsOptions {
  readonly config: Config
  readonly spec: TableSpec
  readonly keySeed: number
  readonly tag: string
  /** Of the file in which rows wait. */
  readonly path: string
}

/** Records of all rows under a tag, slice by slice. Throws `ROW_STORE_*`. */
export async function* rowsUnderTag({
  config,
  spec,
  keySeed,
  tag,
}: Omit<StoredRowsOptions, 'path'>): AsyncGenerator<Uint8Array> {
  const { connection, limits } = rowServer(config)
  await using tags = await RedisTags.open(spec.name, connection, limits)
  yield* tags.rows(tag, { table: spec, recordBytes: recordBytesOf(spec), keySeed })
}

const recordBytesOf = (spec: TableSpec): number =>
  new MemoryTable({ ...spec, capacityRows: 1 }).recordBytes

/** A cuckoo index that is never full refuses no key. */
const spare = 17 / 16
const leastKeys = 64

/** Invariant: `#places` leads from each key of `#keys` to the place of its row in the spool. */
export class StoredRows implements ExportableTable, Disposable {
  readonly spec: TableSpec
  readonly recordBytes: number
  readonly #spool: RowSpool
  readonly #keys: KeyList
  readonly #places: KeyIndex

  /** Throws `ROW_STORE_*`, `OUTPUT_FAILED`. */
  static async read(options: StoredRowsOptions): Promise<StoredRows> {
    const recordBytes = recordBytesOf(options.spec)
    const spool = new RowSpool(options.path)
    const keys = new KeyList()
    try {
      for await (const records of rowsUnderTag(options)) {
        spool.write(records)
        keys.push(readHeaders(records, recordBytes).keys)
      }
      return new StoredRows(options.spec, spool, keys)
    } catch (error) {
      spool[Symbol.dispose]()
      throw error
    }
  }

  private constructor(spec: TableSpec, spool: RowSpool, keys: KeyList) {
    this.spec = spec
    this.recordBytes = recordBytesOf(spec)
    this.#spool = spool
    this.#keys = keys
    this.#places = new KeyIndex({ capacity: Math.ceil((keys.size + leastKeys) * spare) })
    const places = Uint32Array.from({ length: keys.size }, (_, place) => place)
    this.#places.findOrInsert(keys.view(), places)
  }

  get size(): number {
    return this.#keys.size
  }

  *export(): Generator<{ readonly keys: Keys }> {
    yield { keys: this.#keys.view() }
  }

  /** Of keys that have a row. */
  find(keys: Keys, vectors: Float32Array): void {
    const n = keyCount(keys)
    const records = new Uint8Array(n * this.recordBytes)
    this.readRecords(keys, records, new Uint8Array(n))
    const bench = new MemoryTable({ ...this.spec, capacityRows: n })
    bench.writeRecords(records)
    bench.find(keys, vectors)
  }

  readRecords(keys: Keys, records: Uint8Array, present: Uint8Array): void {
    const n = keyCount(keys)
    const places = new Uint32Array(n)
    this.#places.find(keys, places)
    for (let i = 0; i < n; i += 1) {
      const record = records.subarray(i * this.recordBytes, (i + 1) * this.recordBytes)
      this.#spool.read(places[i] * this.recordBytes, record)
      present[i] = 1
    }
  }

  [Symbol.dispose](): void {
    this.#spool[Symbol.dispose]()
  }
}
