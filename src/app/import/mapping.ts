/**
 * Which column of a file is which field of an event, an item or a user. Written as
 * `user=customer.id,item=sku,time=when:ms,context=device,os` or with names of one's own,
 * `features.title=name,attributes=*`: columns by name (dots lead into JSON), or by number from 1.
 * Behind a colon stands how to read it. What follows a group (`context`, `features`,
 * `attributes`) without a name of its own belongs to it under the column's name; `*` is every
 * column that is nothing else.
 */
import { ServiceError } from '../../base/errors.ts'
import { suggestion } from '../nearest.ts'

export const importKinds = ['events', 'items', 'users'] as const
export type ImportKind = (typeof importKinds)[number]

const cellTypes = [
  'text',
  'number',
  'list',
  'boolean',
  's',
  'ms',
  'us',
  'ns',
  'rfc3339',
  'auto',
] as const
export type CellType = (typeof cellTypes)[number]

/** One column and where its cells go: to a field, or to a name in a group of them. */
export interface ColumnUse {
  readonly field: string
  /** Within `field`, which is then a group. */
  readonly name?: string
  readonly column: string
  /** Absent: as the file has it, or as its cells look. */
  readonly type?: CellType
}

/** Fields by the names that a mapping may use for them; the first is how they are shown. */
const fields: Record<ImportKind, Record<string, readonly string[]>> = {
  events: {
    userId: ['user', 'userId'],
    itemId: ['item', 'itemId'],
    timestamp: ['time', 'timestamp'],
    type: ['type'],
    weight: ['weight'],
    eventId: ['event', 'eventId'],
  },
  items: {
    itemId: ['item', 'id', 'itemId'],
    timestamp: ['time', 'timestamp'],
    hidden: ['hidden'],
    expiresAt: ['expires', 'expiresAt'],
    crowdingTag: ['crowding', 'crowdingTag'],
  },
  users: { userId: ['user', 'id', 'userId'], timestamp: ['time', 'timestamp'] },
}

const groups: Record<ImportKind, readonly string[]> = {
  events: ['context'],
  items: ['features', 'attributes'],
  users: ['features'],
}

/** What an event of a kind cannot do without. */
export const needed: Record<ImportKind, readonly string[]> = {
  events: ['userId', 'itemId'],
  items: ['itemId'],
  users: ['userId'],
}

/** As a mapping names it. */
export const shownField = (
  kind: ImportKind,
  { field, name }: Pick<ColumnUse, 'field' | 'name'>,
): string => (name === undefined ? (fields[kind][field]?.[0] ?? field) : `${field}.${name}`)

/** Throws `RECORDING_COLUMNS`. */
export function parseMapping(text: string, kind: ImportKind): readonly ColumnUse[] {
  const uses: ColumnUse[] = []
  let group: string | undefined
  for (const part of text.split(',').map((one) => one.trim())) {
    const equals = part.indexOf('=')
    if (equals < 0 && group === undefined) throw unclear(`"${part}" names no field: FIELD=COLUMN`)
    const given = equals < 0 ? (group ?? '') : part.slice(0, equals).trim()
    const { column, type } = columnOf(part.slice(equals + 1).trim())
    const use = useOf(given, column, kind)
    group = groups[kind].includes(given) ? given : undefined
    uses.push({ ...use, ...(type !== undefined && { type }) })
  }
  for (const field of needed[kind]) {
    if (uses.some((use) => use.field === field)) continue
    throw unclear(`${fields[kind][field]?.[0] ?? field}=COLUMN is needed for ${kind}`)
  }
  return uses
}

function columnOf(text: string): { column: string; type?: CellType } {
  if (text === '') throw unclear('a column is missing behind "="')
  const colon = text.lastIndexOf(':')
  const type = cellTypes.find((known) => known === text.slice(colon + 1))
  if (colon <= 0) return { column: text }
  if (type === undefined) {
    const wrong = text.slice(colon + 1)
    const hint = suggestion(wrong, cellTypes)
    throw unclear(`"${wrong}" is none of ${cellTypes.join(', ')}${hint}`)
  }
  return { column: text.slice(0, colon), type }
}

function useOf(given: string, column: string, kind: ImportKind): ColumnUse {
  const field = Object.keys(fields[kind]).find((one) => fields[kind][one]?.includes(given))
  if (field !== undefined) return { field, column }
  if (groups[kind].includes(given)) return { field: given, name: lastName(column), column }
  const [head = '', ...rest] = given.split('.')
  if (groups[kind].includes(head) && rest.join('.') !== '' && column !== '*') {
    return { field: head, name: rest.join('.'), column }
  }
  const known = [
    ...Object.values(fields[kind]).map(([first = '']) => first),
    ...groups[kind].flatMap((group) => [group, `${group}.NAME`]),
  ]
  const hint = suggestion(given, known)
  throw unclear(`"${given}" is no field of ${kind}, which are ${known.join(', ')}${hint}`)
}

/** `customer.city` is found in `customer`, and called `city`. */
const lastName = (column: string): string => column.slice(column.lastIndexOf('.') + 1)

/**
 * With every `*` written out, and columns as the file has them. Throws `RECORDING_COLUMNS` for one
 * that it has not.
 */
export function resolveMapping(
  uses: readonly ColumnUse[],
  columns: readonly string[],
): readonly ColumnUse[] {
  const named = uses
    .filter(({ column }) => column !== '*')
    .map((use) => Object.assign({}, use, { column: place(use.column, columns) }))
  const used = new Set(named.map(({ column }) => column))
  const rest = columns.filter((column) => !used.has(column))
  const everything = uses
    .filter(({ column }) => column === '*')
    .flatMap((use) =>
      rest.map((column) => Object.assign({}, use, { name: lastName(column), column })),
    )
  return [...named, ...everything]
}

function place(column: string, columns: readonly string[]): string {
  if (columns.includes(column)) return column
  const numbered = /^[1-9]\d*$/.test(column) ? columns[Number(column) - 1] : undefined
  if (numbered !== undefined) return numbered
  const hint = suggestion(column, columns)
  throw unclear(`there is no column "${column}" among ${columns.join(', ')}${hint}`)
}

const users = [
  /(^|_)(user|visitor|customer|member|account)(_?id)?$/,
  /^(uid|visitor|session(_?id)?)$/,
]
const items = [
  /(^|_)(item|article|movie|product|track|song|book|video|business|sku|offer)(_?id)?$/,
  /(^|_)(asset|content|document)_?id$/,
]
const times = [/(^|_)(timestamp|time|ts|datetime|date|at|when)$/, /^(timestamp|time)/]
const types = [/^(type|event|event_?type|action|behaviou?r|interaction)$/]
const titles = [/^(title|name)$/]
const categories = [/^(categor(y|ies)|genres?|tags?)$/]

/**
 * By common names; without those of user and item, the order of the MovieLens files. Throws
 * `RECORDING_COLUMNS`.
 */
export function guessMapping(
  columns: readonly string[],
  kind: ImportKind,
  hasNames: boolean,
): readonly ColumnUse[] {
  const find: Find = (patterns) =>
    patterns.map((one) => columns.find((name) => one.test(plainName(name)))).find(Boolean)
  if (kind === 'events') return guessEvents(columns, find, hasNames)
  const field = kind === 'items' ? 'itemId' : 'userId'
  const names = kind === 'items' ? items : users
  const id = find([...names, /^id$/]) ?? (hasNames ? undefined : columns[0])
  if (id === undefined) throw guessless(columns, kind)
  const time = find(times.slice(0, 1))
  const about = kind === 'items' ? guessFeatures(columns, find, hasNames) : []
  const rest = { field: kind === 'items' ? 'attributes' : 'features', column: '*' }
  const uses = [
    { field, column: id },
    ...about,
    ...(time === undefined ? [] : [{ field: 'timestamp', column: time }]),
    ...(hasNames ? [rest] : []),
  ]
  return resolveMapping(uses, columns)
}

type Find = (patterns: readonly RegExp[]) => string | undefined

/** What places a new item beside others. */
function guessFeatures(
  columns: readonly string[],
  find: Find,
  hasNames: boolean,
): readonly ColumnUse[] {
  const title = find(titles) ?? (hasNames ? undefined : columns[1])
  const tags = find(categories) ?? (hasNames ? undefined : columns[2])
  const uses: ColumnUse[] = []
  if (title !== undefined) {
    uses.push({ field: 'features', name: 'title', column: title })
    // Shown with what is recommended, too.
    uses.push({ field: 'attributes', name: 'title', column: title })
  }
  if (tags !== undefined) {
    uses.push({ field: 'features', name: 'categories', column: tags, type: 'list' })
  }
  return uses
}

function guessEvents(
  columns: readonly string[],
  find: Find,
  hasNames: boolean,
): readonly ColumnUse[] {
  const user = find(users)
  const item = find(items)
  if (user !== undefined && item !== undefined) {
    const uses = [
      { field: 'userId', column: user },
      { field: 'itemId', column: item },
    ]
    const time = find(times)
    const type = find(types)
    if (time !== undefined) uses.push({ field: 'timestamp', column: time })
    if (type !== undefined) uses.push({ field: 'type', column: type })
    return uses
  }
  const [first, second] = columns
  const last = columns.at(-1)
  if (hasNames || first === undefined || second === undefined || last === undefined) {
    throw guessless(columns, 'events')
  }
  return [
    { field: 'userId', column: first },
    { field: 'itemId', column: second },
    ...(columns.length > 2 ? [{ field: 'timestamp', column: last }] : []),
  ]
}

/** `customer.userId` as `customer_user_id`. */
const plainName = (name: string): string =>
  name
    .replace(/([a-z\d])([A-Z])/g, '$1_$2')
    .replace(/[.\s-]+/g, '_')
    .toLowerCase()

/** Whether names of columns say what they are: then the first row of a file is a header. */
export const areNames = (columns: readonly string[]): boolean =>
  [...users, ...items].some((one) => columns.some((name) => one.test(plainName(name))))

const guessless = (columns: readonly string[], kind: ImportKind): ServiceError => {
  const which = kind === 'events' ? 'user=COLUMN,item=COLUMN' : 'id=COLUMN'
  return unclear(`say with --map ${which},... which of these is what: ${columns.join(', ')}`)
}

const unclear = (reason: string): ServiceError => new ServiceError('RECORDING_COLUMNS', { reason })
