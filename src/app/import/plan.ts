/**
 * How the rows of a file become events: by a mapping, by one that is guessed, or not at all where
 * they are events already. What a row has become is judged as the service will judge it.
 */
import { ServiceError } from '../../base/errors.ts'
import { parseEvent } from '../../stream/event-schema.ts'
import type { Event } from '../../stream/event.ts'
import { BadCell, cellReader, readAsIs, type ReadCell } from './cells.ts'
import {
  type CellType,
  type ColumnUse,
  guessMapping,
  type ImportKind,
  needed,
  parseMapping,
  resolveMapping,
} from './mapping.ts'
import type { ImportSource, SourceRow } from './source.ts'

export interface PlanOptions {
  readonly kind: ImportKind
  /** As on the command line; absent: guessed. */
  readonly mapping?: string
  /** Of events without a column for it. */
  readonly type: string
  readonly timeFormat?: string
  /** A timestamp further ahead of the clock is refused. */
  readonly maxFutureMs: number
}

/** What a column is used for, as its cells are read. */
export interface PlannedUse extends Omit<ColumnUse, 'type'> {
  readonly type: CellType | 'as it is'
}

export interface Rejected {
  readonly line: number
  readonly path: string
  readonly reason: string
  readonly cells: readonly unknown[]
}

/** An event as it is sent, and as it will be understood. */
export interface Made {
  readonly wire: object
  readonly event: Event
}

export class ImportPlan {
  /** Before an event's id, which ends with its row. */
  idPrefix = 'import'
  /** None: rows are events as they are. */
  readonly uses: readonly PlannedUse[]
  readonly #options: PlanOptions
  readonly #readers: readonly ReadCell[]

  /** Throws `RECORDING_COLUMNS`, `USAGE_INVALID`. */
  constructor(source: ImportSource, options: PlanOptions) {
    this.#options = options
    const { mapping, kind } = options
    const isReady = mapping === undefined && isEvent(source.first, kind)
    this.uses = isReady ? [] : planned(source, mappingOf(source, options), options)
    this.#readers = this.uses.map((use) => readerOf(use, options.timeFormat))
  }

  get columns(): readonly string[] {
    return this.uses.map(({ column }) => column)
  }

  /** The event of a row; `number` counts rows from 0, those in error too. */
  make(row: SourceRow, number: number, now: number): Made | Rejected {
    const { line, cells, problem } = row
    if (problem !== undefined) return { line, path: 'row', reason: problem, cells }
    try {
      const fields = this.#fieldsOf(cells)
      const empty = needed[this.#options.kind].find((field) => !(field in fields))
      if (empty !== undefined && this.uses.length > 0) {
        return { line, path: this.#shown(empty), reason: 'is empty', cells }
      }
      const wire = { eventId: `${this.idPrefix}-${number}`, ...fields }
      const parsed = parseEvent(wire, { now, maxFutureMs: this.#options.maxFutureMs })
      if ('event' in parsed) return { wire, event: parsed.event }
      const { path, message: reason } = parsed.error
      return { line, path: this.#shown(path), reason, cells }
    } catch (error) {
      if (!(error instanceof BadCell)) throw error
      return { line, path: error.path, reason: error.message, cells }
    }
  }

  #fieldsOf(cells: readonly unknown[]): object {
    const { kind, type } = this.#options
    if (this.uses.length === 0) return readyEvent(cells[0], kind)
    const fields: Record<string, unknown> = { ...defaults(kind, type) }
    for (const [i, { field, name, column }] of this.uses.entries()) {
      const value = this.#read(i, cells[i], column)
      if (value === undefined) continue
      if (name === undefined) fields[field] = value
      else inGroup(fields, field)[name] = value
    }
    return fields
  }

  #read(i: number, cell: unknown, column: string): unknown {
    try {
      return this.#readers[i]?.(cell)
    } catch (error) {
      if (error instanceof BadCell) error.path = column
      throw error
    }
  }

  /** The column behind a field, which is what a person knows. */
  #shown(path: string): string {
    return this.uses.find((use) => path.startsWith(pathOf(use)))?.column ?? path
  }
}

const pathOf = ({ field, name }: PlannedUse): string =>
  name === undefined ? field : `${field}.${name}`

/** Ids and the type are text, whatever they look like; groups stand for themselves. */
const typeOf = {
  timestamp: 'auto',
  expiresAt: 'auto',
  weight: 'number',
  hidden: 'boolean',
} as const

/** An item that says nothing of its time is as old as can be: see `docs/quick-start.md`. */
const defaults = (kind: ImportKind, type: string): object => {
  if (kind === 'events') return { kind: 'interaction', type }
  return { kind: kind === 'items' ? 'item' : 'user', timestamp: 0 }
}

function mappingOf(source: ImportSource, options: PlanOptions): readonly ColumnUse[] {
  const { mapping, kind } = options
  if (mapping === undefined) return guessMapping(source.columns, kind, source.hasNames)
  return resolveMapping(parseMapping(mapping, kind), source.columns)
}

function planned(
  source: ImportSource,
  uses: readonly ColumnUse[],
  { kind }: PlanOptions,
): readonly PlannedUse[] {
  return uses.map((use) => {
    const place = source.columns.indexOf(use.column)
    const cells = source.sample.map((cellsOf) => cellsOf[place])
    return { ...use, type: use.type ?? typeFor(use, cells, kind) }
  })
}

function typeFor(
  { field, name }: ColumnUse,
  cells: readonly unknown[],
  kind: ImportKind,
): PlannedUse['type'] {
  if (name === undefined) {
    if (field === 'timestamp' || field === 'expiresAt') return typeOf[field]
    if (field === 'weight' || field === 'hidden') return typeOf[field]
    return 'text'
  }
  const texts = cells.filter((cell) => typeof cell === 'string' && cell.trim() !== '')
  if (field === 'features' && name === 'categories' && texts.length > 0) return 'list'
  // Of a context every value is a category, as it is when a recording is replayed.
  if (kind === 'events' || texts.length === 0) return 'as it is'
  return texts.every(isPlainNumber) ? 'number' : 'as it is'
}

/** Not a code with zeros before it, nor one too long for a number. */
const isPlainNumber = (cell: unknown): boolean =>
  typeof cell === 'string' && /^-?(0|[1-9]\d{0,14})(\.\d+)?$/.test(cell.trim())

function readerOf({ type }: PlannedUse, timeFormat: string | undefined): ReadCell {
  if (type === 'as it is') return readAsIs
  try {
    return cellReader(type, timeFormat)
  } catch (cause) {
    const what = `--time-format ${timeFormat ?? ''}`
    const reason = 'each of YYYY, MM, DD, HH, mm, ss, SSS may be there once'
    throw new ServiceError('USAGE_INVALID', { what, reason }, { cause })
  }
}

/** Whether a value is in the words of the API, and needs no mapping. */
const isEvent = (value: unknown, kind: ImportKind): boolean =>
  isFields(value) &&
  ('kind' in value ||
    (kind === 'events' && 'userId' in value && 'itemId' in value) ||
    (kind === 'items' && 'id' in value && ('features' in value || 'attributes' in value)) ||
    (kind === 'users' && 'id' in value && 'features' in value))

/** With `id` as `POST /v1/items` has it, and as items are listed. */
function readyEvent(value: unknown, kind: ImportKind): object {
  if (!isFields(value)) return {}
  const { firstSeenAt: _, lastTouchedAt: __, offset: ___, ...fields } = value
  if (kind === 'events' || 'kind' in fields) return fields
  const { id, ...rest } = fields
  const name = kind === 'items' ? 'itemId' : 'userId'
  return { ...defaults(kind, ''), ...(id !== undefined && { [name]: id }), ...rest }
}

function inGroup(fields: Record<string, unknown>, group: string): Record<string, unknown> {
  const members = fields[group]
  if (isFields(members)) return members
  // Without a prototype: a column may be called anything.
  const made: Record<string, unknown> = { __proto__: null }
  fields[group] = made
  return made
}

const isFields = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
