/**
 * Rows, keys and scores as bytes of commands and replies, without copies where there need be none.
 */
import { assert } from '../../base/assert.ts'
import type { Keys } from '../../base/keys.ts'
import type { Stamp } from '../embedding-table.ts'
import { distinctSorted, sortKeys } from '../memory/key-list.ts'
import { scoreBytes } from '../store/row-store.ts'
import type { TableSpec } from '../table-spec.ts'

const keyBytes = 8

export const bytesOf = (view: ArrayBufferView): Buffer =>
  Buffer.from(view.buffer, view.byteOffset, view.byteLength)

/** Key i of a batch given as bytes. */
export const keyAt = (bytes: Buffer, i: number): Buffer =>
  bytes.subarray(i * keyBytes, (i + 1) * keyBytes)

/** A copy of the keys of n records. */
export function keysOfRecords(records: Buffer, recordBytes: number): Keys {
  const keys = new Uint32Array((records.length / recordBytes) * 2)
  for (let i = 0; 2 * i < keys.length; i += 1) {
    keys[2 * i] = records.readUInt32LE(i * recordBytes)
    keys[2 * i + 1] = records.readUInt32LE(i * recordBytes + 4)
  }
  return keys
}

/** Version and time as they stand in a record. */
export function stampBytes({ time, version }: Stamp): Buffer {
  const bytes = Buffer.alloc(12)
  bytes.writeUInt32LE(version)
  bytes.writeDoubleLE(Math.trunc(time), 4)
  return bytes
}

/** Versions per decay of an optimizer's state (0: never), factor and floor. */
export function decayOf({ optimizer, maxNorm }: TableSpec): readonly [number, number, number] {
  // What else time does to a row, the script does not know.
  assert(optimizer.kind !== 'adam' && maxNorm === undefined, 'accumulate: no adam, no maxNorm')
  if (optimizer.kind !== 'adagradDecay') return [0, 1, 0]
  const { decaySteps, decay, initialAccumulator } = optimizer
  return [decaySteps, Math.fround(decay), Math.fround(initialAccumulator)]
}

export function arrayOf(reply: unknown): readonly unknown[] {
  if (Array.isArray(reply)) return reply
  throw new RangeError('a reply that is no array')
}

export function bytesOfReply(reply: unknown): Buffer {
  if (Buffer.isBuffer(reply)) return reply
  throw new RangeError('a reply that is no string')
}

/** An array reply of strings; what is not there is undefined. */
export function textsOf(reply: unknown): readonly (string | undefined)[] {
  return arrayOf(reply).map((value) => (Buffer.isBuffer(value) ? value.toString() : undefined))
}

/** Throws for a value that cannot be the row of this key. */
export function checkRecord(row: Buffer, key: Buffer, recordBytes: number): void {
  if (row.length !== recordBytes) {
    throw new RangeError(`a row of ${row.length} bytes, not ${recordBytes}`)
  }
  if (row.readUInt32LE(0) !== key.readUInt32LE(0) || row.readUInt32LE(4) !== key.readUInt32LE(4)) {
    throw new RangeError('a row under the key of another')
  }
}

/** A scan may give a row twice, if its hash shrinks meanwhile. */
export function distinctScores(scores: Buffer): Uint8Array {
  const keys = sortKeys(new Uint32Array(keysOfRecords(scores, scoreBytes)))
  if (distinctSorted(keys).length === keys.length) return scores
  const rows = new Map<string, Buffer>()
  for (let at = 0; at < scores.length; at += scoreBytes) {
    const row = scores.subarray(at, at + scoreBytes)
    rows.set(row.toString('latin1', 0, keyBytes), row)
  }
  return Buffer.concat([...rows.values()])
}
