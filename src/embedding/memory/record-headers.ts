/** What many records say of themselves; `assembly/table-records.ts` has their layout. */
import { assert } from '../../base/assert.ts'
import type { Keys } from '../../base/keys.ts'

const versionOffset = 12
const lastSeenOffset = 16

export interface RecordHeaders {
  readonly keys: Keys
  /** The least and the greatest version of the last change of any. */
  readonly earliest: number
  readonly latest: number
  /** The first and the last time that any was last seen; undefined: there is no row. */
  readonly seen: readonly [oldest: number, newest: number] | undefined
}

export function readHeaders(records: Uint8Array, recordBytes: number): RecordHeaders {
  assert(records.length % recordBytes === 0, 'whole records')
  const view = new DataView(records.buffer, records.byteOffset, records.length)
  const n = records.length / recordBytes
  const keys = new Uint32Array(2 * n)
  let [earliest, latest] = [Number.POSITIVE_INFINITY, 0]
  let [oldest, newest] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
  for (let i = 0; i < n; i += 1) {
    const at = i * recordBytes
    keys[2 * i] = view.getUint32(at, true)
    keys[2 * i + 1] = view.getUint32(at + 4, true)
    // Zeros stand for a row that was not there.
    if (keys[2 * i] === 0 && keys[2 * i + 1] === 0) continue
    const version = view.getUint32(at + versionOffset, true)
    earliest = Math.min(earliest, version)
    latest = Math.max(latest, version)
    const lastSeen = view.getFloat64(at + lastSeenOffset, true)
    oldest = Math.min(oldest, lastSeen)
    newest = Math.max(newest, lastSeen)
  }
  return { keys, earliest, latest, seen: oldest > newest ? undefined : [oldest, newest] }
}
