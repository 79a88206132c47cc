/**
 * The storages of one table, and which keys lie in which. One memory holds 4 GiB, so a larger table
 * has several shards, to which keys are given by a hash of their own. The table is one to whoever
 * uses it: its capacity is one number, and how many shards it has shows in no bit of what it does.
 *
 * While the rows of a shard move to a fresh storage it has two. A key lies in the old one until it
 * has moved; new keys go to the new one.
 */
import { assert } from '../../base/assert.ts'
import { ServiceError } from '../../base/errors.ts'
import type { Keys } from '../../base/keys.ts'
import { keyCount } from '../../base/keys.ts'
import { maximumArenaBytes } from '../../kernels/arena.ts'
import type { KernelOptions } from '../../kernels/kernels.ts'
import { absentPayload, changedBits, tableField } from '../../kernels/table-kernels.ts'
import type { TableSpec } from '../table-spec.ts'
import type { Optimizer } from './optimizers.ts'
import { TablePart } from './table-part.ts'
import { storageBytes, TableStorage } from './table-storage.ts'

export interface ShardOptions extends KernelOptions {
  /** Default: as few as hold the capacity. */
  readonly shards?: number
}

export interface RecordWriting {
  readonly keys: Keys
  /** What becomes of the changed bits: one of `changedBits`. */
  readonly changes: number
  /** Called with each part before its rows are overwritten. */
  readonly before?: (part: TablePart) => void
}

export interface CompactRequest {
  /** A shard is sparse when at least this share of the rows ever in use is free; default a half, */
  readonly free?: number
  /** and so many rows; default 4,096: a megabyte or so. */
  readonly worthRows?: number
  /** Rows that move in one step; default 4,096: some milliseconds. */
  readonly stepRows?: number
}

/** Of a new index, taken from the system in one step: a millisecond or so. */
const touchBytes = 4 * 2 ** 20
/** 256 GiB: a larger capacity is a mistake. */
const maximumShards = 64

/** Rows for which a shard of so many reserves room: hashes spread keys, but not quite evenly. */
function shardCapacity(capacity: number, shards: number): number {
  if (shards === 1) return capacity
  const share = capacity / shards
  // Six standard deviations, and some for small tables.
  return Math.min(capacity, Math.ceil(share + 6 * Math.sqrt(share) + 64))
}

/** Invariants: each key has a row in at most one storage; there are at most `capacity` rows. */
export class TableShards {
  readonly capacity: number
  readonly #open: () => TableStorage
  readonly #shards: number
  /** Of each shard; then of the storage to which one of them moves, if one does. */
  readonly #parts: TablePart[]
  /** The shard that is moving, or -1; and the row of it from which on rows have yet to move. */
  #moving = -1
  #cursor = 0
  /** Of the new index: bytes that have been touched. */
  #touched = 0
  /** Another memory was refused: not tried again. */
  #cramped = false
  #storages: readonly TableStorage[]
  /** How often rows have moved to other places. */
  moves = 0

  /** Throws `MEMORY_EXHAUSTED`. */
  constructor(spec: TableSpec, optimizer: Optimizer, options: ShardOptions) {
    const { shards = shardsFor(spec, optimizer) } = options
    this.capacity = spec.capacityRows
    this.#shards = shards
    const capacityRows = shardCapacity(spec.capacityRows, shards)
    this.#open = () => new TableStorage({ ...spec, capacityRows }, optimizer, options)
    this.#parts = Array.from({ length: shards }, () => new TablePart(this.#open()))
    this.#storages = this.#parts.map(({ storage }) => storage)
  }

  get storages(): readonly TableStorage[] {
    return this.#storages
  }

  get size(): number {
    let size = 0
    for (const storage of this.#storages) size += storage.get(tableField.size)
    return size
  }

  /**
   * Stages the keys, group by group and storage by storage. `inserts`: the visit may make rows, for
   * which the storage has room as far as the table has.
   */
  eachPart(keys: Keys, visit: (part: TablePart) => void, inserts = false): void {
    const total = keyCount(keys)
    const [first] = this.#parts
    const { batch } = first.storage
    if (this.#parts.length === 1) {
      for (let at = 0; at < total; at += batch) {
        first.stageBlock(keys, at, Math.min(total - at, batch))
        visit(first)
      }
      return
    }
    for (let at = 0, n = 0; at < total; at += n) {
      n = Math.min(total - at, inserts ? this.#groupSize(batch) : batch)
      this.#stage(keys, at, n)
      this.#eachStaged(visit, inserts)
    }
  }

  /** Inserts or overwrites whole rows, given with their keys. Returns how many found no room. */
  write(records: Uint8Array, { keys, changes, before }: RecordWriting): number {
    const { recordBytes } = this.#storages[0]
    let refused = 0
    const visit = (part: TablePart): void => {
      before?.(part)
      part.take(part.storage.records.view, records, recordBytes)
      refused += part.storage.writeRecords(part.size, changes)
    }
    this.eachPart(keys, visit, true)
    return refused
  }

  /** Removes rows; returns how many there were. */
  drop(keys: Keys): number {
    const before = this.size
    this.eachPart(keys, ({ storage, size }) => {
      storage.erase(size)
    })
    return before - this.size
  }

  /** Whether rows are moving to a fresh storage. */
  get moving(): boolean {
    return this.#moving >= 0
  }

  /**
   * One step towards a table whose memory is that of its rows: where a shard is sparse some of its
   * rows move together into a fresh memory; the old one is given up with its last row. False:
   * nothing is left to do.
   */
  compactSome(request: CompactRequest): boolean {
    if (this.moving) {
      if (!this.#touchSome()) this.#moveRows(request.stepRows ?? 4096)
      return true
    }
    const sparse = this.#storages.findIndex((storage) => isSparse(storage, request))
    return sparse >= 0 && !this.#cramped && this.#beginMove(sparse)
  }

  clear(): void {
    this.moves += 1
    if (this.moving) this.#endMove()
    for (const storage of this.#storages) storage.clear()
  }

  #listStorages(): void {
    this.#storages = this.#parts.map(({ storage }) => storage)
  }

  /** False: there is no room for another memory, so the rows stay where they are. */
  #beginMove(shard: number): boolean {
    try {
      this.#parts.push(new TablePart(this.#open()))
    } catch (error) {
      if (!(error instanceof ServiceError && error.code === 'MEMORY_EXHAUSTED')) throw error
      this.#cramped = true
      return false
    }
    this.#moving = shard
    this.#touched = 0
    this.#listStorages()
    return true
  }

  /**
   * Takes the next pages of the new index from the system, one after the other: keys lie anywhere
   * in it, so the first to come would take most of them at once. False: there are no more.
   */
  #touchSome(): boolean {
    const { storage } = this.#parts[this.#shards]
    const from = this.#touched
    this.#touched = storage.touchIndex(from, from + touchBytes)
    return this.#touched > from
  }

  #moveRows(stepRows: number): void {
    this.moves += 1
    const from = this.#parts[this.#moving].storage
    const to = this.#parts[this.#shards].storage
    // What the table has room for is counted when keys come; this brings none.
    to.allow(Number.POSITIVE_INFINITY)
    for (let moved = 0; moved < stepRows; moved += from.batch) {
      from.set(tableField.cursor, this.#cursor)
      const n = moveBatch(from, to, Math.min(from.batch, stepRows - moved))
      this.#cursor = from.get(tableField.cursor)
      if (n > 0) continue
      this.#endMove()
      return
    }
  }

  /** The old storage is nobody's any more: its memory goes back when the collector finds it. */
  #endMove(): void {
    const last = this.#parts[this.#shards]
    last.storage.allow(Number.POSITIVE_INFINITY)
    this.#parts[this.#moving] = last
    this.#parts.length = this.#shards
    this.#moving = -1
    this.#cursor = 0
    this.#listStorages()
  }

  /** Which keys find room does not depend on their shards: near the end they come one by one. */
  #groupSize(batch: number): number {
    const room = this.capacity - this.size
    return room === 0 || room >= batch ? batch : 1
  }

  #eachStaged(visit: (part: TablePart) => void, inserts: boolean): void {
    for (const part of this.#parts) {
      if (part.size === 0) continue
      if (inserts) part.storage.allow(this.capacity - this.size)
      visit(part)
    }
  }

  #stage(keys: Keys, start: number, n: number): void {
    for (const part of this.#parts) part.clear()
    for (let place = start; place < start + n; place += 1) {
      const shard = shardOf(keys[2 * place], keys[2 * place + 1], this.#shards)
      this.#parts[shard].add(keys, place)
    }
    if (this.#moving < 0) return
    const old = this.#parts[this.#moving]
    old.storage.lookUp(old.size)
    old.yieldRows(absentPayload, this.#parts[this.#shards], keys)
  }
}

/** Whether enough of the rows that were ever in use are free. */
function isSparse(
  storage: TableStorage,
  { free = 0.5, worthRows = 4096 }: CompactRequest,
): boolean {
  const used = storage.get(tableField.used)
  const unused = used - storage.get(tableField.size)
  return unused >= worthRows && unused >= used * free
}

/** Moves the next rows, on from the cursor. Returns how many: 0 when none is left. */
function moveBatch(from: TableStorage, to: TableStorage, most: number): number {
  const { kernels, table, keys, rows, records, recordBytes } = from
  const n = kernels.tableNextRows(table, most, keys.address, rows.address)
  kernels.tableReadRecords(table, rows.address, n, records.address)
  to.records.view.set(records.view.subarray(0, n * recordBytes))
  const refused = to.writeRecords(n, changedBits.asRecorded)
  assert(refused === 0, 'a storage has room for the rows of another of its size')
  from.erase(n)
  return n
}

/** As few shards as hold the capacity. Throws `MEMORY_EXHAUSTED`. */
function shardsFor(spec: TableSpec, optimizer: Optimizer): number {
  for (let shards = 1; shards <= maximumShards; shards += 1) {
    const capacityRows = shardCapacity(spec.capacityRows, shards)
    if (storageBytes({ ...spec, capacityRows }, optimizer) <= maximumArenaBytes) return shards
  }
  const available = maximumShards * maximumArenaBytes
  const bytes = storageBytes(spec, optimizer)
  throw new ServiceError('MEMORY_EXHAUSTED', { bytes, available, capacity: available })
}

/** A hash that has nothing to do with the buckets of an index (its constants: Wellons 2018). */
function shardOf(low: number, high: number, shards: number): number {
  let hash = low ^ Math.imul(high, 0xc2b2ae3d)
  hash = Math.imul(hash ^ (hash >>> 16), 0x7feb352d)
  hash = Math.imul(hash ^ (hash >>> 15), 0x846ca68b)
  return Math.floor((((hash ^ (hash >>> 16)) >>> 0) * shards) / 2 ** 32)
}
