/** Users: their features and history; deleting one erases rows, history and seen set everywhere. */
import type { FastifyInstance } from 'fastify'
import * as z from 'zod'

import { ServiceError } from '../../../base/errors.ts'
import { none, part } from '../parts.ts'
import type { RouteParts } from '../route-parts.ts'
import { addRoute } from '../route.ts'
import { features, idPath, knownFeatures, time, written } from '../schemas.ts'

const userBody = part('body', z.strictObject({ features: features.optional() }))

const user = z
  .object({
    id: z.string(),
    features: knownFeatures,
    history: z
      .array(z.object({ itemId: z.string(), type: z.string(), timestamp: time }))
      .describe('distinct items, newest first'),
    seen: z.int().describe('items that are remembered as seen'),
  })
  .describe('the user as it is known now')

export function addUserRoutes(app: FastifyInstance, { dependencies, ingest }: RouteParts): void {
  addRoute(app, {
    method: 'GET',
    url: '/v1/users/{id}',
    summary: 'One user',
    tag: 'users',
    scope: 'read',
    path: idPath,
    query: none,
    body: none,
    answers: { 200: user },
    handle: async ({ path }) => {
      await ingest.settle()
      const found = dependencies.users.get(path.id)
      if (found === undefined) throw new ServiceError('USER_UNKNOWN', { userId: path.id })
      return found
    },
  })
  for (const [method, mode, summary] of [
    ['PUT', 'replace', 'Create a user or replace its features'],
    ['PATCH', 'patch', 'Change the named features of a user'],
  ] as const) {
    addRoute(app, {
      method,
      url: '/v1/users/{id}',
      summary,
      tag: 'users',
      scope: 'write',
      path: idPath,
      query: none,
      body: userBody,
      answers: { 200: written },
      handle: ({ path, body }, call) =>
        ingest.writeVisibly(path.id, { ...body, kind: 'user', mode, userId: path.id }, call),
    })
  }
  addRoute(app, {
    method: 'DELETE',
    url: '/v1/users/{id}',
    summary: 'Erase a user everywhere, whether it is there or not',
    tag: 'users',
    scope: 'write',
    path: idPath,
    query: none,
    body: none,
    answers: { 200: written },
    handle: ({ path }, call) =>
      ingest.writeVisibly(path.id, { kind: 'deleteUser', userId: path.id }, call),
  })
}
