/**
 * How much of the event log is kept: not more bytes and not older than told, but never less than
 * the oldest checkpoint needs, because a restart from it reads on from there. Pure.
 */
export interface Segment {
  readonly first: number
  readonly bytes: number
  /** When it was last written to, epoch ms. */
  readonly modifiedAt: number
}

export interface Retention {
  readonly retentionBytes: number
  readonly retentionMs: number
}

/**
 * Offset before which segments may go. `needed` is the offset that the oldest checkpoint stands at;
 * without a checkpoint everything is needed.
 */
export function retainFrom(
  segments: readonly Segment[],
  { retentionBytes, retentionMs }: Retention,
  { now, needed }: { now: number; needed: number | undefined },
): number {
  let bytes = segments.reduce((sum, segment) => sum + segment.bytes, 0)
  let from = segments[0]?.first ?? 0
  for (const [i, segment] of segments.slice(0, -1).entries()) {
    const isOld = now - segment.modifiedAt > retentionMs
    if (!isOld && bytes <= retentionBytes) break
    bytes -= segment.bytes
    from = segments[i + 1].first
  }
  return Math.min(from, needed ?? 0)
}
