/**
 * Batches that the guard refused, one file each, with the reason: for somebody to look at.
 * Bounded: when the directory is full, further batches are reported but not kept.
 */
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import type { Example } from '../stream/example.ts'
import type { GuardTrip } from './guard.ts'

export interface RefusedBatch {
  readonly step: number
  readonly trip: GuardTrip
  readonly examples: readonly Example[]
}

const maxQuarantined = 100

/** The file's path; undefined when nothing was written. */
export async function quarantine(
  directory: string,
  { step, trip, examples }: RefusedBatch,
): Promise<string | undefined> {
  await mkdir(directory, { recursive: true })
  const kept = await readdir(directory)
  if (kept.length >= maxQuarantined) return undefined
  const file = join(directory, `batch-${String(step).padStart(12, '0')}.json`)
  const content = { step, trip, examples: examples.map((example) => describe(example)) }
  await writeFile(file, `${JSON.stringify(content, undefined, 2)}\n`)
  return file
}

const describe = ({ index, query, item, type, weight, acceptedAt }: Example): object => ({
  index,
  userId: query.userId,
  itemId: item.id,
  type,
  weight,
  timestamp: query.timestamp,
  acceptedAt,
  context: query.context,
  history: query.history.map((entry) => entry.item.id),
})
