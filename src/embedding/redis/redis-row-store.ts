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
import type { Stamp } from '../embedding-table.ts'
import type { RowAccumulation, RowStore, RowStoreState, ScoreFilter } from '../store/row-store.ts'
import { unknownTag } from '../store/row-store.ts'
import type { TableSpec } from '../table-spec.ts'
import type { RedisLimits } from './redis-calls.ts'
import { RedisCalls } from './redis-calls.ts'
import {
  arrayOf,
  bytesOf,
  bytesOfReply,
  checkRecord,
  decayOf,
  distinctScores,
  keyAt,
  keysOfRecords,
  stampBytes,
} from './redis-records.ts'
import {
  accumulateScript,
  clearScript,
  eraseScript,
  importScript,
  markScript,
  scoresScript,
  writeScript,
} from './redis-scripts.ts'
import { SliceAccess } from './redis-slice-access.ts'
import type { SliceOwner } from './redis-slice-header.ts'
import { checkSlices, claimSlices, identityOf } from './redis-slice-header.ts'
import { sliceKeys, sliceNames, slicesFor } from './redis-slices.ts'
import { noteTag, readTags, removeTag } from './redis-tags.ts'

export interface RedisRowStoreOptions {
  readonly table: TableSpec
  readonly recordBytes: number
  /** Of the model version: rows of several lie beside each other. */
  readonly tag: string
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
  /** What it gets before. */
  readonly head?: readonly RedisArgument[]
  /** Not safe to be asked for again: waits for a store that is away, under the same number. */
  readonly waits?: true
}

interface SliceResult {
  readonly result: string
  /** Which keys of the batch were the slice's. */
  readonly indexes: Uint32Array
}

const defaultBatchRows = 4_096
const keyBytes = 8
/** Rows that a script looks at in one go: some two milliseconds of the server. */
const pageRows = 512

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
    const { table, recordBytes, tag, writer = 'trainer' } = options
    this.recordBytes = recordBytes
    this.#options = options
    this.#clock = options.clock ?? systemClock
    this.#batchRows = options.batchRows ?? defaultBatchRows
    this.#connection = connectRedis(options.connection)
    this.#owner = { connection: this.#connection, table, recordBytes, tag, writer }
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

  onStateChange(listener: (state: RowStoreState) => void): () => void {
    return this.#calls.onStateChange(listener)
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
      for (const { result } of counts) erased += Number(result)
    }
    return erased
  }

  async accumulate(keys: Keys, change: RowAccumulation, stamp: Stamp): Promise<Uint8Array> {
    const { recordBytes } = this
    const { dim } = this.#owner.table
    const codes = new Uint8Array(keyCount(keys))
    const differences = Float32Array.from(
      change.newVectors,
      (value, i) => value - change.oldVectors[i],
    )
    const [changes, records] = [bytesOf(differences), bytesOf(change.records)]
    const head = [dim, stampBytes(stamp), ...decayOf(this.#owner.table)]
    let from = 0
    for (const batch of this.#batches(keys)) {
      const bytes = bytesOf(batch)
      const first = from
      const argumentsOf = (i: number): RedisArgument[] => {
        const at = first + i
        const exists = change.exists[at] === 1
        const key = Buffer.concat([Buffer.from(exists ? '1' : '0'), keyAt(bytes, i)])
        const width = exists ? dim * 4 : recordBytes
        return [key, (exists ? changes : records).subarray(at * width, (at + 1) * width)]
      }
      const rows = { keys: batch, argumentsOf, head, waits: true } as const
      const results = await this.#change('accumulate', accumulateScript, rows)
      for (const { result, indexes } of results) {
        for (const [j, i] of indexes.entries()) codes[first + i] = result.charCodeAt(j) - 48
      }
      from += keyCount(batch)
    }
    return codes
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

  async scores(visit: (scores: Uint8Array) => void, filter: ScoreFilter = {}): Promise<void> {
    const { seenBefore = Number.MAX_VALUE, changedAfter = -1 } = filter
    const wanted = [pageRows, seenBefore, changedAfter]
    for (let slice = 0; slice < this.slices; slice += 1) {
      const scores = await this.#sliceScores(slice, wanted)
      if (scores.length > 0) visit(scores)
    }
  }

  async clear(): Promise<void> {
    await this.#changeAll('clear', clearScript, [])
  }

  async mark(sequence: number): Promise<void> {
    await this.#changeAll('mark', markScript, [sequence, this.#clock.now()])
    await this.#noteUse('mark')
  }

  async marks(): Promise<Float64Array> {
    const marks = await this.#calls.call('marks', () =>
      this.#slices.each(({ slice: name }, slice) =>
        this.#slices.ask(slice, 'HGET', [name, 'mark']),
      ),
    )
    return Float64Array.from(marks, (mark) => Number(mark ?? -1))
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

  async importFrom(tag: string): Promise<void> {
    const { table } = this.#owner
    const tags = await this.#calls.call('importFrom', () => readTags(this.#connection, table.name))
    const slices = tags.get(tag)?.slices
    if (slices === undefined) throw unknownTag(table.name, tag)
    const source = sliceNames(table.name, tag, slices)
    const owner = { ...this.#owner, tag }
    const check = () => checkSlices(owner, source, identityOf(owner, slices))
    await this.#calls.call('importFrom', check)
    if (slices === this.slices) {
      const keyOf = (slice: number) => [source[slice]?.rows ?? '']
      await this.#changeAll('importFrom', importScript, [], keyOf)
      return
    }
    await this.clear()
    for (const { rows } of source) await this.#copyRows(rows)
  }

  async expire(time: number): Promise<readonly string[]> {
    const { table, tag: own } = this.#owner
    const tags = await this.#calls.call('expire', () => readTags(this.#connection, table.name))
    const expired: string[] = []
    for (const entry of tags) {
      const [tag, { used }] = entry
      if (tag === own || used >= time) continue
      const remove = () => removeTag(this.#connection, table.name, entry)
      await this.#calls.call('expire', remove)
      expired.push(tag)
    }
    return expired
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

  async #sliceScores(slice: number, wanted: RedisArgument[]): Promise<Uint8Array> {
    let pages: Buffer[] = []
    let server = ''
    for (let cursor = '0'; ;) {
      const page = await this.#calls.call('scores', () =>
        this.#slices.askScript(slice, scoresScript, [cursor, ...wanted]),
      )
      const [next, scores, answering] = arrayOf(page).map((part) => bytesOfReply(part))
      // A cursor means nothing to another server, or to the same after a restart.
      const moved = server !== '' && server !== answering.toString()
      server = answering.toString()
      if (moved) pages = []
      else pages.push(scores)
      cursor = moved ? '0' : next.toString()
      if (cursor === '0' && !moved) return distinctScores(Buffer.concat(pages))
    }
  }

  /** Rows of another tag's slice, which are sliced otherwise here. */
  async #copyRows(rows: string): Promise<void> {
    let cursor = '0'
    do {
      const page = await this.#calls.call('importFrom', () =>
        this.#connection.call('HSCAN', [rows, cursor, 'COUNT', pageRows]),
      )
      const [next, pairs] = arrayOf(page)
      const records = arrayOf(pairs).filter((_, i) => i % 2 === 1)
      await this.write(Buffer.concat(records.map((record) => bytesOfReply(record))))
      cursor = bytesOfReply(next).toString()
    } while (cursor !== '0')
  }

  /** Changes rows of a batch of keys, all slices at once. */
  #change(verb: string, script: RedisScript, rows: RowChange): Promise<readonly SliceResult[]> {
    const { slices, starts, order } = sliceKeys(rows.keys, this.slices)
    const changeSlice = async (number: number, slice: number): Promise<SliceResult> => {
      const indexes = order.subarray(starts[slice], starts[slice + 1])
      const args = [...(rows.head ?? [])]
      for (const i of indexes) args.push(...rows.argumentsOf(i))
      const result = await this.#slices.change(script, { slice, number, args })
      return { result, indexes }
    }
    const attempt = (number: number) => () =>
      Promise.all(slices.map((slice) => changeSlice(number, slice)))
    return this.#slices.exclusively((number) =>
      rows.waits === true
        ? this.#calls.callUntilDone(verb, attempt(number))
        : this.#calls.call(verb, attempt(number)),
    )
  }

  async #changeAll(
    verb: string,
    script: RedisScript,
    args: readonly RedisArgument[],
    keysOf: (slice: number) => readonly string[] = () => [],
  ): Promise<void> {
    await this.#slices.exclusively((number) =>
      this.#calls.call(verb, () =>
        this.#slices.each((_, slice) =>
          this.#slices.change(script, { slice, number, args, keys: keysOf(slice) }),
        ),
      ),
    )
  }

  *#batches(keys: Keys): Generator<Keys> {
    for (let at = 0; at < keys.length; at += 2 * this.#batchRows) {
      yield keys.slice(at, at + 2 * this.#batchRows)
    }
  }
}
