/**
 * One hash over what has been learned and what is known: rows (vectors, optimizer state,
 * statistics), dense weights with their optimizer's state, facts. Rows count in any order, so that
 * it does not matter where in a table a row lies; equal digests mean equal states.
 */
import { ByteWriter } from '../base/bytes.ts'
import { digestBytes } from '../base/digest.ts'

export interface DigestedState {
  /** Hash of each table by name, independent of the order of its rows. */
  readonly tables: ReadonlyMap<string, bigint>
  readonly weights: Float32Array
  readonly facts: bigint
  /** Batches trained on. */
  readonly step: number
}

/** 16 hexadecimal digits. */
export function stateDigest({ tables, weights, facts, step }: DigestedState): string {
  const writer = new ByteWriter()
  for (const name of [...tables.keys()].toSorted()) {
    writer.string(name)
    writeHash(writer, tables.get(name) ?? 0n)
  }
  writer.array(weights).float64(step)
  writeHash(writer, facts)
  return digestBytes(writer.peek()).toString(16).padStart(16, '0')
}

function writeHash(writer: ByteWriter, hash: bigint): void {
  writer.uint32(Number(hash & 0xffffffffn)).uint32(Number((hash >> 32n) & 0xffffffffn))
}
