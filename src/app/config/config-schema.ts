/**
 * The one configuration file: `model`, what must agree in every process, and `process`, what may
 * differ. `config.ts` reads it; types are inferred from the schema, so an option exists once.
 */
import * as z from 'zod'

import { modelSchema } from './config-model-schema.ts'
import { processSchema } from './config-process-schema.ts'

export const configSchema = z.strictObject({
  model: modelSchema.describe('what must agree in every process: same log, same values, same bits'),
  process: processSchema.describe('what may differ from process to process'),
})

/** Defaults filled in, everything checked. */
export type Config = z.infer<typeof configSchema>

/** The JSON schema of the file, as `freshet config schema` prints it. */
export const jsonSchema = (): object => z.toJSONSchema(configSchema, { io: 'input' })
