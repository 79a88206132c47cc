/**
 * The redo part of a checkpoint: what one flush sends to a table's store, so that a restart, or a
 * store that has lost its last writes, can be sent it again. Chunks: a header, then keys whose rows
 * are gone, then records; see "Checkpoint" in docs/formats.md.
 */
import { assert } from '../../base/assert.ts'
import { ByteReader, ByteWriter } from '../../base/bytes.ts'
import { ServiceError } from '../../base/errors.ts'
import type { Keys } from '../../base/keys.ts'
import { keyCount } from '../../base/keys.ts'

/** "FRRD". */
const magic = 0x44525246
const version = 2
const chunkBytes = 1 << 20

/** What goes to a store together: keys whose rows are gone, then whole rows. */
export interface Cut {
  /** Distinct. */
  readonly erased: Keys
  readonly recordBytes: number
  /** Whole records in each. */
  readonly records: Iterable<Uint8Array>
}

/** Where a cut stands among those of its table. */
interface Place {
  /** The mark of the cut that went before this one; -1: none did. */
  readonly previous: number
  /** How often an import has changed the checkpoint since it was made. */
  readonly imports: number
}

/** A cut as it lies in a checkpoint. */
export interface SavedCut extends Cut, Place {}

const mostImports = 2 ** 20

/** What vouches in a store for the rows of a checkpoint: larger after an import into it. */
export function markOf(sequence: number, { imports }: Pick<Place, 'imports'>): number {
  assert(imports < mostImports, 'imports into one checkpoint')
  return sequence + imports / mostImports
}

/** The checkpoint of a mark. */
export const sequenceOf = (mark: number): number => Math.floor(mark)

export function* writeRedo(cut: Cut, { previous, imports }: Place): Generator<Uint8Array> {
  const { erased, recordBytes, records } = cut
  const place = new ByteWriter().uint32(magic).uint32(version).float64(previous)
  const header = place.uint32(imports)
  yield header.varint(recordBytes).varint(keyCount(erased)).finish()
  yield new Uint8Array(erased.slice().buffer)
  for (const run of records) yield* pieces(run, recordBytes)
}

/** Throws `SNAPSHOT_DAMAGED`: the file's own checksum was right, so it is something else. */
export function readRedo(chunks: Iterable<Uint8Array>, table: string): SavedCut {
  const rest = chunks[Symbol.iterator]()
  const header = new ByteReader(rest.next().value ?? new Uint8Array(0))
  try {
    if (header.uint32() !== magic || header.uint32() !== version) throw new RangeError('no redo')
    const place = { previous: header.float64(), imports: header.uint32() }
    const recordBytes = header.varint()
    const keys: Uint8Array = rest.next().value ?? new Uint8Array(0)
    if (keys.length !== 8 * header.varint()) throw new RangeError('keys are missing')
    const erased = new Uint32Array(keys.slice().buffer)
    return { ...place, recordBytes, erased, records: { [Symbol.iterator]: () => rest } }
  } catch (cause) {
    const reason = `its redo part: ${String(cause)}`
    throw new ServiceError('SNAPSHOT_DAMAGED', { table, reason }, { cause })
  }
}

/** Nothing more of a saved cut is read: what it is read from is closed. */
export function dismiss({ records }: SavedCut): void {
  records[Symbol.iterator]().return?.()
}

/** A run of records in pieces of whole ones. */
export function* pieces(records: Uint8Array, recordBytes: number): Generator<Uint8Array> {
  const size = Math.max(1, Math.floor(chunkBytes / recordBytes)) * recordBytes
  for (let at = 0; at < records.length; at += size) yield records.subarray(at, at + size)
}
