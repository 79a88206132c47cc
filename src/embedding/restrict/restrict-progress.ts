/** How far a table has come with restricting itself, as a snapshot keeps it. */
import type { ByteReader, ByteWriter } from '../../base/bytes.ts'
import { readRestriction, type Restriction, writeRestriction } from './restriction.ts'

export interface RestrictProgress {
  /** What is left to do, if one is under way. */
  readonly restriction: Restriction | undefined
  /** The latest and the earliest time of any stamp, epoch ms; before the first: 0, infinity. */
  readonly time: number
  readonly oldest: number
  /**
   * The last sweep for rows past their time to live: so many sixteenths of that since the epoch.
   */
  readonly sweep: number
}

export const noProgress: RestrictProgress = {
  restriction: undefined,
  time: 0,
  oldest: Infinity,
  sweep: 0,
}

export function writeProgress(writer: ByteWriter, progress: RestrictProgress): void {
  const { restriction, time, oldest, sweep } = progress
  writer
    .float64(time)
    .float64(oldest)
    .float64(sweep)
    .uint8(restriction === undefined ? 0 : 1)
  if (restriction !== undefined) writeRestriction(writer, restriction)
}

export function readProgress(reader: ByteReader): RestrictProgress {
  const time = reader.float64()
  const oldest = reader.float64()
  const sweep = reader.float64()
  const restriction = reader.uint8() === 1 ? readRestriction(reader) : undefined
  return { restriction, time, oldest, sweep }
}
