/**
 * What a write is told of where it stands, as one text: the offset of its last event, or in a log
 * of several partitions the last of each partition that it touched, `0:17,2:5.1`. Whoever reads
 * after it waits for all of them.
 */

/** Of a file log, which has one; else an offset begins with its partition and a colon. */
const firstPartition = 0
const pattern = /^(?:(\d+):)?\d+(?:\.\d+)?$/

/** Undefined: no log has given it. */
export function partitionOf(offset: string): number | undefined {
  const found = pattern.exec(offset)
  if (found === null) return undefined
  return found[1] === undefined ? firstPartition : Number(found[1])
}

/** Of offsets in the order in which they were given; undefined: there are none. */
export function joinOffsets(offsets: Iterable<string>): string | undefined {
  const last = new Map<number | undefined, string>()
  for (const offset of offsets) last.set(partitionOf(offset), offset)
  return last.size === 0 ? undefined : [...last.values()].join(',')
}

export const splitOffsets = (text: string): readonly string[] => text.split(',')
