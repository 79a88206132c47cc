/**
 * A row store in memory, for tests: the semantics of the port without a server, and its faults at
 * will. Records are kept as they came, one array each.
 */
import { ServiceError } from '../../base/errors.ts'
import type { Keys } from '../../base/keys.ts'
import { keyCount } from '../../base/keys.ts'
import type { Stamp } from '../embedding-table.ts'
import type { RowAccumulation, RowStore, RowStoreState, ScoreFilter } from './row-store.ts'
import { accumulated, scoreBytes, unknownTag } from './row-store.ts'

export interface MemoryRowStoreOptions {
  readonly recordBytes: number
  readonly table?: string
  readonly tag?: string
  /** Other tags' rows, shared by the stores of a test. */
  readonly tags?: Map<string, MemoryRows>
  /** Called before each verb: may wait, or reject. */
  readonly before?: (verb: string) => Promise<void> | void
}

/** What a tag holds. */
export interface MemoryRows {
  readonly rows: ReadonlyMap<bigint, Uint8Array>
  readonly mark: number
}

const empty: MemoryRows = { rows: new Map(), mark: -1 }
const headerBytes = 32
const marksKept = 3

export class MemoryRowStore implements RowStore {
  readonly recordBytes: number
  readonly #table: string
  readonly #tag: string
  readonly #tags: Map<string, MemoryRows>
  readonly #before: (verb: string) => Promise<void> | void
  readonly #listeners = new Set<(state: RowStoreState) => void>()
  readonly #rows: Map<bigint, Uint8Array>
  #mark: number
  /** What was there at the last marks, newest first. */
  #marked: MemoryRows[]
  #state: RowStoreState = 'available'

  constructor(options: MemoryRowStoreOptions) {
    this.recordBytes = options.recordBytes
    this.#table = options.table ?? 'test'
    this.#tag = options.tag ?? 'test'
    this.#tags = options.tags ?? new Map<string, MemoryRows>()
    this.#before = options.before ?? (() => undefined)
    const found = this.#tags.get(this.#tag) ?? empty
    this.#marked = [found]
    this.#rows = new Map(found.rows)
    this.#mark = found.mark
  }

  get state(): RowStoreState {
    return this.#state
  }

  onStateChange(listener: (state: RowStoreState) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  ready(signal?: AbortSignal): Promise<void> {
    if (this.#state !== 'unavailable') return Promise.resolve()
    return new Promise((resolve, reject) => {
      const forget = this.onStateChange(() => {
        forget()
        resolve()
      })
      signal?.addEventListener('abort', () => {
        forget()
        const { reason }: { reason: unknown } = signal
        reject(reason instanceof Error ? reason : new Error('aborted'))
      })
    })
  }

  async read(keys: Keys, records: Uint8Array, present: Uint8Array): Promise<void> {
    await this.#begin('read')
    records.fill(0, 0, keyCount(keys) * this.recordBytes)
    present.fill(0, 0, keyCount(keys))
    for (const [i, key] of keysIn(keys)) {
      const row = this.#rows.get(key)
      if (row === undefined) continue
      records.set(row, i * this.recordBytes)
      present[i] = 1
    }
  }

  async write(records: Uint8Array): Promise<void> {
    await this.#begin('write')
    for (let at = 0; at < records.length; at += this.recordBytes) {
      const record = new Uint8Array(records.subarray(at, at + this.recordBytes))
      this.#rows.set(keyOf(record), record)
    }
    this.#store()
  }

  async erase(keys: Keys): Promise<number> {
    await this.#begin('erase')
    let erased = 0
    for (const [, key] of keysIn(keys)) erased += this.#rows.delete(key) ? 1 : 0
    this.#store()
    return erased
  }

  async accumulate(keys: Keys, change: RowAccumulation, stamp: Stamp): Promise<Uint8Array> {
    await this.#begin('accumulate')
    const codes = new Uint8Array(keyCount(keys))
    for (const [i, key] of keysIn(keys)) {
      const row = this.#rows.get(key)
      if ((row !== undefined) !== (change.exists[i] === 1)) continue
      codes[i] = row === undefined ? accumulated.inserted : accumulated.added
      this.#rows.set(key, row === undefined ? this.#inserted(i, change) : added(row, i, change))
      const view = new DataView((this.#rows.get(key) ?? change.records).buffer)
      view.setUint32(12, stamp.version, true)
      view.setFloat64(16, stamp.time, true)
    }
    this.#store()
    return codes
  }

  async size(): Promise<number> {
    await this.#begin('size')
    return this.#rows.size
  }

  async scores(visit: (scores: Uint8Array) => void, filter: ScoreFilter = {}): Promise<void> {
    await this.#begin('scores')
    const { seenBefore = Number.POSITIVE_INFINITY, changedAfter = -1 } = filter
    for (const row of this.#rows.values()) {
      const view = new DataView(row.buffer)
      if (view.getFloat64(16, true) >= seenBefore || view.getUint32(12, true) <= changedAfter) {
        continue
      }
      visit(row.subarray(0, scoreBytes))
    }
  }

  async clear(): Promise<void> {
    await this.#begin('clear')
    this.#rows.clear()
    this.#mark = -1
    this.#marked = [empty]
    this.#store()
  }

  async mark(sequence: number): Promise<void> {
    await this.#begin('mark')
    this.#mark = sequence
    const now = { rows: new Map(this.#rows), mark: sequence }
    this.#marked = [now, ...this.#marked].slice(0, marksKept)
    this.#store()
  }

  async marks(): Promise<Float64Array> {
    await this.#begin('marks')
    return Float64Array.of(this.#mark)
  }

  async acceptLoss(): Promise<Float64Array> {
    if (this.#state === 'wentBack') this.#change('available')
    await this.#begin('marks')
    return Float64Array.of(this.#mark)
  }

  async importFrom(tag: string): Promise<void> {
    await this.#begin('importFrom')
    const source = this.#tags.get(tag)
    if (source === undefined) throw unknownTag(this.#table, tag)
    this.#rows.clear()
    for (const [key, row] of source.rows) this.#rows.set(key, row)
    this.#store()
  }

  async expire(): Promise<readonly string[]> {
    await this.#begin('expire')
    const expired = [...this.#tags.keys()].filter((tag) => tag !== this.#tag)
    for (const tag of expired) this.#tags.delete(tag)
    return expired
  }

  close(): Promise<void> {
    this.#listeners.clear()
    return Promise.resolve()
  }

  /** A fault: nothing is answered until `recover`. */
  interrupt(): void {
    this.#change('unavailable')
  }

  recover(): void {
    this.#change('available')
  }

  /** A fault: everything since the last mark is lost, or since one before it. */
  goBack(marks = 1): void {
    const [marked = empty, ...older] = this.#marked.slice(Math.min(marks, this.#marked.length) - 1)
    this.#rows.clear()
    for (const [key, row] of marked.rows) this.#rows.set(key, row)
    this.#mark = marked.mark
    this.#marked = [marked, ...older]
    this.#store()
    this.#change('wentBack')
  }

  async #begin(verb: string): Promise<void> {
    await this.#before(verb)
    const table = this.#table
    if (this.#state === 'unavailable') {
      throw new ServiceError('ROW_STORE_UNAVAILABLE', { table, verb, reason: 'interrupted' })
    }
    if (this.#state === 'wentBack' && verb !== 'marks') {
      throw new ServiceError('ROW_STORE_WENT_BACK', { table, reason: `mark ${this.#mark}` })
    }
  }

  #inserted(i: number, { records }: RowAccumulation): Uint8Array {
    return new Uint8Array(records.subarray(i * this.recordBytes, (i + 1) * this.recordBytes))
  }

  #store(): void {
    this.#tags.set(this.#tag, { rows: this.#rows, mark: this.#mark })
  }

  #change(state: RowStoreState): void {
    if (state === this.#state) return
    this.#state = state
    this.#listeners.forEach((listener) => {
      listener(state)
    })
  }
}

function added(row: Uint8Array, i: number, change: RowAccumulation): Uint8Array {
  const { oldVectors, newVectors, exists } = change
  const dim = oldVectors.length / exists.length
  const sum = row.slice()
  const vector = new Float32Array(sum.buffer, headerBytes, dim)
  for (let j = 0; j < dim; j += 1) {
    vector[j] += Math.fround(newVectors[i * dim + j] - oldVectors[i * dim + j])
  }
  return sum
}

const keyOf = (record: Uint8Array): bigint => new DataView(record.buffer).getBigUint64(0, true)

function* keysIn(keys: Keys): Generator<[index: number, key: bigint]> {
  for (let i = 0; i < keyCount(keys); i += 1) {
    const key = (BigInt(keys[2 * i + 1]) << 32n) | BigInt(keys[2 * i])
    if (key !== 0n) yield [i, key]
  }
}
