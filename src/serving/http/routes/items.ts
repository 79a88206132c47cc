/** The catalogue: a write appends an event, a read shows what the facts have made of the events. */
import type { FastifyInstance } from 'fastify'
import * as z from 'zod'

import { ServiceError } from '../../../base/errors.ts'
import { emptyTally, valueOrError } from '../ingest.ts'
import { none, numberText, part } from '../parts.ts'
import type { Part } from '../parts.ts'
import { waitUntilVisible } from '../recommending.ts'
import type { ReadParts, WriteParts } from '../route-parts.ts'
import { addRoute } from '../route.ts'
import { attributes, features, id, idPath, knownFeatures, time } from '../schemas.ts'
import { afterWrite } from '../selection.ts'
import { addEntityWrites } from './entity-writes.ts'
import { accepted } from './events.ts'

export const itemFields = {
  features: features.optional().describe('what the model learns from'),
  attributes: attributes.optional().describe('returned with recommendations, never learned from'),
  hidden: z.boolean().optional().describe('known, but not recommended'),
  expiresAt: z
    .union([z.number(), z.string()])
    .optional()
    .describe('RFC 3339 or epoch ms; removed from then on'),
  crowdingTag: z.string().max(256).optional().describe('items of one tag can be spread'),
}

const itemBody = part('body', z.strictObject(itemFields))

export const item = z
  .object({
    id: z.string(),
    features: knownFeatures,
    attributes,
    hidden: z.boolean(),
    expiresAt: time.optional(),
    crowdingTag: z.string().optional(),
    firstSeenAt: time,
    lastTouchedAt: time,
  })
  .describe('the item as it is known now')

const page = z
  .object({
    items: z.array(item),
    next: z.string().optional().describe('cursor of the next page; absent on the last'),
  })
  .describe('a page of the catalogue')

export function addItemReads(app: FastifyInstance, { readers, ingest, settings }: ReadParts): void {
  const { catalogue } = readers
  addRoute(app, {
    method: 'GET',
    url: '/v1/items/{id}',
    summary: 'One item',
    tag: 'items',
    scope: 'read',
    path: idPath,
    query: afterWrite,
    body: none,
    answers: { 200: item },
    handle: async ({ path, query }) => {
      await waitUntilVisible(query.minSequence, { readers, settings })
      await ingest?.settle()
      const found = catalogue.get(path.id)
      if (found === undefined) throw new ServiceError('ITEM_UNKNOWN', { itemId: path.id })
      return found
    },
  })
  const limit = z.int().min(1).max(settings.listLimit)
  addRoute(app, {
    method: 'GET',
    url: '/v1/items',
    summary: 'The catalogue, page by page',
    tag: 'items',
    scope: 'read',
    path: none,
    query: part(
      'query',
      z.strictObject({
        cursor: z.string().max(256).optional(),
        limit: numberText(limit).default(Math.min(100, settings.listLimit)),
        search: z.string().min(1).max(256).optional().describe('in id or title, in any case'),
      }),
    ),
    body: none,
    answers: { 200: page },
    handle: ({ query: { search, cursor, limit: most } }) =>
      search === undefined ? catalogue.list(cursor, most) : catalogue.search(search, cursor, most),
  })
}

export function addItemWrites(app: FastifyInstance, parts: WriteParts): void {
  addEntityWrites(app, parts.ingest, {
    url: '/v1/items/{id}',
    tag: 'items',
    body: itemBody,
    put: 'Create or replace an item',
    patch: 'Change the named fields of an item',
    remove: 'Delete an item everywhere, whether it is there or not',
    write: (itemId, mode, fields) => ({ ...fields, kind: 'item', mode, itemId }),
    erase: (itemId) => ({ kind: 'deleteItem', itemId }),
  })
  addBulk(app, parts)
}

function addBulk(app: FastifyInstance, { ingest, settings }: WriteParts): void {
  addRoute(app, {
    method: 'POST',
    url: '/v1/items',
    summary: 'Create or replace many items',
    tag: 'items',
    scope: 'write',
    path: none,
    query: none,
    body: bulkBody(settings.maxEventsPerRequest),
    answers: { 202: accepted },
    handle: async ({ body }, call) => {
      const tally = emptyTally()
      const wires = body.map((one) => valueOrError(() => bulkWire(one)))
      await ingest.accept(wires, tally, call.idempotencyKey)
      if (tally.offset !== undefined) await ingest.visible(tally.offset)
      return tally
    },
  })
}

const bulkItem = part('body', z.strictObject({ id, ...itemFields }))

/** Only the list is parsed as a whole: one bad item must not reject its neighbours. */
const bulkBody = (limit: number): Part<unknown[]> => ({
  parse: part('body', z.array(z.unknown()).max(limit)).parse,
  schema: { type: 'array', items: bulkItem.schema, maxItems: limit },
})

function bulkWire(value: unknown): object {
  const { id: itemId, ...fields } = bulkItem.parse(value)
  return { ...fields, kind: 'item', mode: 'replace', itemId }
}
