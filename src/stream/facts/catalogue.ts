/**
 * The catalogue: items by id and by handle, how much each is interacted with now, and which are
 * active. `Catalogue` is what readers see; `ItemStore` is the state that the facts fold owns and
 * changes.
 */
import type { ByteReader, ByteWriter } from '../../base/bytes.ts'
import { noFeatures } from '../../base/features.ts'
import { doubles, grown, integers, unsigned } from '../columns.ts'
import type { ItemUpsert } from '../event.ts'
import type { Item } from '../example.ts'
import { Handles, TouchOrder } from './handles.ts'
import { EncodedItems } from './item-codec.ts'
import { DecayedCounts, type PopularityAt } from './popularity.ts'

export interface ItemPage {
  readonly items: readonly Item[]
  /** Where the next page starts; undefined at the end. */
  readonly cursor: number | undefined
}

export interface Catalogue {
  /** Items now. */
  readonly size: number
  /** One more than the largest handle ever given: arrays and bitmaps by handle need this length. */
  readonly handleLimit: number
  /** Handles are always below this: `maxItems` and a margin for those not yet released. */
  readonly handleCapacity: number
  byId(id: string): Item | undefined
  byHandle(handle: number): Item | undefined
  /** In order of handles. */
  items(): Generator<Item>
  /** At most `limit` items from `cursor` (0: the start) on, in order of handles. */
  list(cursor: number, limit: number): ItemPage
  /** Items whose `expiresAt` has passed, at most `limit`, in order of handles. */
  expired(time: number, limit: number): readonly Item[]
  /** Stream time of the newest upsert or interaction, epoch ms. */
  lastTouchedAt(handle: number): number
  /** Interactions with the item since it is known. */
  interactions(handle: number): number
  /** Items described or interacted with within the active window: those that may be wanted now. */
  readonly activeSize: number
  /** Handle of the i-th active item, 0 <= i < activeSize: uniform i, uniform item. */
  active(index: number): number
  isActive(handle: number): boolean
  /** Tells an item from an earlier one with its handle: a later item has a larger one; 0: none. */
  birth(handle: number): number
  /** Items that ever were: the birth of the newest. */
  readonly born: number
  /** Decayed number of interactions of each handle at `time`. */
  decayedCounts(handles: Int32Array, time: number, out: Float32Array): void
  /** ln(decayed count + smoothing) of each handle. */
  logPopularity(handles: Int32Array, at: PopularityAt, out: Float32Array): void
  /** Decayed count of one item at `time`. */
  decayedCount(handle: number, time: number): number
  /** Decayed count of all interactions together at `time`. */
  totalCount(time: number): number
}

export interface ItemStoreOptions {
  readonly maxItems: number
  readonly activeWindowMs: number
  readonly popularityHalfLifeMs: number
  /** As of `FactsOptions`: what learns is saved now and then, and not to stand still for it. */
  readonly examples: boolean
}

/**
 * Invariants: `#touches` holds exactly the items that are there; `#recent` and `#active` hold
 * the same items, those that were touched within the window; columns of a handle without
 * item are 0.
 */
export class ItemStore implements Catalogue {
  readonly #options: ItemStoreOptions
  readonly #handles: Handles
  readonly #byId = new Map<string, number>()
  #items: (Item | undefined)[] = []
  readonly #encoded: EncodedItems
  /** The count of all items ever, from 1. */
  #births = new Uint32Array(64)
  #touched = new Float64Array(64)
  #activeAsOf = new Float64Array(64)
  #counts = new Uint32Array(64)
  readonly #touches = new TouchOrder()
  readonly #recent = new TouchOrder()
  /** Active handles, densely; and where each handle stands there, + 1. */
  #active = new Int32Array(64)
  #activeAt = new Int32Array(64)
  #activeSize = 0
  #revision = 0
  #born = 0
  readonly #popularity: DecayedCounts

  constructor(options: ItemStoreOptions) {
    this.#options = options
    this.#handles = new Handles(options.maxItems)
    this.#encoded = new EncodedItems(options.examples)
    this.#popularity = new DecayedCounts(options.popularityHalfLifeMs)
  }

  get size(): number {
    return this.#byId.size
  }

  get handleLimit(): number {
    return this.#handles.limit
  }

  get handleCapacity(): number {
    return this.#handles.capacity
  }

  byId(id: string): Item | undefined {
    const handle = this.#byId.get(id)
    return handle === undefined ? undefined : this.#items[handle]
  }

  byHandle(handle: number): Item | undefined {
    return this.#items[handle]
  }

  *items(): Generator<Item> {
    for (const item of this.#items) if (item !== undefined) yield item
  }

  list(cursor: number, limit: number): ItemPage {
    const items: Item[] = []
    let handle = cursor
    for (; handle < this.#items.length && items.length < limit; handle += 1) {
      const item = this.#items[handle]
      if (item !== undefined) items.push(item)
    }
    while (handle < this.#items.length && this.#items[handle] === undefined) handle += 1
    return { items, cursor: handle < this.#items.length ? handle : undefined }
  }

  expired(time: number, limit: number): readonly Item[] {
    const found: Item[] = []
    for (const item of this.#items) {
      if (found.length === limit) break
      if (item !== undefined && item.expiresAt <= time) found.push(item)
    }
    return found
  }

  lastTouchedAt(handle: number): number {
    return this.#touched[handle]
  }

  interactions(handle: number): number {
    return this.#counts[handle]
  }

  get activeSize(): number {
    return this.#activeSize
  }

  active(index: number): number {
    return this.#active[index]
  }

  isActive(handle: number): boolean {
    return this.#activeAt[handle] > 0
  }

  decayedCounts(handles: Int32Array, time: number, out: Float32Array): void {
    this.#popularity.counts(handles, time, out)
  }

  logPopularity(handles: Int32Array, at: PopularityAt, out: Float32Array): void {
    this.#popularity.logCounts(handles, at, out)
  }

  decayedCount(handle: number, time: number): number {
    return this.#popularity.count(handle, time)
  }

  totalCount(time: number): number {
    return this.#popularity.total(time)
  }

  get born(): number {
    return this.#born
  }

  birth(handle: number): number {
    return this.#births[handle]
  }

  /** The item that has to leave before another can come; undefined while there is room. */
  get overdue(): Item | undefined {
    return this.size < this.#options.maxItems ? undefined : this.#items[this.#touches.oldest]
  }

  /** A new item, known by nothing but its id. The caller has made room. */
  create(id: string, firstSeenAt: number, streamTime: number): Item {
    const handle = this.#handles.allocate()
    this.#makeRoom(handle)
    this.#born += 1
    this.#births[handle] = this.#born
    this.#byId.set(id, handle)
    const item = { ...blank, handle, id, revision: this.#nextRevision(), firstSeenAt }
    this.#set(handle, item)
    this.#touch(handle, streamTime)
    return item
  }

  /**
   * The item as an upsert leaves it. A replacement drops what it does not name; a patch keeps it.
   */
  update(item: Item, event: ItemUpsert, streamTime: number): Item {
    const kept = event.mode === 'patch' ? item : blank
    const features = merged(kept.features, event.features)
    const updated: Item = {
      handle: item.handle,
      id: item.id,
      revision: features === item.features ? item.revision : this.#nextRevision(),
      features,
      attributes: merged(kept.attributes, event.attributes),
      hidden: event.hidden ?? kept.hidden,
      expiresAt: event.expiresAt ?? kept.expiresAt,
      crowdingTag: event.crowdingTag ?? kept.crowdingTag,
      firstSeenAt: item.firstSeenAt,
    }
    this.#set(item.handle, updated)
    this.#touch(item.handle, streamTime)
    this.#activate(item.handle, streamTime)
    return updated
  }

  interact(handle: number, timestamp: number, streamTime: number): void {
    this.#touch(handle, streamTime)
    this.#activate(handle, streamTime)
    this.#counts[handle] += 1
    this.#popularity.add(handle, timestamp)
  }

  #set(handle: number, item: Item | undefined): void {
    this.#items[handle] = item
    this.#encoded.change(handle, item)
  }

  #activate(handle: number, streamTime: number): void {
    this.#activeAsOf[handle] = streamTime
    this.#recent.touch(handle)
    if (this.#activeAt[handle] > 0) return
    this.#active[this.#activeSize] = handle
    this.#activeSize += 1
    this.#activeAt[handle] = this.#activeSize
  }

  /** Ends the activity of items not touched for the window. */
  age(streamTime: number): void {
    const oldest = streamTime - this.#options.activeWindowMs
    for (;;) {
      const handle = this.#recent.oldest
      if (handle < 0 || this.#activeAsOf[handle] >= oldest) return
      this.#deactivate(handle)
    }
  }

  remove(item: Item): void {
    const { handle } = item
    this.#byId.delete(item.id)
    this.#set(handle, undefined)
    this.#touches.remove(handle)
    this.#deactivate(handle)
    this.#popularity.clear(handle)
    this.#births[handle] = 0
    this.#touched[handle] = 0
    this.#activeAsOf[handle] = 0
    this.#counts[handle] = 0
    this.#handles.retire(handle)
  }

  release(): void {
    this.#handles.release()
    this.#popularity.settle()
  }

  write(writer: ByteWriter): void {
    const { limit } = this.#handles
    this.#handles.write(writer)
    writer.varint(this.#revision).varint(this.#born)
    this.#encoded.write(writer, limit, (handle) => this.#items[handle])
    for (const column of [this.#births, this.#touched, this.#activeAsOf, this.#counts]) {
      writer.array(column.subarray(0, limit))
    }
    writer.array(this.#active.subarray(0, this.#activeSize))
    this.#touches.write(writer)
    this.#recent.write(writer)
    this.#popularity.write(writer, limit)
  }

  read(reader: ByteReader): void {
    this.#handles.read(reader)
    this.#revision = reader.varint()
    this.#born = reader.varint()
    this.#items = this.#encoded.read(reader, this.#handles.limit)
    for (const item of this.#items) if (item !== undefined) this.#byId.set(item.id, item.handle)
    this.#births = unsigned(reader)
    this.#touched = doubles(reader)
    this.#activeAsOf = doubles(reader)
    this.#counts = unsigned(reader)
    const active = integers(reader)
    this.#activeSize = active.length
    // Room for those that become active again without being created.
    this.#active = grown(active, this.#births.length)
    this.#activeAt = new Int32Array(this.#handles.limit)
    for (const [at, handle] of active.entries()) this.#activeAt[handle] = at + 1
    this.#touches.read(reader)
    this.#recent.read(reader)
    this.#popularity.read(reader)
  }

  #nextRevision(): number {
    this.#revision += 1
    return this.#revision
  }

  #touch(handle: number, streamTime: number): void {
    this.#touched[handle] = streamTime
    this.#touches.touch(handle)
  }

  #deactivate(handle: number): void {
    this.#recent.remove(handle)
    const at = this.#activeAt[handle]
    if (at === 0) return
    // The last takes the place of the one that leaves.
    this.#activeSize -= 1
    const last = this.#active[this.#activeSize]
    this.#active[at - 1] = last
    this.#activeAt[last] = at
    this.#activeAt[handle] = 0
  }

  #makeRoom(handle: number): void {
    if (handle < this.#births.length && handle < this.#active.length) return
    this.#births = grown(this.#births, handle + 1)
    this.#touched = grown(this.#touched, handle + 1)
    this.#activeAsOf = grown(this.#activeAsOf, handle + 1)
    this.#counts = grown(this.#counts, handle + 1)
    this.#active = grown(this.#active, this.#births.length)
    this.#activeAt = grown(this.#activeAt, this.#births.length)
  }
}

const blank = {
  features: noFeatures,
  attributes: Object.freeze({}) as Item['attributes'],
  hidden: false,
  expiresAt: Infinity,
  crowdingTag: undefined,
} satisfies Partial<Item>

/** The named values over the kept ones; the kept object itself when nothing is named. */
function merged<Fields extends object>(kept: Fields, named: Fields | undefined): Fields {
  return named === undefined ? kept : { ...kept, ...named }
}
