/**
 * An embedding table larger than its memory. Three parts:
 *
 * - the *directory*: key and stamp (count, last seen, version) of every row, in memory: a memory
 *   table without vectors. It makes every decision: who gets a row, who is refused, who leaves,
 *   what a delta must carry. So these are a memory table's own, whatever is cached where.
 * - the *cache*: the hot rows whole, in memory (`tiered-cache.ts`);
 * - the *store*: all rows as of the last flush, outside the process (`row-keeper.ts`).
 *
 * The idea of a directory in memory over values elsewhere is Bitcask's (Sheehy and Smith 2010).
 * Here it also tells a key without a row from one whose row the store has lost: a row read is used
 * only if its version is the one that the directory knows.
 *
 * A verb first makes the rows of its keys resident, which alone may have to be waited for and
 * changes nothing that can be seen; then it happens at once. Rows that the store does not have yet
 * are never evicted ("no steal"): they go there when a checkpoint that holds them is durable.
 */
import { assert } from '../../base/assert.ts'
import { ServiceError } from '../../base/errors.ts'
import type { Awaitable, Keys } from '../../base/keys.ts'
import { keyCount } from '../../base/keys.ts'
import type { KernelOptions } from '../../kernels/kernels.ts'
import { absentPayload } from '../../kernels/table-kernels.ts'
import type { DurableTable, TableRows } from '../durable-table.ts'
import type {
  Accumulation,
  MemoryStats,
  RestrictRequest,
  Stamp,
  TableChanges,
  TableStats,
} from '../embedding-table.ts'
import { distinctSorted, KeyList } from '../memory/key-list.ts'
import { MemoryTable } from '../memory/memory-table.ts'
import type { RestrictPreview } from '../restrict/restrict-preview.ts'
import type { TableSnapshot } from '../snapshot/table-snapshot.ts'
import type { TableSpec } from '../table-spec.ts'
import { writeRedo, type Cut } from './redo.ts'
import type { RowKeeper } from './row-keeper.ts'
import type { TierStats } from './tier-stats.ts'
import { RowCache } from './tiered-cache.ts'
import { RowFetch } from './tiered-fetch.ts'
import { chosenFloats, chosenKeys, directorySpec } from './tiered-parts.ts'

export interface TieredTableOptions extends KernelOptions {
  /** Rows held in memory, those among them that the store does not have yet. */
  readonly memoryRows: number
  readonly rows: RowKeeper
}

/** What an operation does with some of its keys, from the `at`-th on. */
type Act = (some: Keys, at: number) => void

/** Rows of an operation at most: more go one part after the other. */
const partRows = 16_384
/** Rows read at a time where all are. */
const scanRows = 4096

const noFloats = new Float32Array(0)

/**
 * Invariants: every cached row is in the directory; a row of the directory that is not cached is in
 * the store, with the same version.
 */
export class TieredTable implements DurableTable {
  readonly spec: TableSpec
  readonly #directory: MemoryTable
  readonly #cache: RowCache
  readonly #fetch: RowFetch
  readonly #rows: RowKeeper
  readonly #options: TieredTableOptions
  /** Operations that have to wait go one after the other. */
  #queued = 0
  #last: Promise<void> = Promise.resolve()
  /** Of the operation at hand: the slots of its keys, and how many have one. */
  #slots = new Uint32Array(0)
  #resident = 0
  #scratch = noFloats
  /** Keys whose rows are gone since the last cut. */
  readonly #erased = new KeyList()
  /** On its way to the store. */
  #cut: Cut | undefined

  /** Throws `MEMORY_EXHAUSTED`. */
  constructor(spec: TableSpec, options: TieredTableOptions) {
    const { memoryRows, rows } = options
    this.spec = spec
    this.#options = options
    this.#rows = rows
    this.#directory = new MemoryTable(directorySpec(spec), options)
    this.#cache = new RowCache(spec, Math.min(memoryRows, spec.capacityRows), options)
    this.#fetch = new RowFetch(this.#directory, this.#cache, rows)
  }

  get size(): number {
    return this.#directory.size
  }

  /** Rows that memory can take beside those that cannot leave it. */
  get room(): number {
    const { capacity, pinned } = this.#cache
    return capacity < this.spec.capacityRows ? capacity - pinned : Infinity
  }

  /** Rows in memory at most. */
  get memoryRows(): number {
    return this.#cache.capacity
  }

  get recordBytes(): number {
    return this.#cache.table.recordBytes
  }

  find(keys: Keys, vectors: Float32Array, present?: Uint8Array): Awaitable<void> {
    const { dim } = this.spec
    return this.#each(keys, (some, at) => {
      this.#cache.table.find(some, vectors.subarray(at * dim), present?.subarray(at))
    })
  }

  findOrInsert(keys: Keys, vectors: Float32Array, stamp: Stamp): Awaitable<void> {
    const { dim } = this.spec
    return this.#each(keys, (some, at) => {
      const fresh = chosenKeys(some, this.#slots, absentPayload)
      this.#directory.findOrInsert(fresh, this.#floats(keyCount(fresh)), stamp)
      if (fresh.length > 0) {
        const { admitted } = this.#admit(fresh)
        this.#cache.table.findOrInsert(admitted, this.#floats(keyCount(admitted) * dim), stamp)
      }
      this.#cache.table.find(some, vectors.subarray(at * dim))
    })
  }

  assign(keys: Keys, vectors: Float32Array, stamp: Stamp): Awaitable<void> {
    const { dim } = this.spec
    return this.#each(keys, (some, at) => {
      this.#directory.assign(some, this.#zeros(keyCount(some)), stamp)
      const given = vectors.subarray(at * dim)
      const { present, everyone } = this.#touchAll(some)
      const held = everyone ? some : chosenKeys(some, present, 1)
      const values = everyone ? given : chosenFloats(given, present, dim)
      this.#cache.table.assign(held, values, stamp)
    })
  }

  applyGradients(
    keys: Keys,
    gradients: Float32Array,
    occurrences: Uint32Array,
    stamp: Stamp,
  ): Awaitable<void> {
    const { dim } = this.spec
    return this.#each(keys, (some, at) => {
      const n = keyCount(some)
      const times = occurrences.subarray(at, at + n)
      this.#cache.touch(this.#slots, n)
      this.#directory.applyGradients(some, this.#zeros(n), times, stamp)
      this.#cache.table.applyGradients(some, gradients.subarray(at * dim), times, stamp)
    })
  }

  accumulate(keys: Keys, change: Accumulation, stamp: Stamp): Awaitable<void> {
    const { dim } = this.spec
    return this.#each(keys, (some, at) => {
      const n = keyCount(some)
      const exists = change.exists.slice(at, at + n)
      const zeros = this.#zeros(n)
      this.#directory.accumulate(some, { oldVectors: zeros, newVectors: zeros, exists }, stamp)
      const { present } = this.#touchAll(some)
      // Who was refused a row is dropped here, too.
      for (let i = 0; i < n; i += 1) exists[i] |= 1 - present[i]
      const oldVectors = change.oldVectors.subarray(at * dim)
      const newVectors = change.newVectors.subarray(at * dim)
      this.#cache.table.accumulate(some, { oldVectors, newVectors, exists }, stamp)
    })
  }

  erase(keys: Keys): number {
    const present = new Uint8Array(keyCount(keys))
    this.#directory.find(keys, this.#floats(keyCount(keys)), present)
    this.#forget(chosenKeys(keys, present, 1))
    return this.#directory.erase(keys)
  }

  restrict(request: RestrictRequest): Keys {
    return this.#forget(this.#directory.restrict(request))
  }

  restrictSome(request: RestrictRequest): Keys {
    return this.#forget(this.#directory.restrictSome(request))
  }

  compactSome(): boolean {
    return this.#directory.compactSome() || this.#cache.table.compactSome()
  }

  protect(keys: Keys): void {
    this.#directory.protect(keys)
  }

  startRestrict(request: RestrictRequest): boolean {
    return this.#directory.startRestrict(request)
  }

  startExpiry(request: RestrictRequest): boolean {
    return this.#directory.startExpiry(request)
  }

  get isRestricting(): boolean {
    return this.#directory.isRestricting
  }

  previewRestrict(request: RestrictRequest, samples: number): RestrictPreview {
    return this.#directory.previewRestrict(request, samples)
  }

  hasChanged(rows: number): boolean {
    return this.#directory.hasChanged(rows)
  }

  takeChanges(): TableChanges {
    return this.#directory.takeChanges()
  }

  /**
   * Sends for those rows of the keys that are not in memory, without waiting: the operation that
   * needs them soon finds them here.
   */
  prefetch(keys: Keys): void {
    this.#fetch.ahead(keys)
  }

  stats(): TableStats & { readonly tier: TierStats } {
    const stats = this.#directory.stats()
    const { capacity, size, dirty, pinned } = this.#cache
    const { memory } = this.#cache.table.stats()
    return {
      ...stats,
      bytes: stats.bytes + this.#cache.bytes,
      ...(stats.memory && memory && { memory: { ...stats.memory, ...lookupsOf(memory) } }),
      tier: {
        memoryRows: capacity,
        cachedRows: size,
        dirtyRows: dirty,
        pinnedRows: pinned,
        ...this.#fetch.counts,
        ...this.#rows.status(),
      },
    }
  }

  /** Of all rows, wherever they are: equal to that of a memory table with the same rows. */
  async digest(): Promise<bigint> {
    const bench = new MemoryTable({ ...this.spec, capacityRows: scanRows }, this.#options)
    let sum = 0n
    for await (const { records } of this.#scan()) {
      bench.clear()
      bench.writeRecords(records)
      sum = BigInt.asUintN(64, sum + bench.digest())
    }
    return sum
  }

  /** Packed rows of n keys, wherever they are; as `MemoryTable.readRecords`. */
  async readRecords(keys: Keys, records: Uint8Array, present: Uint8Array): Promise<void> {
    const copies = await this.#fetch.copies(keys)
    const capacityRows = Math.max(1, keyCount(keys))
    const bench = new MemoryTable({ ...this.spec, capacityRows }, this.#options)
    bench.writeRecords(copies.records)
    bench.readRecords(keys, records, present)
  }

  /** The directory: the rows are in the store and in what `cut` gives. */
  snapshot(): TableSnapshot {
    return this.#directory.snapshot()
  }

  load(pieces: Iterable<Uint8Array>): void {
    this.#cache.clear()
    this.#fetch.clear()
    this.#erased.clear()
    this.#cut = undefined
    this.#directory.load(pieces)
  }

  async *export(): AsyncGenerator<TableRows> {
    const { dim } = this.spec
    const bench = new MemoryTable({ ...this.spec, capacityRows: scanRows }, this.#options)
    for await (const { keys, records } of this.#scan()) {
      bench.clear()
      bench.writeRecords(records)
      const vectors = new Float32Array(keyCount(keys) * dim)
      bench.find(keys, vectors)
      yield { keys, vectors }
    }
  }

  /**
   * What has changed since the last cut, as the redo part of a checkpoint. Then `flush` when that
   * is durable, or `takeBack` when it will not be.
   */
  redo(): Iterable<Uint8Array> {
    return writeRedo(this.#takeCut(), { previous: this.#rows.flushed, imports: 0 })
  }

  /** Sends the last cut, or one made now. Resolves when the store has it. */
  async flush(sequence: number): Promise<void> {
    const cut = this.#cut ?? this.#takeCut()
    await this.#rows.flush(sequence, () => cut)
    this.#cache.settle()
    this.#cut = undefined
  }

  /** The last cut belongs to the next one. */
  takeBack(): void {
    if (this.#cut === undefined) return
    this.#cache.takeBack()
    this.#erased.push(this.#cut.erased)
    this.#cut = undefined
  }

  #takeCut(): Cut {
    assert(this.#cut === undefined, 'one cut at a time')
    const erased = distinctSorted(this.#erased.sorted())
    this.#erased.clear()
    this.#cache.cut()
    const records = { [Symbol.iterator]: () => this.#cache.copies() }
    this.#cut = { erased, recordBytes: this.recordBytes, records }
    return this.#cut
  }

  /** Calls `act` when the rows of the keys are in memory: at once, if they are. */
  #each(keys: Keys, act: Act): Awaitable<void> {
    if (this.#queued > 0 || keyCount(keys) > partRows || !this.#look(keys)) {
      return this.#queue(() => this.#inParts(keys, act))
    }
    const fetching = this.#fetchMissing(keys)
    if (fetching === undefined) {
      this.#act(act, keys, 0)
      return undefined
    }
    return this.#queue(async () => {
      await fetching
      this.#act(act, keys, 0)
    })
  }

  async #inParts(keys: Keys, act: Act): Promise<void> {
    const total = keyCount(keys)
    for (let at = 0; at < total;) {
      const some = await this.#partFrom(keys, at)
      await this.#fetchMissing(some)
      this.#act(act, some, at)
      at += keyCount(some)
    }
  }

  /** So many keys from the `at`-th on that their rows fit in memory. Throws `ROW_CACHE_FULL`. */
  async #partFrom(keys: Keys, at: number): Promise<Keys> {
    const most = keys.subarray(2 * at, 2 * (at + partRows))
    if (this.#look(most)) return most
    await this.#rows.makeRoom(this)
    for (let n = keyCount(most); n > 0; n >>= 1) {
      const some = most.subarray(0, 2 * n)
      if (this.#look(some)) return some
    }
    throw new ServiceError('ROW_CACHE_FULL', { table: this.spec.name })
  }

  #act(act: Act, some: Keys, at: number): void {
    act(some, at)
    this.#cache.requireWhole()
  }

  async #queue(work: () => Promise<void>): Promise<void> {
    this.#queued += 1
    const before = this.#last
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#last = promise
    try {
      await before
      await work()
    } finally {
      this.#queued -= 1
      resolve()
    }
  }

  /** Begins an operation: `#slots` <- those of the keys. Whether the rows without one would fit. */
  #look(keys: Keys): boolean {
    const n = keyCount(keys)
    if (n > this.#slots.length) this.#slots = new Uint32Array(2 * n)
    this.#cache.begin()
    this.#resident = this.#cache.find(keys, this.#slots)
    return this.#cache.fits(n - this.#resident)
  }

  /** What is returned is to be awaited; then the slots of the keys are in `#slots`. */
  #fetchMissing(keys: Keys): Promise<void> | undefined {
    const absent = keyCount(keys) - this.#resident
    const fetching = this.#fetch.missing(keys, this.#slots, absent)
    return fetching && this.#lookAgain(keys, fetching)
  }

  async #lookAgain(keys: Keys, fetching: Promise<void>): Promise<void> {
    await fetching
    this.#resident = this.#cache.find(keys, this.#slots)
  }

  /** Cache slots for those keys without one that the directory has by now, as `present` says. */
  #admit(fresh: Keys): { readonly admitted: Keys; readonly present: Uint8Array } {
    const n = keyCount(fresh)
    const present = new Uint8Array(n)
    this.#directory.find(fresh, this.#floats(n), present)
    const admitted = chosenKeys(fresh, present, 1)
    this.#cache.place(admitted)
    return { admitted, present }
  }

  /** Marks the rows of the keys as changed, those among them that are new, too. */
  #touchAll(keys: Keys): { readonly present: Uint8Array; readonly everyone: boolean } {
    const n = keyCount(keys)
    const present = new Uint8Array(n).fill(1)
    this.#cache.touch(this.#slots, n)
    if (this.#resident === n) return { present, everyone: true }
    const found = this.#admit(chosenKeys(keys, this.#slots, absentPayload)).present
    let at = 0
    for (let i = 0; i < n; i += 1) {
      if (this.#slots[i] !== absentPayload) continue
      present[i] = found[at]
      at += 1
    }
    return { present, everyone: !present.includes(0) }
  }

  #forget(removed: Keys): Keys {
    this.#cache.drop(removed)
    this.#erased.push(removed)
    return removed
  }

  /** All rows as records, some at a time. */
  async *#scan(): AsyncGenerator<{ readonly keys: Keys; readonly records: Uint8Array }> {
    for (const { keys } of this.#directory.export()) {
      for (let at = 0; at < keys.length; at += 2 * scanRows) {
        const some = keys.subarray(at, at + 2 * scanRows)
        yield await this.#fetch.copies(some)
      }
    }
  }

  #floats(n: number): Float32Array {
    if (n > this.#scratch.length) this.#scratch = new Float32Array(2 * n)
    return this.#scratch
  }

  #zeros(n: number): Float32Array {
    return this.#floats(n).fill(0, 0, n)
  }
}

/** The verbs look up in the cache; in the directory only what is not there. */
const lookupsOf = ({ found, missing }: MemoryStats): Pick<MemoryStats, 'found' | 'missing'> => ({
  found,
  missing,
})
