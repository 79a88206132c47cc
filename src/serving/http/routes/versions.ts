/**
 * Versions of the model: what there is, a new one, who gets how much traffic, promoting and going
 * back; and what came of whose answers.
 */
import type { FastifyInstance } from 'fastify'
import * as z from 'zod'

import type { ExperimentDesk, VersionsDesk } from '../../versions/versions-desk.ts'
import { none, numberText, part } from '../parts.ts'
import { addRoute } from '../route.ts'
import { id, time } from '../schemas.ts'

const shared = { tag: 'admin', scope: 'admin', path: none, query: none, body: none } as const

const name = z
  .string()
  .regex(/^[A-Za-z][A-Za-z0-9_-]{0,63}$/, 'not a letter and up to 63 letters, digits, "_" or "-"')

const namePath = part('path', z.strictObject({ name }))

const ranking = z.object({
  hr10: z.number(),
  ndcg10: z.number(),
  mrr10: z.number(),
  evaluated: z.int(),
})

const version = z
  .object({
    name: z.string(),
    role: z
      .enum(['primary', 'previous', 'candidate'])
      .describe('primary: answers whoever is given to no other; previous: was it before'),
    state: z.enum(['starting', 'warming', 'ready', 'failed']),
    missing: z.string().optional().describe('what it waits for, or why it has failed'),
    percent: z.number().describe('of the users; of the primary, what the others leave'),
    createdAt: time,
    differs: z.array(z.string()).describe("where its model differs from the primary's"),
    training: z
      .object({
        steps: z.int(),
        examples: z.int(),
        lagEvents: z.number().describe('events of the log still to be learned'),
        loss: z.number(),
        guardTrips: z.int(),
        rows: z.int(),
        tableBytes: z.number(),
      })
      .optional(),
    evaluation: z
      .object({ model: ranking, recentlyPopular: ranking, coVisitation: ranking })
      .optional()
      .describe('over the newest examples, each ranked before it was learned'),
    index: z.object({ items: z.int(), bytes: z.number() }).optional(),
    overlap: z
      .object({ mean: z.number(), lists: z.int() })
      .optional()
      .describe("of its first ten items with the primary's, over requests put to both"),
  })
  .describe('a version of the model')

const versions = z
  .object({
    primary: z.string(),
    previous: z.string().optional().describe('where a roll back leads'),
    max: z.int().describe('versions there may be'),
    versions: z.array(version).describe('in the order in which they came'),
  })
  .describe('versions of the model, and who answers')

export function addVersionRoutes(app: FastifyInstance, desk: VersionsDesk): void {
  addRoute(app, {
    ...shared,
    method: 'GET',
    url: '/v1/admin/versions',
    summary: 'The versions of the model, side by side',
    answers: { 200: versions },
    handle: () => desk.view(),
  })
  addRoute(app, {
    ...shared,
    method: 'GET',
    url: '/v1/admin/versions/{name}',
    summary: 'One version',
    path: namePath,
    answers: { 200: version },
    handle: ({ path }) => desk.one(path.name),
  })
  addAdding(app, desk)
  addTraffic(app, desk)
  addRoute(app, {
    ...shared,
    method: 'DELETE',
    url: '/v1/admin/versions/{name}',
    summary: 'Remove a version with all that it has learned',
    path: namePath,
    answers: { 200: versions },
    handle: async ({ path }) => {
      await desk.remove(path.name)
      return desk.view()
    },
  })
  addRoute(app, {
    ...shared,
    method: 'POST',
    url: '/v1/admin/versions/{name}/promote',
    summary: 'Make a version the one that answers',
    path: namePath,
    answers: { 200: versions },
    handle: ({ path }) => desk.promote(path.name),
  })
  addRoute(app, {
    ...shared,
    method: 'POST',
    url: '/v1/admin/versions/rollback',
    summary: 'Go back to the version that answered before',
    answers: { 200: versions },
    handle: () => desk.rollBack(),
  })
}

const addition = z
  .strictObject({
    name: name.exactOptional().describe("default: the model's own name"),
    model: z.looseObject({}).describe('the part `model` of a configuration'),
  })
  .describe('a version that learns the log from its start, and gets no traffic until told so')

function addAdding(app: FastifyInstance, desk: VersionsDesk): void {
  addRoute(app, {
    ...shared,
    method: 'POST',
    url: '/v1/admin/versions',
    summary: 'Train another model beside those that there are',
    body: part('body', addition),
    answers: { 201: version },
    handle: ({ body }) => desk.add(body),
  })
}

const traffic = z.strictObject({
  percent: z.number().min(0).max(100).describe('of the users, in hundredths at the finest'),
})

function addTraffic(app: FastifyInstance, desk: VersionsDesk): void {
  addRoute(app, {
    ...shared,
    method: 'PATCH',
    url: '/v1/admin/versions/{name}',
    summary: 'Give a version a share of the users',
    path: namePath,
    body: part('body', traffic),
    answers: { 200: version },
    handle: ({ path, body }) => desk.setTraffic(path.name, body.percent),
  })
}

const rate = z
  .object({ value: z.number(), low: z.number(), high: z.number() })
  .describe('a share, and the interval that has the true one with a probability of 95 %')

const experiment = z
  .object({
    recording: z.boolean(),
    since: time.describe('0: nothing has been recorded yet'),
    windowMs: z.number().describe('how long after an answer what its user does counts for it'),
    forgotten: z.int().describe('answers that were too many to be remembered for so long'),
    dropped: z.int().describe('answers of this process that could not be recorded'),
    countedAt: time.describe('when somebody counted last; 0: never'),
    versions: z.array(
      z.object({
        version: z.string(),
        answers: z.int(),
        answersTaken: z.int().describe('answers of which the user took something'),
        interactions: z.int().describe('of users who had an answer within the window'),
        hits: z.int().describe('of these, with an item of an answer'),
        ctr: rate.describe('answersTaken over answers'),
        hitRate: rate.describe('hits over interactions'),
      }),
    ),
  })
  .describe('what came of whose answers')

const answers = z
  .object({
    answers: z.array(
      z.object({
        number: z.int(),
        requestId: z.string(),
        user: z.string().describe('a hash of the id'),
        version: z.string(),
        items: z.array(z.string()),
        at: time,
      }),
    ),
  })
  .describe('the newest first')

const wanted = z.strictObject({
  limit: numberText(z.int().min(1).max(1_000)).default(100),
  userId: id.exactOptional(),
  requestId: z.string().max(64).exactOptional(),
})

export function addExperimentRoutes(app: FastifyInstance, desk: ExperimentDesk): void {
  addRoute(app, {
    ...shared,
    method: 'GET',
    url: '/v1/admin/experiment',
    summary: 'What came of the answers of each version',
    answers: { 200: experiment },
    handle: () => desk.report(),
  })
  addRoute(app, {
    ...shared,
    method: 'GET',
    url: '/v1/admin/experiment/answers',
    summary: 'Which version answered which request',
    query: part('query', wanted),
    answers: { 200: answers },
    handle: async ({ query }) => {
      const { limit, ...which } = query
      return { answers: await desk.answers(limit, which) }
    },
  })
}
