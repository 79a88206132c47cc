/**
 * What is known of users: their features, the items they had, when they were last there. `Users` is
 * what readers see; `UserStore` is the state that the facts fold owns and changes.
 */
import { assert } from '../../base/assert.ts'
import type { ByteReader, ByteWriter } from '../../base/bytes.ts'
import { type Features, noFeatures } from '../../base/features.ts'
import { doubles, grown, integers, unsigned } from '../columns.ts'
import type { UserUpsert } from '../event.ts'
import type { HistoryItem, Item } from '../example.ts'
import { readFeatures, writeFields } from '../value-codec.ts'
import type { ItemStore } from './catalogue.ts'
import { Handles, TouchOrder } from './handles.ts'
import { blockSize, type HistoryChunk, HistoryPool, maxBlockSize } from './history-pool.ts'

export interface Users {
  readonly size: number
  /** The user's handle, or -1. */
  handleOf(id: string): number
  id(handle: number): string
  features(handle: number): Features
  /**
   * At most `limit` (default `historyLength`) distinct items, newest first; removed items left out.
   */
  history(handle: number, limit?: number): readonly HistoryItem[]
  /** Handles of the items that the user had, longest ago first; a copy. */
  seen(handle: number): Int32Array
  hasSeen(handle: number, item: number): boolean
  /** Stream time of the newest event, epoch ms. */
  lastActiveAt(handle: number): number
  /** Handles of at most `limit` users, the last active first; `after`: from where a page ended. */
  recent(limit: number, after?: RecentPlace): readonly number[]
  /** Entries in all histories together. */
  readonly historyEntries: number
}

/** The last user of a page, and when it had been active last then. */
export interface RecentPlace {
  readonly handle: number
  readonly lastActiveAt: number
}

export interface UserStoreOptions {
  readonly maxUsers: number
  readonly maxHistoryEntries: number
  readonly historyLength: number
  readonly seenPerUser: number
  readonly userRetentionMs: number
}

/** Interaction types beyond this many distinct ones are remembered as `other`. */
const maxTypes = 255

/**
 * A history is a block of the pool: distinct items, longest ago first, each with the time and type
 * of the newest interaction. An entry whose item has been removed stays until pushed out, and is
 * known by its birth, which is not that of the item at its handle now.
 */
export class UserStore implements Users {
  readonly #options: UserStoreOptions
  readonly #items: ItemStore
  readonly #handles: Handles
  readonly #byId = new Map<string, number>()
  readonly #ids: (string | undefined)[] = []
  readonly #features: Features[] = []
  #active = new Float64Array(64)
  #lengths = new Int32Array(64)
  #blocks = new Int32Array(64)
  /** Size class of the block + 1; 0: none. */
  #classes = new Uint8Array(64)
  readonly #touches = new TouchOrder()
  readonly #pool = new HistoryPool()
  #entries = 0
  readonly #types: string[] = ['other']
  readonly #typeCodes = new Map<string, number>([['other', 0]])

  constructor(options: UserStoreOptions, items: ItemStore) {
    assert(options.seenPerUser <= maxBlockSize, `seenPerUser is at most ${maxBlockSize}`)
    this.#options = options
    this.#items = items
    this.#handles = new Handles(options.maxUsers)
  }

  get size(): number {
    return this.#byId.size
  }

  get historyEntries(): number {
    return this.#entries
  }

  handleOf(id: string): number {
    return this.#byId.get(id) ?? -1
  }

  id(handle: number): string {
    return this.#ids[handle] ?? ''
  }

  features(handle: number): Features {
    return this.#features[handle] ?? noFeatures
  }

  lastActiveAt(handle: number): number {
    return this.#active[handle]
  }

  /** A user who has been active since the page is passed by: its place is found by the time. */
  recent(limit: number, after?: RecentPlace): readonly number[] {
    if (after === undefined) return this.#touches.newest(limit)
    const { handle, lastActiveAt } = after
    if (this.#touches.has(handle) && this.#active[handle] === lastActiveAt) {
      return this.#touches.newest(limit, handle)
    }
    let at = -1
    for (let next = this.#touches.older(at); next >= 0; next = this.#touches.older(at)) {
      if (this.#active[next] <= lastActiveAt) break
      at = next
    }
    return this.#touches.newest(limit, at)
  }

  history(handle: number, limit = this.#options.historyLength): readonly HistoryItem[] {
    const found: HistoryItem[] = []
    const length = this.#lengths[handle]
    if (length === 0) return found
    const { items, births, times, types } = this.#pool.chunk(this.#blocks[handle])
    const offset = this.#pool.offset(this.#blocks[handle])
    for (let at = offset + length - 1; at >= offset && found.length < limit; at -= 1) {
      const item = this.#items.byHandle(items[at])
      if (item === undefined || this.#items.birth(item.handle) !== births[at]) continue
      found.push({ item, timestamp: times[at], type: this.#types[types[at]] })
    }
    return found
  }

  seen(handle: number): Int32Array {
    const length = this.#lengths[handle]
    if (length === 0) return new Int32Array(0)
    const { items, births } = this.#pool.chunk(this.#blocks[handle])
    const offset = this.#pool.offset(this.#blocks[handle])
    const found = new Int32Array(length)
    let count = 0
    for (let at = offset; at < offset + length; at += 1) {
      if (this.#items.birth(items[at]) !== births[at]) continue
      found[count] = items[at]
      count += 1
    }
    return count === length ? found : found.slice(0, count)
  }

  hasSeen(handle: number, item: number): boolean {
    return this.#find(handle, item, this.#items.birth(item)) >= 0
  }

  /** The user that has to leave: beyond the limits, or inactive for too long. -1: none. */
  overdue(streamTime: number): number {
    const oldest = this.#touches.oldest
    if (oldest < 0) return -1
    const full = this.#entries > this.#options.maxHistoryEntries && this.size > 1
    const tooOld = this.#active[oldest] < streamTime - this.#options.userRetentionMs
    return full || tooOld || this.size > this.#options.maxUsers ? oldest : -1
  }

  /** A new user, who is the newest. The caller then lets the overdue leave. */
  create(id: string, streamTime: number): number {
    const handle = this.#handles.allocate()
    this.#makeRoom(handle)
    this.#byId.set(id, handle)
    this.#ids[handle] = id
    this.#features[handle] = noFeatures
    this.touch(handle, streamTime)
    return handle
  }

  touch(handle: number, streamTime: number): void {
    this.#active[handle] = streamTime
    this.#touches.touch(handle)
  }

  update(handle: number, event: UserUpsert): void {
    const kept = event.mode === 'patch' ? this.features(handle) : noFeatures
    this.#features[handle] = event.features === undefined ? kept : { ...kept, ...event.features }
  }

  /** Puts the item at the newest end of the user's history, with the time and type of now. */
  record(handle: number, item: Item, event: { timestamp: number; type: string }): void {
    const birth = this.#items.birth(item.handle)
    const known = this.#find(handle, item.handle, birth)
    if (known >= 0) this.#shift(handle, known)
    else if (this.#lengths[handle] >= this.#options.seenPerUser) this.#shift(handle, 0)
    else this.#extend(handle)
    const chunk = this.#pool.chunk(this.#blocks[handle])
    const at = this.#pool.offset(this.#blocks[handle]) + this.#lengths[handle] - 1
    chunk.items[at] = item.handle
    chunk.births[at] = birth
    chunk.times[at] = event.timestamp
    chunk.types[at] = this.#typeCode(event.type)
  }

  remove(handle: number): void {
    this.#byId.delete(this.id(handle))
    this.#ids[handle] = undefined
    this.#features[handle] = noFeatures
    this.#touches.remove(handle)
    this.#active[handle] = 0
    if (this.#classes[handle] > 0) this.#pool.free(this.#blocks[handle], this.#classes[handle] - 1)
    this.#classes[handle] = 0
    this.#entries -= this.#lengths[handle]
    this.#lengths[handle] = 0
    this.#handles.retire(handle)
  }

  release(): void {
    this.#handles.release()
  }

  write(writer: ByteWriter): void {
    const { limit } = this.#handles
    this.#handles.write(writer)
    writer.varint(this.#types.length)
    for (const type of this.#types) writer.string(type)
    for (let handle = 0; handle < limit; handle += 1) {
      const id = this.#ids[handle]
      // An id is never empty, so an empty one marks a handle without user.
      writer.string(id ?? '')
      if (id !== undefined) writeFields(writer, this.features(handle))
    }
    writer.array(this.#active.subarray(0, limit)).array(this.#lengths.subarray(0, limit))
    this.#touches.write(writer)
    this.#writeHistories(writer, limit)
  }

  read(reader: ByteReader): void {
    this.#handles.read(reader)
    const { limit } = this.#handles
    const types = reader.varint()
    for (let code = 0; code < types; code += 1) {
      this.#types[code] = reader.string()
      this.#typeCodes.set(this.#types[code], code)
    }
    for (let handle = 0; handle < limit; handle += 1) {
      const id = reader.string()
      this.#ids.push(id === '' ? undefined : id)
      this.#features.push(id === '' ? noFeatures : readFeatures(reader))
      if (id !== '') this.#byId.set(id, handle)
    }
    this.#active = doubles(reader)
    const lengths = integers(reader)
    this.#touches.read(reader)
    this.#lengths = new Int32Array(limit)
    this.#blocks = new Int32Array(limit)
    this.#classes = new Uint8Array(limit)
    this.#readHistories(reader, lengths)
  }

  #writeHistories(writer: ByteWriter, limit: number): void {
    const all = newColumns(this.#entries)
    let to = 0
    for (let handle = 0; handle < limit; handle += 1) {
      const length = this.#lengths[handle]
      if (length === 0) continue
      const chunk = this.#pool.chunk(this.#blocks[handle])
      copyEntries(chunk, this.#pool.offset(this.#blocks[handle]), { to: all, at: to, length })
      to += length
    }
    writer.array(all.items).array(all.births).array(all.times).array(all.types)
  }

  #readHistories(reader: ByteReader, lengths: Int32Array): void {
    const all: HistoryChunk = {
      items: integers(reader),
      births: unsigned(reader),
      times: doubles(reader),
      types: new Uint8Array(reader.array()),
    }
    let from = 0
    for (const [handle, length] of lengths.entries()) {
      if (length === 0) continue
      this.#reserve(handle, length)
      this.#lengths[handle] = length
      const chunk = this.#pool.chunk(this.#blocks[handle])
      const at = this.#pool.offset(this.#blocks[handle])
      copyEntries(all, from, { to: chunk, at, length })
      from += length
    }
    this.#entries = from
  }

  #find(handle: number, item: number, birth: number): number {
    const length = this.#lengths[handle]
    if (length === 0) return -1
    const { items, births } = this.#pool.chunk(this.#blocks[handle])
    const offset = this.#pool.offset(this.#blocks[handle])
    for (let at = offset + length - 1; at >= offset; at -= 1) {
      if (items[at] === item && births[at] === birth) return at - offset
    }
    return -1
  }

  /** Takes the entry at `from` out; what followed it moves down, and the last place is free. */
  #shift(handle: number, from: number): void {
    const last = this.#lengths[handle] - 1
    if (from === last) return
    const { items, births, times, types } = this.#pool.chunk(this.#blocks[handle])
    const offset = this.#pool.offset(this.#blocks[handle])
    for (let at = offset + from; at < offset + last; at += 1) {
      items[at] = items[at + 1]
      births[at] = births[at + 1]
      times[at] = times[at + 1]
      types[at] = types[at + 1]
    }
  }

  #extend(handle: number): void {
    const length = this.#lengths[handle] + 1
    this.#reserve(handle, length)
    this.#lengths[handle] = length
    this.#entries += 1
  }

  /** Gives the user a block of at least `length` entries, with the entries so far. */
  #reserve(handle: number, length: number): void {
    const had = this.#classes[handle]
    if (had > 0 && length <= blockSize(had - 1)) return
    let sizeClass = Math.max(0, had)
    while (blockSize(sizeClass) < length) sizeClass += 1
    const old = this.#blocks[handle]
    const address = this.#pool.allocate(sizeClass)
    if (had > 0) {
      const to = this.#pool.chunk(address)
      const at = this.#pool.offset(address)
      copyEntries(this.#pool.chunk(old), this.#pool.offset(old), { to, at, length: length - 1 })
      this.#pool.free(old, had - 1)
    }
    this.#blocks[handle] = address
    this.#classes[handle] = sizeClass + 1
  }

  #typeCode(type: string): number {
    const known = this.#typeCodes.get(type)
    if (known !== undefined) return known
    if (this.#types.length > maxTypes) return 0
    this.#typeCodes.set(type, this.#types.length)
    return this.#types.push(type) - 1
  }

  #makeRoom(handle: number): void {
    if (handle < this.#active.length) return
    this.#active = grown(this.#active, handle + 1)
    this.#lengths = grown(this.#lengths, handle + 1)
    this.#blocks = grown(this.#blocks, handle + 1)
    this.#classes = grown(this.#classes, handle + 1)
  }
}

const newColumns = (length: number): HistoryChunk => ({
  items: new Int32Array(length),
  births: new Uint32Array(length),
  times: new Float64Array(length),
  types: new Uint8Array(length),
})

function copyEntries(
  from: HistoryChunk,
  start: number,
  { to, at, length }: { to: HistoryChunk; at: number; length: number },
): void {
  // A loop: most histories are shorter than a call to `set` is long.
  for (let i = 0; i < length; i += 1) {
    to.items[at + i] = from.items[start + i]
    to.births[at + i] = from.births[start + i]
    to.times[at + i] = from.times[start + i]
    to.types[at + i] = from.types[start + i]
  }
}
