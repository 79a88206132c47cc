/** Receipts of imported files: who sends a file's events asks here how far it had come. */
import type { FastifyInstance } from 'fastify'
import * as z from 'zod'

import { ServiceError } from '../../../base/errors.ts'
import { type ImportReceipts, type Receipt, receiptFields, receiptId } from '../import-receipts.ts'
import { none, part } from '../parts.ts'
import { addRoute } from '../route.ts'

const receipt = receiptFields
  .extend({ id: z.string() })
  .describe('how far the import of a file has come')

const idPath = part('path', z.strictObject({ id: receiptId }))

export function addImportRoutes(app: FastifyInstance, receipts: ImportReceipts): void {
  const common = {
    url: '/v1/imports/{id}',
    tag: 'events',
    scope: 'write',
    path: idPath,
    query: none,
    answers: { 200: receipt },
  } as const
  addRoute(app, {
    ...common,
    method: 'GET',
    summary: 'How far the import of a file has come',
    body: none,
    handle: ({ path: { id } }) => known(receipts, id),
  })
  addRoute(app, {
    ...common,
    method: 'PUT',
    summary: 'Says how far the import of a file has come',
    body: part('body', receiptFields),
    handle: async ({ path: { id }, body }) => {
      await receipts.keep({ id, ...body })
      return { id, ...body }
    },
  })
}

async function known(receipts: ImportReceipts, id: string): Promise<Receipt> {
  const found = await receipts.find(id)
  if (found === undefined) throw new ServiceError('IMPORT_UNKNOWN', { id })
  return found
}
