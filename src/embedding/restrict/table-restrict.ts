/**
 * Restrict as a table does it: one restriction under way at a time, in whole or in steps; rows past
 * their time to live; keys that are protected. What leaves is decided by versions and event times
 * alone, so a replay and a restart in the middle remove the same rows at the same batches.
 */
import type { Keys } from '../../base/keys.ts'
import { absentPayload, tableField } from '../../kernels/table-kernels.ts'
import type { RestrictRequest } from '../embedding-table.ts'
import { distinctSorted, sortKeys } from '../memory/key-list.ts'
import type { TableShards } from '../memory/table-shards.ts'
import type { TableStorage } from '../memory/table-storage.ts'
import type { TableSpec } from '../table-spec.ts'
import { tickRate } from './count-decay.ts'
import { RestrictPreview } from './restrict-preview.ts'
import type { RestrictProgress } from './restrict-progress.ts'
import { rowsToRemove, wholeRows } from './restrict.ts'
import { isCollected, planRestriction, type Restriction, type StepSizes } from './restriction.ts'
import { Selection, type Visit } from './selection.ts'

/** Sweeps for rows past their time to live, in that time: so much longer a row may stay. */
const sweepsPerTtl = 16
const dayMs = 86_400_000
/** Of a small table, removed at once: some 30,000 rows. */
const sharesAtOnce = 3

export class TableRestrict {
  readonly #spec: TableSpec
  readonly #shards: TableShards
  readonly #steps: StepSizes
  readonly #countRate: number
  readonly #selection: Selection
  #restriction: Restriction | undefined
  /** The latest and the earliest time of any stamp, and the sweep that was made last. */
  #time = 0
  #oldest = Infinity
  #sweep = 0
  #evicted = 0
  #ageMs = 0
  #protected: Keys = new Uint32Array(0)

  constructor(spec: TableSpec, shards: TableShards, steps: StepSizes) {
    this.#spec = spec
    this.#shards = shards
    this.#steps = steps
    this.#countRate = tickRate(spec.restrict?.halfLifeMs)
    this.#selection = new Selection(shards, () => this.#protected, steps)
  }

  get isUnderWay(): boolean {
    return this.#restriction !== undefined
  }

  /** Whether rows must be released before they change. */
  get isCounting(): boolean {
    return this.#selection.isCounting
  }

  /** The n rows staged in a storage are about to change. */
  release(storage: TableStorage, n: number): void {
    if (this.#restriction !== undefined) this.#selection.release(storage, n, this.#restriction)
  }

  /**
   * A row changes at this version: one that the restriction under way takes for unchanged is to be
   * looked at again.
   */
  change(version: number): void {
    if (this.#restriction !== undefined && version <= this.#restriction.version) {
      this.#selection.forget()
    }
  }

  get progress(): RestrictProgress {
    const [restriction, time] = [this.#restriction, this.#time]
    return { restriction, time, oldest: this.#oldest, sweep: this.#sweep }
  }

  /** Goes on from what a snapshot kept. */
  restore({ restriction, time, oldest, sweep }: RestrictProgress): void {
    this.#selection.forget()
    this.#restriction = restriction
    this.#time = time
    this.#oldest = oldest
    this.#sweep = sweep
  }

  /** Since the rows were last seen that were removed since the start; 0 if there were none. */
  get meanAgeMs(): number {
    return this.#evicted === 0 ? 0 : this.#ageMs / this.#evicted
  }

  /** The time of a stamp; that of the table goes on, never back. */
  observe(time: number): void {
    if (time > this.#time) this.#time = Math.trunc(time)
    if (time < this.#oldest) this.#oldest = Math.trunc(time)
  }

  /** The rows of these keys stay from now on, also rows to come. */
  protect(keys: Keys): void {
    const all = new Uint32Array(this.#protected.length + keys.length)
    all.set(this.#protected)
    all.set(keys, this.#protected.length)
    this.#protected = distinctSorted(sortKeys(all))
    this.#selection.forget()
  }

  /**
   * Begins a restriction, in place of one under way; false: there is nothing to remove. `version`:
   * the table's, so that rows that change from now on stay. Throws `RESTRICT_INVALID`.
   */
  start(request: RestrictRequest, version: number): boolean {
    const wanted = rowsToRemove(request, this.#shards.size)
    this.#begin(this.#plan({ wanted }, request, version))
    return this.isUnderWay
  }

  /** The same for the rows past their time to live. */
  startExpiry(request: RestrictRequest, version: number): boolean {
    rowsToRemove(request, this.#shards.size)
    this.#begin(this.#expiry(request, version))
    return this.isUnderWay
  }

  /**
   * From its beginning to its end, in place of one under way: rows past their time to live, then
   * those of lowest score. Throws `RESTRICT_INVALID`.
   */
  whole(request: RestrictRequest, version: number, erase: Visit): void {
    this.startExpiry(request, version)
    while (this.isUnderWay) this.advance(erase)
    this.start(request, version)
    while (this.isUnderWay) this.advance(erase)
  }

  /** One step of some milliseconds; nothing if none is under way. */
  advance(erase: Visit): void {
    if (this.#restriction === undefined) return
    this.#restriction = this.#selection.advance(this.#restriction, (storage, n) => {
      this.#addAges(storage, n)
      erase(storage, n)
    })
  }

  /**
   * A step of the restriction under way, or else the beginning of one where there is a reason: rows
   * past their time to live, from time to time, or too many rows. A small table is done at once.
   */
  some(request: RestrictRequest, version: number, erase: Visit): void {
    if (this.isUnderWay) {
      if (this.#isSmall) this.#hurry(erase)
      else this.advance(erase)
      return
    }
    if (this.#isSweepDue(request)) this.#begin(this.#expiry(request, version))
    if (this.#isSmall) this.#hurry(erase)
    if (this.isUnderWay) return
    this.start(request, version)
    if (this.#isSmall) this.#hurry(erase)
  }

  /** What `whole` would remove, found step by step, with nothing changed. */
  preview(request: RestrictRequest, version: number, samples: number): RestrictPreview {
    const rows = this.#shards.size
    rowsToRemove(request, rows)
    const selection = new Selection(this.#shards, () => this.#protected, this.#steps)
    const since = this.#expiryTime(request)
    return new RestrictPreview(
      { rows, now: this.#time, countRate: this.#countRate, samples },
      [
        () => this.#expiry(request, version),
        (expired) => {
          const wanted = rowsToRemove(request, rows - expired)
          return this.#plan({ wanted, since, gone: expired }, request, version)
        },
      ],
      (restriction, visit) => selection.advance(restriction, visit),
    )
  }

  #begin(restriction: Restriction | undefined): void {
    this.#selection.forget()
    this.#restriction = restriction
  }

  get #isSmall(): boolean {
    return this.#spec.capacityRows <= Math.min(wholeRows, this.#steps.scanned)
  }

  /** All that is left, or if that is many rows, the next share of them. */
  #hurry(erase: Visit): void {
    while (this.#restriction !== undefined) {
      const isOne = isCollected(this.#restriction) && this.#restriction.shares > sharesAtOnce
      this.advance(erase)
      if (isOne) return
    }
  }

  /** A restriction before its first step; undefined: nothing can leave. */
  #plan(
    { wanted, since = -Infinity, gone = 0 }: Goal,
    request: RestrictRequest,
    version: number,
  ): Restriction | undefined {
    const most = wanted === 0 ? 0 : this.#shards.size - gone - this.#present()
    if (most <= 0) return undefined
    const { policy } = request
    const rate = policy === 'timestamp' ? 0 : this.#rate(request)
    return planRestriction({
      policy,
      wanted: Math.min(wanted, most),
      version,
      now: this.#time,
      rate,
      times: [this.#oldest, this.#time],
      since,
      capacityRows: this.#spec.capacityRows,
      steps: this.#steps,
    })
  }

  /** Ticks a ms by which a score decays: the count's own, and those of what `combined` adds. */
  #rate({ policy, recencyHalfLifeMs = dayMs }: RestrictRequest): number {
    return this.#countRate + (policy === 'combined' ? tickRate(recencyHalfLifeMs) : 0)
  }

  /** Of all rows past their time to live. */
  #expiry(request: RestrictRequest, version: number): Restriction | undefined {
    const newest = this.#expiryTime(request) - 1
    const most = this.#shards.size - this.#present() - (request.floorRows ?? 0)
    if (newest < this.#oldest || most <= 0) return undefined
    return planRestriction({
      policy: 'timestamp',
      wanted: most,
      version,
      now: this.#time,
      rate: 0,
      times: [this.#oldest, newest],
      since: -Infinity,
      capacityRows: this.#spec.capacityRows,
      steps: this.#steps,
    })
  }

  /** A row last seen before this is past its time to live. */
  #expiryTime({ ttlMs }: RestrictRequest): number {
    return ttlMs === undefined ? -Infinity : Math.trunc(this.#time - ttlMs)
  }

  #isSweepDue({ ttlMs }: RestrictRequest): boolean {
    if (ttlMs === undefined) return false
    const sweep = Math.floor(this.#time / Math.max(1, ttlMs / sweepsPerTtl))
    const isDue = sweep !== this.#sweep
    this.#sweep = sweep
    return isDue
  }

  /** Protected keys that have a row. */
  #present(): number {
    let present = 0
    this.#shards.eachPart(this.#protected, ({ storage, size }) => {
      storage.lookUp(size)
      for (let i = 0; i < size; i += 1) if (storage.rows.view[i] !== absentPayload) present += 1
    })
    return present
  }

  #addAges(storage: TableStorage, n: number): void {
    const times = new Float64Array(storage.keys.view.buffer)
    const stamps = storage.get(tableField.stamps)
    for (let i = 0; i < n; i += 1) {
      this.#ageMs += this.#time - times[(stamps + 16 * storage.rows.view[i] + 8) >>> 3]
    }
    this.#evicted += n
  }
}

interface Goal {
  readonly wanted: number
  /** Older rows leave anyway: so many of them. */
  readonly since?: number
  readonly gone?: number
}
