/**
 * An embedding table in memory: the adapter of `EmbeddingTable` that answers at once. Batches pass
 * through the staging of its storages in groups that stay in a core's cache: all keys of a group
 * are looked up before any row is read, so that the waits for memory overlap.
 *
 * Behaviour depends on what was asked and never on where rows lie: loading a snapshot moves them.
 */
import { assert } from '../../base/assert.ts'
import type { Keys } from '../../base/keys.ts'
import { keyCount, outOfVocabularyKey } from '../../base/keys.ts'
import type { KernelOptions } from '../../kernels/kernels.ts'
import { changedBits, tableField } from '../../kernels/table-kernels.ts'
import { sharesRow } from '../admission/admission.ts'
import type { DurableTable, SnapshotRequest, TableRows } from '../durable-table.ts'
import type {
  Accumulation,
  RestrictRequest,
  Stamp,
  TableChanges,
  TableStats,
} from '../embedding-table.ts'
import type { RestrictPreview } from '../restrict/restrict-preview.ts'
import { noProgress } from '../restrict/restrict-progress.ts'
import { defaultSteps, type StepSizes } from '../restrict/restriction.ts'
import { TableRestrict } from '../restrict/table-restrict.ts'
import type { SnapshotParts } from '../snapshot/snapshot-format.ts'
import { readSnapshots } from '../snapshot/snapshot-loader.ts'
import { TableSnapshot } from '../snapshot/table-snapshot.ts'
import type { TableSpec } from '../table-spec.ts'
import { ErasedKeys } from './erased-keys.ts'
import { KeyList } from './key-list.ts'
import { optimizerOf, stateless } from './optimizers.ts'
import { Pauses } from './pauses.ts'
import { readHeaders } from './record-headers.ts'
import { RemovedKeys } from './removed-keys.ts'
import { rowsByCount } from './row-counts.ts'
import { allKeys, keepPresent, takeChanged } from './row-scan.ts'
import type { TablePart } from './table-part.ts'
import { type CompactRequest, TableShards } from './table-shards.ts'
import type { TableStorage } from './table-storage.ts'

export interface MemoryTableOptions extends KernelOptions {
  /**
   * Vectors only, no optimizer state: for a reader. `applyGradients` is then a programmer's error.
   */
  readonly stateless?: boolean
  /** Memories that the table is cut into; default: as few as hold it. No result depends on it. */
  readonly shards?: number
  /** Milliseconds of a clock that never goes back, for the pauses of `stats`; default: none. */
  readonly now?: (() => number) | undefined
  /** Of a restrict between batches: which rows leave depends on it; default: some milliseconds. */
  readonly restrictSteps?: StepSizes
}

/** Marks free rows, so no stamp may have it. */
const maximumVersion = 2 ** 32 - 1

/** Rows that `export` gives at a time. */
const exportRows = 1024

/**
 * Invariants: the index holds exactly the keys of the rows in use; `size` rows are in use, at most
 * `capacityRows`; a changed bit is set on rows in use only.
 */
export class MemoryTable implements DurableTable {
  readonly spec: TableSpec
  readonly #shards: TableShards
  readonly #countsSteps: boolean
  readonly #removed: RemovedKeys
  readonly #erased: ErasedKeys
  readonly #pauses: Pauses
  /** The one taken last, which may still be under way. */
  #snapshot: TableSnapshot | undefined
  /** Rows changed since changes were taken or counted, with repetitions. */
  #touched = 0
  /** The latest version of any stamp. */
  #version = 0
  readonly #restrict: TableRestrict
  #found = 0
  #missing = 0
  #admitted = 0
  #refused = 0
  #evicted = 0

  /** Throws `MEMORY_EXHAUSTED` where there is no memory for the capacity. */
  constructor(spec: TableSpec, options: MemoryTableOptions = {}) {
    const optimizer = options.stateless === true ? stateless : optimizerOf(spec.optimizer, spec.dim)
    this.spec = spec
    this.#shards = new TableShards(spec, optimizer, options)
    const { restrictSteps = defaultSteps } = options
    this.#restrict = new TableRestrict(spec, this.#shards, restrictSteps)
    if (sharesRow(spec)) this.#restrict.protect(outOfVocabularyKey)
    this.#countsSteps = spec.restrict?.counting === 'steps'
    this.#removed = new RemovedKeys(Math.max(spec.capacityRows, 4096))
    this.#erased = new ErasedKeys(Math.max(Math.ceil(spec.capacityRows / 4), 4096))
    this.#pauses = new Pauses(options.now)
  }

  /** Bytes of a whole row as `readRecords` gives it. */
  get recordBytes(): number {
    return this.#shards.storages[0].recordBytes
  }

  get size(): number {
    return this.#shards.size
  }

  find(keys: Keys, vectors: Float32Array, present?: Uint8Array): void {
    this.#checkFloats(keys, vectors)
    this.#shards.eachPart(keys, (part) => {
      this.#countLookUp(part.size, part.storage.lookUp(part.size))
      part.giveVectors(vectors)
      if (present !== undefined) part.givePresence(present)
    })
  }

  findOrInsert(keys: Keys, vectors: Float32Array, stamp: Stamp): void {
    this.#checkFloats(keys, vectors)
    this.#advance(stamp)
    this.#eachInserting(keys, (part) => {
      this.#lookUpOrInsert(part, stamp)
      part.giveVectors(vectors)
    })
  }

  assign(keys: Keys, vectors: Float32Array, stamp: Stamp): void {
    this.#checkFloats(keys, vectors)
    this.#advance(stamp)
    this.#eachInserting(keys, (part) => {
      const { kernels, table, rows, vectors: staged, dim } = part.storage
      this.#lookUpOrInsert(part, stamp)
      this.#save(part)
      part.take(staged.view, vectors, dim)
      kernels.tableAssign(table, rows.address, part.size, staged.address, ...stampOperands(stamp))
    })
  }

  accumulate(keys: Keys, change: Accumulation, stamp: Stamp): void {
    this.#checkFloats(keys, change.newVectors)
    this.#checkFloats(keys, change.oldVectors)
    this.#advance(stamp)
    const before = this.size
    this.#eachInserting(keys, (part) => {
      const { kernels, table, keys: staged, vectors, otherVectors, flags, dim } = part.storage
      this.#lookUpAndSave(part)
      part.take(vectors.view, change.newVectors, dim)
      part.take(otherVectors.view, change.oldVectors, dim)
      part.take(flags.view, change.exists, 1)
      this.#refused += kernels.tableAccumulate(
        table,
        staged.address,
        part.size,
        otherVectors.address,
        vectors.address,
        flags.address,
        ...stampOperands(stamp),
      )
    })
    this.#admitted += this.size - before
  }

  applyGradients(
    keys: Keys,
    gradients: Float32Array,
    occurrences: Uint32Array,
    stamp: Stamp,
  ): void {
    this.#checkFloats(keys, gradients)
    assert(occurrences.length >= keyCount(keys), 'one count of occurrences for each key')
    this.#advance(stamp)
    this.#touched += keyCount(keys)
    this.#shards.eachPart(keys, (part) => {
      const { table, rows, vectors: staged, occurrences: counts, dim } = part.storage
      part.storage.lookUp(part.size)
      this.#save(part)
      part.take(staged.view, gradients, dim)
      part.take(counts.view, occurrences, 1)
      part.storage.scaleRate(stamp.rateScale ?? 1)
      const times = this.#countsSteps ? 0 : counts.address
      const operands = stampOperands(stamp)
      part.storage.update(table, rows.address, part.size, staged.address, times, ...operands)
    })
  }

  erase(keys: Keys): number {
    const before = this.size
    this.#shards.eachPart(keys, ({ storage, size }) => {
      this.#removed.add(this.#eraseStaged(storage, size))
    })
    return before - this.size
  }

  /**
   * Lets go of rows that are kept elsewhere: no removal for a delta. Returns how many there were.
   */
  drop(keys: Keys): number {
    const before = this.size
    this.#shards.eachPart(keys, ({ storage, size }) => {
      this.#eraseStaged(storage, size)
    })
    return before - this.size
  }

  /**
   * Whole rows as records of `recordBytes` each (`docs/formats.md`), zeros for a key without one;
   * present[i]: 1 or 0.
   */
  readRecords(keys: Keys, records: Uint8Array, present: Uint8Array): void {
    const { recordBytes } = this
    assert(records.length >= keyCount(keys) * recordBytes, 'a record for each key')
    this.#shards.eachPart(keys, (part) => {
      const { kernels, table, rows, records: staged } = part.storage
      part.storage.lookUp(part.size)
      kernels.tableReadRecords(table, rows.address, part.size, staged.address)
      part.give(staged.view, records, recordBytes)
      part.givePresence(present)
    })
  }

  /**
   * Inserts or overwrites whole rows; key 0 is left out. No change for a delta unless `changed`.
   * Returns how many found no room.
   */
  writeRecords(records: Uint8Array, { changed = false } = {}): number {
    const { keys, earliest, latest, seen } = readHeaders(records, this.recordBytes)
    this.#version = Math.max(this.#version, latest)
    for (const time of seen ?? []) this.#restrict.observe(time)
    this.#restrict.change(earliest)
    // Rows that were changed before the last snapshot are in no delta to it.
    if (earliest < this.#version) this.#erased.forget()
    if (changed) this.#touched += keyCount(keys)
    const changes = changed ? changedBits.mark : changedBits.keep
    const before = (part: TablePart): void => this.#lookUpAndSave(part)
    return this.#shards.write(records, { keys, changes, before })
  }

  restrict(request: RestrictRequest): Keys {
    return this.#evicting((erase) => {
      this.#restrict.whole(request, this.#version, erase)
    })
  }

  restrictSome(request: RestrictRequest): Keys {
    return this.#evicting((erase) => {
      this.#restrict.some(request, this.#version, erase)
    })
  }

  startRestrict(request: RestrictRequest): boolean {
    return this.#restrict.start(request, this.#version)
  }

  startExpiry(request: RestrictRequest): boolean {
    return this.#restrict.startExpiry(request, this.#version)
  }

  get isRestricting(): boolean {
    return this.#restrict.isUnderWay
  }

  previewRestrict(request: RestrictRequest, samples: number): RestrictPreview {
    return this.#restrict.preview(request, this.#version, samples)
  }

  protect(keys: Keys): void {
    this.#restrict.protect(keys)
  }

  /**
   * Gives memory back after many rows have left, in steps of some milliseconds between batches:
   * while it returns true there is more to do. Nothing that the table answers depends on it. It
   * waits, with false, for a snapshot or a restrict under way.
   */
  compactSome(request: CompactRequest = {}): boolean {
    if (this.#snapshot?.open === true || this.#restrict.isUnderWay) return false
    this.#snapshot = undefined
    return this.#shards.compactSome(request)
  }

  hasChanged(rows: number): boolean {
    if (this.#touched < rows) return false
    const changed = sum(this.#shards.storages.map((storage) => storage.changedRows))
    const isThere = changed >= rows
    this.#touched = isThere ? changed : Math.min(changed, rows - Math.ceil(rows / 8))
    return isThere
  }

  takeChanges(): TableChanges {
    this.#touched = 0
    const resync = this.#removed.overflowed
    const removed = this.#removed.take((pending) => this.#areGone(pending))
    return { changed: takeChanged(this.#shards.storages), removed, resync }
  }

  stats(): TableStats {
    const { storages } = this.#shards
    const slots = storages.map((storage) => 4 * storage.get(tableField.bucketCount))
    return {
      rows: this.size,
      capacityRows: this.spec.capacityRows,
      bytes: sum(storages.map(({ tableBytes }) => tableBytes)),
      loadFactor: this.size / sum(slots),
      admitted: this.#admitted,
      refused: this.#refused,
      evicted: this.#evicted,
      evictionAgeMs: this.#restrict.meanAgeMs,
      memory: {
        found: this.#found,
        missing: this.#missing,
        longestPath: Math.max(...storages.map((storage) => storage.get(tableField.longestPath))),
        rowsByCount: rowsByCount(storages, this.spec.restrict?.halfLifeMs === undefined ? 0 : 8),
        ...this.#pauses.report(),
      },
    }
  }

  /**
   * A 64-bit hash of all rows: vectors, state, counts, times and versions. It does not depend on
   * the order of rows or on where they lie.
   */
  digest(): bigint {
    let digest = 0n
    for (const { kernels, table, operands } of this.#shards.storages) {
      kernels.tableDigest(table, operands.address)
      digest += (BigInt(operands.view[1]) << 32n) | BigInt(operands.view[0])
    }
    return BigInt.asUintN(64, digest)
  }

  /**
   * The table as it is now, as bytes, piece by piece; it may change while they are read. With
   * `since` only what changed at that version or later, as a delta to a snapshot taken when the
   * table had it; but a full one where it is no longer known which keys have left since (see
   * `full`). Rows that change before they are read wait in copies; where more than `waitingRows`
   * do, the rest can no longer be had. There is one snapshot at a time: a new one ends the one
   * before.
   */
  snapshot({ since, waitingRows }: SnapshotRequest = {}): TableSnapshot {
    this.#snapshot?.abandon()
    const progress = { version: this.#version, restrict: this.#restrict.progress }
    const erased = since === undefined ? undefined : this.#erased.since(since)
    const delta = since === undefined || erased === undefined ? undefined : { since, erased }
    if (delta === undefined) this.#erased.begin(this.#version)
    this.#snapshot = new TableSnapshot(this.#parts, { progress, waitingRows, delta })
    return this.#snapshot
  }

  /**
   * Replaces all rows by a full snapshot's and those of the deltas that follow it in the same
   * bytes, given in pieces of any size. Throws `SNAPSHOT_DAMAGED` or `SNAPSHOT_INCOMPATIBLE`; the
   * table is then empty.
   */
  load(pieces: Iterable<Uint8Array>): void {
    this.clear()
    try {
      const progress = readSnapshots(this.#parts, pieces)
      this.#version = progress.version
      this.#restrict.restore(progress.restrict)
      this.#erased.begin(this.#version)
    } catch (error) {
      this.clear()
      throw error
    }
  }

  /**
   * Copies of all rows, some at a time. The table may change meanwhile: a row that does may be
   * given as it was, as it is or not at all, but `takeChanges` will have it.
   */
  *export(): Generator<TableRows> {
    const { dim } = this.spec
    const all = allKeys(this.#shards.storages)
    for (let at = 0; at < all.length; at += 2 * exportRows) {
      const keys = all.slice(at, at + 2 * exportRows)
      const vectors = new Float32Array(keyCount(keys) * dim)
      const present = new Uint8Array(keyCount(keys))
      this.find(keys, vectors, present)
      const rows = keepPresent({ keys, vectors }, present)
      if (rows.keys.length > 0) yield rows
    }
  }

  /** Forgets everything, also what was removed; nothing of it is a change for a delta. */
  clear(): void {
    this.#snapshot?.abandon()
    this.#shards.clear()
    this.#erased.forget()
    this.#removed.clear()
    this.#version = 0
    this.#restrict.restore(noProgress)
  }

  get #parts(): SnapshotParts {
    return { spec: this.spec, shards: this.#shards, removed: this.#removed, erased: this.#erased }
  }

  /** What the work erases: removals for the next delta. Returns the keys. */
  #evicting(work: (erase: (storage: TableStorage, n: number) => void) => void): Keys {
    const removed = new KeyList()
    const idle = !this.isRestricting
    this.#pauses.begin()
    work((storage, n) => {
      const gone = this.#eraseStaged(storage, n)
      this.#removed.add(gone)
      removed.push(gone)
    })
    if (!idle || this.isRestricting || removed.size > 0) this.#pauses.end()
    this.#evicted += removed.size
    return removed.sorted()
  }

  #countLookUp(n: number, found: number): void {
    this.#found += found
    this.#missing += n - found
  }

  #eachInserting(keys: Keys, visit: (part: TablePart) => void): void {
    this.#touched += keyCount(keys)
    this.#shards.eachPart(keys, visit, true)
  }

  #lookUpOrInsert({ storage, size: n }: TablePart, stamp: Stamp): void {
    const { kernels, table, keys, rows } = storage
    const found = storage.lookUp(n)
    this.#countLookUp(n, found)
    if (found === n) return
    const before = storage.get(tableField.size)
    const operands = stampOperands(stamp)
    this.#refused += kernels.tableInsert(table, keys.address, rows.address, n, ...operands)
    this.#admitted += storage.get(tableField.size) - before
  }

  #areGone(keys: Keys): Uint8Array {
    const present = new Uint8Array(keyCount(keys))
    this.#shards.eachPart(keys, (part) => {
      part.storage.lookUp(part.size)
      part.givePresence(present)
    })
    return present.map((bit) => 1 - bit)
  }

  /** The rows that are staged are about to change: a snapshot or a restrict may need them. */
  #save({ storage, size }: Pick<TablePart, 'storage' | 'size'>): void {
    if (this.#snapshot?.open === true) this.#snapshot.save(storage, size)
    if (this.#restrict.isCounting) this.#restrict.release(storage, size)
  }

  /** The same where rows are not staged for anything else. */
  #lookUpAndSave(part: Pick<TablePart, 'storage' | 'size'>): void {
    if (this.#snapshot?.open !== true && !this.#restrict.isCounting) return
    part.storage.lookUp(part.size)
    this.#save(part)
  }

  /** Erases the n staged keys; a view of those that were there. */
  #eraseStaged(storage: TableStorage, n: number): Keys {
    this.#lookUpAndSave({ storage, size: n })
    const gone = storage.erase(n)
    this.#erased.add(gone, this.#version)
    return gone
  }

  #advance({ time, version }: Stamp): void {
    this.#version = Math.max(this.#version, version)
    this.#restrict.observe(time)
    this.#restrict.change(version)
  }

  #checkFloats(keys: Keys, vectors: Float32Array): void {
    assert(vectors.length >= keyCount(keys) * this.spec.dim, 'a vector for each key')
  }
}

/** Time in whole milliseconds, which scores compare exactly. */
function stampOperands({ time, version }: Stamp): readonly [time: number, version: number] {
  assert(Number.isFinite(time), 'the time of a stamp is a number')
  assert(version >= 0 && version < maximumVersion, 'versions are u32, the last one reserved')
  return [Math.trunc(time), version]
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, n) => total + n, 0)
