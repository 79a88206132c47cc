/**
 * The index that follows the towers. Every vector carries the model version it was embedded with;
 * three queues say what to embed again: *touched* (the item's own rows or facts changed), *new*,
 * and a *sweep* that takes whichever vector is the oldest. A slice of work drains them in that
 * order, except that each of the later two is sure of a part, so that no flood of touched items
 * keeps a new one out of sight or lets an old vector age for ever: with N items and S swept a
 * second, none is older than N / S seconds. What a search has embedded since, none embeds again.
 *
 * Of touched items those come first that events were about. Most others were drawn as negatives,
 * which moves them away from queries: a search that finds one by its old vector embeds it itself,
 * whereas what people turn to is found by nobody before it is embedded.
 *
 * Popularity moves with every click and needs no tower: it is one float of the vector and is
 * written alone, clicked items first, then all items in turn.
 */
import {
  type AnnIndex,
  type Bitmap,
  type IndexStats,
  isSet,
  type SearchOptions,
  type SearchResult,
  setBit,
} from '../ann/ann-index.ts'
import type { Item } from '../stream/example.ts'
import type { Outcome } from '../stream/facts/facts.ts'
import { ExpiryHeap } from './expiry-heap.ts'
import { FreshRanking } from './fresh-ranking.ts'
import type { TouchedMark } from './freshness.ts'
import { HandleQueue } from './handle-queue.ts'
import { IndexLedger } from './index-ledger.ts'
import { NumberIndex } from './number-index.ts'
import type { ItemFilter } from './recommendation.ts'
import { itemsPerCall, type Replica } from './replica.ts'
import { TokenIndex } from './token-index.ts'
import { VectorAges } from './vector-ages.ts'
import { type VersionSpread, versionSpread } from './version-spread.ts'

/** What one slice of work may take. */
export interface WorkBudget {
  /** Vectors embedded, at most. */
  readonly items: number
  /** Of these by the sweep, at most. */
  readonly swept: number
  /**
   * Popularities written in turn, at most, and no more than 256, less what the sweep embeds; as
   * many of clicked items come on top.
   */
  readonly popularities: number
}

export interface LiveIndexStats {
  readonly index: IndexStats
  readonly queues: {
    readonly touched: number
    readonly new: number
    /** Items whose vector is older than the model. */
    readonly sweep: number
    /** Clicked items whose popularity is to be written. */
    readonly clicked: number
  }
  readonly versions: VersionSpread
  /** Vectors embedded since start, by this and for searches. */
  readonly embedded: number
}

/** Of what is embedded in a slice, the part that the new and the swept items are each sure of. */
const reservedShare = 1 / 4
/** Popularities of a kind written in one slice: some tenths of a millisecond. */
const popularityChunk = 256
/** With more new items to come the index's structure waits. */
const manyNew = 4096

/**
 * Invariants: an id is in the index only if the catalogue has an item with that handle; a bit of
 * `visible` is set exactly if that item is neither hidden nor expired as of the last `expire`;
 * the ledger has the item's identity, and the model version of the vector, if there is one.
 */
export class LiveIndex {
  readonly #replica: Replica
  readonly #index: AnnIndex
  readonly #tokens = new TokenIndex()
  readonly #numbers = new NumberIndex()
  /** Touched items that events were about, and the others. */
  readonly #wanted = new HandleQueue()
  readonly #touched = new HandleQueue()
  readonly #new = new HandleQueue()
  readonly #clicked = new HandleQueue()
  /** Of whoever follows what changes. */
  #changed: HandleQueue | undefined
  readonly #expiries = new ExpiryHeap()
  readonly #ledger: IndexLedger
  readonly #ages: VectorAges
  readonly #ranking: FreshRanking
  readonly #visible: Uint32Array
  /** When the newest event about an item was accepted, by handle, epoch ms. */
  readonly #eventAt: Float64Array
  /** Items as tokens and numbers know them, by handle. */
  readonly #items: (Item | undefined)[] = []
  readonly #chunk = new Int32Array(popularityChunk)
  /** Handles that the sweep is to embed whatever their version, and how many. */
  readonly #renewed: Uint32Array
  #toRenew = 0
  #popularityAt = 0
  #embedded = 0

  /**
   * `now`: epoch ms, for what has expired. An index that has vectors already comes with the ledger
   * that says whose they are.
   */
  constructor(replica: Replica, index: AnnIndex, now: number, ledger?: IndexLedger) {
    this.#replica = replica
    this.#index = index
    const { catalogue } = replica.facts
    this.#ledger = ledger ?? new IndexLedger(catalogue.handleCapacity)
    const known = [...catalogue.items()].map(({ handle }) => handle)
    this.#ages = new VectorAges(
      this.#ledger.shared.versions,
      known.filter((handle) => index.has(handle)),
    )
    this.#ranking = new FreshRanking({
      replica,
      index,
      itemOf: (handle) => this.#items[handle],
      ages: this.#ages,
    })
    this.#visible = new Uint32Array(Math.ceil(catalogue.handleCapacity / 32))
    this.#renewed = new Uint32Array(this.#visible.length)
    this.#eventAt = new Float64Array(catalogue.handleCapacity)
    for (const item of catalogue.items()) this.#add(item, now)
  }

  /**
   * Handles that may be shown. As long as bitmaps that are given to `search`; not to be changed.
   */
  get visible(): Bitmap {
    const words = Math.ceil(this.#replica.facts.catalogue.handleLimit / 32)
    return this.#visible.subarray(0, words)
  }

  /** Clears the bits of items that a filter shuts out. `scratch` has the bitmap's length. */
  narrow(filter: ItemFilter, bitmap: Bitmap, scratch: Bitmap): void {
    this.#tokens.apply(filter, bitmap, scratch)
    if (filter.numeric !== undefined) this.#numbers.apply(filter.numeric, bitmap)
  }

  /** Clears the bits of all items with this crowding tag. */
  hideCrowd(tag: string, bitmap: Bitmap): void {
    this.#tokens.hideCrowd(tag, bitmap)
  }

  /** Touched items so far, and how many of those have been embedded: marks for freshness. */
  get touchedMark(): TouchedMark {
    return { ahead: this.#wanted.pushed, behind: this.#touched.pushed }
  }

  get drainedMark(): TouchedMark {
    return { ahead: this.#wanted.shifted, behind: this.#touched.shifted }
  }

  /** Whether every item that has come to be known can be found. */
  get isCaughtUp(): boolean {
    return this.#new.size === 0
  }

  /** Reacts to an event that was folded at `now` and accepted at `acceptedAt`. */
  react(outcome: Outcome, now: number, acceptedAt: number): void {
    for (const { of, handle } of outcome.evicted) if (of === 'item') this.#remove(handle)
    switch (outcome.kind) {
      case 'interaction':
        this.#eventAt[outcome.item.handle] = acceptedAt
        if (outcome.isNewItem) this.#add(outcome.item, now)
        else this.#click(outcome.item.handle)
        return
      case 'item':
        this.#eventAt[outcome.item.handle] = acceptedAt
        this.#add(outcome.item, now)
        return
      case 'itemRemoved':
        if (outcome.handle >= 0) this.#remove(outcome.handle)
        return
      case 'example':
      case 'user':
      case 'userRemoved':
      case 'duplicate':
      case 'none':
    }
  }

  /** Queues, from now on, each handle whose own score changes; until `unfollow`. */
  follow(): HandleQueue {
    this.#changed = new HandleQueue()
    return this.#changed
  }

  unfollow(): void {
    this.#changed = undefined
  }

  /** Rows that these items' vectors are made of have changed. */
  touch(handles: Int32Array): void {
    for (const handle of handles) if (this.#index.has(handle)) this.#touch(handle)
  }

  /** All rows may have changed. */
  touchAll(): void {
    for (const { handle } of this.#replica.facts.catalogue.items()) {
      if (this.#index.has(handle)) this.#touch(handle)
    }
  }

  /**
   * Has the sweep embed every vector again, whatever its version: at the sweep's pace, and behind
   * what is touched meanwhile.
   */
  renewAll(): void {
    for (const { handle } of this.#replica.facts.catalogue.items()) {
      if (this.#index.has(handle)) this.#setToRenew(handle, true)
    }
  }

  /** Of what is to be embedded again by `renewAll`, how many are left. */
  get toRenew(): number {
    return this.#toRenew
  }

  #setToRenew(handle: number, isToRenew: boolean): void {
    if (isSet(this.#renewed, handle) === isToRenew) return
    setBit(this.#renewed, handle, isToRenew)
    this.#toRenew += isToRenew ? 1 : -1
  }

  #click(handle: number): void {
    this.#clicked.push(handle)
    this.#changed?.push(handle)
  }

  #touch(handle: number): void {
    this.#changed?.push(handle)
    // What parameters had learned of before is not what changes them now.
    const isWanted = this.#eventAt[handle] >= this.#replica.state.watermark.acceptedAt
    const queue = isWanted ? this.#wanted : this.#touched
    queue.push(handle)
    this.#ages.move(handle)
  }

  /** Hides what has expired. */
  expire(now: number): void {
    for (let due = this.#expiries.shift(now); due !== undefined; due = this.#expiries.shift(now)) {
      const item = this.#items[due.handle]
      if (item !== undefined && item.expiresAt <= now) setBit(this.#visible, due.handle, false)
    }
  }

  /**
   * One slice of work; returns how many vectors were embedded, and how many of them by the sweep.
   */
  work({ items, swept, popularities }: WorkBudget): { items: number; swept: number } {
    const reserved = Math.floor(items * reservedShare)
    const forNew = Math.min(reserved, this.#new.size)
    const mostSwept = this.#replica.needsSweep || this.#toRenew > 0 ? swept : 0
    const forSweep = Math.min(reserved, mostSwept)
    let left = items
    left -= this.#drain(left - forNew - forSweep, () => this.#nextTouched())
    left -= this.#drain(left - forSweep, () => this.#new.shift())
    const bySweep = this.#drain(Math.min(left, mostSwept), this.#sweeper())
    left -= bySweep
    // Whatever is embedded has its popularity written, too.
    this.#writePopularities(Math.max(0, popularities - bySweep))
    // What one has left over is another's.
    left -= this.#drain(left, () => this.#nextTouched())
    left -= this.#drain(left, () => this.#new.shift())
    return { items: items - left, swept: bySweep }
  }

  /** Looks after the index's structure: see `AnnIndex`. */
  maintain(vectors: number): number {
    // What is grown from a part of the items would have to be grown again.
    return this.#new.size > manyNew ? 0 : this.#index.maintain(vectors)
  }

  /** Whether that cannot wait. */
  get isPressing(): boolean {
    return this.#index.isPressing
  }

  /** Asks for a new structure of the index, as `AnnIndex` says. */
  rebuild(): void {
    this.#index.rebuild()
  }

  get isRebuilding(): boolean {
    return this.#index.isRebuilding
  }

  /** As the index's, of vectors as the towers are now: see `FreshRanking`. */
  search(queries: Float32Array, k: number, options: SearchOptions): SearchResult {
    return this.#ranking.search(queries, k, options)
  }

  has(handle: number): boolean {
    return this.#index.has(handle)
  }

  vector(handle: number): Float32Array | undefined {
    return this.#index.vector(handle)
  }

  versionOf(handle: number): number {
    return this.#ages.versionOf(handle)
  }

  /** Of the index alone, at once. */
  indexStats(): IndexStats {
    return this.#index.stats()
  }

  stats(): LiveIndexStats {
    const { handleLimit } = this.#replica.facts.catalogue
    const current = this.#replica.state.version
    const versions = versionSpread(handleLimit, (handle) =>
      this.#index.has(handle) ? this.#ageOf(handle, current) : -1,
    )
    return {
      index: this.#index.stats(),
      queues: {
        touched: this.#wanted.size + this.#touched.size,
        new: this.#new.size,
        sweep: versions.behind,
        clicked: this.#clicked.size,
      },
      versions,
      embedded: this.#embedded + this.#ranking.refreshed,
    }
  }

  /** Versions that a vector is behind: none if nothing that it is made of has changed. */
  #ageOf(handle: number, current: number): number {
    const isBehind = this.#replica.needsSweep || this.#ages.isMoved(handle)
    // A trainer that went back to a checkpoint has a smaller version.
    return isBehind ? Math.abs(current - this.#ages.versionOf(handle)) : 0
  }

  #add(item: Item, now: number): void {
    const { handle } = item
    const known = this.#items[handle]
    if (known !== undefined) this.#forget(known)
    this.#items[handle] = item
    this.#ledger.own(handle, item.id)
    this.#tokens.add(item)
    this.#numbers.add(item)
    setBit(this.#visible, handle, !item.hidden && item.expiresAt > now)
    const expires = item.expiresAt < Infinity && item.expiresAt !== known?.expiresAt
    if (expires) this.#expiries.push(item.expiresAt, handle)
    if (this.#index.has(handle)) this.#touch(handle)
    else this.#new.push(handle)
  }

  #remove(handle: number): void {
    const known = this.#items[handle]
    if (known !== undefined) this.#forget(known)
    this.#items[handle] = undefined
    setBit(this.#visible, handle, false)
    this.#setToRenew(handle, false)
    this.#index.remove(Int32Array.of(handle))
    this.#ages.remove(handle)
  }

  #forget(known: Item): void {
    this.#tokens.remove(known)
    this.#numbers.remove(known)
  }

  /** Embeds at most `items` of the handles that `next` gives (-1: no more). */
  #drain(items: number, next: () => number): number {
    let done = 0
    while (done < items) {
      const batch = this.#collect(Math.min(items - done, itemsPerCall), next)
      if (batch.length === 0) break
      const vectors = this.#replica.embedItems(batch)
      this.#index.upsert(
        Int32Array.from(batch, ({ handle }) => handle),
        vectors,
      )
      const { version } = this.#replica.state
      for (const { handle } of batch) {
        this.#setToRenew(handle, false)
        this.#ages.embedded(handle, version)
      }
      done += batch.length
    }
    this.#embedded += done
    return done
  }

  /** Items behind the next handles; a handle whose item has gone is passed over. */
  #collect(items: number, next: () => number): Item[] {
    const batch: Item[] = []
    while (batch.length < items) {
      const handle = next()
      if (handle < 0) break
      const item = this.#items[handle]
      if (item !== undefined) batch.push(item)
    }
    return batch
  }

  /** Of those that have been embedded since, for a search, nothing is left to do. */
  #nextTouched(): number {
    const shift = (): number => (this.#wanted.size > 0 ? this.#wanted : this.#touched).shift()
    let handle = shift()
    while (handle >= 0 && !this.#ages.isMoved(handle)) handle = shift()
    return handle
  }

  /** Handles of outdated vectors, the oldest first. */
  #sweeper(): () => number {
    const { version } = this.#replica.state
    let next = this.#ages.oldest
    return () => {
      const handle = next
      const isDue = this.#ages.versionOf(handle) !== version || isSet(this.#renewed, handle)
      if (handle < 0 || !isDue) return -1
      next = this.#ages.after(handle)
      return handle
    }
  }

  #writePopularities(inTurn: number): void {
    const { handleLimit } = this.#replica.facts.catalogue
    this.#writeTails(() => this.#clicked.shift())
    let left = Math.min(inTurn, handleLimit)
    this.#writeTails(() => {
      if (left === 0) return -1
      left -= 1
      const handle = this.#popularityAt < handleLimit ? this.#popularityAt : 0
      this.#popularityAt = handle + 1
      return handle
    })
  }

  /** Of the handles that `next` gives (-1: no more). */
  #writeTails(next: () => number): void {
    let n = 0
    for (; n < popularityChunk; n += 1) {
      const handle = next()
      if (handle < 0) break
      this.#chunk[n] = handle
    }
    const handles = this.#chunk.subarray(0, n)
    this.#index.updateTail(handles, this.#replica.logPopularity(handles))
  }
}
