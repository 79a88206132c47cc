/** `GET /recommend/{userId}`: names to show, and nothing else; the form that tutorials use. */
import type { FastifyInstance } from 'fastify'
import * as z from 'zod'

import type { RecommendedItem } from '../../recommendation.ts'
import { none, numberText, part } from '../parts.ts'
import { recommend } from '../recommending.ts'
import type { ReadParts } from '../route-parts.ts'
import { addRoute } from '../route.ts'
import { idPath } from '../schemas.ts'

export function addPlainRoute(app: FastifyInstance, parts: ReadParts): void {
  const n = numberText(z.int().min(1).max(parts.settings.listLimit)).default(10)
  const { catalogue } = parts.readers
  const titleOf = ({ id, attributes }: RecommendedItem): string => {
    const title = attributes['title'] ?? catalogue.get(id)?.features['title']
    return typeof title === 'string' && title !== '' ? title : id
  }
  addRoute(app, {
    method: 'GET',
    url: '/recommend/{id}',
    summary: 'Titles, or ids where there are none, of what to recommend to a user',
    tag: 'recommendations',
    scope: 'read',
    path: idPath,
    query: part('query', z.strictObject({ n })),
    body: none,
    answers: {
      200: z
        .object({ user_id: z.string(), recommendations: z.array(z.string()) })
        .describe('best first'),
    },
    handle: async ({ path, query }, { requestId }) => {
      const request = { userId: path.id, n: query.n }
      const { items } = await recommend(request, undefined, { parts, requestId })
      return { user_id: path.id, recommendations: items.map(titleOf) }
    },
  })
}
