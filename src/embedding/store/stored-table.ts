/**
 * An embedding table whose rows are all in a row store, and none here: each verb reads the rows of
 * its keys onto a workbench, a small memory table, lets that do the work and writes back what
 * changed. So a row is what a memory table makes of it, bit for bit. Restrict looks at scores
 * alone, which a memory table of stamps takes up while it lasts.
 *
 * A store that does not answer is waited for. One that has lost writes ends the verb
 * (`ROW_STORE_WENT_BACK`): what is lost, only the log can give back. The table in front of which a
 * cache stands is `tiered-table.ts`.
 *
 * Invariants: one verb at a time; `#size` is what the store holds.
 */
import { assert } from '../../base/assert.ts'
import { ServiceError } from '../../base/errors.ts'
import type { Keys } from '../../base/keys.ts'
import { keyCount } from '../../base/keys.ts'
import type { KernelOptions } from '../../kernels/kernels.ts'
import { KeyDeduper } from '../../kernels/key-deduper.ts'
import type {
  Accumulation,
  EmbeddingTable,
  RestrictRequest,
  Stamp,
  TableChanges,
  TableStats,
} from '../embedding-table.ts'
import { KeyList } from '../memory/key-list.ts'
import { MemoryTable } from '../memory/memory-table.ts'
import { rowsToRemove } from '../restrict/restrict.ts'
import type { TableSpec } from '../table-spec.ts'
import type { RowStore } from './row-store.ts'
import { accumulated, scoreBytes } from './row-store.ts'
import { change, chosen, StoredChanges } from './stored-changes.ts'

/** Rows on the workbench. */
const benchRows = 4096
/** Keys of changes remembered for a delta. */
const mostChanges = 4_194_304
/** Scans for rows past their time to live, in that time. */
const sweepsPerTtl = 16
const noKeys: Keys = new Uint32Array(0)

/** A float stands for the vector: nobody asks for it. */
const scoresSpec = (spec: TableSpec): TableSpec => ({
  ...spec,
  dim: 1,
  initializer: { kind: 'zeros' },
  optimizer: { kind: 'sgd', rate: 0, gradients: 'sum' },
})

export interface StoredTableOptions extends KernelOptions {
  /** Of records of `recordBytesOf(spec)`. */
  readonly store: RowStore
  /** Ends waiting for the store. */
  readonly signal?: AbortSignal
}

/** Bytes of a row of this table, as a store must hold them. */
export const recordBytesOf = (spec: TableSpec, options: KernelOptions = {}): number =>
  new MemoryTable({ ...spec, capacityRows: 1 }, options).recordBytes

export async function openStoredTable(
  spec: TableSpec,
  options: StoredTableOptions,
): Promise<StoredTable> {
  const table = new StoredTable(spec, options)
  await table.open()
  return table
}

export class StoredTable implements EmbeddingTable {
  readonly spec: TableSpec
  readonly #options: StoredTableOptions
  readonly #store: RowStore
  readonly #bench: MemoryTable
  readonly #deduper: KeyDeduper
  readonly #changes: StoredChanges
  /** Stamps of all rows, while a restrict is under way. */
  #scores: MemoryTable | undefined
  #last: Promise<unknown> = Promise.resolve()
  #size = 0
  #admitted = 0
  #refused = 0
  #evicted = 0
  #evictedAgesMs = 0
  /** The latest time of any stamp. */
  #timeMs = 0
  #sweep = 0

  /** Not open yet: see `openStoredTable`. */
  constructor(spec: TableSpec, options: StoredTableOptions) {
    this.spec = spec
    this.#options = options
    this.#store = options.store
    this.#bench = new MemoryTable({ ...spec, capacityRows: benchRows }, options)
    assert(this.#bench.recordBytes === options.store.recordBytes, 'a store of these records')
    this.#deduper = new KeyDeduper({ ...options, maxKeys: benchRows })
    this.#changes = new StoredChanges(Math.min(mostChanges, 2 * spec.capacityRows), options)
  }

  async open(): Promise<void> {
    this.#size = await this.#waiting(() => this.#store.size())
  }

  get size(): number {
    return this.#size
  }

  find(keys: Keys, vectors: Float32Array, present?: Uint8Array): Promise<void> {
    return this.#onBench(keys, (some, _, at) => {
      const { dim } = this.spec
      this.#bench.find(some, vectors.subarray(at * dim), present?.subarray(at))
    })
  }

  findOrInsert(keys: Keys, vectors: Float32Array, stamp: Stamp): Promise<void> {
    this.#observe(stamp)
    return this.#onBench(keys, async (some, present, at) => {
      await this.#insert(some, present, stamp)
      this.#bench.find(some, vectors.subarray(at * this.spec.dim))
    })
  }

  assign(keys: Keys, vectors: Float32Array, stamp: Stamp): Promise<void> {
    const { dim } = this.spec
    this.#observe(stamp)
    return this.#onBench(keys, async (some, present, at) => {
      this.#makeRows(this.#admit(some, present), stamp)
      const isThere = this.#presence(some)
      const floats = new Float32Array(vectors.subarray(at * dim, at * dim + isThere.length * dim))
      const kept = chosen(some, isThere, 1)
      this.#bench.assign(kept, keptFloats(floats, isThere, dim), stamp)
      await this.#save(this.#distinct(kept))
    })
  }

  applyGradients(
    keys: Keys,
    gradients: Float32Array,
    occurrences: Uint32Array,
    stamp: Stamp,
  ): Promise<void> {
    const { dim } = this.spec
    this.#observe(stamp)
    return this.#onBench(keys, async (some, present, at) => {
      this.#bench.applyGradients(
        some,
        gradients.subarray(at * dim),
        occurrences.subarray(at),
        stamp,
      )
      await this.#save(chosen(some, present, 1))
    })
  }

  async erase(keys: Keys): Promise<number> {
    let erased = 0
    await this.#onBench(keys, async (some, present) => {
      const gone = this.#distinct(chosen(some, present, 1))
      await this.#remove(gone)
      erased += keyCount(gone)
    })
    return erased
  }

  restrict(request: RestrictRequest): Promise<Keys> {
    return this.#exclusively(async () => {
      this.#scores = undefined
      if (rowsToRemove(request, this.#size) === 0) return noKeys
      const scores = await this.#readScores()
      return await this.#evict(scores, () => scores.restrict(request))
    })
  }

  restrictSome(request: RestrictRequest): Promise<Keys> {
    return this.#exclusively(async () => {
      const isDue = rowsToRemove(request, this.#size) > 0 || this.#isSweepDue(request)
      if (this.#scores === undefined && !isDue) return noKeys
      this.#scores ??= await this.#readScores()
      const scores = this.#scores
      const removed = await this.#evict(scores, () => scores.restrictSome(request))
      if (!scores.isRestricting) this.#scores = undefined
      return removed
    })
  }

  /**
   * Removes rows last seen before this time, found where they are. Returns their keys, ascending.
   */
  sweep(seenBefore: number): Promise<Keys> {
    return this.#exclusively(async () => {
      const old = new KeyList()
      const visit = (scores: Uint8Array): void => {
        old.push(keysOfScores(scores))
      }
      await this.#waiting(() => {
        old.clear()
        return this.#store.scores(visit, { seenBefore })
      })
      const keys = old.sorted()
      await this.#remove(keys)
      this.#evicted += keyCount(keys)
      return keys
    })
  }

  accumulate(keys: Keys, given: Accumulation, stamp: Stamp): Promise<void> {
    const { dim } = this.spec
    this.#observe(stamp)
    return this.#inParts(keys, async (some, at) => {
      const [from, to] = [at, at + keyCount(some)]
      const exists = given.exists.subarray(from, to)
      const newVectors = given.newVectors.subarray(from * dim, to * dim)
      const oldVectors = given.oldVectors.subarray(from * dim, to * dim)
      const allowed = await this.#allowed(some, exists)
      const records = this.#newRecords(some, newVectors, stamp)
      const accumulation = { exists: allowed, newVectors, oldVectors, records }
      const codes = await this.#store.accumulate(some, accumulation, stamp)
      const inserted = keyCount(chosen(some, codes, accumulated.inserted))
      this.#size += inserted
      this.#admitted += inserted
      const touched = chosen(
        some,
        codes.map((code) => Number(code !== accumulated.dropped)),
        1,
      )
      this.#changes.note(touched, change.row)
      if (this.#scores === undefined) return
      const [rows] = await this.#read(touched)
      this.#note(touched, rows)
    })
  }

  takeChanges(): Promise<TableChanges> {
    return this.#exclusively(() => Promise.resolve(this.#changes.take()))
  }

  stats(): TableStats {
    const { capacityRows } = this.spec
    return {
      rows: this.#size,
      capacityRows,
      bytes: this.#size * this.#store.recordBytes,
      loadFactor: this.#size / capacityRows,
      admitted: this.#admitted,
      refused: this.#refused,
      evicted: this.#evicted,
      evictionAgeMs: this.#evicted === 0 ? 0 : this.#evictedAgesMs / this.#evicted,
    }
  }

  /** One operation after the other, its keys in parts that fit the workbench. */
  #inParts(keys: Keys, visit: (some: Keys, at: number) => Promise<void>): Promise<void> {
    return this.#exclusively(async () => {
      const step = 2 * benchRows
      for (let at = 0; at < keys.length; at += step) {
        await visit(keys.slice(at, at + step), at / 2)
      }
    })
  }

  /** With the rows of these keys on the workbench, which is empty again afterwards. */
  #onBench(
    keys: Keys,
    work: (some: Keys, present: Uint8Array, at: number) => Promise<void> | void,
  ): Promise<void> {
    return this.#inParts(keys, async (some, at) => {
      const [records, present] = await this.#read(some)
      this.#bench.writeRecords(records)
      try {
        await work(some, present, at)
      } finally {
        this.#bench.clear()
      }
    })
  }

  async #read(keys: Keys): Promise<readonly [records: Uint8Array, present: Uint8Array]> {
    const n = keyCount(keys)
    const records = new Uint8Array(n * this.#store.recordBytes)
    const present = new Uint8Array(n)
    await this.#waiting(() => this.#store.read(keys, records, present))
    return [records, present]
  }

  /** Of the keys without a row those that get one: the first ones, while there is room. */
  #admit(keys: Keys, present: Uint8Array): Keys {
    const absent = present.map((flag, i) => Number(flag === 0 && !isNone(keys, i)))
    const fresh = this.#distinct(chosen(keys, absent, 1))
    const room = Math.min(keyCount(fresh), this.spec.capacityRows - this.#size)
    this.#refused += keyCount(fresh) - room
    return fresh.subarray(0, 2 * room)
  }

  #makeRows(fresh: Keys, stamp: Stamp): void {
    const n = keyCount(fresh)
    this.#bench.findOrInsert(fresh, new Float32Array(n * this.spec.dim), stamp)
    this.#size += n
    this.#admitted += n
  }

  async #insert(keys: Keys, present: Uint8Array, stamp: Stamp): Promise<void> {
    const fresh = this.#admit(keys, present)
    if (fresh.length === 0) return
    this.#makeRows(fresh, stamp)
    await this.#save(fresh)
  }

  #presence(keys: Keys): Uint8Array {
    const present = new Uint8Array(keyCount(keys))
    this.#bench.find(keys, new Float32Array(keyCount(keys) * this.spec.dim), present)
    return present
  }

  #distinct(keys: Keys): Keys {
    return this.#deduper.dedupe(keys).unique.slice()
  }

  /** Writes rows from the workbench. */
  async #save(keys: Keys): Promise<void> {
    if (keys.length === 0) return
    const records = new Uint8Array(keyCount(keys) * this.#store.recordBytes)
    this.#bench.readRecords(keys, records, new Uint8Array(keyCount(keys)))
    await this.#waiting(() => this.#store.write(records))
    this.#note(keys, records)
  }

  #note(keys: Keys, records: Uint8Array): void {
    this.#changes.note(keys, change.row)
    this.#scores?.writeRecords(scoreRecords(records, this.#store.recordBytes))
  }

  async #remove(keys: Keys): Promise<void> {
    if (keys.length === 0) return
    await this.#waiting(() => this.#store.erase(keys))
    this.#changes.note(keys, change.removal)
    this.#scores?.drop(keys)
    this.#size -= keyCount(keys)
  }

  async #evict(scores: MemoryTable, restrict: () => Keys): Promise<Keys> {
    const before = agesMs(scores)
    const keys = restrict()
    await this.#remove(keys)
    this.#evicted += keyCount(keys)
    this.#evictedAgesMs += agesMs(scores) - before
    return keys
  }

  async #readScores(): Promise<MemoryTable> {
    const scores = new MemoryTable(scoresSpec(this.spec), this.#options)
    const visit = (some: Uint8Array): void => {
      scores.writeRecords(scoreRecords(some, scoreBytes))
    }
    await this.#waiting(() => {
      scores.clear()
      return this.#store.scores(visit)
    })
    // Decaying counts are compared as of now.
    scores.findOrInsert(noKeys, new Float32Array(0), { time: this.#timeMs, version: 0 })
    return scores
  }

  /** `exists`, with 1 (which drops it) for a key that would need a row and finds no room. */
  async #allowed(keys: Keys, exists: Uint8Array): Promise<Uint8Array> {
    const wanted = exists.reduce((sum, flag) => sum + (flag === 0 ? 1 : 0), 0)
    let room = this.spec.capacityRows - this.#size
    if (wanted <= room) return exists
    const [, present] = await this.#read(keys)
    return exists.map((flag, i) => {
      if (flag === 1 || present[i] === 1 || isNone(keys, i)) return flag
      if (room === 0) this.#refused += 1
      const isRefused = room === 0
      room -= isRefused ? 0 : 1
      return Number(isRefused)
    })
  }

  /** Rows as `accumulate` inserts them. */
  #newRecords(keys: Keys, vectors: Float32Array, stamp: Stamp): Uint8Array {
    const records = new Uint8Array(keyCount(keys) * this.#store.recordBytes)
    this.#bench.assign(keys, vectors, stamp)
    this.#bench.readRecords(keys, records, new Uint8Array(keyCount(keys)))
    this.#bench.clear()
    return records
  }

  /** Now and then, rows past their time to live are looked for. */
  #isSweepDue({ ttlMs }: RestrictRequest): boolean {
    if (ttlMs === undefined) return false
    const turn = Math.floor((this.#timeMs * sweepsPerTtl) / ttlMs)
    const isDue = turn > this.#sweep
    this.#sweep = turn
    return isDue
  }

  #observe({ time }: Stamp): void {
    this.#timeMs = Math.max(this.#timeMs, Math.trunc(time))
  }

  /** The same call again and again while the store is unavailable: reads, and whole rows. */
  async #waiting<Result>(call: () => Promise<Result>): Promise<Result> {
    for (;;) {
      try {
        return await call()
      } catch (error) {
        if (!(error instanceof ServiceError && error.code === 'ROW_STORE_UNAVAILABLE')) throw error
        this.#options.signal?.throwIfAborted()
        await this.#store.ready(this.#options.signal)
      }
    }
  }

  #exclusively<Result>(run: () => Promise<Result>): Promise<Result> {
    const done = this.#last.then(run, run)
    this.#last = done.catch(() => undefined)
    return done
  }
}

const isNone = (keys: Keys, i: number): boolean => keys[2 * i] === 0 && keys[2 * i + 1] === 0

/** Since the rows were last seen that restrict removed, all together. */
function agesMs(table: MemoryTable): number {
  const { evicted, evictionAgeMs } = table.stats()
  return evicted * evictionAgeMs
}

function keptFloats(floats: Float32Array, kept: Uint8Array, dim: number): Float32Array {
  const some = new Float32Array(floats.length)
  let end = 0
  for (let i = 0; i < kept.length; i += 1) {
    if (kept[i] === 0) continue
    some.set(floats.subarray(i * dim, (i + 1) * dim), end)
    end += dim
  }
  return some.subarray(0, end)
}

const scoreRecordBytes = 36

/** The head of rows, or scores, as records of a table of scores. */
function scoreRecords(rows: Uint8Array, rowBytes: number): Uint8Array {
  const n = rows.length / rowBytes
  const records = new Uint8Array(n * scoreRecordBytes)
  for (let i = 0; i < n; i += 1) {
    records.set(rows.subarray(i * rowBytes, i * rowBytes + scoreBytes), i * scoreRecordBytes)
  }
  return records
}

function keysOfScores(scores: Uint8Array): Keys {
  const words = new Uint32Array(new Uint8Array(scores).buffer)
  const keys = new Uint32Array((scores.length / scoreBytes) * 2)
  for (let i = 0; 2 * i < keys.length; i += 1) {
    keys.set(words.subarray((i * scoreBytes) / 4, (i * scoreBytes) / 4 + 2), 2 * i)
  }
  return keys
}
