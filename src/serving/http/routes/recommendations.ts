/** Recommendations by user, by description, many at once; the nearest items of an item. */
import type { FastifyInstance } from 'fastify'
import * as z from 'zod'

import { type RecommendRequest, type Recommendations, requestLimits } from '../../recommendation.ts'
import { booleanText, none, part } from '../parts.ts'
import { answer, answers, type Asked, recommend, waitUntilVisible } from '../recommending.ts'
import type { ReadParts } from '../route-parts.ts'
import { addRoute } from '../route.ts'
import { id, idPath } from '../schemas.ts'
import {
  askerFields,
  type Count,
  descriptionFields,
  givenHistory,
  lastFallback,
  minSequence,
  selectionFields,
  selectionOf,
  selectionText,
  version,
} from '../selection.ts'

export function addRecommendationRoutes(app: FastifyInstance, parts: ReadParts): void {
  const n = z.int().min(1).max(parts.settings.listLimit)
  addByUser(app, parts, n)
  addByDescription(app, parts, n)
  addBatch(app, parts, n)
  addOfSession(app, parts, n)
  addRank(app, parts)
  addSimilar(app, parts, n)
}

async function answerTo(
  request: RecommendRequest,
  after: string | undefined,
  asked: Asked,
): Promise<Recommendations & { requestId: string }> {
  return { ...(await recommend(request, after, asked)), requestId: asked.requestId }
}

function addByUser(app: FastifyInstance, parts: ReadParts, n: Count): void {
  const shared = {
    method: 'GET',
    tag: 'recommendations',
    scope: 'read',
    body: none,
    answers: { 200: answer },
  } as const
  const fields = {
    ...selectionText(n),
    excludeSeen: booleanText.optional(),
    fallback: lastFallback,
    version,
  }
  addRoute(app, {
    ...shared,
    url: '/v1/recommendations/{id}',
    summary: 'Recommendations for a user',
    path: idPath,
    query: part('query', z.strictObject(fields)),
    handle: ({ path, query }, { requestId }) => {
      const { selection, after } = selectionOf(query)
      const { excludeSeen, fallback, version: asked } = query
      const request = { ...selection, excludeSeen, fallback, version: asked, userId: path.id }
      return answerTo(request, after, { parts, requestId })
    },
  })
  addRoute(app, {
    ...shared,
    url: '/v1/recommendations',
    summary: 'Recommendations for a user, or for anybody',
    path: none,
    query: part('query', z.strictObject({ ...fields, userId: id.optional() })),
    handle: ({ query }, { requestId }) => {
      const { selection, after } = selectionOf(query)
      const { excludeSeen, fallback, userId, version: asked } = query
      const request = { ...selection, excludeSeen, fallback, version: asked, userId }
      return answerTo(request, after, { parts, requestId })
    },
  })
}

/** Of the routes whose request is a body. */
const byBody = {
  method: 'POST',
  tag: 'recommendations',
  scope: 'read',
  path: none,
  query: none,
} as const

function addByDescription(app: FastifyInstance, parts: ReadParts, n: Count): void {
  addRoute(app, {
    ...byBody,
    url: '/v1/recommendations',
    summary: 'Recommendations for a user as described here',
    body: part('body', z.strictObject({ ...descriptionFields(n), minSequence })),
    answers: { 200: answer },
    handle: ({ body }, { requestId }) => {
      const { minSequence: after, ...request } = body
      return answerTo(request, after, { parts, requestId })
    },
  })
}

function addBatch(app: FastifyInstance, parts: ReadParts, n: Count): void {
  const request = z.strictObject(descriptionFields(n))
  const requests = z.array(request).min(1).max(requestLimits.queries)
  addRoute(app, {
    ...byBody,
    url: '/v1/recommendations/batch',
    summary: 'Recommendations for many users',
    body: part('body', z.strictObject({ requests, minSequence })),
    answers: { 200: answers },
    handle: async ({ body }, { requestId }) => {
      await waitUntilVisible(body.minSequence, parts)
      const found = body.requests.map((one) => recommend(one, undefined, { parts, requestId }))
      return { answers: await Promise.all(found), requestId }
    },
  })
}

function addOfSession(app: FastifyInstance, parts: ReadParts, n: Count): void {
  const fields = {
    events: givenHistory.min(1).describe('what happened in the session, in any order'),
    features: askerFields.features,
    context: askerFields.context,
    n: n.default(10),
    ...selectionFields,
    excludeSeen: z.boolean().optional().describe('leave out what is in the session; default true'),
    minSequence,
  }
  addRoute(app, {
    ...byBody,
    url: '/v1/sessions/recommendations',
    summary: 'Recommendations for somebody of whom only a session is known',
    body: part('body', z.strictObject(fields)),
    answers: { 200: answer },
    handle: ({ body }, { requestId }) => {
      const { minSequence: after, events, ...request } = body
      return answerTo({ ...request, history: events }, after, { parts, requestId })
    },
  })
}

function addRank(app: FastifyInstance, parts: ReadParts): void {
  const items = z.array(id).min(1).max(requestLimits.among)
  const fields = { ...askerFields, items, explain: z.boolean().optional(), minSequence }
  addRoute(app, {
    ...byBody,
    url: '/v1/rank',
    summary: 'Given items, in the order in which a user would like them',
    body: part('body', z.strictObject(fields)),
    answers: { 200: answer },
    handle: ({ body }, { requestId }) => {
      const { minSequence: after, items: among, ...asker } = body
      const all = { n: among.length, exact: true, excludeSeen: false }
      return answerTo({ ...asker, ...all, among }, after, { parts, requestId })
    },
  })
}

function addSimilar(app: FastifyInstance, parts: ReadParts, n: Count): void {
  addRoute(app, {
    method: 'GET',
    url: '/v1/items/{id}/similar',
    summary: 'The nearest items of an item',
    tag: 'items',
    scope: 'read',
    path: idPath,
    query: part('query', z.strictObject(selectionText(n))),
    body: none,
    answers: { 200: answer },
    handle: async ({ path, query }, { requestId }) => {
      const { selection, after } = selectionOf(query)
      await waitUntilVisible(after, parts)
      const request = { ...selection, itemId: path.id }
      return { ...(await parts.readers.recommender.similar(request)), requestId }
    },
  })
}
