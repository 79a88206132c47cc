/** Waiting until this process has folded what was appended, in a log of several partitions too. */
import type { ServingService } from '../serving/serving-service.ts'
import { partitionOf, splitOffsets } from '../stream/written-offsets.ts'

/** True once the events at all offsets of a write are folded, false after `timeoutMs`. */
export async function waitFor(
  serving: ServingService,
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
