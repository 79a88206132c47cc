/**
 * Events as bytes: what the file log keeps. A block of events is self-contained; within it the
 * names that repeat (interaction types, field names) are written once and referred to by number,
 * and times are written as differences. Every event comes back as it was, number bits and key order
 * included. See docs/formats.md.
 */
import { unreachable } from '../base/assert.ts'
import { ByteReader, ByteWriter } from '../base/bytes.ts'
import type { Features, FeatureValue } from '../base/features.ts'
import { StringInterner } from '../base/interner.ts'
import type {
  DeleteItem,
  DeleteUser,
  Event,
  Impression,
  Interaction,
  ItemUpsert,
  UserUpsert,
} from './event.ts'
import { readFeature, readFields, setField, writeFields, writeValue } from './value-codec.ts'

const kinds = ['interaction', 'item', 'user', 'deleteItem', 'deleteUser', 'impression'] as const
const kindCodes = {
  interaction: 0,
  item: 1,
  user: 2,
  deleteItem: 3,
  deleteUser: 4,
  impression: 5,
} as const satisfies Record<Event['kind'], number>

/** Head byte: the kind in three bits, then what is there. The last two bits are the kind's own. */
const head = {
  kind: 7,
  eventId: 8,
  /** acceptedAt is that of the event before. */
  sameAcceptedAt: 16,
  /** timestamp is a varint before acceptedAt. */
  delay: 32,
  first: 64,
  second: 128,
} as const

/** What an item event names. */
const named = {
  features: 1,
  attributes: 2,
  hidden: 4,
  notHidden: 8,
  expiresAt: 16,
  crowdingTag: 32,
} as const

type Times = Pick<Event, 'timestamp' | 'acceptedAt' | 'eventId'>

/** Writes blocks; keeps its tables from one block to the next to allocate nothing. */
export class EventEncoder {
  readonly #names = new Map<string, number>()
  #acceptedAt = NaN
  #writer = new ByteWriter(0)

  /** Appends one block to `writer`. */
  encode(writer: ByteWriter, events: readonly Event[]): void {
    this.#names.clear()
    this.#acceptedAt = NaN
    this.#writer = writer
    for (const event of events) this.#event(event)
  }

  #event(event: Event): void {
    switch (event.kind) {
      case 'interaction':
        return this.#interaction(event)
      case 'item':
        return this.#item(event)
      case 'user':
        return this.#user(event)
      case 'deleteItem':
        this.#head(event, 0)
        this.#writer.string(event.itemId)
        return undefined
      case 'deleteUser':
        this.#head(event, 0)
        this.#writer.string(event.userId)
        return undefined
      case 'impression':
        this.#head(event, 0)
        this.#writer.string(event.userId).varint(event.itemIds.length)
        for (const id of event.itemIds) this.#writer.string(id)
        return undefined
      default:
        return unreachable(event)
    }
  }

  #interaction(event: Interaction): void {
    const { weight, context } = event
    this.#head(
      event,
      (weight === undefined ? 0 : head.first) | (context === undefined ? 0 : head.second),
    )
    this.#writer.string(event.userId).string(event.itemId)
    this.#name(event.type)
    if (weight !== undefined) this.#writer.float64(weight)
    if (context !== undefined) this.#features(context)
  }

  #item(event: ItemUpsert): void {
    const { features, attributes, hidden, expiresAt, crowdingTag } = event
    this.#head(event, event.mode === 'patch' ? head.first : 0)
    const hiddenBits = hidden === true ? named.hidden : named.notHidden
    this.#writer
      .string(event.itemId)
      .uint8(
        (features === undefined ? 0 : named.features) |
          (attributes === undefined ? 0 : named.attributes) |
          (hidden === undefined ? 0 : hiddenBits) |
          (expiresAt === undefined ? 0 : named.expiresAt) |
          (crowdingTag === undefined ? 0 : named.crowdingTag),
      )
    if (features !== undefined) this.#features(features)
    if (attributes !== undefined) writeFields(this.#writer, attributes)
    if (expiresAt !== undefined) this.#writer.float64(expiresAt)
    if (crowdingTag !== undefined) this.#writer.string(crowdingTag)
  }

  #user(event: UserUpsert): void {
    this.#head(
      event,
      (event.mode === 'patch' ? head.first : 0) | (event.features === undefined ? 0 : head.second),
    )
    this.#writer.string(event.userId)
    if (event.features !== undefined) this.#features(event.features)
  }

  #head(event: Event, own: number): void {
    const { timestamp, acceptedAt, eventId } = event
    const same = Object.is(acceptedAt, this.#acceptedAt)
    const delay = acceptedAt - timestamp
    // Only positive integers come back exactly from a difference.
    const short =
      delay >= 0 &&
      timestamp > 0 &&
      Number.isSafeInteger(timestamp) &&
      Number.isSafeInteger(acceptedAt)
    this.#writer.uint8(
      kindCodes[event.kind] |
        (eventId === undefined ? 0 : head.eventId) |
        (same ? head.sameAcceptedAt : 0) |
        (short ? head.delay : 0) |
        own,
    )
    if (!same) this.#writer.float64(acceptedAt)
    if (short) this.#writer.varint(delay)
    else this.#writer.float64(timestamp)
    if (eventId !== undefined) this.#writer.string(eventId)
    this.#acceptedAt = acceptedAt
  }

  #features(features: Features): void {
    const names = Object.keys(features)
    this.#writer.varint(names.length)
    for (const name of names) {
      this.#name(name)
      writeValue(this.#writer, features[name])
    }
  }

  /** A number from 1 up for a name met before in the block; 0 and the name for a new one. */
  #name(name: string): void {
    const known = this.#names.get(name)
    if (known !== undefined) {
      this.#writer.varint(known)
      return
    }
    this.#names.set(name, this.#names.size + 1)
    this.#writer.uint8(0).string(name)
  }
}

/**
 * Reads blocks. Damaged bytes give a `RangeError` or `TypeError`, never memory beyond the block.
 */
export class EventDecoder {
  readonly #strings = new StringInterner()
  #names: string[] = []
  #acceptedAt = NaN
  #reader = new ByteReader(new Uint8Array(0))

  /** The `count` events of a block, which must fill it exactly. */
  decode(block: Uint8Array, count: number): Event[] {
    this.#names = []
    this.#acceptedAt = NaN
    this.#reader = new ByteReader(block, this.#strings)
    const events: Event[] = []
    for (let i = 0; i < count; i += 1) events.push(this.#event())
    if (this.#reader.remaining > 0) throw new RangeError(`${this.#reader.remaining} bytes too many`)
    return events
  }

  #event(): Event {
    const bits = this.#reader.uint8()
    const kind = kinds[bits & head.kind]
    const times = this.#times(bits)
    switch (kind) {
      case 'interaction':
        return this.#interaction(bits, times)
      case 'item':
        return this.#item(bits, times)
      case 'user':
        return this.#user(bits, times)
      case 'deleteItem':
        return { kind, ...times, itemId: this.#reader.string() } satisfies DeleteItem
      case 'deleteUser':
        return { kind, ...times, userId: this.#reader.string() } satisfies DeleteUser
      case 'impression':
        return this.#impression(times)
      default:
        throw new RangeError('unknown kind of event')
    }
  }

  #interaction(bits: number, times: Times): Interaction {
    const reader = this.#reader
    const event: { -readonly [Field in keyof Interaction]: Interaction[Field] } = {
      kind: 'interaction',
      timestamp: times.timestamp,
      acceptedAt: times.acceptedAt,
      userId: reader.string(),
      itemId: reader.string(),
      type: this.#name(),
    }
    if (times.eventId !== undefined) event.eventId = times.eventId
    if ((bits & head.first) > 0) event.weight = reader.float64()
    if ((bits & head.second) > 0) event.context = this.#features()
    return event
  }

  #item(bits: number, times: Times): ItemUpsert {
    const reader = this.#reader
    const event: { -readonly [Field in keyof ItemUpsert]: ItemUpsert[Field] } = {
      kind: 'item',
      ...times,
      mode: (bits & head.first) > 0 ? 'patch' : 'replace',
      itemId: reader.string(),
    }
    const names = reader.uint8()
    if ((names & named.features) > 0) event.features = this.#features()
    if ((names & named.attributes) > 0) event.attributes = readFields(reader)
    if ((names & (named.hidden | named.notHidden)) > 0) event.hidden = (names & named.hidden) > 0
    if ((names & named.expiresAt) > 0) event.expiresAt = reader.float64()
    if ((names & named.crowdingTag) > 0) event.crowdingTag = reader.string()
    return event
  }

  #user(bits: number, times: Times): UserUpsert {
    const mode = (bits & head.first) > 0 ? 'patch' : 'replace'
    const userId = this.#reader.string()
    if ((bits & head.second) === 0) return { kind: 'user', ...times, mode, userId }
    return { kind: 'user', ...times, mode, userId, features: this.#features() }
  }

  #impression(times: Times): Impression {
    const userId = this.#reader.string()
    const itemIds: string[] = []
    for (let left = this.#reader.varint(); left > 0; left -= 1) itemIds.push(this.#reader.string())
    return { kind: 'impression', ...times, userId, itemIds }
  }

  #times(bits: number): Times {
    const reader = this.#reader
    if ((bits & head.sameAcceptedAt) === 0) this.#acceptedAt = reader.float64()
    const acceptedAt = this.#acceptedAt
    const timestamp = (bits & head.delay) > 0 ? acceptedAt - reader.varint() : reader.float64()
    if ((bits & head.eventId) === 0) return { timestamp, acceptedAt }
    return { timestamp, acceptedAt, eventId: reader.string() }
  }

  #features(): Features {
    const features: Record<string, FeatureValue> = {}
    for (let left = this.#reader.varint(); left > 0; left -= 1) {
      const name = this.#name()
      setField(features, name, readFeature(this.#reader))
    }
    return features
  }

  #name(): string {
    const number = this.#reader.varint()
    if (number === 0) {
      const name = this.#reader.string()
      this.#names.push(name)
      return name
    }
    if (number > this.#names.length) throw new RangeError(`name ${number} is unknown`)
    return this.#names[number - 1]
  }
}
