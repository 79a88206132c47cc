/** From a row of a recording to an interaction, or to the reason why it is none. */
import type { Features, FeatureValue } from '../../base/features.ts'
import { eventLimits } from '../event-schema.ts'
import type { Interaction } from '../event.ts'
import { setField } from '../value-codec.ts'
import type { RowReader, RowSplitter } from './delimited-rows.ts'
import type { ResolvedColumns, TimeUnit } from './recorded-columns.ts'

export interface RowParser {
  /** Moves to the next interaction that is at hand; false when there is none. */
  advance(rows: RowReader): boolean
  /** The interaction at hand, or what is wrong with it. */
  parse(rows: RowReader, ordinal: number): Interaction | string
}

/** Without times, events are this far apart. */
const syntheticStepMs = 1_000
const maxTimestamp = 8.64e15

/** One interaction a row. */
export class InteractionParser implements RowParser {
  readonly #splitter: RowSplitter
  readonly #columns: ResolvedColumns
  readonly #type: string

  constructor(splitter: RowSplitter, columns: ResolvedColumns, type: string) {
    this.#splitter = splitter
    this.#columns = columns
    this.#type = type
  }

  advance(rows: RowReader): boolean {
    return rows.advance()
  }

  parse({ bytes, start, end }: RowReader, ordinal: number): Interaction | string {
    this.#splitter.split(bytes, start, end)
    try {
      return this.#interaction(bytes, ordinal)
    } catch (error) {
      if (error instanceof TypeError) return 'not UTF-8'
      throw error
    }
  }

  #interaction(bytes: Uint8Array, ordinal: number): Interaction | string {
    const { user, item, time, type: typeColumn, weight: weightColumn, context } = this.#columns
    const userId = this.#splitter.text(bytes, user)
    if (!isId(userId)) return 'no user id'
    const itemId = this.#splitter.text(bytes, item)
    if (!isId(itemId)) return 'no item id'
    const type = typeColumn < 0 ? this.#type : this.#splitter.text(bytes, typeColumn)
    if (type === undefined || !fits(type, eventLimits.typeBytes)) return 'no type'
    const timestamp = time < 0 ? ordinal * syntheticStepMs : this.#time(bytes, time)
    if (!(timestamp >= 0 && timestamp <= maxTimestamp)) return 'no time'
    const event: { -readonly [Field in keyof Interaction]: Interaction[Field] } = {
      kind: 'interaction',
      timestamp,
      acceptedAt: timestamp,
      userId,
      itemId,
      type,
    }
    if (weightColumn >= 0) {
      event.weight = this.#splitter.number(bytes, weightColumn)
      if (!(event.weight >= 0 && event.weight <= 1e6)) return 'no weight'
    }
    if (context.length > 0) event.context = this.#context(bytes)
    return event
  }

  #time(bytes: Uint8Array, column: number): number {
    const number = this.#splitter.number(bytes, column)
    const { timeUnit } = this.#columns
    const isText = timeUnit === 'rfc3339' || (timeUnit === 'auto' && Number.isNaN(number))
    if (isText) return Date.parse(this.#splitter.text(bytes, column) ?? '')
    return Math.round(number * scaleOf(timeUnit, number))
  }

  /** Fields that are empty are not there. */
  #context(bytes: Uint8Array): Features {
    const fields: Record<string, FeatureValue> = {}
    for (const { name, column } of this.#columns.context) {
      const value = this.#splitter.text(bytes, column)
      if (value !== undefined && value !== '') setField<FeatureValue>(fields, name, value)
    }
    return fields
  }
}

/** A row is a user and items, oldest first; without times. */
export class SequenceParser implements RowParser {
  readonly #splitter: RowSplitter
  readonly #type: string
  /** The field at hand; 0 is the user. */
  #field = 0

  constructor(splitter: RowSplitter, type: string) {
    this.#splitter = splitter
    this.#type = type
  }

  advance(rows: RowReader): boolean {
    this.#field += 1
    if (this.#field < this.#splitter.count) return true
    if (!rows.advance()) return false
    this.#splitter.split(rows.bytes, rows.start, rows.end)
    this.#field = 1
    return true
  }

  parse({ bytes }: RowReader, ordinal: number): Interaction | string {
    try {
      const userId = this.#splitter.text(bytes, 0)
      if (!isId(userId)) return 'no user id'
      const itemId = this.#splitter.text(bytes, this.#field)
      if (!isId(itemId)) return 'no item id'
      const timestamp = ordinal * syntheticStepMs
      const times = { timestamp, acceptedAt: timestamp }
      return { kind: 'interaction', ...times, userId, itemId, type: this.#type }
    } catch (error) {
      if (error instanceof TypeError) return 'not UTF-8'
      throw error
    }
  }
}

const isId = (text: string | undefined): text is string =>
  text !== undefined && fits(text, eventLimits.idBytes)

const fits = (text: string, bytes: number): boolean =>
  text !== '' && (text.length * 3 <= bytes || Buffer.byteLength(text) <= bytes)

/** Numbers below 10^11 as milliseconds would be before March 1973. */
function scaleOf(unit: TimeUnit, number: number): number {
  if (unit === 's') return 1_000
  return unit === 'auto' && number < 1e11 ? 1_000 : 1
}
