/**
 * The one place where a value from outside becomes an event. Every limit on what a client may send
 * in an event stands here. Each value is judged by itself; fields that are not named are kept out.
 */
import { z } from 'zod'

import type { ErrorCode } from '../base/errors.ts'
import type { Features, FeatureValue } from '../base/features.ts'
import type { Event, Json } from './event.ts'

/** Limits on one event; see docs/api.md. */
export const eventLimits = {
  idBytes: 256,
  typeBytes: 64,
  weight: 1e6,
  fields: 256,
  nameBytes: 128,
  textLength: 8_192,
  listLength: 4_096,
  attributeValues: 4_096,
  attributeDepth: 16,
  impressionItems: 1_000,
} as const

export interface EventRejection {
  readonly code: ErrorCode
  /** Dotted path of the field; `event` for the value itself. */
  readonly path: string
  readonly message: string
}

export type ParsedEvent = { readonly event: Event } | { readonly error: EventRejection }

export interface ParseOptions {
  /** Time of acceptance, epoch ms. */
  readonly now: number
  /** A timestamp further ahead of `now` than this is rejected. */
  readonly maxFutureMs: number
}

/** The event that `value` is, or why it is none: the first thing wrong with it. */
export function parseEvent(value: unknown, { now, maxFutureMs }: ParseOptions): ParsedEvent {
  if (!isFields(value)) return rejected('event', 'expected an object')
  const parsed = plainInteraction(value) ?? bySchema(value)
  if ('error' in parsed) return parsed
  const { timestamp = now } = parsed
  if (timestamp > now + maxFutureMs) {
    const message = `${timestamp} is more than ${maxFutureMs} ms ahead of this clock, ${now}`
    return { error: { code: 'EVENT_IN_FUTURE', path: 'timestamp', message } }
  }
  return { event: { ...parsed, timestamp, acceptedAt: now } }
}

type Rejected = { readonly error: EventRejection }
type Fields = z.output<typeof eventSchema>

function bySchema(value: Record<string, unknown>): Fields | Rejected {
  const parsed = eventSchema.safeParse(withKind(value))
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  return rejected(issue?.path.join('.') || 'event', issue?.message ?? 'invalid')
}

type Draft = { -readonly [Name in keyof PlainInteraction]: PlainInteraction[Name] }
type PlainInteraction = Extract<Fields, { readonly kind: 'interaction' }>

/**
 * What nearly all events are: an interaction in which nothing is wrong. The schema says the same of
 * it, at ten times the cost; of anything else it has the word.
 */
function plainInteraction(value: Record<string, unknown>): PlainInteraction | undefined {
  const { userId, itemId, type } = value
  if (!isPlainText(userId, eventLimits.idBytes) || !isPlainText(itemId, eventLimits.idBytes)) {
    return undefined
  }
  if (!isPlainText(type, eventLimits.typeBytes)) return undefined
  const draft: Draft = { kind: 'interaction', userId, itemId, type }
  for (const name in value) {
    if (!takeField(draft, name, value[name])) return undefined
  }
  return draft
}

/** False: it is for the schema to say what the field is. */
function takeField(draft: Draft, name: string, field: unknown): boolean {
  switch (name) {
    case 'kind':
      return field === 'interaction'
    case 'userId':
    case 'itemId':
    case 'type':
      return true
    case 'timestamp':
      if (!isTime(field)) return false
      draft.timestamp = field
      return true
    case 'eventId':
      if (!isPlainText(field, eventLimits.idBytes)) return false
      draft.eventId = field
      return true
    case 'weight':
      if (!isNumber(field) || field < 0 || field > eventLimits.weight) return false
      draft.weight = field
      return true
    case 'context': {
      const result = parseFeatures(field)
      if ('problem' in result) return false
      draft.context = result.features
      return true
    }
    default:
      return false
  }
}

/** Text that is certainly within so many bytes. */
const isPlainText = (value: unknown, bytes: number): value is string =>
  typeof value === 'string' && value.length > 0 && value.length * 3 <= bytes && value.isWellFormed()

const isTime = (value: unknown): value is number =>
  Number.isSafeInteger(value) && Number(value) >= 0 && Number(value) <= latestTime

const rejected = (path: string, message: string): Rejected => ({
  error: { code: 'EVENT_INVALID', path, message },
})

/** An interaction needs no kind; a field that is undefined is not there. */
function withKind(value: Record<string, unknown>): object {
  // Nearly every value passes as it is: a plain loop is the cheapest way to see that.
  for (const name in value) {
    if (value[name] !== undefined) continue
    const fields = Object.entries(value).filter(([, field]) => field !== undefined)
    return { kind: 'interaction', ...Object.fromEntries(fields) }
  }
  return Object.hasOwn(value, 'kind') ? value : Object.assign({ kind: 'interaction' }, value)
}

/** Text that UTF-8 can say (no lone surrogates), 1 to `bytes` bytes of it. */
const text = (bytes: number) =>
  z
    .string({ error: 'expected a string' })
    .refine((value) => value.isWellFormed() && fits(value, bytes), {
      error: `expected 1 to ${bytes} bytes of UTF-8`,
    })

const fits = (value: string, bytes: number): boolean =>
  value.length > 0 &&
  value.length <= bytes &&
  (value.length * 3 <= bytes || Buffer.byteLength(value) <= bytes)

const id = text(eventLimits.idBytes)

/** Epoch ms: that of `Date`. */
const latestTime = 8.64e15

const time = z
  .union([z.int().min(0).max(latestTime), z.iso.datetime({ offset: true })], {
    error: 'expected RFC 3339 or whole milliseconds since the epoch',
  })
  .transform((value) => (typeof value === 'string' ? Date.parse(value) : value))

const features = z.unknown().transform((value, context): Features => {
  const result = parseFeatures(value)
  if (!('problem' in result)) return result.features
  context.issues.push({ code: 'custom', input: value, path: result.path, message: result.problem })
  return z.NEVER
})

const attributes = z.unknown().transform((value, context): Readonly<Record<string, Json>> => {
  const problem = isFields(value) ? jsonProblem(value) : 'expected an object'
  if (problem === undefined && isJsonFields(value)) return value
  context.issues.push({ code: 'custom', input: value, message: problem ?? 'expected JSON' })
  return z.NEVER
})

const common = { eventId: id.exactOptional(), timestamp: time.exactOptional() }
const mode = z.enum(['replace', 'patch'], { error: 'expected replace or patch' }).default('replace')

/** What a client sends, less the default of `kind`. */
export const eventSchema = z.discriminatedUnion(
  'kind',
  [
    z.object({
      kind: z.literal('interaction'),
      ...common,
      userId: id,
      itemId: id,
      type: text(eventLimits.typeBytes),
      weight: z
        .number({ error: 'expected a number' })
        .min(0, { error: 'expected a number from 0 to 1000000' })
        .max(eventLimits.weight, { error: 'expected a number from 0 to 1000000' })
        .exactOptional(),
      context: features.exactOptional(),
    }),
    z.object({
      kind: z.literal('item'),
      ...common,
      mode,
      itemId: id,
      features: features.exactOptional(),
      attributes: attributes.exactOptional(),
      hidden: z.boolean({ error: 'expected true or false' }).exactOptional(),
      expiresAt: time.exactOptional(),
      crowdingTag: id.exactOptional(),
    }),
    z.object({
      kind: z.literal('user'),
      ...common,
      mode,
      userId: id,
      features: features.exactOptional(),
    }),
    z.object({ kind: z.literal('deleteItem'), ...common, itemId: id }),
    z.object({ kind: z.literal('deleteUser'), ...common, userId: id }),
    z.object({
      kind: z.literal('impression'),
      ...common,
      userId: id,
      itemIds: z
        .array(id, { error: 'expected a list of item ids' })
        .min(1, { error: 'expected at least one item id' })
        .max(eventLimits.impressionItems, {
          error: `expected at most ${eventLimits.impressionItems} item ids`,
        }),
    }),
  ],
  {
    error: 'expected one of interaction, item, user, deleteItem, deleteUser, impression',
  },
)

export type FeaturesResult =
  | { readonly features: Features }
  | { readonly path: string[]; readonly problem: string }

/** What may be features of an item, a user or a context. */
export function parseFeatures(value: unknown): FeaturesResult {
  if (!isFields(value)) return { path: [], problem: 'expected an object of features' }
  const parsed: Record<string, FeatureValue> = {}
  const names = Object.keys(value)
  if (names.length > eventLimits.fields) {
    return { path: [], problem: `expected at most ${eventLimits.fields} features` }
  }
  for (const name of names) {
    const field = value[name]
    if (!isName(name)) return { path: [name], problem: nameProblem }
    if (!isFeature(field)) return { path: [name], problem: featureProblem }
    parsed[name] = field
  }
  return { features: parsed }
}

const nameProblem = `expected a name of 1 to ${eventLimits.nameBytes} bytes, not __proto__`
const featureProblem =
  `expected a finite number, a string of at most ${eventLimits.textLength} characters, ` +
  `or a list of at most ${eventLimits.listLength} of either`

const isFields = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const isName = (name: string): boolean =>
  fits(name, eventLimits.nameBytes) && name.isWellFormed() && name !== '__proto__'

const isText = (value: unknown): value is string =>
  typeof value === 'string' && value.length <= eventLimits.textLength && value.isWellFormed()

const isNumber = (value: unknown): value is number => Number.isFinite(value)

function isFeature(value: unknown): value is FeatureValue {
  if (isText(value) || isNumber(value)) return true
  if (!Array.isArray(value) || value.length > eventLimits.listLength) return false
  return value.every(isText) || value.every(isNumber)
}

/** Why a value cannot be kept as attributes; undefined when it can. */
function jsonProblem(value: unknown): string | undefined {
  let left: number = eventLimits.attributeValues
  const visit = (part: unknown, depth: number): string | undefined => {
    left -= 1
    if (left < 0) return `expected at most ${eventLimits.attributeValues} values`
    if (depth > eventLimits.attributeDepth) {
      return `expected at most ${eventLimits.attributeDepth} levels`
    }
    if (typeof part === 'string') return isText(part) ? undefined : textProblem
    if (typeof part === 'number') return isNumber(part) ? undefined : 'expected finite numbers'
    if (typeof part === 'boolean' || part === null) return undefined
    if (typeof part !== 'object') return 'expected JSON'
    if (!Object.keys(part).every((name) => Array.isArray(part) || isName(name))) return nameProblem
    for (const inner of Object.values(part)) {
      const problem = visit(inner, depth + 1)
      if (problem !== undefined) return problem
    }
    return undefined
  }
  return visit(value, 0)
}

const textProblem = `expected well-formed text of at most ${eventLimits.textLength} characters`

/** To be asked after `jsonProblem` had nothing to say. */
const isJsonFields = (value: unknown): value is Readonly<Record<string, Json>> => isFields(value)
