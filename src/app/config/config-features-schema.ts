/** What a feature may be, in the `model` part of the configuration. */
import * as z from 'zod'

export const name = z
  .string()
  .regex(/^[A-Za-z][A-Za-z0-9_-]{0,63}$/)
  .describe('letters, digits, "_" and "-", at most 64')
const tableName = z.string().min(1).describe('name of a table of `model.tables`')
const field = z.string().min(1).max(256).describe('name of the feature or context field to read')
export const dim = z.int().min(1).max(1024)

const boundariesMs = z
  .array(z.number().positive())
  .max(64)
  .default([60_000, 300_000, 1_800_000, 10_800_000, 43_200_000])
  .meta({ unit: 'ms' })
  .describe('ascending bounds of the time buckets')

const feature = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('id'),
    name,
    table: tableName,
    dropout: z
      .number()
      .min(0)
      .lt(1)
      .exactOptional()
      .describe('share of a batch’s ids taken for unknown ones; for a table with admission'),
  }),
  z.strictObject({
    kind: z.literal('categories'),
    name,
    field,
    table: tableName,
    combine: z.enum(['sum', 'mean', 'sqrtn', 'max']).default('mean').describe('many keys to one'),
    weights: field
      .exactOptional()
      .describe('field of what each counts, numbers at the same places; absent: all the same'),
  }),
  z.strictObject({
    kind: z.literal('text'),
    name,
    field,
    table: tableName,
    maxTokens: z.int().min(1).max(64).default(6).describe('words read'),
    ngrams: z
      .int()
      .min(1)
      .max(3)
      .default(2)
      .describe('longest run of words that has a key of its own'),
  }),
  z.strictObject({
    kind: z.literal('numeric'),
    name,
    field,
    transform: z
      .enum(['linear', 'log1p', 'zscore', 'quantile'])
      .default('linear')
      .describe('`zscore` and `quantile` by what the stream has shown so far'),
    buckets: z
      .int()
      .min(2)
      .max(256)
      .exactOptional()
      .describe('of `quantile`, each with as many values; absent: 16'),
    offset: z.number().default(0).describe('subtracted after the transform'),
    scale: z.number().default(1).describe('multiplied after the offset'),
    table: tableName.exactOptional().describe('with `boundaries`: the key of its bucket instead'),
    boundaries: z.array(z.number()).min(1).max(256).exactOptional(),
  }),
  z.strictObject({
    kind: z.literal('sequence'),
    name,
    table: tableName,
    length: z
      .int()
      .min(1)
      .max(200)
      .default(5)
      .describe('distinct items of the history, newest first'),
    weights: z
      .enum(['learned', 'mean', 'attention'])
      .default('learned')
      .describe('learned by place and gap, equal, or by what the items are'),
    gapBoundariesMs: boundariesMs,
    typeWeights: z
      .record(z.string().min(1).max(64), z.number().min(0))
      .exactOptional()
      .describe('factor on an item by interaction type; `other`: every type not named; absent: 1'),
    ageHalfLifeMs: z
      .number()
      .positive()
      .meta({ unit: 'ms' })
      .exactOptional()
      .describe('an item counts half for each such time since; absent: age does not count'),
    of: z
      .string()
      .min(1)
      .exactOptional()
      .describe('name of the candidate’s feature that stands for an item; absent: its id'),
  }),
  z.strictObject({ kind: z.literal('context'), name, field, table: tableName }),
  z.strictObject({ kind: z.literal('gap'), name, table: tableName, boundariesMs }),
  z.strictObject({
    kind: z.literal('dense'),
    name,
    field,
    dim: dim.describe('numbers of the vector in the field'),
  }),
  z.strictObject({
    kind: z.literal('time'),
    name,
    field: field.exactOptional().describe('epoch ms; absent: the time of the event or request'),
    periodsMs: z
      .array(z.number().positive())
      .min(1)
      .max(8)
      .default([86_400_000, 604_800_000])
      .meta({ unit: 'ms' })
      .describe('a sine and a cosine of each'),
    harmonics: z
      .int()
      .min(1)
      .max(16)
      .default(2)
      .describe('waves of each period, each half as long'),
  }),
])
export const features = z.array(feature).max(64)
