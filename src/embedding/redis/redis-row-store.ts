/**
 * Rows in Redis: the adapter of `RowStore`. A slice's rows are one hash, field = the 8 bytes of the
 * key, value = the record. Batches go out slice by slice, all of a batch at once; vectors and state
 * come in one round trip.
 *
 * `redis-slice-access.ts` knows when the server has lost something, `redis-calls.ts` when to ask
 * again.
 */
import { assert } from '../../base/assert.ts'
import type { Clock } from '../../base/clock.ts'
import { systemClock } from '../../base/clock.ts'
import type { Keys } from '../../base/keys.ts'
import { keyCount } from '../../base/keys.ts'
import type { RedisArgument, RedisConnection, RedisSettings } from '../../redis/redis-connection.ts'
import { connectRedis } from '../../redis/redis-connection.ts'
import type { RedisScript } from '../../redis/redis-script.ts'
import type { TableSpec } from '../table-spec.ts'
import type { RowStore, RowStoreState } from '../tiered/row-store.ts'
import type { RedisLimits } from './redis-calls.ts'
import { RedisCalls } from './redis-calls.ts'
import { arrayOf, bytesOf, checkRecord, keyAt, keysOfRecords } from './redis-records.ts'
import { clearScript, eraseScript, markScript, writeScript } from './redis-scripts.ts'
import { SliceAccess } from './redis-slice-access.ts'
import type { SliceOwner } from './redis-slice-header.ts'
import { claimSlices } from './redis-slice-header.ts'
import { sliceKeys, sliceNames, slicesFor } from './redis-slices.ts'
import { noteTag, readTags } from './redis-tags.ts'

export interface RedisRowStoreOptions {
  readonly table: TableSpec
  readonly recordBytes: number
  /** Of the model version: rows of several lie beside each other. */
  readonly tag: string
  /** Of the hash that keys are: rows under one seed are nobody's under another. */
  readonly keySeed?: number
  /** Who changes rows; another process that opens under this name shuts this one out. */
  readonly writer?: string
  /** Default: as the rows under this tag are sliced, or for hashes of some 16,384 rows. */
  readonly slices?: number
  /** Rows that go out at a time; default 4,096. */
  readonly batchRows?: number
  readonly connection: RedisSettings
  readonly limits?: RedisLimits
  readonly clock?: Clock
}

interface RowChange {
  readonly keys: Keys
  /** What the script gets of key i. */
  readonly argumentsOf: (i: number) => RedisArgument[]
}

const defaultBatchRows = 4_096
const keyBytes = 8

/**
 * Connects and claims the rows. Rejects `ROW_STORE_UNAVAILABLE` when no server answers in time,
 * `ROW_STORE_FAILED` when it refuses, `ROW_STORE_INCOMPATIBLE` for rows of another model.
 */
export async function openRedisRowStore(options: RedisRowStoreOptions): Promise<RedisRowStore> {
  const store = new RedisRowStore(options)
  try {
    await store.open()
    return store
  } catch (error) {
    await store.close()
    throw error
  }
}

export class RedisRowStore implements RowStore {
  readonly recordBytes: number
  readonly #options: RedisRowStoreOptions
  readonly #owner: SliceOwner
  readonly #connection: RedisConnection
  readonly #slices: SliceAccess
  readonly #calls: RedisCalls
  readonly #clock: Clock
  readonly #batchRows: number

  /** Not open yet: see `openRedisRowStore`. */
  constructor(options: RedisRowStoreOptions) {
    const { table, recordBytes, tag, keySeed, writer = 'trainer' } = options
    this.recordBytes = recordBytes
    this.#options = options
    this.#clock = options.clock ?? systemClock
    this.#batchRows = options.batchRows ?? defaultBatchRows
    this.#connection = connectRedis(options.connection)
    this.#owner = { connection: this.#connection, table, keySeed, recordBytes, tag, writer }
    this.#slices = new SliceAccess(this.#owner)
    this.#calls = new RedisCalls({
      table: table.name,
      writer,
      limits: options.limits ?? {},
      connection: this.#connection,
      probe: () => this.#slices.probe(),
    })
  }

  get slices(): number {
    return this.#slices.names.length
  }

  get state(): RowStoreState {
    return this.#calls.state
  }

  ready(signal?: AbortSignal): Promise<void> {
    return this.#calls.ready(signal)
  }

  async open(): Promise<void> {
    const { table, tag } = this.#owner
    await this.#calls.call('open', () => this.#connected())
    const tags = await this.#calls.call('open', () => readTags(this.#connection, table.name))
    const slices = this.#options.slices ?? tags.get(tag)?.slices ?? slicesFor(table.capacityRows)
    const names = sliceNames(table.name, tag, slices)
    const claim = () => claimSlices(this.#owner, names)
    this.#slices.take(names, await this.#calls.call('open', claim))
    await this.#noteUse('open')
  }

  async read(keys: Keys, records: Uint8Array, present: Uint8Array): Promise<void> {
    const n = keyCount(keys)
    assert(records.length >= n * this.recordBytes && present.length >= n, 'room for each key')
    for (let from = 0; from < n; from += this.#batchRows) {
      const to = Math.min(n, from + this.#batchRows)
      const part = records.subarray(from * this.recordBytes, to * this.recordBytes)
      await this.#readBatch(keys.slice(2 * from, 2 * to), part, present.subarray(from, to))
    }
  }

  async write(records: Uint8Array): Promise<void> {
    assert(records.length % this.recordBytes === 0, 'whole records')
    const rows = bytesOf(records)
    const step = this.#batchRows * this.recordBytes
    for (let at = 0; at < rows.length; at += step) {
      const batch = rows.subarray(at, at + step)
      const keys = keysOfRecords(batch, this.recordBytes)
      const argumentsOf = (i: number): RedisArgument[] => {
        const record = batch.subarray(i * this.recordBytes, (i + 1) * this.recordBytes)
        return [record.subarray(0, keyBytes), record]
      }
      await this.#change('write', writeScript, { keys, argumentsOf })
    }
  }

  async erase(keys: Keys): Promise<number> {
    let erased = 0
    for (const batch of this.#batches(keys)) {
      const bytes = bytesOf(batch)
      const argumentsOf = (i: number): RedisArgument[] => [keyAt(bytes, i)]
      const counts = await this.#change('erase', eraseScript, { keys: batch, argumentsOf })
      for (const count of counts) erased += Number(count)
    }
    return erased
  }

  async size(): Promise<number> {
    const counts = await this.#calls.call('size', () =>
      this.#slices.each(({ rows }, slice) => this.#slices.ask(slice, 'HLEN', [rows])),
    )
    return counts.reduce<number>((sum, count) => sum + Number(count), 0)
  }

  /** What the rows take of the servers' memory, keys and tables of hashes included. */
  async memoryBytes(): Promise<number> {
    const sizes = await this.#calls.call('memoryBytes', () =>
      this.#slices.each(({ rows }, slice) => this.#slices.ask(slice, 'MEMORY', ['USAGE', rows])),
    )
    return sizes.reduce<number>((sum, size) => sum + Number(size ?? 0), 0)
  }

  async clear(): Promise<void> {
    await this.#changeAll('clear', clearScript, [])
  }

  async mark(sequence: number): Promise<void> {
    await this.#changeAll('mark', markScript, [sequence, this.#clock.now()])
    await this.#noteUse('mark')
  }

  acceptLoss(): Promise<Float64Array> {
    return this.#slices.exclusively(async (number) => {
      const { names } = this.#slices
      this.#calls.acceptLoss()
      const claim = () => claimSlices(this.#owner, names, number)
      const claims = await this.#calls.call('acceptLoss', claim)
      this.#slices.take(names, claims)
      return claims.marks
    })
  }

  async close(): Promise<void> {
    await this.#calls.close()
    this.#connection.close()
  }

  async #connected(): Promise<void> {
    await this.#connection.connected(
      AbortSignal.timeout(this.#options.limits?.commandTimeoutMs ?? 2_000),
    )
  }

  async #noteUse(verb: string): Promise<void> {
    const { table, tag } = this.#owner
    const entry = { slices: this.slices, used: this.#clock.now() }
    await this.#calls.call(verb, () => noteTag(this.#connection, table.name, [tag, entry]))
  }

  async #readBatch(keys: Keys, records: Uint8Array, present: Uint8Array): Promise<void> {
    const { recordBytes } = this
    const bytes = bytesOf(keys)
    const { slices, starts, order } = sliceKeys(keys, this.slices)
    const keysOf = (slice: number): Buffer[] =>
      Array.from(order.subarray(starts[slice], starts[slice + 1]), (i) => keyAt(bytes, i))
    // Rows are copied when all are there: no attempt given up may write them later.
    const found = await this.#calls.call('read', () =>
      Promise.all(slices.map((slice) => this.#readSlice(slice, keysOf(slice)))),
    )
    records.fill(0)
    present.fill(0)
    for (const [at, slice] of slices.entries()) {
      for (const [j, row] of found[at].entries()) {
        if (row === undefined) continue
        const i = order[starts[slice] + j]
        records.set(row, i * recordBytes)
        present[i] = 1
      }
    }
  }

  async #readSlice(
    slice: number,
    keys: readonly Buffer[],
  ): Promise<readonly (Buffer | undefined)[]> {
    const { rows } = this.#slices.names[slice]
    const reply = await this.#slices.ask(slice, 'HMGET', [rows, ...keys])
    return arrayOf(reply).map((row, i) => {
      if (!Buffer.isBuffer(row)) return undefined
      checkRecord(row, keys[i], this.recordBytes)
      return row
    })
  }

  /** Changes rows of a batch of keys, all slices at once. What each script results in. */
  #change(
    verb: string,
    script: RedisScript,
    { keys, argumentsOf }: RowChange,
  ): Promise<readonly string[]> {
    const { slices, starts, order } = sliceKeys(keys, this.slices)
    const changeSlice = (number: number, slice: number): Promise<string> => {
      const args: RedisArgument[] = []
      for (const i of order.subarray(starts[slice], starts[slice + 1])) args.push(...argumentsOf(i))
      return this.#slices.change(script, { slice, number, args })
    }
    return this.#slices.exclusively((number) =>
      this.#calls.call(verb, () => Promise.all(slices.map((slice) => changeSlice(number, slice)))),
    )
  }

  async #changeAll(
    verb: string,
    script: RedisScript,
    args: readonly RedisArgument[],
  ): Promise<void> {
    await this.#slices.exclusively((number) =>
      this.#calls.call(verb, () =>
        this.#slices.each((_, slice) => this.#slices.change(script, { slice, number, args })),
      ),
    )
  }

  *#batches(keys: Keys): Generator<Keys> {
    for (let at = 0; at < keys.length; at += 2 * this.#batchRows) {
      yield keys.slice(at, at + 2 * this.#batchRows)
    }
  }
}
