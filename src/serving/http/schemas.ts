/** Schemas that more than one route needs. */
import * as z from 'zod'

import { eventLimits } from '../../stream/event-schema.ts'
import { part } from './parts.ts'

/** An id: any characters, "/" and emoji too, 1 to 256 bytes of UTF-8. */
export const id = z
  .string()
  .refine((text) => text !== '' && text.isWellFormed() && fits(text), {
    message: `not 1 to ${eventLimits.idBytes} bytes of UTF-8`,
  })
  .meta({ minLength: 1, maxLength: eventLimits.idBytes })

const fits = (text: string): boolean =>
  text.length <= eventLimits.idBytes && Buffer.byteLength(text) <= eventLimits.idBytes

const featureText = z.string().max(eventLimits.textLength)

/** Named values that a model can encode. */
export const features = z
  .record(
    z.string().min(1).max(eventLimits.nameBytes),
    z.union([
      featureText,
      z.number(),
      z.array(featureText).max(eventLimits.listLength),
      z.array(z.number()).max(eventLimits.listLength),
    ]),
  )
  .refine((fields) => Object.keys(fields).length <= eventLimits.fields, {
    message: `more than ${eventLimits.fields} features`,
  })

/** As an answer has them: checked when they came in, so written as they are. */
export const knownFeatures = z.record(z.string(), z.unknown()).describe('named values')

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
