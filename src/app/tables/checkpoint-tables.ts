/** The tables of a data directory's newest checkpoint. */
import { ServiceError } from '../../base/errors.ts'
import { MemoryTable } from '../../embedding/memory/memory-table.ts'
import type { TableSpec } from '../../embedding/table-spec.ts'
import { type Checkpoint, tablePart } from '../../trainer/checkpoint/checkpoint.ts'
import { suggestion } from '../nearest.ts'
import type { NewestCheckpoint } from '../newest-checkpoint.ts'

interface Chosen {
  readonly here: readonly TableSpec[]
  /** Their rows are not in the checkpoint. */
  readonly far: readonly TableSpec[]
}

/** Tables by name; none: all. Throws `USAGE_INVALID`. */
export function chosenTables(
  { checkpoint, saved }: NewestCheckpoint,
  names: readonly string[],
): Chosen {
  const known = saved.tables.map(({ name }) => name)
  const wrong = names.find((name) => !known.includes(name))
  if (wrong !== undefined) {
    const reason = `there is no table "${wrong}"${suggestion(wrong, known)}`
    throw new ServiceError('USAGE_INVALID', { what: 'tables', reason })
  }
  const wanted = saved.tables.filter(({ name }) => names.length === 0 || names.includes(name))
  const isHere = ({ name }: TableSpec): boolean => checkpoint.parts.includes(tablePart(name))
  return { here: wanted.filter(isHere), far: wanted.filter((spec) => !isHere(spec)) }
}

export function loadTable(checkpoint: Checkpoint, spec: TableSpec): MemoryTable {
  const table = new MemoryTable(spec)
  table.load(checkpoint.chunks(tablePart(spec.name)))
  return table
}
