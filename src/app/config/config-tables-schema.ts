/**
 * `process.tables`: where the rows of the trainer's tables are. It decides how much memory and
 * which servers are used, and never what is learned; but rows stay where the first checkpoint left
 * them.
 */
import * as z from 'zod'

import { redisConnection, tag } from './config-servers-schema.ts'

const count = z.int().min(1)
const milliseconds = z.number().min(0).meta({ unit: 'ms' })

const rows = z.enum(['memory', 'tiered', 'redis'])

const tableRows = z.strictObject({
  rows: rows.exactOptional().describe('absent: as all tables'),
  memoryRows: count
    .exactOptional()
    .describe('of this table; absent: as all tables, or 65,536 with rows: redis'),
})

const redis = z
  .strictObject({
    ...redisConnection('FRESHET_TABLES_REDIS_PASSWORD'),
    tag: tag
      .exactOptional()
      .describe('of the rows, one for each trained model; absent: the name of the model'),
    slices: count.max(4096).exactOptional().describe('hashes of a table; absent: by its capacity'),
    commandTimeoutMs: milliseconds.default(2_000).describe('of one batch of rows'),
    attempts: count.max(100).default(4).describe('before the store counts as unavailable'),
    probeIntervalMs: milliseconds.default(500).describe('between two looks whether it is back'),
    startWaitMs: milliseconds.default(60_000).describe('how long a start waits for the store'),
    stopWaitMs: milliseconds
      .default(5_000)
      .describe('how long a stop waits for it; rows that it lacks are sent at the next start'),
  })
  .prefault({})

/** Rows in memory of a table whose rows are said to be in Redis: a working space. */
export const redisMemoryRows = 65_536

export const tables = z
  .strictObject({
    rows: rows
      .default('memory')
      .describe(
        'memory: all rows; tiered: all in Redis, hot ones in memory; redis: so with little memory',
      ),
    memoryRows: count
      .max(2 ** 30)
      .default(1_048_576)
      .describe(
        'rows of each tiered table in memory; stamps of all its rows come to 60 bytes each',
      ),
    byTable: z
      .record(z.string(), tableRows)
      .default({})
      .describe('tables that are not as all others'),
    redis,
  })
  .prefault({})
