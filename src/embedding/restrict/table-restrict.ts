/**
 * Restrict as a table does it: one restriction under way at a time, in whole or in steps; rows past
 * their time to live; keys that are protected. What leaves is decided by versions and event times
 * alone, so a replay and a restart in the middle remove the same rows at the same batches.
 */
import type { Keys } from '../../base/keys.ts'
import { absentPayload, tableField } from '../../kernels/table-kernels.ts'
import type { RestrictRequest } from '../embedding-table.ts'
import type { TableShards } from '../memory/table-shards.ts'
import type { TableStorage } from '../memory/table-storage.ts'
import type { RestrictPolicy, TableSpec } from '../table-spec.ts'
import { tickRate } from './count-decay.ts'
import { RestrictPreview } from './restrict-preview.ts'
import type { RestrictProgress } from './restrict-progress.ts'
import {
  advanceRestriction,
  countRowsBefore,
  planRestriction,
  type Restriction,
  rowsToRemove,
  wholeRows,
} from './restrict.ts'

/** Erases the n keys staged in a storage. */
type EraseStaged = (storage: TableStorage, n: number) => void

interface Goal {
  readonly policy: RestrictPolicy
  readonly wanted: number
}

/** A version above any: a row that has it is left alone by every scan of scores. */
const hiddenVersion = 0xffff_ffff
/** Sweeps for rows past their time to live, in that time: so much longer a row may stay. */
const sweepsPerTtl = 16
const dayMs = 86_400_000

/** Invariant: keys that are protected are hidden from scores while these are looked at, only. */
export class TableRestrict {
  readonly #shards: TableShards
  readonly #countRate: number
  #restriction: Restriction | undefined
  /** The latest time of any stamp, and the sweep that was made last. */
  #time = 0
  #sweep = 0
  #evicted = 0
  #ageMs = 0
  #protected: Keys = new Uint32Array(0)

  constructor(spec: TableSpec, shards: TableShards) {
    this.#shards = shards
    this.#countRate = tickRate(spec.restrict?.halfLifeMs)
  }

  get isUnderWay(): boolean {
    return this.#restriction !== undefined
  }

  /**
   * A row changes at this version: one that the restriction under way takes for unchanged is to be
   * looked at again.
   */
  change(version: number): void {
    const restriction = this.#restriction
    if (restriction === undefined || version > restriction.version) return
    for (const storage of this.#shards.storages) storage.markedFor = undefined
  }

  get progress(): RestrictProgress {
    return { restriction: this.#restriction, time: this.#time, sweep: this.#sweep }
  }

  /** Goes on from what a snapshot kept. */
  restore({ restriction, time, sweep }: RestrictProgress): void {
    this.#restriction = restriction
    this.#time = time
    this.#sweep = sweep
  }

  /** Since the rows were last seen that were removed since the start; 0 if there were none. */
  get meanAgeMs(): number {
    return this.#evicted === 0 ? 0 : this.#ageMs / this.#evicted
  }

  /** The time of a stamp; it goes on, never back. */
  observe(time: number): void {
    if (time > this.#time) this.#time = Math.trunc(time)
  }

  /** The rows of these keys stay from now on, also rows to come. */
  protect(keys: Keys): void {
    const all = new Uint32Array(this.#protected.length + keys.length)
    all.set(this.#protected)
    all.set(keys, this.#protected.length)
    this.#protected = all
  }

  /**
   * Begins a restriction, in place of one under way; false: there is nothing to remove. `version`:
   * the table's, so that rows that change from now on stay. Throws `RESTRICT_INVALID`.
   */
  start(request: RestrictRequest, version: number): boolean {
    this.#restriction = undefined
    const wanted = rowsToRemove(request, this.#shards.size)
    this.#restriction = this.#plan({ policy: request.policy, wanted }, request, version)
    return this.isUnderWay
  }

  /** From its beginning to its end, in place of one under way. Throws `RESTRICT_INVALID`. */
  whole(request: RestrictRequest, version: number, erase: EraseStaged): void {
    if (!this.start(request, version)) return
    // One share: nothing waits for its turn.
    if (this.#restriction !== undefined) this.#restriction = { ...this.#restriction, shares: 1 }
    while (this.isUnderWay) this.advance(erase)
  }

  /** One step of some milliseconds; nothing if none is under way. */
  advance(erase: EraseStaged): void {
    const restriction = this.#restriction
    if (restriction === undefined) return
    const remove = (storage: TableStorage, n: number): void => {
      this.#addAges(storage, n)
      erase(storage, n)
    }
    this.#restriction = this.#withoutProtected(() =>
      advanceRestriction(this.#shards.storages, restriction, remove),
    )
  }

  /**
   * A step of the restriction under way, or else the beginning of one where there is a reason: rows
   * past their time to live, from time to time, or too many rows. A small table is done at once.
   */
  some(request: RestrictRequest, version: number, erase: EraseStaged): void {
    if (this.isUnderWay) {
      this.advance(erase)
      return
    }
    this.#restriction = this.#plan(this.#expired(request, version), request, version)
    this.#finishIfSmall(erase)
    if (this.isUnderWay) return
    this.start(request, version)
    this.#finishIfSmall(erase)
  }

  /** What `start` would remove, found step by step like it, with nothing changed. */
  preview(request: RestrictRequest, version: number, samples: number): RestrictPreview {
    const { storages } = this.#shards
    const rows = this.#shards.size
    const wanted = rowsToRemove(request, rows)
    const first = this.#plan({ policy: request.policy, wanted }, request, version)
    return new RestrictPreview(
      { rows, now: this.#time, countRate: this.#countRate, samples },
      first,
      (restriction, visit) =>
        this.#withoutProtected(() => advanceRestriction(storages, restriction, visit)),
    )
  }

  #finishIfSmall(erase: EraseStaged): void {
    if (this.#shards.size > wholeRows) return
    while (this.isUnderWay) this.advance(erase)
  }

  /** A restriction before its first step; undefined: nothing can leave. */
  #plan(goal: Goal, request: RestrictRequest, version: number): Restriction | undefined {
    if (goal.wanted === 0) return undefined
    const { policy } = goal
    const size = this.#shards.size
    const wanted = Math.min(goal.wanted, size - this.#present())
    if (wanted <= 0) return undefined
    const rate = policy === 'timestamp' ? 0 : this.#rate(request)
    const whole = size <= wholeRows
    const plan = { policy, wanted, version, now: this.#time, rate, whole }
    return this.#withoutProtected(() => planRestriction(this.#shards.storages, plan))
  }

  /** Ticks a ms by which a score decays: the count's own, and those of what `combined` adds. */
  #rate({ policy, recencyHalfLifeMs = dayMs }: RestrictRequest): number {
    return this.#countRate + (policy === 'combined' ? tickRate(recencyHalfLifeMs) : 0)
  }

  /** How many rows are past their time to live, when it is time to look; else 0. */
  #expired(request: RestrictRequest, version: number): Goal {
    const { ttlMs, floorRows = 0 } = request
    const none = { policy: 'timestamp', wanted: 0 } as const
    if (ttlMs === undefined) return none
    const sweep = Math.floor(this.#time / Math.max(1, ttlMs / sweepsPerTtl))
    if (sweep === this.#sweep) return none
    this.#sweep = sweep
    const before = Math.trunc(this.#time - ttlMs)
    const expired = this.#withoutProtected(() =>
      countRowsBefore(this.#shards.storages, before, version),
    )
    return { ...none, wanted: Math.max(0, Math.min(expired, this.#shards.size - floorRows)) }
  }

  /** Protected keys that have a row. */
  #present(): number {
    let present = 0
    this.#eachProtected(() => {
      present += 1
    })
    return present
  }

  #addAges(storage: TableStorage, n: number): void {
    const times = new Float64Array(storage.keys.view.buffer)
    const stamps = storage.get(tableField.stamps)
    storage.lookUp(n)
    for (let i = 0; i < n; i += 1) {
      this.#ageMs += this.#time - times[(stamps + 16 * storage.rows.view[i] + 8) >>> 3]
    }
    this.#evicted += n
  }

  #withoutProtected<Result>(work: () => Result): Result {
    if (this.#protected.length === 0) return work()
    const versions: number[] = []
    this.#eachProtected((words, at) => {
      versions.push(words[at])
      words[at] = hiddenVersion
    })
    try {
      return work()
    } finally {
      let i = 0
      this.#eachProtected((words, at) => {
        words[at] = versions[i]
        i += 1
      })
    }
  }

  /** Where the versions of their rows stand. */
  #eachProtected(visit: (words: Uint32Array, at: number) => void): void {
    if (this.#protected.length === 0) return
    this.#shards.eachPart(this.#protected, ({ storage, size }) => {
      const { rows, keys } = storage
      const words = new Uint32Array(keys.view.buffer)
      const stamps = storage.get(tableField.stamps) >>> 2
      storage.lookUp(size)
      for (let i = 0; i < size; i += 1) {
        if (rows.view[i] !== absentPayload) visit(words, stamps + 4 * rows.view[i] + 1)
      }
    })
  }
}
