/**
 * What exported files are of, beside them in `tables.json`: an import refuses rows that would mean
 * something else. Files from elsewhere have none, and are taken at their word.
 */
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'

import * as z from 'zod'

import { ServiceError } from '../../base/errors.ts'
import type { TableSpec } from '../../embedding/table-spec.ts'
import { writeWhole } from './table-files.ts'

const manifestFile = 'tables.json'
const formatName = 'freshet-tables'
const manifest = z.object({
  format: z.literal(formatName),
  version: z.literal(1),
  sequence: z.number(),
  keys: z.object({ hash: z.literal('xxh64'), seed: z.number() }),
  tables: z.array(
    z.object({ name: z.string(), rows: z.number(), dim: z.number(), optimizer: z.string() }),
  ),
})
type Manifest = z.infer<typeof manifest>

export interface Exported {
  readonly sequence: number
  readonly keySeed: number
  readonly tables: Manifest['tables']
}

export async function writeManifest(
  directory: string,
  { sequence, keySeed, tables }: Exported,
): Promise<void> {
  const keys = { hash: 'xxh64', seed: keySeed } as const
  const described: Manifest = { format: formatName, version: 1, sequence, keys, tables }
  const text = `${JSON.stringify(described, undefined, 2)}\n`
  await writeWhole(join(directory, manifestFile), [new TextEncoder().encode(text)])
}

/** Throws `INPUT_INVALID` where files of these tables are of others. */
export async function requireSameModel(
  directory: string,
  keySeed: number,
  specs: readonly TableSpec[],
): Promise<void> {
  const file = join(directory, manifestFile)
  if (!existsSync(file)) return
  const invalid = (place: string, reason: string): ServiceError =>
    new ServiceError('INPUT_INVALID', { file, place, reason })
  let found: Manifest
  try {
    found = manifest.parse(JSON.parse(await readFile(file, 'utf8')))
  } catch {
    throw invalid('its content', `it is no ${formatName} of version 1`)
  }
  if (found.keys.seed !== keySeed) {
    throw invalid('keys', `hashed with seed ${found.keys.seed}, and the model has ${keySeed}`)
  }
  for (const { name, dim, optimizer } of specs) {
    const other = found.tables.find((table) => table.name === name)
    if (other === undefined || (other.dim === dim && other.optimizer === optimizer.kind)) continue
    const expected = `${dim} floats and ${optimizer.kind}`
    throw invalid(name, `made with ${other.dim} floats and ${other.optimizer}, not ${expected}`)
  }
}
