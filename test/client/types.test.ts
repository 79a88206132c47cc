/**
 * The client's types against the schemas that parse requests and write answers: the same names with
 * the same types, whichever is changed. Held by the compiler; what may be left out is not compared.
 */
import { expectTypeOf, test } from 'vitest'
import type * as z from 'zod'

import type * as client from '../../src/client/types.ts'
import type { answer, answers } from '../../src/serving/http/recommending.ts'
import type { embedding } from '../../src/serving/http/routes/embeddings.ts'
import type { accepted } from '../../src/serving/http/routes/events.ts'
import type { item, itemFields } from '../../src/serving/http/routes/items.ts'
import type { run } from '../../src/serving/http/routes/jobs.ts'
import type { recent, user } from '../../src/serving/http/routes/users.ts'
import type { written } from '../../src/serving/http/schemas.ts'
import type { descriptionFields } from '../../src/serving/http/selection.ts'
import type { eventSchema } from '../../src/stream/event-schema.ts'

/** Without `readonly` and `?`, all the way down. */
type Plain<Value> = Value extends readonly (infer Member)[]
  ? Plain<Member>[]
  : Value extends object
    ? { -readonly [Name in keyof Value]-?: Plain<Exclude<Value[Name], undefined>> }
    : Value

type Fields<Shape extends z.ZodRawShape> = z.input<z.ZodObject<Shape>>
type Of<Kind extends string> = Extract<z.input<typeof eventSchema>, { kind: Kind }>

test('answers have the fields that the client knows', () => {
  expectTypeOf<Plain<client.Accepted>>().toEqualTypeOf<Plain<z.output<typeof accepted>>>()
  expectTypeOf<Plain<client.Written>>().toEqualTypeOf<Plain<z.output<typeof written>>>()
  expectTypeOf<Plain<client.Answer>>().toEqualTypeOf<Plain<z.output<typeof answer>>>()
  expectTypeOf<Plain<client.Recommendations>[]>().toEqualTypeOf<
    Plain<z.output<typeof answers>['answers']>
  >()
  expectTypeOf<Plain<client.Embedding>>().toEqualTypeOf<Plain<z.output<typeof embedding>>>()
  expectTypeOf<keyof client.Item>().toEqualTypeOf<keyof z.output<typeof item>>()
  expectTypeOf<keyof client.User>().toEqualTypeOf<keyof z.output<typeof user>>()
  expectTypeOf<Plain<client.User['history']>>().toEqualTypeOf<
    Plain<z.output<typeof user>['history']>
  >()
  expectTypeOf<Plain<client.UserPage>>().toEqualTypeOf<Plain<z.output<typeof recent>>>()
  expectTypeOf<keyof client.JobRun>().toEqualTypeOf<keyof z.output<typeof run>>()
  expectTypeOf<client.JobRun['state']>().toEqualTypeOf<z.output<typeof run>['state']>()
})

test('requests have the fields that the service takes', () => {
  expectTypeOf<Plain<client.RecommendRequest>>().toEqualTypeOf<
    Plain<Fields<ReturnType<typeof descriptionFields>>>
  >()
  expectTypeOf<Plain<client.ItemFields>>().toEqualTypeOf<Plain<Fields<typeof itemFields>>>()
  expectTypeOf<keyof client.Interaction>().toEqualTypeOf<keyof Of<'interaction'>>()
  expectTypeOf<client.Event['kind']>().toEqualTypeOf<
    z.input<typeof eventSchema>['kind'] | undefined
  >()
})
