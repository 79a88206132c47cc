/**
 * Reads the value that nearly all messages have - one interaction in which nothing is wrong - right
 * from its bytes. Ids and types met lately are the same strings again, and so are whole contexts:
 * a stream repeats itself, and what is known is neither parsed, nor allocated, nor hashed again by
 * whoever looks it up. Anything else, down to an escape in an id, is left to `decodeMessage`, which
 * says the same of these at five times the cost.
 */
import { isUtf8 } from 'node:buffer'

import type { Features } from '../../base/features.ts'
import { StringInterner } from '../../base/interner.ts'
import { eventLimits, parseFeatures, type ParseOptions } from '../event-schema.ts'
import type { Interaction } from '../event.ts'

const quote = 0x22
const comma = 0x2c
const colon = 0x3a
const backslash = 0x5c
const [openBrace, closeBrace] = [0x7b, 0x7d]
const [zero, nine] = [0x30, 0x39]
const space = 0x20
const firstNotAscii = 0x80

/** Whole milliseconds of more digits are for the schema. */
const maxDigits = 15
const maxWeightLength = 24
const weightPattern = /^(?:0|[1-9]\d*)(?:\.\d+)?$/

/** Contexts that are kept, a power of two, and the longest of them in bytes. */
const keptContexts = 2048
const maxContextBytes = 512

const names = [
  'kind',
  'userId',
  'itemId',
  'type',
  'timestamp',
  'eventId',
  'weight',
  'context',
] as const
type Name = (typeof names)[number]
const interaction = Buffer.from('"interaction"')

/** A name's length and first byte tell it from the others. */
const codeOf = (length: number, first: number): number => ((length & 15) << 8) | first
const byCode: ({ readonly name: Name; readonly bytes: Buffer } | undefined)[] = Array.from({
  length: 16 << 8,
})
for (const name of names) {
  byCode[codeOf(name.length, name.charCodeAt(0))] = { name, bytes: Buffer.from(name) }
}

type Writable = { -readonly [Field in keyof Interaction]: Interaction[Field] }
type Draft = { -readonly [Field in keyof Interaction]?: Interaction[Field] | undefined }

const newDraft = (): Draft => ({
  kind: undefined,
  userId: undefined,
  itemId: undefined,
  type: undefined,
  timestamp: undefined,
  eventId: undefined,
  weight: undefined,
  context: undefined,
})

/** Invariant: `#at` is behind what has been read of `#bytes`, and never behind their end. */
export class PlainInteractions {
  readonly #strings = new StringInterner()
  readonly #spans: (Buffer | undefined)[] = Array.from({ length: keptContexts })
  readonly #contexts: (Features | undefined)[] = Array.from({ length: keptContexts })
  #bytes: Buffer = Buffer.alloc(0)
  #at = 0

  /** Undefined: it is something else, or not certainly this. */
  read(bytes: Buffer, options: ParseOptions): Interaction | undefined {
    this.#bytes = bytes
    this.#at = 0
    const draft = newDraft()
    return this.#fields(draft) ? eventOf(draft, options) : undefined
  }

  /** Whether the bytes are one object of fields that are all plain, each there once. */
  #fields(draft: Draft): boolean {
    if (!this.#skip(openBrace)) return false
    do {
      const name = this.#name()
      if (name === undefined || draft[name] !== undefined) return false
      if (!this.#take(name, draft)) return false
    } while (this.#skip(comma))
    return this.#skip(closeBrace) && this.#at === this.#bytes.length
  }

  /** The value of a field; false: it is not plain. */
  #take(name: Name, draft: Draft): boolean {
    switch (name) {
      case 'kind':
        draft.kind = 'interaction'
        return this.#skipBytes(interaction)
      case 'userId':
      case 'itemId':
        draft[name] = this.#text(eventLimits.idBytes, true)
        return draft[name] !== undefined
      case 'type':
        draft.type = this.#text(eventLimits.typeBytes, true)
        return draft.type !== undefined
      case 'timestamp':
        draft.timestamp = this.#time()
        return draft.timestamp !== undefined
      case 'eventId':
        draft.eventId = this.#text(eventLimits.idBytes, false)
        return draft.eventId !== undefined
      case 'weight':
        draft.weight = this.#weight()
        return draft.weight !== undefined
      case 'context':
        draft.context = this.#context()
        return draft.context !== undefined
      default:
        return false
    }
  }

  /** Past one byte, and spaces before it. */
  #skip(byte: number): boolean {
    const bytes = this.#bytes
    while (this.#at < bytes.length && bytes[this.#at] === space) this.#at += 1
    if (this.#at >= bytes.length || bytes[this.#at] !== byte) return false
    this.#at += 1
    return true
  }

  #skipBytes(wanted: Buffer): boolean {
    const from = this.#at
    const bytes = this.#bytes
    if (from + wanted.length > bytes.length) return false
    for (let i = 0; i < wanted.length; i += 1) if (bytes[from + i] !== wanted[i]) return false
    this.#at += wanted.length
    return true
  }

  /** A known name with the colon after it, and the spaces before its value. */
  #name(): Name | undefined {
    if (!this.#skip(quote)) return undefined
    const bytes = this.#bytes
    const from = this.#at
    let end = from
    while (end < bytes.length && bytes[end] !== quote) end += 1
    const found = end - from < 16 ? byCode[codeOf(end - from, bytes[from])] : undefined
    if (found === undefined || !this.#skipBytes(found.bytes)) return undefined
    this.#at += 1
    if (!this.#skip(colon)) return undefined
    while (this.#at < bytes.length && bytes[this.#at] === space) this.#at += 1
    return found.name
  }

  /** Text of ASCII that needs no escape, 1 to a third of `most` characters. */
  #text(most: number, isRepeated: boolean): string | undefined {
    if (!this.#skip(quote)) return undefined
    const bytes = this.#bytes
    const from = this.#at
    let at = from
    for (; at < bytes.length && bytes[at] !== quote; at += 1) {
      const byte = bytes[at]
      if (byte < space || byte >= firstNotAscii || byte === backslash) return undefined
    }
    const length = at - from
    if (at >= bytes.length || length === 0 || length * 3 > most) return undefined
    this.#at = at + 1
    return isRepeated
      ? this.#strings.decode(bytes, from, length)
      : bytes.toString('latin1', from, at)
  }

  #time(): number | undefined {
    const bytes = this.#bytes
    const from = this.#at
    let value = 0
    for (; this.#at < bytes.length; this.#at += 1) {
      const byte = bytes[this.#at]
      if (byte < zero || byte > nine) break
      value = value * 10 + (byte - zero)
    }
    const digits = this.#at - from
    const isWhole = digits > 0 && digits <= maxDigits && (digits === 1 || bytes[from] !== zero)
    return isWhole ? value : undefined
  }

  #weight(): number | undefined {
    const bytes = this.#bytes
    const from = this.#at
    const most = Math.min(bytes.length, from + maxWeightLength)
    while (this.#at < most && bytes[this.#at] !== comma && bytes[this.#at] !== closeBrace) {
      this.#at += 1
    }
    const text = bytes.toString('latin1', from, this.#at)
    if (!weightPattern.test(text)) return undefined
    const weight = Number(text)
    return weight <= eventLimits.weight ? weight : undefined
  }

  /** An object without braces in it, neither of objects nor in texts. */
  #context(): Features | undefined {
    const bytes = this.#bytes
    const from = this.#at
    const end = bytes.indexOf(closeBrace, from) + 1
    if (end === 0 || end - from > maxContextBytes) return undefined
    this.#at = end
    const slot = slotOf(bytes, from, end)
    return this.#knownContext(slot, from) ?? this.#newContext(slot, from)
  }

  #knownContext(slot: number, from: number): Features | undefined {
    const known = this.#spans[slot]
    const length = this.#at - from
    if (known?.length !== length) return undefined
    const isSame = this.#bytes.compare(known, 0, length, from, this.#at) === 0
    return isSame ? this.#contexts[slot] : undefined
  }

  #newContext(slot: number, from: number): Features | undefined {
    // A copy: the span is kept for longer than the message.
    const span = Buffer.from(this.#bytes.subarray(from, this.#at))
    const result = isUtf8(span) ? parseFeatures(parsedOf(span.toString())) : undefined
    if (result === undefined || 'problem' in result) return undefined
    this.#spans[slot] = span
    this.#contexts[slot] = result.features
    return result.features
  }
}

function eventOf(draft: Draft, { now, maxFutureMs }: ParseOptions): Interaction | undefined {
  const { userId, itemId, type, timestamp = now } = draft
  if (userId === undefined || itemId === undefined || type === undefined) return undefined
  if (timestamp > now + maxFutureMs || now < 0) return undefined
  const event: Writable = { kind: 'interaction', userId, itemId, type, timestamp, acceptedAt: now }
  if (draft.context !== undefined) event.context = draft.context
  if (draft.eventId !== undefined) event.eventId = draft.eventId
  if (draft.weight !== undefined) event.weight = draft.weight
  return event
}

/** By a hash that takes three bytes at a time. */
function slotOf(bytes: Uint8Array, from: number, end: number): number {
  let hash = end - from
  let at = from
  for (; at + 2 < end; at += 3) {
    hash = Math.imul(hash ^ (bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16)), 0x9e3779b1)
    hash ^= hash >>> 15
  }
  for (; at < end; at += 1) hash = Math.imul(hash ^ bytes[at], 0x9e3779b1)
  return (hash ^ (hash >>> 16)) & (keptContexts - 1)
}

function parsedOf(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text)
    return value
  } catch {
    return undefined
  }
}
