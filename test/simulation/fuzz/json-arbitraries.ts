/**
 * Values by JSON Schema, as fast-check makes them: such as the schema allows, and such as it does
 * not (a value elsewhere than it belongs, a field more or less, a text where a number is due).
 */
import fc from 'fast-check'

/** The parts of JSON Schema that the service's document uses. */
export interface Schema {
  readonly $ref?: string
  readonly type?: string
  readonly const?: unknown
  readonly enum?: readonly unknown[]
  readonly anyOf?: readonly Schema[]
  readonly oneOf?: readonly Schema[]
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  readonly additionalProperties?: Schema | boolean
  readonly propertyNames?: Schema
  readonly items?: Schema
  readonly minItems?: number
  readonly maxItems?: number
  readonly minLength?: number
  readonly maxLength?: number
  readonly pattern?: string
  readonly minimum?: number
  readonly maximum?: number
  readonly default?: unknown
}

export type Schemas = Readonly<Record<string, Schema>>

/** What is often wrong with texts and numbers. */
export const nasty: fc.Arbitrary<unknown> = fc.constantFrom(
  '',
  ' ',
  '\u0000',
  '\ud800',
  '😀'.repeat(200),
  'x'.repeat(5_000),
  '../../etc/passwd',
  '__proto__',
  'constructor',
  'toString',
  '%00',
  "'; drop table items; --",
  '<script>alert(1)</script>',
  '1e999',
  'NaN',
  '-0',
  -1,
  -0,
  0.5,
  1e308,
  -1e308,
  Number.MAX_SAFE_INTEGER + 2,
  null,
  true,
  [],
  {},
  [[[[]]]],
)

const name = fc.oneof(
  fc.constantFrom('title', 'categories', 'price', 'country', 'constructor', 'valueOf', 'a.b'),
  fc.string({ minLength: 1, maxLength: 12 }),
)

/** Such as the schema allows, as far as it says. `known`: texts that mean something here. */
export function valid(
  schema: Schema,
  known: readonly string[],
  all: Schemas,
): fc.Arbitrary<unknown> {
  const inner = (one: Schema): fc.Arbitrary<unknown> => valid(one, known, all)
  if (schema.$ref !== undefined) {
    return fc.constant(schema.$ref).chain((ref) => inner(all[ref.split('/').at(-1) ?? ''] ?? {}))
  }
  if ('const' in schema) return fc.constant(schema.const)
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum)
  const choices = schema.anyOf ?? schema.oneOf
  if (choices !== undefined) return fc.oneof(...choices.map(inner))
  const make = byType[schema.type ?? '']
  return make === undefined ? fc.jsonValue({ maxDepth: 3 }) : make(schema, { inner, known })
}

interface Making {
  readonly inner: (schema: Schema) => fc.Arbitrary<unknown>
  readonly known: readonly string[]
}

const byType: Readonly<Record<string, (schema: Schema, making: Making) => fc.Arbitrary<unknown>>> =
  {
    string: (schema, { known }) => text(schema, known),
    integer: (schema) => fc.integer(range(schema)),
    number: (schema) =>
      fc.oneof(fc.integer(range(schema)), fc.double({ ...range(schema), noNaN: true })),
    boolean: () => fc.boolean(),
    null: () => fc.constant(null),
    array: ({ items = {}, minItems = 0, maxItems = 6 }, { inner }) =>
      fc.array(inner(items), { minLength: minItems, maxLength: Math.min(maxItems, minItems + 6) }),
    object: (schema, { inner }) => record(schema, inner),
  }

function range({ minimum, maximum }: Schema): { min: number; max: number } {
  const min = Math.max(minimum ?? -1e6, -(2 ** 31))
  return { min, max: Math.max(min, Math.min(maximum ?? 1e6, 2 ** 31 - 1)) }
}

function text({ pattern, minLength = 0, maxLength }: Schema, known: readonly string[]) {
  if (pattern !== undefined) return fc.stringMatching(new RegExp(pattern, 'u'))
  const drawn = fc.string({
    minLength,
    maxLength: Math.max(minLength, Math.min(maxLength ?? 20, 20)),
    unit: 'grapheme',
  })
  return known.length === 0 ? drawn : fc.oneof(drawn, fc.constantFrom(...known))
}

function record(
  { properties = {}, required = [], additionalProperties, propertyNames }: Schema,
  inner: (schema: Schema) => fc.Arbitrary<unknown>,
): fc.Arbitrary<unknown> {
  const fields = Object.fromEntries(
    Object.entries(properties).map(([field, schema]) => [field, inner(schema)]),
  )
  const named = fc.record(fields, { requiredKeys: required.filter((key) => key in fields) })
  if (typeof additionalProperties !== 'object') return named
  const key = propertyNames === undefined ? name : fc.oneof(name, inner(propertyNames))
  const others = fc.dictionary(key.map(String), inner(additionalProperties), { maxKeys: 4 })
  return fc.tuple(named, others).map(([own, more]): unknown => Object.assign(more, own))
}

/** One thing in it is changed, somewhere. */
export const spoiled = (value: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> =>
  fc.tuple(value, nasty, fc.nat(), fc.nat(3)).map(([whole, other, at, how]) => {
    const places = placesIn(whole)
    if (places.length === 0) return other
    const place = places[at % places.length]
    return changed(whole, place, (old) => change(old, other, how))
  })

function change(old: unknown, other: unknown, how: number): unknown {
  if (how === 0) return undefined
  if (how === 1 && typeof old === 'object' && old !== null && !Array.isArray(old)) {
    return { ...old, noSuchField: other }
  }
  return how === 2 ? [old, other] : other
}

type Place = readonly (string | number)[]

function placesIn(value: unknown, at: Place = []): readonly Place[] {
  if (typeof value !== 'object' || value === null) return [at]
  const inner = Object.entries(value).flatMap(([key, one]) => placesIn(one, [...at, key]))
  return [at, ...inner].slice(0, 64)
}

function changed(value: unknown, [key, ...rest]: Place, by: (old: unknown) => unknown): unknown {
  if (key === undefined) return by(value)
  if (typeof value !== 'object' || value === null) return value
  const copy: Record<string, unknown> | unknown[] = Array.isArray(value) ? [...value] : { ...value }
  Object.assign(copy, {
    [key]: changed(Object.entries(value).find(([k]) => k === key)?.[1], rest, by),
  })
  return copy
}
