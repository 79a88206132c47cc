/**
 * Which column of a recording is what. Written as
 * `user=user_id,item=3,time=click_time:ms,type=event, weight=rating,context=device,os`: columns by
 * name, or by number from 1 where there is no header; the names after `context=` become fields of
 * the context, `context=*` all columns that are nothing else.
 */
import { ServiceError } from '../../base/errors.ts'

export type TimeUnit = 'ms' | 's' | 'rfc3339' | 'auto'

export interface ColumnMapping {
  readonly user: string
  readonly item: string
  readonly time?: string
  /** Default: numbers from 10^11 up are milliseconds, smaller ones seconds, the rest RFC 3339. */
  readonly timeUnit?: TimeUnit
  readonly type?: string
  readonly weight?: string
  readonly context?: '*' | readonly string[]
}

/** Columns by place from 0; -1: there is none. */
export interface ResolvedColumns {
  readonly hasHeader: boolean
  readonly user: number
  readonly item: number
  readonly time: number
  readonly timeUnit: TimeUnit
  readonly type: number
  readonly weight: number
  readonly context: readonly { readonly name: string; readonly column: number }[]
}

const units = ['ms', 's', 'rfc3339', 'auto'] as const

/** Throws `RECORDING_COLUMNS`. */
export function parseColumns(text: string): ColumnMapping {
  const { user, item, time, type, weight, context } = assignments(text)
  if (user === undefined || item === undefined) throw unclear('user= and item= are needed')
  return {
    user: user[0],
    item: item[0],
    ...(time === undefined ? {} : parseTime(time[0])),
    ...(type === undefined ? {} : { type: type[0] }),
    ...(weight === undefined ? {} : { weight: weight[0] }),
    ...(context === undefined ? {} : { context: context[0] === '*' ? '*' : context }),
  }
}

const roles = ['user', 'item', 'time', 'type', 'weight', 'context'] as const

/** The values after each `role=`: one, of the context any number. */
function assignments(text: string): Partial<Record<(typeof roles)[number], string[]>> {
  const values: Partial<Record<(typeof roles)[number], string[]>> = {}
  let current: string[] | undefined
  for (const part of text.split(',')) {
    const equals = part.indexOf('=')
    const value = part.slice(equals + 1).trim()
    if (equals >= 0) {
      const name = part.slice(0, equals).trim()
      const role = roles.find((known) => known === name)
      if (role === undefined) throw unclear(`${name} is none of ${roles.join(', ')}`)
      current = []
      values[role] = current
    } else if (current === undefined || current !== values.context) {
      throw unclear(`${value} belongs to nothing`)
    }
    if (value === '') throw unclear(`${part} names no column`)
    current.push(value)
  }
  return values
}

function parseTime(text: string): { time: string; timeUnit?: TimeUnit } {
  const colon = text.lastIndexOf(':')
  if (colon < 0) return { time: text }
  const timeUnit = units.find((unit) => unit === text.slice(colon + 1))
  if (timeUnit === undefined) throw unclear(`a time is in ${units.join(', ')}, not ${text}`)
  return { time: text.slice(0, colon), timeUnit }
}

/** Names under which columns are commonly found, when no mapping is given; the best first. */
const common = {
  user: [/(^|_)(user|visitor|customer)(_?id)?$/i, /^session(_?id)?$/i],
  item: [/(^|_)(item|article|movie|product|track|song|book|video|business)(_?id)?$/i],
  time: [/(^|_)(timestamp|time|ts|datetime|date)$/i],
  type: [/^(type|event|event_?type|action|behaviou?r)$/i],
} as const

/**
 * Places of the columns, for a file whose first row has the fields `first`. Throws
 * `RECORDING_COLUMNS` when one is not there. The row is taken as a header when columns are named,
 * or when what should be a number in it is none.
 */
export function resolveColumns(
  first: readonly string[],
  mapping: ColumnMapping | undefined,
  contextFields: readonly string[] = [],
): ResolvedColumns {
  if (mapping === undefined) return withContext(guessColumns(first), first, contextFields)
  const place = (column: string | undefined): number => {
    if (column === undefined) return -1
    const found = isNumber(column) ? Number(column) - 1 : first.indexOf(column)
    if (found >= 0 && found < first.length) return found
    throw unclear(`there is no column ${column} among ${first.join(', ')}`)
  }
  const { user, item, time, type, weight, timeUnit = 'auto' } = mapping
  const places = {
    user: place(user),
    item: place(item),
    time: place(time),
    type: place(type),
    weight: place(weight),
  }
  const numeric = [places.time, places.weight].filter((column) => column >= 0)
  const hasHeader =
    [user, item, time, type, weight].some((column) => column !== undefined && !isNumber(column)) ||
    numeric.some((column) => isWord(first[column]))
  const used = new Set(Object.values(places))
  const columns =
    mapping.context === '*'
      ? first.map((_, column) => column).filter((column) => !used.has(column))
      : (mapping.context ?? []).map(place)
  const nameOf = (column: number): string => (hasHeader ? first[column] : `column${column + 1}`)
  const context = columns.map((column) => ({ name: nameOf(column), column }))
  const resolved = { hasHeader, ...places, timeUnit, context }
  return mapping.context === undefined ? withContext(resolved, first, contextFields) : resolved
}

/** With those of the wanted fields that the header names, where none were asked for. */
function withContext(
  columns: ResolvedColumns,
  first: readonly string[],
  fields: readonly string[],
): ResolvedColumns {
  if (!columns.hasHeader) return columns
  const context = fields.flatMap((name) => {
    const column = first.indexOf(name)
    return column < 0 ? [] : { name, column }
  })
  return { ...columns, context }
}

const isNumber = (column: string): boolean => /^\d+$/.test(column)

/** By common names; without any, user, item and (last) time as in the MovieLens files. */
function guessColumns(first: readonly string[]): ResolvedColumns {
  const find = (patterns: readonly RegExp[]): number => {
    const matches = patterns.map((pattern) => first.findIndex((name) => pattern.test(name.trim())))
    return matches.find((column) => column >= 0) ?? -1
  }
  const user = find(common.user)
  const item = find(common.item)
  const rest = { timeUnit: 'auto', weight: -1, context: [] } as const
  if (user >= 0 && item >= 0) {
    const places = { time: find(common.time), type: find(common.type) }
    return { hasHeader: true, user, item, ...places, ...rest }
  }
  if (first.length < 2) throw unclear(`a row has at least a user and an item, not ${first.join()}`)
  const time = first.length >= 3 ? first.length - 1 : -1
  return { hasHeader: time >= 0 && isWord(first[time]), user: 0, item: 1, time, type: -1, ...rest }
}

/** Neither a number, nor a date, nor empty. */
const isWord = (text = ''): boolean =>
  text.trim() !== '' && Number.isNaN(Number(text)) && Number.isNaN(Date.parse(text))

const unclear = (reason: string): ServiceError => new ServiceError('RECORDING_COLUMNS', { reason })
