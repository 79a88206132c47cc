/**
 * Facts: the fold of the event log that needs no learning. Catalogue, histories, seen sets,
 * popularity, de-duplication. Trainer and every replica fold them with this code, each from the log
 * itself, so the same events give the same facts bit by bit, handles included (as long as `release`
 * is called at the same points). Pure: no clock; time is that of the events.
 */
import { unreachable } from '../../base/assert.ts'
import { ByteReader, ByteWriter } from '../../base/bytes.ts'
import { digestBytes, digestInSteps, digestWords } from '../../base/digest.ts'
import { ServiceError } from '../../base/errors.ts'
import { noFeatures } from '../../base/features.ts'
import type { DeleteItem, Event, Interaction, ItemUpsert, UserUpsert } from '../event.ts'
import type { Example, Item } from '../example.ts'
import { type Catalogue, ItemStore } from './catalogue.ts'
import { DedupeWindow } from './dedupe.ts'
import { DeletedItems } from './deleted-items.ts'
import { type Users, UserStore } from './users.ts'

export interface FactsOptions {
  /** Items kept; beyond it the longest untouched leaves. Default 1,000,000. */
  readonly maxItems: number
  /** Users kept; beyond it the longest inactive leaves. Default 1,000,000. */
  readonly maxUsers: number
  /**
   * Newest distinct items in an example's history: the longest sequence of the model. Default 20.
   */
  readonly historyLength: number
  /** Distinct items remembered per user, the history among them; the oldest leaves. Default 500. */
  readonly seenPerUser: number
  /** Entries in all histories together; beyond it the longest inactive user leaves. */
  readonly maxHistoryEntries: number
  /** A user without an event for this long leaves. Default: Infinity. */
  readonly userRetentionMs: number
  /**
   * An item is active when described or interacted with within this window of stream time. Default
   * 24 h.
   */
  readonly activeWindowMs: number
  /** Half-life of the interaction counts behind popularity. Default 1 h. */
  readonly popularityHalfLifeMs: number
  /**
   * An interaction this much older than stream time is folded but gives no example. Default 7 d.
   */
  readonly maxLateMs: number
  /** De-duplication by event id: how long, by acceptance time, and how many ids are remembered. */
  readonly dedupeWindowMs: number
  readonly dedupeMaxIds: number
  /**
   * Whether interactions yield examples (the trainer) or only outcomes (a replica). Default true.
   */
  readonly examples: boolean
}

export const defaultFactsOptions: FactsOptions = {
  maxItems: 1_000_000,
  maxUsers: 1_000_000,
  historyLength: 20,
  seenPerUser: 500,
  maxHistoryEntries: 32_000_000,
  userRetentionMs: Infinity,
  activeWindowMs: 24 * 3_600_000,
  popularityHalfLifeMs: 3_600_000,
  maxLateMs: 7 * 24 * 3_600_000,
  dedupeWindowMs: 600_000,
  dedupeMaxIds: 1_000_000,
  examples: true,
}

/** An item or user that left to make room, or because of its age. */
export interface Eviction {
  readonly of: 'item' | 'user'
  readonly handle: number
  readonly id: string
}

/** What an event did. `evicted` is empty but for the rare event that made something else leave. */
export type Outcome = { readonly evicted: readonly Eviction[] } & (
  | { readonly kind: 'example'; readonly example: Example }
  /** An interaction without example: too late to be trained on, or `examples` is off. */
  | {
      readonly kind: 'interaction'
      readonly item: Item
      readonly user: number
      readonly isNewItem: boolean
    }
  /** Created or changed. */
  | { readonly kind: 'item'; readonly item: Item; readonly isNewItem: boolean }
  | { readonly kind: 'user'; readonly user: number }
  /** A deletion. Handle -1: facts knew nothing of it (any more), others may still. */
  | { readonly kind: 'itemRemoved'; readonly handle: number; readonly id: string }
  | { readonly kind: 'userRemoved'; readonly handle: number; readonly id: string }
  | { readonly kind: 'duplicate' }
  /** Nothing that anybody needs to react to: an impression. */
  | { readonly kind: 'none' }
)

const magic = 0x54434146 // "FACT", as it lies in the file
const formatVersion = 1
/** At the end. */
const digestBytesLength = 8
/** A millisecond's worth. */
const digestedAtOnce = 1 << 19
/** Bytes that facts may have grown by since they were last written, without being copied. */
const leeway = 1 << 20
const noEvictions: readonly Eviction[] = Object.freeze([])
const nothing: Outcome = Object.freeze({ kind: 'none', evicted: noEvictions })
const duplicate: Outcome = Object.freeze({ kind: 'duplicate', evicted: noEvictions })

export class Facts {
  readonly options: FactsOptions
  readonly catalogue: Catalogue
  readonly users: Users
  readonly #items: ItemStore
  readonly #users: UserStore
  readonly #dedupe: DedupeWindow
  readonly #deleted = new DeletedItems()
  #time = -Infinity
  /** Bytes, when they were last written. */
  #lastLength = 0
  #events = 0
  #interactions = 0
  /** Of the event at hand. */
  #evicted: Eviction[] | undefined

  constructor(options: Partial<FactsOptions> = {}) {
    this.options = { ...defaultFactsOptions, ...options }
    this.#items = new ItemStore(this.options)
    this.#users = new UserStore(this.options, this.#items)
    const { dedupeWindowMs: windowMs, dedupeMaxIds: maxIds } = this.options
    this.#dedupe = new DedupeWindow({ windowMs, maxIds })
    this.catalogue = this.#items
    this.users = this.#users
  }

  /**
   * Newest event timestamp folded so far, epoch ms; never goes back. -Infinity before the first.
   */
  get time(): number {
    return this.#time
  }

  /** Events folded so far, duplicates included. */
  get events(): number {
    return this.#events
  }

  /** Interactions folded so far, duplicates left out. */
  get interactions(): number {
    return this.#interactions
  }

  /** Folds one event. The outcome is the caller's to keep; it changes with no later event. */
  apply(event: Event): Outcome {
    this.#events += 1
    if (event.eventId !== undefined && !this.#dedupe.admit(event.eventId, event.acceptedAt)) {
      return duplicate
    }
    this.#evicted = undefined
    if (event.timestamp > this.#time) this.#time = event.timestamp
    this.#items.age(this.#time)
    this.#evictUsers()
    switch (event.kind) {
      case 'interaction':
        return this.#interact(event)
      case 'item':
        return this.#upsertItem(event)
      case 'user':
        return this.#upsertUser(event)
      case 'deleteItem':
        return this.#deleteItem(event)
      case 'deleteUser':
        return this.#deleteUser(event.userId)
      case 'impression':
        return this.#impress(event.userId)
      default:
        return unreachable(event)
    }
  }

  /**
   * Between batches: lets the handles of items and users that left be given to new ones, and
   * settles the popularity counts (see `PopularityAt`).
   */
  release(): void {
    this.#items.release()
    this.#users.release()
  }

  /** The whole state: header, sections, checksum; equal states give equal bytes. */
  serialize(): Uint8Array<ArrayBuffer> {
    const writer = this.#write()
    return sealed(writer, digestWords(writer.peek()))
  }

  /**
   * The same bytes, of the state as it is now, in one piece; before it undefined again and again
   * where there may be a pause: the checksum takes a third of the time.
   */
  save(): Iterable<Uint8Array<ArrayBuffer> | undefined> {
    return sealedInSteps(this.#write())
  }

  /** 64-bit hash of the whole state. */
  digest(): bigint {
    return digestBytes(this.#write().peek())
  }

  /**
   * Takes what `serialize` gave. Throws `FACTS_DAMAGED` (format or checksum) and
   * `FACTS_INCOMPATIBLE` (another half-life, or more items, users than the limits allow).
   */
  static load(bytes: Uint8Array, options: Partial<FactsOptions> = {}): Facts {
    const facts = new Facts(options)
    const body = bytes.subarray(0, bytes.length - 8)
    if (bytes.length < 16) throw damaged('too short')
    const reader = new ByteReader(bytes)
    if (reader.uint32() !== magic) throw damaged('not facts')
    const version = reader.uint32()
    if (version !== formatVersion) throw damaged(`version ${version} is unknown`)
    const [low, high] = digestWords(body)
    const stored = new ByteReader(bytes.subarray(body.length))
    if (stored.uint32() !== low || stored.uint32() !== high) throw damaged('checksum')
    facts.#read(reader)
    return facts
  }

  #interact(event: Interaction): Outcome {
    const known = this.#items.byId(event.itemId)
    if (known === undefined && this.#deleted.has(event.itemId, event.acceptedAt)) {
      return this.#meet(event.userId)
    }
    const item = known ?? this.#createItem(event.itemId, event.timestamp)
    const knownUser = this.#users.handleOf(event.userId)
    const user = knownUser >= 0 ? knownUser : this.#createUser(event.userId)
    const isNewItem = known === undefined
    const isLate = event.timestamp < this.#time - this.options.maxLateMs
    const example =
      this.options.examples && !isLate
        ? this.#example(event, { item, user, isNewItem, isNewUser: knownUser < 0 })
        : undefined
    this.#interactions += 1
    this.#items.interact(item.handle, event.timestamp, this.#time)
    this.#users.touch(user, this.#time)
    this.#users.record(user, item, event)
    this.#evictUsers()
    const evicted = this.#evicted ?? noEvictions
    if (example !== undefined) return { kind: 'example', example, evicted }
    return { kind: 'interaction', item, user, isNewItem, evicted }
  }

  /** Of a click on what is gone there is left who clicked. */
  #meet(userId: string): Outcome {
    const known = this.#users.handleOf(userId)
    const user = known >= 0 ? known : this.#createUser(userId)
    this.#users.touch(user, this.#time)
    return { kind: 'user', user, evicted: this.#evicted ?? noEvictions }
  }

  /** What the event teaches, by the facts before it. */
  #example(
    event: Interaction,
    about: { item: Item; user: number; isNewItem: boolean; isNewUser: boolean },
  ): Example {
    const { item, user, isNewItem, isNewUser } = about
    return {
      index: this.#interactions,
      query: {
        userId: event.userId,
        userFeatures: this.#users.features(user),
        history: this.#users.history(user),
        context: event.context ?? noFeatures,
        timestamp: event.timestamp,
      },
      item,
      user,
      seen: this.#users.seen(user),
      type: event.type,
      weight: event.weight ?? 1,
      isNewItem,
      itemInteractions: this.#items.interactions(item.handle),
      itemPopularity: this.#items.decayedCount(item.handle, this.#time),
      isRepeat: this.#users.hasSeen(user, item.handle),
      isNewUser,
      acceptedAt: event.acceptedAt,
    }
  }

  #upsertItem(event: ItemUpsert): Outcome {
    const known = this.#items.byId(event.itemId)
    this.#deleted.drop(event.itemId)
    const base = known ?? this.#createItem(event.itemId, event.timestamp)
    const item = this.#items.update(base, event, this.#time)
    const evicted = this.#evicted ?? noEvictions
    return { kind: 'item', item, isNewItem: known === undefined, evicted }
  }

  #upsertUser(event: UserUpsert): Outcome {
    const known = this.#users.handleOf(event.userId)
    const user = known >= 0 ? known : this.#createUser(event.userId)
    this.#users.touch(user, this.#time)
    this.#users.update(user, event)
    return { kind: 'user', user, evicted: this.#evicted ?? noEvictions }
  }

  #deleteItem({ itemId: id, acceptedAt }: DeleteItem): Outcome {
    this.#deleted.add(id, acceptedAt)
    const item = this.#items.byId(id)
    if (item !== undefined) this.#items.remove(item)
    const evicted = this.#evicted ?? noEvictions
    return { kind: 'itemRemoved', handle: item?.handle ?? -1, id, evicted }
  }

  #deleteUser(id: string): Outcome {
    const handle = this.#users.handleOf(id)
    if (handle >= 0) this.#users.remove(handle)
    return { kind: 'userRemoved', handle, id, evicted: this.#evicted ?? noEvictions }
  }

  #impress(userId: string): Outcome {
    const user = this.#users.handleOf(userId)
    if (user >= 0) this.#users.touch(user, this.#time)
    return this.#evicted === undefined ? nothing : { kind: 'none', evicted: this.#evicted }
  }

  #createItem(id: string, timestamp: number): Item {
    const { overdue } = this.#items
    if (overdue !== undefined) {
      this.#items.remove(overdue)
      this.#evict({ of: 'item', handle: overdue.handle, id: overdue.id })
    }
    return this.#items.create(id, timestamp, this.#time)
  }

  #createUser(id: string): number {
    const user = this.#users.create(id, this.#time)
    this.#evictUsers()
    return user
  }

  #evictUsers(): void {
    let handle = this.#users.overdue(this.#time)
    while (handle >= 0) {
      const id = this.#users.id(handle)
      this.#users.remove(handle)
      this.#evict({ of: 'user', handle, id })
      handle = this.#users.overdue(this.#time)
    }
  }

  #evict(eviction: Eviction): void {
    if (this.#evicted === undefined) this.#evicted = [eviction]
    else this.#evicted.push(eviction)
  }

  #write(): ByteWriter {
    const writer = new ByteWriter(this.#lastLength + leeway)
    writer.uint32(magic).uint32(formatVersion).float64(this.options.popularityHalfLifeMs)
    writer.varint(this.#items.size).varint(this.#users.size)
    writer.float64(this.#time).varint(this.#events).varint(this.#interactions)
    this.#items.write(writer)
    this.#users.write(writer)
    this.#dedupe.write(writer)
    // Facts that know of no deletion have the bytes that they always had.
    if (this.#deleted.size > 0) this.#deleted.write(writer)
    this.#lastLength = writer.length
    return writer
  }

  #read(reader: ByteReader): void {
    const { popularityHalfLifeMs, maxItems, maxUsers } = this.options
    requireFit('popularityHalfLifeMs', reader.float64() === popularityHalfLifeMs)
    requireFit('maxItems', reader.varint() <= maxItems)
    requireFit('maxUsers', reader.varint() <= maxUsers)
    this.#time = reader.float64()
    this.#events = reader.varint()
    this.#interactions = reader.varint()
    this.#items.read(reader)
    this.#users.read(reader)
    this.#dedupe.read(reader)
    if (reader.remaining > digestBytesLength) this.#deleted.read(reader)
  }
}

const sealed = (
  writer: ByteWriter,
  [low, high]: readonly [number, number],
): Uint8Array<ArrayBuffer> => writer.uint32(low).uint32(high).peek()

function* sealedInSteps(writer: ByteWriter): Generator<Uint8Array<ArrayBuffer> | undefined> {
  yield sealed(writer, yield* digestInSteps(writer.peek(), digestedAtOnce))
}

const damaged = (reason: string): ServiceError => new ServiceError('FACTS_DAMAGED', { reason })

function requireFit(field: string, fits: boolean): void {
  if (!fits) throw new ServiceError('FACTS_INCOMPATIBLE', { field })
}
