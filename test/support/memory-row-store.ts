/**
 * A row store in memory: the semantics of the port without a server, and its faults at will.
 * Records are kept as they came, one array each.
 */
import { ServiceError } from '../../src/base/errors.ts'
import type { Keys } from '../../src/base/keys.ts'
import { keyCount } from '../../src/base/keys.ts'
import type { RowStore, RowStoreState } from '../../src/embedding/tiered/row-store.ts'

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

  #onStateChange(listener: (state: RowStoreState) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  ready(signal?: AbortSignal): Promise<void> {
    if (this.#state !== 'unavailable') return Promise.resolve()
    return new Promise((resolve, reject) => {
      const forget = this.#onStateChange(() => {
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

  async size(): Promise<number> {
    await this.#begin('size')
    return this.#rows.size
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

  async acceptLoss(): Promise<Float64Array> {
    if (this.#state === 'wentBack') this.#change('available')
    await this.#begin('acceptLoss')
    return Float64Array.of(this.#mark)
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
    if (this.#state === 'wentBack' && verb !== 'acceptLoss') {
      throw new ServiceError('ROW_STORE_WENT_BACK', { table, reason: `mark ${this.#mark}` })
    }
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

const keyOf = (record: Uint8Array): bigint => new DataView(record.buffer).getBigUint64(0, true)

function* keysIn(keys: Keys): Generator<[index: number, key: bigint]> {
  for (let i = 0; i < keyCount(keys); i += 1) {
    const key = (BigInt(keys[2 * i + 1]) << 32n) | BigInt(keys[2 * i])
    if (key !== 0n) yield [i, key]
  }
}
