/**
 * The towers' vectors, for those who keep an index of their own: as this API has them, and in the
 * form that TensorFlow Serving's REST interface gives to a model.
 */
import type { FastifyInstance } from 'fastify'
import * as z from 'zod'

import type { Embedding } from '../../recommendation.ts'
import { requestLimits } from '../../recommendation.ts'
import { none, part } from '../parts.ts'
import { fallback, modelState, waitUntilVisible } from '../recommending.ts'
import type { ReadParts } from '../route-parts.ts'
import { addRoute } from '../route.ts'
import { id, idPath } from '../schemas.ts'
import { minSequence } from '../selection.ts'

const vector = z.array(z.number())

export const embedding = z
  .object({
    id: z.string(),
    vector: vector.describe('the last number is of popularity: its weight, or its logarithm'),
    model: modelState,
    fallback,
    requestId: z.string(),
  })
  .describe('the inner product of a user and an item is its score')

export function addEmbeddingRoutes(app: FastifyInstance, parts: ReadParts): void {
  const { recommender } = parts.readers
  addVector(app, parts, {
    of: 'user',
    embed: (userId) => recommender.embedQuery({ userId, n: 1 }),
  })
  addVector(app, parts, { of: 'item', embed: (itemId) => recommender.embedItem(itemId) })
  addPrediction(app, parts)
}

interface Embedder {
  readonly of: 'user' | 'item'
  readonly embed: (name: string) => Promise<Embedding>
}

function addVector(app: FastifyInstance, parts: ReadParts, { of, embed }: Embedder): void {
  addRoute(app, {
    method: 'GET',
    url: `/v1/${of}s/{id}/embedding`,
    summary: `The vector of ${of === 'user' ? 'a user' : 'an item'}`,
    tag: `${of}s`,
    scope: 'read',
    path: idPath,
    query: part('query', z.strictObject({ minSequence })),
    body: none,
    answers: { 200: embedding },
    handle: async ({ path, query }, { requestId }) => {
      await waitUntilVisible(query.minSequence, parts)
      const { vector: floats, ...rest } = await embed(path.id)
      return { id: path.id, vector: Array.from(floats), ...rest, requestId }
    },
  })
}

/** A user's id, alone or under the name of the model's one input. */
const instance = z.union([id, z.strictObject({ user_id: id }), z.strictObject({ userId: id })])

function addPrediction(app: FastifyInstance, { readers }: ReadParts): void {
  const instances = z.array(instance).min(1).max(requestLimits.queries)
  addRoute(app, {
    method: 'POST',
    // A single colon would begin a parameter.
    url: '/v1/models/user_model::predict',
    summary: "Vectors of users, in the form of TensorFlow Serving's REST interface",
    tag: 'users',
    scope: 'read',
    path: none,
    query: none,
    body: part(
      'body',
      z.strictObject({ signature_name: z.literal('serving_default').optional(), instances }),
    ),
    answers: { 200: z.object({ predictions: z.array(vector) }).describe('one for each instance') },
    handle: async ({ body }) => {
      const found = body.instances.map((one) =>
        readers.recommender.embedQuery({ userId: userOf(one), n: 1 }),
      )
      return {
        predictions: (await Promise.all(found)).map(({ vector: floats }) => Array.from(floats)),
      }
    },
  })
}

function userOf(one: z.output<typeof instance>): string {
  if (typeof one === 'string') return one
  return 'userId' in one ? one.userId : one.user_id
}
