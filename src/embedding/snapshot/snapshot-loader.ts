/** Fills a table from the bytes of a snapshot, and takes in the deltas that follow it. */
import { ByteReader } from '../../base/bytes.ts'
import type { ErrorDetails } from '../../base/errors.ts'
import { ServiceError } from '../../base/errors.ts'
import { changedBits } from '../../kernels/table-kernels.ts'
import { readHeaders } from '../memory/record-headers.ts'
import type { TableSpec } from '../table-spec.ts'
import { FrameDamage, readFrames } from './frames.ts'
import type { SnapshotEnd, SnapshotParts, TableProgress } from './snapshot-format.ts'
import { describe, frameKinds, readEnd, snapshotMagic, snapshotVersion } from './snapshot-format.ts'

/**
 * Fills an empty table from a full snapshot, and takes in the deltas to it that follow in the same
 * bytes. Throws `SNAPSHOT_DAMAGED` or `SNAPSHOT_INCOMPATIBLE`, and then the table holds whatever
 * came before the fault: the caller clears it.
 */
export function readSnapshots(parts: SnapshotParts, pieces: Iterable<Uint8Array>): TableProgress {
  try {
    const frames = readFrames(pieces)
    let progress: TableProgress | undefined
    for (let next = frames.next(); next.done !== true; next = frames.next()) {
      checkHeader(parts, new ByteReader(next.value), progress)
      if (progress !== undefined) forgetChanges(parts)
      progress = readOne(parts, frames)
    }
    if (progress === undefined) throw new FrameDamage('it is empty')
    return progress
  } catch (cause) {
    if (!(cause instanceof FrameDamage || cause instanceof RangeError)) throw cause
    const details = { table: parts.spec.name, reason: cause.message }
    throw new ServiceError('SNAPSHOT_DAMAGED', details, { cause })
  }
}

/** What follows a header, up to the end of the snapshot. */
function readOne(parts: SnapshotParts, frames: Iterator<Uint8Array, void>): TableProgress {
  let end: SnapshotEnd | undefined
  let count = 1
  while (end === undefined) {
    const next = frames.next()
    if (next.done === true) throw new FrameDamage('its end is missing')
    end = readPart(parts, next.value)
    if (end === undefined) count += 1
  }
  checkEnd(parts, end, count)
  return end
}

/** A delta says of every row whether another delta has yet to carry it. */
function forgetChanges({ shards, removed }: SnapshotParts): void {
  for (const storage of shards.storages) storage.forgetChanges()
  removed.clear()
}

function checkHeader(
  { spec, shards }: SnapshotParts,
  reader: ByteReader,
  at: TableProgress | undefined,
): void {
  if (reader.uint32() !== snapshotMagic) {
    throw new FrameDamage(at ? 'it goes on after its end' : 'it is not a table snapshot')
  }
  const found = reader.uint32()
  if (found !== snapshotVersion) {
    throw incompatible(spec, { field: 'format version', found, expected: snapshotVersion })
  }
  reader.varint()
  const model = new Map(describe(spec, shards))
  for (let count = reader.varint(); count > 0; count -= 1) {
    const field = reader.string()
    const value = reader.string()
    const expected = model.get(field) ?? 'none'
    if (value !== expected) throw incompatible(spec, { field, found: value, expected })
  }
  const isDelta = reader.uint8() === 1
  const since = reader.uint32()
  if (at !== undefined && !isDelta) throw new FrameDamage('it goes on after its end')
  if (isDelta && (at === undefined || since > at.version)) {
    const expected = at === undefined ? 'a full snapshot' : `at most version ${at.version}`
    throw incompatible(spec, { field: 'start', found: `version ${since}`, expected })
  }
}

const incompatible = ({ name }: TableSpec, details: ErrorDetails): ServiceError =>
  new ServiceError('SNAPSHOT_INCOMPATIBLE', { table: name, ...details })

function checkEnd({ shards, removed }: SnapshotParts, end: SnapshotEnd, frames: number): void {
  if (end.frames !== frames) throw new FrameDamage(`${frames} frames instead of ${end.frames}`)
  if (end.size !== shards.size) {
    throw new FrameDamage(`${shards.size} rows instead of ${end.size}`)
  }
  if (end.overflowed) removed.overflow()
}

/** Takes in one part; what the last one says. */
function readPart(parts: SnapshotParts, payload: Uint8Array): SnapshotEnd | undefined {
  const reader = new ByteReader(payload)
  const kind = reader.uint8()
  if (kind === frameKinds.end) return readEnd(reader)
  if (kind === frameKinds.rows) readRows(parts, payload.subarray(1))
  else if (kind === frameKinds.removed) parts.removed.add(new Uint32Array(reader.array()))
  else if (kind === frameKinds.erased) parts.shards.drop(new Uint32Array(reader.array()))
  else throw new FrameDamage(`a part of kind ${kind}`)
  return undefined
}

function readRows({ spec, shards }: SnapshotParts, records: Uint8Array): void {
  const [{ recordBytes }] = shards.storages
  if (records.length % recordBytes !== 0) throw new FrameDamage('a row is cut off')
  const { keys } = readHeaders(records, recordBytes)
  if (shards.write(records, { keys, changes: changedBits.asRecorded }) === 0) return
  throw incompatible(spec, {
    field: 'capacity',
    found: `more than ${shards.size} rows`,
    expected: spec.capacityRows,
  })
}
