/**
 * The parts of a table's snapshot that writing and loading share: what kinds of frames there are,
 * and the header by which a table knows whether a snapshot is its own. The format has its page in
 * `docs/formats.md`.
 */
import { ByteWriter } from '../../base/bytes.ts'
import type { ByteReader } from '../../base/bytes.ts'
import { tableField } from '../../kernels/table-kernels.ts'
import type { ErasedKeys } from '../memory/erased-keys.ts'
import type { RemovedKeys } from '../memory/removed-keys.ts'
import type { TableShards } from '../memory/table-shards.ts'
import type { RestrictProgress } from '../restrict/restrict-progress.ts'
import { readProgress, writeProgress } from '../restrict/restrict-progress.ts'
import type { TableSpec } from '../table-spec.ts'

/** "FRTB". */
export const snapshotMagic = 0x42545246
export const snapshotVersion = 3
export const frameKinds = { rows: 1, removed: 2, end: 3, erased: 4 } as const

/** What a snapshot is of: these, */
export interface SnapshotParts {
  readonly spec: TableSpec
  readonly shards: TableShards
  readonly removed: RemovedKeys
  readonly erased: ErasedKeys
}

/** and how far the table has come. */
export interface TableProgress {
  readonly version: number
  readonly restrict: RestrictProgress
}

/** What the last frame says, for the whole table and for the snapshot itself. */
export interface SnapshotEnd extends TableProgress {
  /** Rows of the table. */
  readonly size: number
  /** Frames before this one. */
  readonly frames: number
  /** Keys removed were forgotten before a delta carried them. */
  readonly overflowed: boolean
}

/** `since`: of a delta, the version it starts from. */
export function snapshotHeader({ spec, shards }: SnapshotParts, since?: number): Uint8Array {
  const writer = new ByteWriter().uint32(snapshotMagic).uint32(snapshotVersion)
  const model = describe(spec, shards)
  writer.varint(shards.storages[0].recordBytes).varint(model.length)
  for (const [field, value] of model) writer.string(field).string(value)
  writer.uint8(since === undefined ? 0 : 1).uint32(since ?? 0)
  return writer.finish()
}

/** What must be equal for rows of one table to mean the same in another. Capacity may differ. */
export const describe = (
  { name, dim, optimizer, initializer, seed = 0 }: TableSpec,
  { storages }: TableShards,
): readonly (readonly [field: string, value: string])[] => [
  ['name', name],
  ['dim', String(dim)],
  ['optimizer', optimizer.kind],
  ['state', String(storages[0].get(tableField.stateFloats))],
  ['initializer', JSON.stringify(initializer)],
  ['seed', String(seed)],
]

export function writeEnd(end: SnapshotEnd): Uint8Array {
  const { size, frames, overflowed, version, restrict } = end
  const writer = new ByteWriter().uint8(frameKinds.end).varint(size).varint(frames)
  writer.uint8(overflowed ? 1 : 0).uint32(version)
  writeProgress(writer, restrict)
  return writer.finish()
}

/** Reads what `writeEnd` wrote, after its kind. */
export const readEnd = (reader: ByteReader): SnapshotEnd => ({
  size: reader.varint(),
  frames: reader.varint(),
  overflowed: reader.uint8() === 1,
  version: reader.uint32(),
  restrict: readProgress(reader),
})
