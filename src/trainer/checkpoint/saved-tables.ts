/** Tables in memory as parts of a checkpoint: whole, or what has changed since another one. */
import type { DurableTable } from '../../embedding/durable-table.ts'
import { type CheckpointPart, deltaPart, tablePart } from './checkpoint.ts'

/** Of each table when a checkpoint was made: where a delta to it starts. */
export type TableVersions = ReadonlyMap<string, number>

export interface SavedState {
  readonly parts: readonly CheckpointPart[]
  readonly versions: TableVersions
  /** Some table holds only what has changed. */
  readonly isDelta: boolean
}

/** A table that does not know any more which rows have left since is saved whole. */
export function saveTables(
  tables: readonly (readonly [name: string, table: DurableTable])[],
  since: TableVersions | undefined,
): SavedState {
  const parts: CheckpointPart[] = []
  const versions = new Map<string, number>()
  let isDelta = false
  for (const [name, table] of tables) {
    const snapshot = table.snapshot({ since: since?.get(name) })
    const part = snapshot.full ? tablePart(name) : deltaPart(name)
    parts.push({ name: part, chunks: withPauses(snapshot) })
    versions.set(name, snapshot.version)
    isDelta ||= !snapshot.full
  }
  return { parts, versions, isDelta }
}

function* withPauses(pieces: Iterable<Uint8Array>): Generator<Uint8Array | undefined> {
  for (const piece of pieces) yield piece.length === 0 ? undefined : piece
}
