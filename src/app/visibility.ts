/** Waiting until this process has folded what was appended, in a log of several partitions too. */
import type { ServingRole } from '../serving/serving-service.ts'
import { partitionOf, splitOffsets } from '../stream/written-offsets.ts'
import type { Versions } from './versions/versions.ts'

/** True once the events at all offsets of a write are folded, false after `timeoutMs`. */
export async function waitFor(
  serving: ServingRole,
  written: string,
  timeoutMs: number,
): Promise<boolean> {
  const waits: Promise<boolean>[] = []
  for (const offset of splitOffsets(written)) {
    const partition = partitionOf(offset)
    if (partition === undefined) return false
    waits.push(serving.waitFor(offset, timeoutMs, partition))
  }
  return (await Promise.all(waits)).every(Boolean)
}

/** The same of every version that answers anybody. */
export async function allHave(
  versions: Versions,
  written: string,
  timeoutMs: number,
): Promise<boolean> {
  const replicas = versions.answering.flatMap(({ parts }) => parts.serving ?? [])
  const waits = replicas.map((serving) => waitFor(serving, written, timeoutMs))
  return (await Promise.all(waits)).every(Boolean)
}
