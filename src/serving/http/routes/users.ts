/** Users: their features and history; deleting one erases rows, history and seen set everywhere. */
import type { FastifyInstance } from 'fastify'
import * as z from 'zod'

import { ServiceError } from '../../../base/errors.ts'
import { none, numberText, part } from '../parts.ts'
import { waitUntilVisible } from '../recommending.ts'
import type { ReadParts, WriteParts } from '../route-parts.ts'
import { addRoute } from '../route.ts'
import { features, idPath, knownFeatures, time } from '../schemas.ts'
import { afterWrite } from '../selection.ts'
import { addEntityWrites } from './entity-writes.ts'

const userBody = part('body', z.strictObject({ features: features.optional() }))

export const user = z
  .object({
    id: z.string(),
    features: knownFeatures,
    history: z
      .array(z.object({ itemId: z.string(), type: z.string(), timestamp: time }))
      .describe('distinct items, newest first'),
    seen: z.int().describe('items that are remembered as seen'),
  })
  .describe('the user as it is known now')

export const recent = z
  .object({
    users: z.array(z.object({ id: z.string(), lastActiveAt: time })),
    next: z.string().optional().describe('cursor of the next page; absent on the last'),
  })
  .describe('a page of the users, the last active first')

export function addUserReads(app: FastifyInstance, parts: ReadParts): void {
  addRecentUsers(app, parts)
  const { readers, ingest } = parts
  addRoute(app, {
    method: 'GET',
    url: '/v1/users/{id}',
    summary: 'One user',
    tag: 'users',
    scope: 'read',
    path: idPath,
    query: afterWrite,
    body: none,
    answers: { 200: user },
    handle: async ({ path, query }) => {
      await waitUntilVisible(query.minSequence, parts)
      await ingest?.settle()
      const found = readers.users.get(path.id)
      if (found === undefined) throw new ServiceError('USER_UNKNOWN', { userId: path.id })
      return found
    },
  })
}

function addRecentUsers(app: FastifyInstance, { readers, settings }: ReadParts): void {
  const limit = z.int().min(1).max(settings.listLimit)
  addRoute(app, {
    method: 'GET',
    url: '/v1/users',
    summary: 'The users, the last active first',
    tag: 'users',
    scope: 'read',
    path: none,
    query: part(
      'query',
      z.strictObject({
        cursor: z.string().max(32).exactOptional().describe('`next` of the page before'),
        limit: numberText(limit).default(Math.min(20, settings.listLimit)),
      }),
    ),
    body: none,
    answers: { 200: recent },
    handle: ({ query }) => readers.users.recent(query.cursor, query.limit),
  })
}

export function addUserWrites(app: FastifyInstance, { ingest }: WriteParts): void {
  addEntityWrites(app, ingest, {
    url: '/v1/users/{id}',
    tag: 'users',
    body: userBody,
    put: 'Create a user or replace its features',
    patch: 'Change the named features of a user',
    remove: 'Erase a user everywhere, whether it is there or not',
    write: (userId, mode, fields) => ({ ...fields, kind: 'user', mode, userId }),
    erase: (userId) => ({ kind: 'deleteUser', userId }),
  })
}
