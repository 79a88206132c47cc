/** Schemas that more than one route needs. */
import * as z from 'zod'

import { part } from './parts.ts'

const encoder = new TextEncoder()

/** An id: any characters, "/" and emoji too, 1 to 256 bytes of UTF-8. */
export const id = z
  .string()
  .min(1)
  .refine((text) => text.length <= 256 && text.isWellFormed() && byteLength(text) <= 256, {
    message: 'not 1 to 256 bytes of UTF-8',
  })
  .meta({ maxLength: 256 })

const byteLength = (text: string): number =>
  text.length * 3 <= 256 ? text.length : encoder.encode(text).length

const featureName = z.string().min(1).max(64)
const featureText = z.string().max(1024)

/** Named values that a model can encode. */
export const features = z.record(
  featureName,
  z.union([featureText, z.number(), z.array(featureText).max(256), z.array(z.number()).max(4096)]),
)

/** Any JSON under each name. */
export const attributes = z.record(z.string().min(1).max(256), z.unknown())

/** Epoch ms. */
export const time = z.number().describe('epoch ms')

export const idPath = part('path', z.strictObject({ id }))

/** What every write of one thing answers. */
export const written = z
  .object({
    id: z.string(),
    offset: z.string().describe('of the event that was appended; durable'),
    visible: z.boolean().describe('whether reads show it already; if not, they will in a moment'),
  })
  .describe('durable')

export interface Written {
  readonly id: string
  readonly offset: string
  readonly visible: boolean
}
