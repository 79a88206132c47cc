/**
 * The list of versions as text, and on disk: `versions.json` in the data directory, see
 * docs/formats.md. It is replaced as a whole, so there is always one of them.
 */
import { existsSync, readFileSync } from 'node:fs'
import { open, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'

import * as z from 'zod'

import { ServiceError } from '../../base/errors.ts'
import { modelSchema } from '../config/config-model-schema.ts'
import type { VersionList } from './version-list.ts'

const fileName = 'versions.json'

const stored = z.strictObject({
  crc: z.int(),
  body: z.strictObject({
    format: z.literal('freshet-versions'),
    version: z.literal(1),
    primary: z.string(),
    previous: z.string().exactOptional(),
    versions: z
      .array(
        z.strictObject({
          name: z.string(),
          folder: z.string(),
          model: modelSchema,
          percent: z.number().min(0).max(100),
          createdAt: z.number(),
        }),
      )
      .min(1),
  }),
})

const raw = z.object({ crc: z.int(), body: z.unknown() })

/** Undefined: there is none yet. Throws `VERSIONS_DAMAGED`. */
export function readVersions(dataDirectory: string): VersionList | undefined {
  const path = join(dataDirectory, fileName)
  return existsSync(path) ? versionsFrom(readFileSync(path, 'utf8'), path) : undefined
}

/** `place`: where it was, for a person. Throws `VERSIONS_DAMAGED`. */
export function versionsFrom(text: string, place: string): VersionList {
  try {
    const value: unknown = JSON.parse(text)
    const { crc, body } = raw.parse(value)
    if (crc32(JSON.stringify(body)) !== crc) throw new Error('its checksum differs')
    const { format: _, version: __, ...list } = stored.parse(value).body
    return list
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new ServiceError('VERSIONS_DAMAGED', { file: place, reason }, { cause })
  }
}

export function versionsText(list: VersionList): string {
  const body = { format: 'freshet-versions', version: 1, ...list }
  return JSON.stringify({ crc: crc32(JSON.stringify(body)), body })
}

/** Durable when it resolves. */
export async function writeVersions(dataDirectory: string, list: VersionList): Promise<void> {
  const path = join(dataDirectory, fileName)
  const file = await open(`${path}.new`, 'w')
  try {
    await file.writeFile(versionsText(list))
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(`${path}.new`, path)
  const directory = await open(dataDirectory, 'r')
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}
