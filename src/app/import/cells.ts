/**
 * From a cell of a file to a value of an event. Empty cells are not there. Times without a zone are
 * UTC.
 */
import type { CellType } from './mapping.ts'

/** Why a cell is not what it should be. */
export class BadCell extends Error {
  /** The column, for a person. */
  path = ''
}

/** undefined: the cell is empty. Throws `BadCell`. */
export type ReadCell = (cell: unknown) => unknown

/** `timeFormat`: of times that are text, as `DD.MM.YYYY HH:mm`. */
export function cellReader(type: CellType, timeFormat: string | undefined): ReadCell {
  const read = readers[type] ?? timeReader(type, timeFormat)
  return (cell) => {
    const value = plain(cell)
    return value === undefined || value === '' ? undefined : read(value)
  }
}

/** What the readers of files make of a cell, as JSON has it. */
function plain(cell: unknown): unknown {
  if (cell === null || cell === undefined) return undefined
  if (typeof cell === 'bigint') {
    return Number.isSafeInteger(Number(cell)) ? Number(cell) : String(cell)
  }
  if (typeof cell === 'string') return cell.trim()
  return cell
}

/** As the file has it: text of a table is text. */
export const readAsIs = (cell: unknown): unknown => {
  const value = plain(cell)
  if (value === '') return undefined
  if (value instanceof Date) return value.getTime()
  return Array.isArray(value) ? value.map(readAsIs).filter((one) => one !== undefined) : value
}

const readers: Partial<Record<CellType, ReadCell>> = {
  text: (value) => {
    if (typeof value === 'string') return value
    if (typeof value === 'number' || typeof value === 'boolean') return String(value)
    throw new BadCell(`expected text, not ${shown(value)}`)
  },
  number: (value) => {
    const number = typeof value === 'string' ? Number(value.replace(',', '.')) : value
    if (typeof number === 'number' && Number.isFinite(number)) return number
    throw new BadCell(`expected a number, not ${shown(value)}`)
  },
  list: (value) => {
    if (Array.isArray(value)) return value.map(readAsIs)
    if (typeof value !== 'string') return [value]
    const parts = value.split(/[|;,]/).map((part) => part.trim())
    return parts.filter((part) => part !== '')
  },
  boolean: (value) => {
    if (typeof value === 'boolean') return value
    const word = String(value).toLowerCase()
    if (['true', '1', 'yes', 'y', 't'].includes(word)) return true
    if (['false', '0', 'no', 'n', 'f'].includes(word)) return false
    throw new BadCell(`expected true or false, not ${shown(value)}`)
  },
}

/** So many of each are a second. */
const perSecond: Partial<Record<CellType, number>> = { s: 1, ms: 1e3, us: 1e6, ns: 1e9 }
const latestTime = 8.64e15

function timeReader(type: CellType, format: string | undefined): ReadCell {
  const ofText = format === undefined ? isoTime : formattedTime(format)
  return (value) => {
    const time = value instanceof Date ? value.getTime() : timeOf(value, type, ofText)
    if (time >= 0 && time <= latestTime) return time
    const unit = type === 'auto' || type === 'rfc3339' ? '' : ` in ${type}`
    const pattern = format === undefined ? '' : ` as ${format}`
    throw new BadCell(`expected a time${unit}${pattern}, not ${shown(value)}`)
  }
}

function timeOf(value: unknown, type: CellType, ofText: (text: string) => number): number {
  const number = typeof value === 'string' && value !== '' ? Number(value) : value
  const isNumber = typeof number === 'number' && !Number.isNaN(number) && type !== 'rfc3339'
  if (isNumber) return inMilliseconds(number, perSecond[type] ?? scaleOf(number))
  if (perSecond[type] !== undefined || typeof value !== 'string') return Number.NaN
  return ofText(value)
}

/** Each unit by the years 1973 to 5138 in it. */
function scaleOf(number: number): number {
  if (number < 1e11) return 1
  if (number < 1e14) return 1e3
  return number < 1e17 ? 1e6 : 1e9
}

/** Rounded: nanoseconds since 1970 are beyond what a double can tell apart. */
const inMilliseconds = (number: number, unit: number): number =>
  Math.round(unit < 1e3 ? number * 1e3 : number / (unit / 1e3))

const iso =
  /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(:\d\d)?(?:[.,](\d{1,9}))?)?\s*(Z|UTC|[+-]\d\d:?\d\d)?$/i

/** RFC 3339, and the same with a blank or without a zone, seconds or time of day. */
function isoTime(text: string): number {
  const [, date, minutes = '00:00', seconds = ':00', fraction = '0', zone = 'Z'] =
    iso.exec(text) ?? []
  if (date === undefined) return Number.NaN
  const offset = /^(z|utc)$/i.test(zone) ? 'Z' : zone.replace(/^(...):?(..)$/, '$1:$2')
  return Date.parse(`${date}T${minutes}${seconds}.${fraction.slice(0, 3)}${offset}`)
}

const tokens: Record<string, string> = {
  YYYY: String.raw`(?<year>\d{4})`,
  MM: String.raw`(?<month>\d{1,2})`,
  DD: String.raw`(?<day>\d{1,2})`,
  HH: String.raw`(?<hour>\d{1,2})`,
  mm: String.raw`(?<minute>\d{1,2})`,
  ss: String.raw`(?<second>\d{1,2})`,
  SSS: String.raw`(?<fraction>\d{1,3})`,
}

function formattedTime(format: string): (text: string) => number {
  const escaped = format.replace(/[.*+?^${}()|[\]\\/]/g, String.raw`\$&`)
  const pattern = new RegExp(`^${escaped.replace(/YYYY|MM|DD|HH|mm|SSS|ss/g, tokenOf)}$`)
  return (text) => {
    const { groups } = pattern.exec(text) ?? {}
    if (groups === undefined) return Number.NaN
    const part = (name: string, otherwise: number): number => Number(groups[name] ?? otherwise)
    const day = Date.UTC(part('year', Number.NaN), part('month', 1) - 1, part('day', 1))
    const isDay = new Date(day).getUTCDate() === part('day', 1)
    const minutes = part('hour', 0) * 60 + part('minute', 0)
    const fraction = Number(`0.${groups['fraction'] ?? 0}`)
    return isDay ? day + minutes * 60_000 + (part('second', 0) + fraction) * 1_000 : Number.NaN
  }
}

const tokenOf = (token: string): string => tokens[token] ?? token

const shown = (value: unknown): string => JSON.stringify(value)?.slice(0, 60) ?? String(value)
