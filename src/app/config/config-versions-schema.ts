/** Versions of the model beside one another, and the record of what came of whose answers. */
import * as z from 'zod'

const count = z.int().min(1)

export const versions = z
  .strictObject({
    max: count.max(8).default(3).describe('versions there may be, the one that answers included'),
    onChange: z
      .enum(['add', 'refuse'])
      .default('add')
      .describe(
        'a model that no version was made with: a new version beside the others, or no start',
      ),
    only: z
      .string()
      .regex(/^[A-Za-z][A-Za-z0-9_-]{0,63}$/)
      .exactOptional()
      .describe('the one version that a trainer of many processes trains; absent: every one'),
    warmLagEvents: count
      .default(4096)
      .describe('a version may answer once it is no more events than this behind the log'),
    compareEvery: count
      .default(16)
      .describe('of so many requests one is put to every version, to compare their lists'),
  })
  .prefault({})

export const experiment = z
  .strictObject({
    record: z
      .enum(['auto', 'always', 'never'])
      .default('auto')
      .describe('which version answered what; auto: while there are several versions'),
    windowMs: z
      .number()
      .min(1_000)
      .default(1_800_000)
      .meta({ unit: 'ms' })
      .describe('how long after an answer what its user does is counted for it'),
    usersPercent: z
      .number()
      .min(0)
      .max(100)
      .default(100)
      .describe('of the users, those whose answers are recorded')
      .meta({ unit: '%' }),
    types: z
      .array(z.string().min(1).max(64))
      .max(64)
      .default([])
      .describe('interactions that count; empty: of every type'),
    maxItems: count.max(1_000).default(20).describe('of an answer, remembered'),
    maxAnswers: count.max(1_000_000).default(100_000).describe('answers within the window, kept'),
    segmentBytes: count
      .min(4_096)
      .max(2 ** 30)
      .default(16_777_216)
      .meta({ unit: 'bytes' })
      .describe('a file of the record ends here'),
    keepSegments: count.min(2).max(1_000).default(8).describe('files of the record kept'),
  })
  .prefault({})
