/** What all routes that recommend have in common: the answer, and the wait for one's own writes. */
import * as z from 'zod'

import { ServiceError } from '../../base/errors.ts'
import type { RecommendRequest, Recommendations } from '../recommendation.ts'
import type { ReadParts } from './route-parts.ts'
import { attributes, time } from './schemas.ts'

export const modelState = z.object({
  name: z.string().optional().describe('the version of the model that answered'),
  version: z.number().describe('steps taken by the model'),
  sequence: z.number().describe('of the last delta applied'),
  watermark: z.object({
    offsets: z.record(z.string(), z.string()).describe('trained up to here, per partition'),
    acceptedAt: time,
  }),
})

export const fallback = z
  .string()
  .optional()
  .describe('what stood in for an unknown user: history, features, context, popularity or latest')

const explanation = z.object({
  towers: z.number().describe("the towers' share of the score"),
  popularity: z.number().describe("popularity's share"),
  vectorVersion: z.number().describe("model version of the item's vector"),
  source: z.enum(['index', 'exact', 'latest']),
  nearestHistory: z
    .array(z.object({ id: z.string(), similarity: z.number() }))
    .describe('items that the user had, the nearest to this one first, by cosine'),
})

const recommendations = z.object({
  items: z
    .array(
      z.object({
        id: z.string(),
        score: z.number(),
        attributes: attributes.optional(),
        explanation: explanation.optional(),
      }),
    )
    .describe('best first'),
  model: modelState,
  fallback,
})

export const answer = recommendations
  .extend({ requestId: z.string() })
  .describe('items, and the parameters that they were chosen with')

export const answers = z
  .object({ answers: z.array(recommendations), requestId: z.string() })
  .describe('an answer for each request, in order')

export interface Asked {
  readonly parts: ReadParts
  readonly requestId: string
}

/** Waits for the offset, if there is one, and counts and records what is answered. */
export async function recommend(
  request: RecommendRequest,
  after: string | undefined,
  { parts, requestId }: Asked,
): Promise<Recommendations> {
  if (after !== undefined) await waitUntilVisible(after, parts)
  const found = await parts.readers.recommender.recommend(request)
  const { metrics, experiment } = parts.dependencies
  metrics.countRecommendation(found.fallback)
  const { userId } = request
  const { name } = found.model
  // Who asks for a version looks at it; what comes of that says nothing.
  const isLooking = request.version !== undefined
  if (experiment !== undefined && userId !== undefined && name !== undefined && !isLooking) {
    experiment.answered({ requestId, userId, version: name, items: found.items })
  }
  return found
}

/** Throws `OFFSET_NOT_VISIBLE` when it takes too long. */
export async function waitUntilVisible(
  after: string | undefined,
  { readers, settings }: Pick<ReadParts, 'readers' | 'settings'>,
): Promise<void> {
  const waitedMs = settings.visibilityWaitMs
  if (after === undefined || (await readers.visibility.waitFor(after, waitedMs))) return
  throw new ServiceError('OFFSET_NOT_VISIBLE', { offset: after, waitedMs })
}
