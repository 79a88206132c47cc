/**
 * What a request may say about the items it wants, as a query string and as a body: schemas, and
 * the one shape that both become.
 */
import * as z from 'zod'

import {
  type ItemFilter,
  type ItemSelection,
  lastFallbacks,
  type NumericRestrict,
  requestLimits,
} from '../recommendation.ts'
import { booleanText, listText, numberText, part } from './parts.ts'
import { features, id, time } from './schemas.ts'

export type Count = z.ZodType<number, number>

const effort = z.number().min(0).max(1)
const offset = z.int().min(0).max(requestLimits.offset)
const crowding = z.int().min(1).max(requestLimits.items)

/** What a write answered as `offset`: of each partition of the log that it touched, one. */
const offsetText = z
  .string()
  .max(8_192)
  .regex(
    /^(\d{1,9}:)?\d{1,16}(\.\d{1,9})?(,\d{1,9}:\d{1,16}(\.\d{1,9})?)*$/,
    'not an offset that a write has answered',
  )

/** Of a read by id. */
export const afterWrite = part(
  'query',
  z.strictObject({
    minSequence: offsetText
      .optional()
      .describe('answers only once the events up to this offset have their effect'),
  }),
)

export const minSequence = z
  .union([offsetText, z.int().min(0).transform(String)])
  .optional()
  .describe('answers only once the event with this offset has its effect')

/** `category:news`: the namespace ends at the first colon. */
const tokenText = z
  .string()
  .max(1281)
  .regex(/^[^:]+:/, 'not namespace:value')

/** `price:lte:20`: name, relation, number; a name may have colons. */
const numericText = z
  .string()
  .max(320)
  .regex(
    /^.+:(eq|lt|lte|gt|gte):-?\d{1,32}(\.\d{1,32})?$/s,
    'not name:relation:number with eq, lt, lte, gt or gte',
  )

export const selectionText = (n: Count) => ({
  n: numberText(n).default(10),
  offset: numberText(offset).optional(),
  allow: listText(tokenText, requestLimits.filterValues).optional(),
  deny: listText(tokenText, requestLimits.filterValues).optional(),
  numeric: listText(numericText, requestLimits.filterNamespaces).optional(),
  exclude: listText(id, requestLimits.exclude).optional(),
  crowding: numberText(crowding).optional(),
  effort: numberText(effort).optional(),
  exact: booleanText.optional(),
  explain: booleanText.optional(),
  minSequence: offsetText.optional(),
})

type SelectionText = z.output<z.ZodObject<ReturnType<typeof selectionText>>>

export interface SelectionAfter {
  readonly selection: ItemSelection
  /** The offset to wait for. */
  readonly after: string | undefined
}

export function selectionOf(text: SelectionText): SelectionAfter {
  const { n, offset: skip, allow, deny, numeric, minSequence: after, ...rest } = text
  const isFiltered = allow !== undefined || deny !== undefined || numeric !== undefined
  const filter = isFiltered
    ? {
        allow: byNamespace(allow),
        deny: byNamespace(deny),
        ...(numeric === undefined ? {} : { numeric: byName(numeric) }),
      }
    : undefined
  const { exclude, crowding: perTag, effort: share, exact, explain } = rest
  const selection = { n, offset: skip, filter, exclude, effort: share, exact, explain }
  return {
    selection: perTag === undefined ? selection : { ...selection, crowding: perTag },
    after,
  }
}

function byNamespace(texts: readonly string[] | undefined): ItemFilter['allow'] {
  if (texts === undefined) return undefined
  const pairs = texts.map((token) => {
    const colon = token.indexOf(':')
    return { namespace: token.slice(0, colon), value: token.slice(colon + 1) }
  })
  const groups = Map.groupBy(pairs, (pair) => pair.namespace)
  return Object.fromEntries(
    [...groups].map(([namespace, group]) => [namespace, group.map(({ value }) => value)]),
  )
}

function byName(texts: readonly string[]): Record<string, NumericRestrict> {
  const triples = texts.map((text) => {
    const parts = text.split(':')
    const [relation = '', number = ''] = parts.slice(-2)
    return { name: parts.slice(0, -2).join(':'), bound: [relation, Number(number)] as const }
  })
  const groups = Map.groupBy(triples, ({ name }) => name)
  return Object.fromEntries(
    [...groups].map(([name, group]) => [name, Object.fromEntries(group.map(({ bound }) => bound))]),
  )
}

const filterValue = z.string().max(1024)
const tokens = z.record(
  z.string().min(1).max(256),
  z.array(filterValue).max(requestLimits.filterValues),
)

const restrict = z
  .strictObject({
    eq: z.number().optional(),
    lt: z.number().optional(),
    lte: z.number().optional(),
    gt: z.number().optional(),
    gte: z.number().optional(),
  })
  .refine((bounds) => Object.keys(bounds).length > 0, { message: 'no bound' })

/** The fields of a body that say which items; `n` is the request's own business. */
export const selectionFields = {
  offset: offset.optional().describe('leaves out the first so many'),
  filter: z
    .strictObject({
      allow: tokens.optional(),
      deny: tokens.optional(),
      numeric: z.record(z.string().min(1).max(256), restrict).optional(),
    })
    .optional()
    .describe('values of features and attributes that an item must, or must not, have'),
  exclude: z.array(id).max(requestLimits.exclude).optional().describe('ids not to come back'),
  crowding: crowding.optional().describe('items of one crowding tag, at most'),
  effort: effort.optional().describe('share of the possible work that the index spends'),
  exact: z.boolean().optional().describe('rank every item'),
  explain: z.boolean().optional(),
}

const given = z.strictObject({
  itemId: id,
  type: z.string().min(1).max(64).optional(),
  timestamp: time.optional(),
})

export const givenHistory = z.array(given).max(requestLimits.history)

export const lastFallback = z
  .enum(lastFallbacks)
  .optional()
  .describe('for somebody of whom nothing is known: what is taken most, or came last')

/** Who asks, as far as the request says. */
export const askerFields = {
  userId: id.optional(),
  features: features.optional().describe('over those that are known of the user'),
  history: givenHistory.optional().describe('put before what is known of the user'),
  context: features.optional().describe('of this request: device, place, ...'),
}

export const version = z
  .string()
  .regex(/^[A-Za-z][A-Za-z0-9_-]{0,63}$/, 'not a name of a version')
  .optional()
  .describe('which version of the model is asked; default: the one that has the user')

/** A whole request, but for `minSequence`. */
export const descriptionFields = (n: Count) => ({
  ...askerFields,
  n: n.default(10),
  ...selectionFields,
  among: z.array(id).max(requestLimits.among).optional().describe('ids to choose among'),
  excludeSeen: z.boolean().optional().describe('leave out what the user had; default true'),
  fallback: lastFallback,
  version,
})
