/**
 * What operators look at: configuration, tables, checkpoints, index, and what could not be used.
 * What they do is in `jobs.ts`.
 */
import type { FastifyInstance } from 'fastify'
import * as z from 'zod'

import { ServiceError } from '../../../base/errors.ts'
import type { Administration } from '../administration.ts'
import { none, numberText, part } from '../parts.ts'
import { addRoute } from '../route.ts'
import { time } from '../schemas.ts'

const shared = {
  method: 'GET',
  tag: 'admin',
  scope: 'admin',
  path: none,
  query: none,
  body: none,
} as const

export function addAdminRoutes(app: FastifyInstance, of: Administration): void {
  addConfiguration(app, of)
  if (of.tables !== undefined) addTables(app, of.tables)
  if (of.checkpoints !== undefined) addCheckpoints(app, of.checkpoints)
  if (of.index !== undefined) addIndex(app, of.index)
  if (of.deadLetters !== undefined) addDeadLetters(app, of.deadLetters)
  if (of.refusedBatch !== undefined) addRefusedBatch(app, of.refusedBatch)
}

const configuration = z
  .object({ model: z.looseObject({}), process: z.looseObject({}) })
  .describe('the configuration file as it is in force')

function addConfiguration(app: FastifyInstance, of: Administration): void {
  addRoute(app, {
    ...shared,
    url: '/v1/admin/config',
    summary: 'The configuration in force: defaults filled in, secrets starred',
    answers: { 200: configuration },
    handle: () => of.configuration(),
  })
}

const tables = z
  .object({
    tables: z.array(
      z.looseObject({
        name: z.string(),
        dim: z.int(),
        rows: z.int(),
        capacityRows: z.int(),
        bytes: z.number(),
        loadFactor: z.number(),
        admitted: z.number().describe('keys that got a row, since start'),
        refused: z.number().describe('keys for which there was no room, since start'),
        evicted: z.number().describe('rows that restrict removed, since start'),
        evictionAgeMs: z.number(),
        restrict: z
          .object({ policy: z.string(), numReserved: z.int(), trigger: z.int() })
          .optional()
          .describe('with more rows than trigger it is restricted to numReserved'),
      }),
    ),
  })
  .describe('as of the last batch')

function addTables(app: FastifyInstance, list: NonNullable<Administration['tables']>): void {
  addRoute(app, {
    ...shared,
    url: '/v1/admin/tables',
    summary: 'The embedding tables: rows, memory, and when they are restricted',
    answers: { 200: tables },
    handle: () => ({ tables: list() }),
  })
}

const checkpoints = z
  .object({
    checkpoints: z.array(
      z.object({
        name: z.string(),
        modelVersion: z.int(),
        createdAt: time,
        bytes: z.number(),
        offsets: z.record(z.string(), z.string()).describe('events folded, per partition'),
        base: z.string().optional().describe('the full one that it is a delta to'),
      }),
    ),
  })
  .describe('the newest first')

function addCheckpoints(
  app: FastifyInstance,
  list: NonNullable<Administration['checkpoints']>,
): void {
  addRoute(app, {
    ...shared,
    url: '/v1/admin/checkpoints',
    summary: 'The checkpoints that this process has; the job `checkpoint` writes one',
    answers: { 200: checkpoints },
    handle: () => ({ checkpoints: list() }),
  })
}

const index = z
  .object({
    index: z.looseObject({
      kind: z.string(),
      items: z.int(),
      capacityItems: z.int(),
      bytes: z.number(),
    }),
    queues: z.object({
      touched: z.int().describe('items whose rows have changed'),
      new: z.int(),
      sweep: z.int().describe('items whose vector is older than the model'),
      clicked: z.int().describe('items whose popularity has changed'),
    }),
    versions: z
      .object({ p50: z.number(), p99: z.number(), max: z.number(), behind: z.int() })
      .describe('model versions by which vectors are behind'),
    embedded: z.number().describe('vectors made since start'),
  })
  .describe('the live index of this process')

function addIndex(app: FastifyInstance, stats: NonNullable<Administration['index']>): void {
  addRoute(app, {
    ...shared,
    url: '/v1/admin/index',
    summary:
      'The live index: size, queues, how far it is behind; the job `rebuildIndex` remakes it',
    answers: { 200: index },
    handle: () => stats(),
  })
}

const deadLetters = z
  .object({
    batches: z
      .array(z.object({ name: z.string(), bytes: z.number(), at: time }))
      .describe('batches that the guard refused'),
    letters: z.array(z.looseObject({})).describe('values of the topic that are no events'),
    topic: z.string().optional().describe('where letters are instead'),
  })
  .describe('the newest first')

function addDeadLetters(
  app: FastifyInstance,
  find: NonNullable<Administration['deadLetters']>,
): void {
  addRoute(app, {
    ...shared,
    url: '/v1/admin/dead-letters',
    summary: 'What the trainer of this process could not use',
    query: part(
      'query',
      z.strictObject({ limit: numberText(z.int().min(1).max(1_000)).default(100) }),
    ),
    answers: { 200: deadLetters },
    handle: ({ query }) => find(query.limit),
  })
}

const refused = z.looseObject({ step: z.int() }).describe('the batch, and why it was refused')

function addRefusedBatch(
  app: FastifyInstance,
  read: NonNullable<Administration['refusedBatch']>,
): void {
  addRoute(app, {
    ...shared,
    url: '/v1/admin/dead-letters/{name}',
    summary: 'One batch that the guard refused: its examples, and the reason',
    path: part('path', z.strictObject({ name: z.string().min(1).max(64) })),
    answers: { 200: refused },
    handle: async ({ path: { name } }): Promise<object> => {
      const text = await read(name)
      if (text === undefined) throw new ServiceError('DEAD_LETTER_UNKNOWN', { name })
      const batch: object = JSON.parse(text)
      return batch
    },
  })
}
