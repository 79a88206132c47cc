/**
 * The parts of a request - path, query, body - each with one schema that both parses it and stands
 * in the OpenAPI document.
 */
import * as z from 'zod'

import { ServiceError } from '../../base/errors.ts'

export type JsonSchema = Readonly<Record<string, unknown>>

export interface Part<Value> {
  /** Throws `REQUEST_INVALID` with the path of the first fault. */
  readonly parse: (value: unknown) => Value
  /** Absent: there is no such part. */
  readonly schema: JsonSchema | undefined
}

export type Where = 'path' | 'query' | 'header' | 'body'

export const none: Part<undefined> = { parse: () => undefined, schema: undefined }

export function part<Schema extends z.ZodType>(
  where: Where,
  schema: Schema,
): Part<z.output<Schema>> {
  return {
    parse: (value) => {
      const result = schema.safeParse(value)
      if (result.success) return result.data
      throw invalidRequest(where, result.error, value)
    },
    schema: where === 'body' ? jsonSchema(schema, 'input') : textSchema(schema),
  }
}

export function jsonSchema(schema: z.ZodType, io: 'input' | 'output'): JsonSchema {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, {
    io,
    unrepresentable: 'any',
    // What every JavaScript integer and every RFC 3339 time has need not be said.
    override: ({ jsonSchema: made }) => {
      if (made.minimum === Number.MIN_SAFE_INTEGER) delete made.minimum
      if (made.maximum === Number.MAX_SAFE_INTEGER) delete made.maximum
      if (made.format === 'date-time') delete made.pattern
    },
  })
  return rest
}

/**
 * Path and query are text: what a field means is its parsed type, whether it must be there its
 * raw.
 */
const textSchema = (schema: z.ZodType): JsonSchema => ({
  ...jsonSchema(schema, 'output'),
  required: jsonSchema(schema, 'input')['required'] ?? [],
})

function invalidRequest(where: Where, error: z.ZodError, whole: unknown): ServiceError {
  const [issue] = error.issues
  if (issue?.code === 'unrecognized_keys') {
    const path = [...issue.path, issue.keys[0] ?? ''].join('.')
    return new ServiceError('REQUEST_INVALID', {
      path,
      in: where,
      reason: 'there is no such field',
    })
  }
  const path = issue === undefined || issue.path.length === 0 ? where : issue.path.join('.')
  const reason = issue === undefined ? 'not valid' : reasonOf(issue, where, whole)
  return new ServiceError('REQUEST_INVALID', { path, in: where, reason })
}

/** What is absent, or there twice, is said to be so, not to be of another type. */
function reasonOf(issue: z.core.$ZodIssue, where: Where, whole: unknown): string {
  if (issue.code !== 'invalid_type') return issue.message
  const given = issue.path.reduce(memberOf, whole)
  if (given === undefined) return 'is missing'
  return where === 'query' && Array.isArray(given) ? 'is given more than once' : issue.message
}

const memberOf = (whole: unknown, name: PropertyKey): unknown =>
  typeof whole === 'object' && whole !== null ? Reflect.get(whole, name) : undefined

/** A number in a query string: decimal digits, no blanks, no hexadecimal, no NaN. */
export const numberText = <Schema extends z.ZodType<number, number>>(
  schema: Schema,
): z.ZodType<z.output<Schema>, string> =>
  z
    .string()
    .regex(/^-?\d{1,32}(\.\d{1,32})?$/, 'not a decimal number')
    .transform(Number)
    .pipe(schema)

export const booleanText = z
  .enum(['true', 'false'])
  .transform((text) => text === 'true')
  .pipe(z.boolean())

/** `?a=1` and `?a=1&a=2` alike. */
export const listText = <Schema extends z.ZodType<unknown, string>>(
  schema: Schema,
  limit: number,
): z.ZodType<z.output<Schema>[], string | string[]> =>
  z
    .union([z.string().transform((one) => [one]), z.array(z.string())])
    .pipe(z.array(schema).max(limit))
