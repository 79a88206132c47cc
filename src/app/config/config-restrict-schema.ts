/** Which keys earn a row of a table, and which rows leave it: parts of `model.tables`. */
import * as z from 'zod'

const rows = z.int().min(0)
/** Event time. */
const span = z.number().min(1000).meta({ unit: 'ms' })
const count = z.int().min(2).describe('occurrences in training after which a key gets its row')
const capacityKeys = z
  .int()
  .min(1024)
  .max(2 ** 28)
  .default(1_048_576)

export const admission = z
  .discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('always') }),
    z.strictObject({
      kind: z.literal('minCount'),
      count,
      capacityKeys: capacityKeys.describe(
        'keys counted at a time; beyond, the oldest are forgotten',
      ),
    }),
    z.strictObject({
      kind: z.literal('countingBloom'),
      count: count.max(255),
      falsePositiveRate: z
        .number()
        .gt(0)
        .lt(1)
        .default(0.01)
        .describe('of new keys, so many are taken for ones seen before'),
      capacityKeys: capacityKeys.describe('keys counted for which that holds'),
    }),
    z.strictObject({
      kind: z.literal('probabilistic'),
      probability: z.number().gt(0).max(1).describe('of each occurrence to get the key its row'),
    }),
  ])
  .describe('which new keys earn a row, others share one; absent: `always`')

export const restrict = z
  .strictObject({
    policy: z
      .enum(['frequency', 'timestamp', 'combined'])
      .default('frequency')
      .describe('who leaves first: least often trained, longest untrained, or both weighed'),
    numReserved: rows.describe('rows left after a restrict'),
    trigger: rows.exactOptional().describe('a restrict happens only above this many rows'),
    triggerFill: z
      .number()
      .gt(0)
      .max(1)
      .exactOptional()
      .describe('the same as a share of capacityRows, if `trigger` is absent; default 0.95'),
    counting: z
      .enum(['occurrences', 'steps'])
      .default('occurrences')
      .describe('what frequency counts: occurrences, or the steps that a key took part in'),
    halfLifeMs: span.exactOptional().describe('counts halve in this time; absent: never'),
    recencyHalfLifeMs: span
      .exactOptional()
      .describe('`combined`: a score halves in this time untrained; absent: a day'),
    ttlMs: span.exactOptional().describe('rows untrained for so long leave; absent: none'),
    floorRows: rows.exactOptional().describe('so many rows stay in any case; absent: 0'),
    protectedIds: z
      .array(z.string().min(1).max(256))
      .max(1024)
      .exactOptional()
      .describe('items and users whose rows stay'),
  })
  .refine((value) => value.trigger === undefined || value.trigger >= value.numReserved, {
    path: ['trigger'],
    message: 'must not be below numReserved',
  })
  .refine((value) => value.trigger === undefined || value.triggerFill === undefined, {
    path: ['triggerFill'],
    message: 'goes without `trigger`',
  })
